import { whyProtected } from "@flotilla/proto/protected-kinds";
import fc from "fast-check";
import { readDirectives } from "@flotilla/proto/directives";
import { describe, expect, it } from "vitest";
import { stages } from "./apply-order.ts";
import { nothingIgnored } from "./ignore.ts";
import type { InventoryEntry } from "./inventory.ts";
import { parseObjectKey } from "./object-id.ts";
import { planChanges, type DesiredObject, type Observation, type Plan, type PlanInput } from "./plan.ts";
import { allowedPrunes, pruneListDigest } from "./prune-policy.ts";

const key = (name: string, kind = "ConfigMap") => `/${kind}/default/${name}`;
const desired = (name: string, more: Partial<DesiredObject> = {}): DesiredObject => {
  const id = parseObjectKey(more.key ?? key(name));
  return {
    key: key(name),
    id,
    apiVersion: "v1",
    bundle: "web",
    body: "d",
    line: 0,
    hash: "h1",
    ignored: nothingIgnored,
    directives: readDirectives({ metadata: { name } }).directives,
    ...more,
  };
};
const entry = (name: string, more: Partial<InventoryEntry> = {}): InventoryEntry => ({
  key: more.key ?? key(name),
  apiVersion: "v1",
  bundle: "web",
  uid: `uid-${name}`,
  desired: "h1",
  owned: "o",
  ...more,
});
const asMap = <T extends { readonly key: string }>(items: readonly T[]) => new Map(items.map((item) => [item.key, item]));

function plan(wanted: readonly DesiredObject[], held: readonly InventoryEntry[], more: Partial<PlanInput> = {}): Plan {
  const inventory = asMap(held);
  const observe = (of: string): Observation => {
    const known = inventory.get(of);
    return known ? { state: "present", uid: known.uid, owned: known.owned } : { state: "absent" };
  };
  return planChanges({
    desired: asMap(wanted),
    excluded: new Set(),
    inventory,
    observe,
    claimedBy: () => undefined,
    driftMode: () => "heal",
    blocked: () => undefined,
    stays: () => false,
    budgets: new Map(),
    takenBy: () => undefined,
    namedBy: () => undefined,
    rests: () => undefined,
    revision: "r1",
    approval: undefined,
    ...more,
  });
}

const applied = (result: Plan) => stages.flatMap((stage) => result.applies.get(stage) ?? []).map((step) => [step.object.id.name, step.reason]);

describe("a plan", () => {
  it("applies what is new or changed, and leaves alone what is the same", () => {
    const result = plan([desired("new"), desired("changed", { hash: "h2" }), desired("same")], [entry("changed"), entry("same")]);
    expect(applied(result)).toEqual([
      ["new", "new"],
      ["changed", "changed"],
    ]);
    expect(result.unchanged).toEqual([key("same")]);
  });

  it("takes up again what a crash left half done", () => {
    expect(applied(plan([desired("half")], [entry("half", { uid: "", desired: "", owned: "" })]))).toEqual([["half", "new"]]);
  });

  it("hands drifted objects on one by one: edited, deleted, made again by somebody", () => {
    const observe = (of: string): Observation =>
      of === key("edited")
        ? { state: "present", uid: "uid-edited", owned: "other" }
        : of === key("again")
          ? { state: "present", uid: "other", owned: "o" }
          : { state: "absent" };
    const result = plan([desired("edited"), desired("deleted"), desired("again")], [entry("edited"), entry("deleted"), entry("again")], { observe });
    expect(result.drifted).toEqual([key("edited"), key("deleted"), key("again")]);
    expect(applied(result)).toEqual([]);
  });

  it("does not take a kind that cannot be listed for one without objects", () => {
    expect(plan([desired("unseen")], [entry("unseen")], { observe: () => ({ state: "unseen" }) }).unchanged).toEqual([key("unseen")]);
  });

  it("keeps a hand-made change under heal-unless-drifted, and overwrites it in the other modes", () => {
    const observe = (): Observation => ({ state: "present", uid: "uid-x", owned: "by hand" });
    const input = [[desired("x", { hash: "h2" })], [entry("x")]] as const;
    expect(plan(...input, { observe, driftMode: () => "heal-unless-drifted" }).kept).toEqual([key("x")]);
    expect(applied(plan(...input, { observe, driftMode: () => "report" }))).toEqual([["x", "changed"]]);
  });

  it("does not touch what another inventory claims, nor what waits for another bundle", () => {
    const result = plan([desired("theirs"), desired("waits", { bundle: "later" }), desired("goes")], [], {
      claimedBy: (of) => (of === key("theirs") ? "other" : undefined),
      blocked: ({ bundle }) => (bundle === "later" ? "waits for base" : undefined),
    });
    expect(result.claimed).toEqual(new Map([[key("theirs"), "other"]]));
    expect(result.waiting).toEqual(new Map([[key("waits"), "waits for base"]]));
    expect(applied(result)).toEqual([["goes", "new"]]);
  });

  it("lets go of excluded objects instead of pruning them", () => {
    const result = plan([desired("a")], [entry("a"), entry("theirs")], { excluded: new Set([key("theirs")]) });
    expect([...result.letGo.keys()]).toEqual([key("theirs")]);
    expect(result).toMatchObject({ prunes: [], held: undefined });
  });

  it("prunes within the budget, workloads before what they stand on", () => {
    const deployment = entry("d", { key: "apps/Deployment/default/d" });
    expect(plan([desired("a")], [entry("a"), entry("gone"), deployment]).prunes).toEqual([deployment.key, key("gone")]);
  });

  it("holds all prunes when they are over the budget or one is protected, and applies all the same", () => {
    const held = Array.from({ length: 20 }, (_, i) => entry(`n${i}`));
    const over = plan([desired("new")], held);
    expect(over.prunes).toEqual([]);
    expect(over.held?.keys).toHaveLength(20);
    expect(over.held?.digest).toBe(pruneListDigest(held.map((e) => e.key).reverse()));
    expect(applied(over)).toEqual([["new", "new"]]);
    const namespace = plan([desired("a")], [entry("a"), entry("gone"), entry("ns", { key: "/Namespace//ns" })]);
    expect(namespace.prunes).toEqual([]);
    expect(namespace.held?.reason).toMatch(/Namespace ns is of a protected kind/);
  });

  it("holds a bundle to its own budget when it has one", () => {
    const held = [entry("a"), ...["b", "c"].map((name) => entry(name, { bundle: "careful" }))];
    expect(plan([desired("a")], held, { budgets: new Map([["careful", { objects: 1, percent: 0 }]]) }).held?.reason).toMatch(
      /2 of 2 objects of bundle careful/,
    );
    expect(plan([desired("a")], held, { budgets: new Map([["careful", { objects: 2, percent: 0 }]]) }).held).toBeUndefined();
  });
});

