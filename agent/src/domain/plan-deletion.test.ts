import fc from "fast-check";
import { readDirectives } from "@flotilla/proto/directives";
import { describe, expect, it } from "vitest";
import { decodeGuard, type Guard, unguarded } from "./guard.ts";
import type { InventoryEntry } from "./inventory.ts";
import { nothingIgnored } from "./ignore.ts";
import { parseObjectKey } from "./object-id.ts";
import { planChanges, type DesiredObject, type Observation, type Plan, type PlanInput } from "./plan.ts";
import { pruneListDigest, spentMark } from "./prune-policy.ts";

const keyOf = (name: string, kind = "ConfigMap") => `/${kind}/default/${name}`;
const desired = (key: string, annotations: Record<string, string> = {}, bundle = "web"): DesiredObject => ({
  key,
  id: parseObjectKey(key),
  apiVersion: "v1",
  bundle,
  body: "d",
  line: 0,
  hash: "h1",
  ignored: nothingIgnored,
  directives: readDirectives({ metadata: { name: "x", annotations } }).directives,
});
const entry = (key: string, more: Partial<InventoryEntry> = {}): InventoryEntry => ({
  key,
  apiVersion: "v1",
  bundle: "web",
  uid: `uid-${key}`,
  desired: "h1",
  owned: "o",
  ...more,
});

function plan(wanted: readonly DesiredObject[], held: readonly InventoryEntry[], more: Partial<PlanInput> = {}): Plan {
  const inventory = new Map(held.map((each) => [each.key, each]));
  return planChanges({
    desired: new Map(wanted.map((each) => [each.key, each])),
    excluded: new Set(),
    inventory,
    observe: (key): Observation => ({ state: "present", uid: inventory.get(key)?.uid ?? "", owned: "o", guard: unguarded }),
    claimedBy: () => undefined,
    takenBy: () => undefined,
    namedBy: () => undefined,
    driftMode: () => "heal",
    blocked: () => undefined,
    stays: () => false,
    budgets: new Map(),
    rests: () => undefined,
    revision: "r1",
    approval: undefined,
    ...more,
  });
}

const [a, b, stays] = [keyOf("a"), keyOf("b"), keyOf("stays")];
const claim = keyOf("data", "PersistentVolumeClaim");