const names = fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 });
const anyKind = (n: number) => (n % 17 === 0 ? `/Namespace//n${n}` : n % 3 === 0 ? `apps/Deployment/default/n${n}` : `/ConfigMap/default/n${n}`);

describe("any plan", () => {
  it("prunes only what is ours and no longer wanted, within budget, no protected kind, nothing excluded or claimed (G5, G6, G7)", () => {
    fc.assert(
      fc.property(names, names, names, names, (wanted, held, excluded, claimed) => {
        const excludedKeys = new Set(excluded.filter((n) => !wanted.includes(n)).map(anyKind));
        const claimedKeys = new Set(claimed.map(anyKind));
        const result = plan(
          wanted.map((n) => desired("", { key: anyKind(n), id: parseObjectKey(anyKind(n)) })),
          held.map((n) => entry(String(n), { key: anyKind(n) })),
          {
            excluded: excludedKeys,
            claimedBy: (of) => (claimedKeys.has(of) ? "other" : undefined),
            takenBy: (of) => (claimedKeys.has(of) ? "other" : undefined),
          },
        );
        const heldKeys = new Set(held.map(anyKind));
        for (const of of result.prunes) {
          expect(heldKeys.has(of)).toBe(true);
          expect(wanted.map(anyKind)).not.toContain(of);
          expect(excludedKeys.has(of) || claimedKeys.has(of)).toBe(false);
          expect(whyProtected(parseObjectKey(of))).toBeUndefined();
        }
        expect(result.prunes.length).toBeLessThanOrEqual(allowedPrunes({ objects: 5, percent: 10 }, held.length));
        for (const step of stages.flatMap((stage) => result.applies.get(stage) ?? [])) expect(claimedKeys.has(step.object.key)).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("is done: applied and settled, the next plan changes nothing", () => {
    fc.assert(
      fc.property(names, names, (wanted, held) => {
        const objects = wanted.map((n) => desired("", { key: anyKind(n), id: parseObjectKey(anyKind(n)) }));
        const first = plan(
          objects,
          held.map((n) => entry(String(n), { key: anyKind(n), desired: n % 2 ? "h1" : "old" })),
        );
        const after = objects.map((object) => entry(object.key, { key: object.key }));
        const rest = [...(first.held?.keys ?? [])].map((of) => entry(of, { key: of }));
        const second = plan(objects, [...after, ...rest]);
        expect(applied(second)).toEqual([]);
        expect(second.drifted).toEqual([]);
      }),
    );
  });
});