describe("a plan that deletes", () => {
  it("lets a held list go by the approval of exactly that list for exactly that revision", () => {
    const held = [entry(a), entry(claim), entry(stays)];
    const digest = pruneListDigest([claim, a]);
    const wanted = [desired(stays)];
    expect(plan(wanted, held).held).toMatchObject({ digest, keys: [a, claim] });
    const approved = plan(wanted, held, { approval: { revision: "r1", digest } });
    expect(approved.held).toBeUndefined();
    expect([...approved.prunes].sort()).toEqual([a, claim]);
    expect([...approved.approved].sort()).toEqual([a, claim]);
    for (const approval of [
      { revision: "r2", digest },
      { revision: "r1", digest: pruneListDigest([claim]) },
      { revision: "r1", digest: "" },
    ])
      expect(plan(wanted, held, { approval }).prunes).toEqual([]);
  });

  it("goes on with what is left of an approved list, and holds what was not on it", () => {
    const digest = pruneListDigest([claim, a, b]);
    const other = keyOf("other", "PersistentVolumeClaim");
    const left = [entry(claim, { approved: digest }), entry(other), entry(stays)];
    const result = plan([desired(stays)], left, { approval: { revision: "r1", digest } });
    expect(result.prunes).toEqual([claim]);
    expect(result.held?.keys).toEqual([other]);
    expect(plan([desired(stays)], left, { approval: undefined }).prunes).toEqual([]);
    expect(plan([desired(stays)], left, { approval: { revision: "r0", digest } }).prunes).toEqual([]);
  });

  it("holds what asks for confirmation, in Git or by hand, and nothing else for it", () => {
    const byHand = (key: string): Observation => ({ state: "present", uid: `uid-${key}`, owned: "o", guard: key === b ? decodeGuard("confirm") : unguarded });
    const result = plan([desired(stays)], [entry(a), entry(b), entry(keyOf("c"), { guard: decodeGuard("confirm") }), entry(stays)], { observe: byHand });
    expect(result.prunes).toEqual([a]);
    expect(result.held?.keys).toEqual([b, keyOf("c")]);
  });

  it("lets go of what is guarded, of its own house, and of what another fleet has taken over; waits for the one that names it", () => {
    const house = "/Namespace//flotilla-system";
    const result = plan([desired(stays)], [entry(a, { guard: decodeGuard("disabled") }), entry(b), entry(keyOf("c")), entry(house), entry(stays)], {
      takenBy: (key) => (key === b ? "other" : undefined),
      namedBy: (key) => (key === keyOf("c") ? "other" : undefined),
    });
    expect([...result.letGo.keys()].sort()).toEqual([a, b, house].sort());
    expect([...result.resting.keys()]).toEqual([keyOf("c")]);
    expect(result.prunes).toEqual([]);
  });

  it("does not hold what is being deleted against anybody's budget, and sets the last ones apart", () => {
    const going = Array.from({ length: 9 }, (_, i) => entry(keyOf(`g${i}`)));
    const observe = (key: string): Observation => ({ state: "present", uid: `uid-${key}`, owned: "o", isGoing: key.includes("/g") });
    const result = plan([desired(stays)], [...going, entry(a, { guard: decodeGuard("last") }), entry(b), entry(stays)], { observe });
    expect(result.going).toHaveLength(9);
    expect(result).toMatchObject({ prunes: [b], lastPrunes: [a], held: undefined });
  });

  it("does not give a budget twice for one revision", () => {
    const spent = new Map([["web", marksOf(4)]]);
    expect(plan([desired(stays)], [entry(a), entry(b), entry(stays)], { spent }).held?.reason).toMatch(/2 of 3 .* and 4 were deleted for this revision/);
    expect(plan([desired(stays)], [entry(a), entry(stays)], { spent }).prunes).toEqual([a]);
  });

  it("counts once what was about to be deleted when the agent ended", () => {
    const names = Array.from({ length: 5 }, (_, i) => keyOf(`p${i}`));
    const spent = new Map([["web", new Set(names.map((key) => spentMark(entry(key))))]]);
    const left = names.slice(2).map((key) => entry(key));
    expect(plan([desired(stays)], [...left, entry(stays)], { spent })).toMatchObject({ held: undefined, prunes: expect.arrayContaining(names.slice(2)) });
    // Another of the name is another object.
    const again = plan([desired(stays)], [...left.map((held) => ({ ...held, uid: "new" })), entry(stays)], { spent });
    expect(again.held?.reason).toMatch(/and 5 were deleted for this revision/);
  });

  it("applies an object that moved to another bundle once more, and prunes nothing", () => {
    const result = plan([desired(a, {}, "api")], [entry(a)]);
    expect(result.applies.get("rest")?.map(({ reason }) => reason)).toEqual(["changed"]);
    expect(result).toMatchObject({ prunes: [], held: undefined });
  });

  it.for([
    [{ "kustomize.toolkit.fluxcd.io/reconcile": "disabled" }, unguarded],
    [{ "flotilla.dev/ssa": "ignore" }, unguarded],
    [{}, decodeGuard("disabled paused")],
  ] as [Record<string, string>, Guard][])("leaves alone what asks for it: %j", ([annotations, guard]) => {
    const observe = (): Observation => ({ state: "present", uid: "other", owned: "changed", guard });
    const result = plan([desired(a, annotations)], [entry(a, { desired: "old" })], { observe });
    expect([...result.exempt.keys()]).toEqual([a]);
    expect(result.applies.get("rest")).toEqual([]);
    expect(result.drifted).toEqual([]);
  });
});

/** One name of a drawn world: whether Git names it, what the inventory and the cluster say of it. */
interface Drawn {
  readonly isWanted: boolean;
  readonly isHeld: boolean;
  readonly kind: string;
  readonly bundle: string;
  readonly guard: string;
  readonly liveGuard: string;
  readonly sight: "present" | "absent" | "unseen" | "going";
  readonly isExcluded: boolean;
  readonly other: "" | "names" | "took" | "claims";
  readonly wasApproved: boolean;
}

const guards = ["", "", "", "last", "confirm", "disabled", "disabled paused", "keep"];
const drawn = fc.record<Drawn>({
  isWanted: fc.boolean(),
  isHeld: fc.boolean(),
  kind: fc.oneof({ weight: 12, arbitrary: fc.constant("ConfigMap") }, { weight: 1, arbitrary: fc.constantFrom("PersistentVolumeClaim", "Namespace") }),
  bundle: fc.constantFrom("web", "web", "careful", "left"),
  guard: fc.constantFrom(...guards),
  liveGuard: fc.constantFrom(...guards),
  sight: fc.constantFrom("present", "present", "absent", "unseen", "going"),
  isExcluded: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  other: fc.oneof(
    { weight: 9, arbitrary: fc.constant("" as const) },
    { weight: 2, arbitrary: fc.constantFrom("names" as const, "took" as const, "claims" as const) },
  ),
  wasApproved: fc.boolean(),
});
const worlds = fc.record({
  names: fc.array(drawn, { minLength: 1, maxLength: 30 }),
  approves: fc.constantFrom("nothing" as const, "the list" as const, "an older list" as const, "another revision" as const),
  spent: fc.nat({ max: 6 }),
});

/** Tens of thousands of worlds take seconds. */
const numRuns = 30_000;

describe("any plan that deletes", () => {
  it("deletes only what the rules allow (G5, G6, G7), whatever is wanted, held, guarded, named by others and approved", () => {
    fc.assert(
      fc.property(worlds, ({ names, approves, spent }) => {
        const keys = names.map(({ kind }, i) => (kind === "Namespace" ? `/Namespace//n${i}` : keyOf(`n${i}`, kind)));
        const at = (key: string) => names[keys.indexOf(key)] as Drawn;
        const older = pruneListDigest(["older"]);
        const input: Partial<PlanInput> = {
          excluded: new Set(keys.filter((key) => at(key).isExcluded && !at(key).isWanted)),
          observe: (key) => sightOf(key, at(key)),
          claimedBy: (key) => (at(key).other === "claims" ? "other" : undefined),
          takenBy: (key) => (at(key).other === "took" ? "other" : undefined),
          namedBy: (key) => (at(key).other === "names" || at(key).other === "took" ? "other" : undefined),
          budgets: new Map([["careful", { objects: 1, percent: 0 }]]),
          spent: new Map([["web", marksOf(spent)]]),
          rests: (_, bundle) => (bundle === "left" ? "it has just left" : undefined),
        };
        const wanted = keys.filter((key) => at(key).isWanted).map((key) => desired(key, {}, at(key).bundle));
        const held = keys
          .filter((key) => at(key).isHeld)
          .map((key) => entry(key, { bundle: at(key).bundle, guard: decodeGuard(at(key).guard), ...(at(key).wasApproved && { approved: older }) }));
        const first = plan(wanted, held, input);
        const digest = approves === "the list" ? (first.held?.digest ?? "none") : approves === "an older list" ? older : "x";
        const approval = approves === "nothing" ? undefined : { revision: approves === "another revision" ? "r0" : "r1", digest };
        const second = plan(wanted, held, { ...input, approval });
        const byWord = { nothing: [], "another revision": [], "the list": first.held?.keys ?? [], "an older list": keys.filter((key) => at(key).wasApproved) };
        const breaches = [...breachesOf(first, new Set(), { keys, at, spent }), ...breachesOf(second, new Set(byWord[approves]), { keys, at, spent })];
        if (breaches.length > 0) throw new Error(breaches.join("; "));
      }),
      { numRuns },
    );
  }, 60_000);
});

/** Marks of objects that are gone. */
function marksOf(count: number): Set<string> {
  return new Set(Array.from({ length: count }, (_, i) => `gone-${i}`));
}

/** What a plan does that no rule allows. Without `expect`: it runs tens of thousands of times. */
function breachesOf(result: Plan, mayGo: ReadonlySet<string>, world: { keys: readonly string[]; at: (key: string) => Drawn; spent: number }): string[] {
  const { keys, at, spent } = world;
  const deleted = [...result.prunes, ...result.lastPrunes];
  const breaches = deleted.flatMap((key) => {
    const name = at(key);
    const words = `${name.guard} ${name.sight === "present" ? name.liveGuard : ""}`;
    const rules: [boolean, string][] = [
      [name.isHeld && !name.isWanted && !name.isExcluded, "is not ours to prune"],
      [name.other !== "names" && name.other !== "took", "another fleet names it"],
      [name.sight !== "going" && name.bundle !== "left", "goes or rests"],
      [!words.includes("disabled"), "is guarded"],
      [mayGo.has(key) || (!words.includes("confirm") && name.kind === "ConfigMap"), "takes an approval"],
    ];
    return rules.filter(([isKept]) => !isKept).map(([, rule]) => `${key} ${rule}`);
  });
  const unapproved = deleted.filter((key) => !mayGo.has(key));
  const pooled = unapproved.filter((key) => at(key).bundle !== "careful").length;
  const allowed = Math.max(5, Math.floor(keys.filter((key) => at(key).isHeld).length / 10));
  if (pooled > 0 && pooled + spent > allowed) breaches.push(`${pooled} pruned, ${spent} before, ${allowed} allowed`);
  if (unapproved.length - pooled > 1) breaches.push("the bundle's own budget is exceeded");
  // Nothing is forgotten: what is in the inventory and not wanted is in exactly one of the lists.
  const told = [...deleted, ...(result.held?.keys ?? []), ...result.resting.keys(), ...result.letGo.keys(), ...result.going].sort();
  if (
    told.join() !==
    keys
      .filter((key) => at(key).isHeld && !at(key).isWanted)
      .sort()
      .join()
  )
    breaches.push("an object is forgotten, or told twice");
  return breaches;
}

function sightOf(key: string, { sight, liveGuard }: Drawn): Observation {
  if (sight === "absent" || sight === "unseen") return { state: sight };
  return { state: "present", uid: `uid-${key}`, owned: "o", guard: sight === "going" ? unguarded : decodeGuard(liveGuard), isGoing: sight === "going" };
}
