import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { settleClaims, type Owner } from "./claims.ts";
import type { BundleSpec, FleetSpec } from "./fleet-spec.ts";
import { inDependencyOrder, placeBundles, problemsOfContest, type PlaceRequest } from "./place-bundles.ts";

const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const bundle = (name: string, more: Partial<BundleSpec> = {}): BundleSpec => ({
  name,
  path: name,
  dependsOn: [],
  values: {},
  overlays: [],
  combine: "first",
  policy,
  ...more,
});
const fleet = (bundles: readonly BundleSpec[], more: Partial<FleetSpec> = {}): FleetSpec => ({ name: "shop", clusters: {}, values: {}, bundles, ...more });
const body = (...objectIds: string[]) => ({ digest: `digest of ${objectIds.join()}`, objectCount: objectIds.length, bodyBytes: 1, objectIds });
const id = (name: string) => `/ConfigMap/default/${name}`;

function place(spec: FleetSpec, bodies: Record<string, ReturnType<typeof body> | undefined>, more: Partial<PlaceRequest> = {}) {
  return placeBundles({
    fleet: "shop",
    revision: "abc",
    spec,
    clusters: [{ name: "one", labels: {} }],
    bodyOf: (_cluster, name) => bodies[name],
    ownersIn: () => undefined,
    ...more,
  });
}

describe("a policy that changes alone", () => {
  it.each([
    ["prune mode", { defaults: { prune: "disabled" } }],
    ["ssa", { defaults: { ssa: "merge" } }],
    ["force", { defaults: { force: "recreate" } }],
    ["adopt", { defaults: { adopt: "never" } }],
    ["budget", { pruneBudget: { objects: 1, percent: 0 } }],
  ])("gives the target another digest, and so a new generation: %s", (_what, more) => {
    const digest = (changed: object) => place(fleet([bundle("a", { policy: { ...policy, ...changed } })]), { a: body(id("a")) }).targets[0]?.digest;
    expect(digest(more)).not.toBe(digest({}));
    expect(digest({})).toBe(digest({}));
  });
});

describe("placeBundles", () => {
  it("gives a cluster every bundle, each after those it depends on", () => {
    const { targets } = place(fleet([bundle("app", { dependsOn: ["base"] }), bundle("base")]), { app: body(id("a")), base: body(id("b")) });
    expect(targets.map(({ cluster, bundles }) => [cluster, bundles.map(({ name }) => name)])).toEqual([["one", ["base", "app"]]]);
  });

  it("places only on clusters that the fleet selects", () => {
    const clusters = [
      { name: "one", labels: { env: "prod" } },
      { name: "two", labels: { env: "dev" } },
    ];
    const { targets, held } = place(fleet([bundle("a")], { clusters: { matchLabels: { env: "prod" } } }), { a: body(id("a")) }, { clusters });
    expect(targets.map(({ cluster }) => cluster)).toEqual(["one"]);
    expect(held).toEqual([]);
  });

  it("holds a cluster for which a bundle has no body", () => {
    const { targets, held, claims } = place(fleet([bundle("a"), bundle("b")]), { a: body(id("a")), b: undefined });
    expect({ targets, held, claims }).toEqual({ targets: [], held: ["one"], claims: [] });
  });

  it("lets the first bundle keep an object that two bundles hold, and tells both", () => {
    const { targets, claims } = place(fleet([bundle("a"), bundle("b")]), { a: body(id("x")), b: body(id("x"), id("y")) });
    expect(targets[0]?.bundles.map(({ name, excluded }) => [name, excluded])).toEqual([
      ["a", []],
      ["b", [id("x")]],
    ]);
    expect(targets[0]?.problems.map((problem) => problem.bundle).sort()).toEqual(["a", "b"]);
    expect(claims.flatMap(({ owned }) => owned.map(({ bundle: name, objectIds }) => [name, objectIds]))).toEqual([
      ["a", [id("x")]],
      ["b", [id("y")]],
    ]);
  });

  it("leaves an object to the fleet that had it first, and says which", () => {
    const owners = new Map<string, Owner>([[id("x"), { fleet: "platform", bundle: "core" }]]);
    const { targets, contests } = place(fleet([bundle("a")]), { a: body(id("x"), id("y")) }, { ownersIn: () => owners });
    expect(targets[0]?.bundles[0]?.excluded).toEqual([id("x")]);
    expect(targets[0]?.problems[0]?.message).toBe("ConfigMap default/x belongs to bundle 'core' of fleet 'platform', which had it first: it is left out here");
    const [contest] = contests.get("one") ?? [];
    expect(contest && problemsOfContest(contest).forOwner).toMatchObject({
      bundle: "core",
      message: expect.stringContaining("bundle 'a' of fleet 'shop' wants ConfigMap default/x too"),
    });
  });

  it("changes the digest when an object becomes contested, and changes it back", () => {
    const spec = fleet([bundle("a")]);
    const digestWith = (owners?: ReadonlyMap<string, Owner>) => place(spec, { a: body(id("x")) }, { ownersIn: () => owners }).targets[0]?.digest;
    const contested = digestWith(new Map([[id("x"), { fleet: "other", bundle: "o" }]]));
    expect(contested).not.toBe(digestWith());
    expect(digestWith(new Map([[id("x"), { fleet: "shop", bundle: "a" }]]))).toBe(digestWith());
  });

  it("lets an object move between bundles of one fleet", () => {
    const owners = new Map<string, Owner>([[id("x"), { fleet: "shop", bundle: "a" }]]);
    const { targets } = place(fleet([bundle("a"), bundle("b")]), { a: body(id("z")), b: body(id("x")) }, { ownersIn: () => owners });
    expect(targets[0]?.bundles.flatMap(({ excluded }) => excluded)).toEqual([]);
  });

  it("counts contests beyond those it tells", () => {
    const ids = Array.from({ length: 100 }, (_, index) => id(`x${index}`));
    const owners = new Map<string, Owner>(ids.map((objectId) => [objectId, { fleet: "other", bundle: "o" }]));
    const { targets } = place(fleet([bundle("a")]), { a: body(...ids) }, { ownersIn: () => owners });
    expect(targets[0]?.problems).toHaveLength(21);
    expect(targets[0]?.bundles[0]?.excluded).toHaveLength(100);
  });

  it("gives every cluster the same target whatever the order of clusters and bundles", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(["one", "two", "three", "four"], { minLength: 4 }),
        fc.shuffledSubarray(["a", "b", "c"], { minLength: 3 }),
        (names, order) => {
          const bodies = { a: body(id("a")), b: body(id("b")), c: body(id("c")) };
          const placed = (clusters: readonly string[], bundles: readonly string[]) =>
            new Map(
              place(fleet(bundles.map((name) => bundle(name))), bodies, { clusters: clusters.map((name) => ({ name, labels: {} })) }).targets.map((target) => [
                target.cluster,
                target.digest,
              ]),
            );
          const reference = placed(["one", "two", "three", "four"], ["a", "b", "c"]);
          for (const [cluster, digest] of placed(names, order)) expect(digest).toBe(reference.get(cluster));
        },
      ),
    );
  });
});

describe("settleClaims", () => {
  const anyId: fc.Arbitrary<string> = fc.constantFrom("p", "q", "r", "s", "t");
  const anyIds = fc.uniqueArray(anyId, { maxLength: 5 }).map((ids) => ids.sort());
  const anyOwner: fc.Arbitrary<Owner> = fc.record({ fleet: fc.constantFrom("mine", "other"), bundle: fc.constantFrom("a", "b", "c", "gone") });
  const anyCase = fc.record({
    a: anyIds,
    b: anyIds,
    c: anyIds,
    owners: fc.array(fc.tuple(anyId, anyOwner), { maxLength: 5 }).map((entries) => new Map(entries)),
  });

  it("gives every object one owner, never takes from another fleet, and leaves out exactly the rest", () => {
    fc.assert(
      fc.property(anyCase, ({ owners, ...wanted }) => {
        const claimants = Object.entries(wanted).map(([name, objectIds]) => ({ bundle: name, objectIds }));
        const { owned, contests } = settleClaims("mine", claimants, owners);
        const all = [...owned.values()].flat();
        expect(new Set(all).size).toBe(all.length);
        for (const objectId of all) expect(owners.get(objectId)?.fleet).not.toBe("other");
        for (const { bundle: name, objectIds } of claimants) {
          const excluded = contests.filter((contest) => contest.claimant.bundle === name).map((contest) => contest.objectId);
          expect([...(owned.get(name) ?? []), ...excluded].sort()).toEqual(objectIds);
        }
      }),
    );
  });

  it("changes nothing when it is asked again", () => {
    fc.assert(
      fc.property(anyCase, ({ owners, ...wanted }) => {
        const claimants = Object.entries(wanted).map(([name, objectIds]) => ({ bundle: name, objectIds }));
        const first = settleClaims("mine", claimants, owners);
        const after = new Map([...owners].filter(([, owner]) => owner.fleet === "other"));
        for (const [name, ids] of first.owned) for (const objectId of ids) after.set(objectId, { fleet: "mine", bundle: name });
        expect(settleClaims("mine", claimants, after)).toEqual(first);
        expect(settleClaims("mine", [...claimants].reverse(), after).owned).toEqual(new Map([...first.owned].reverse()));
      }),
    );
  });

  it("lets the owner of now keep an object against a bundle written before it", () => {
    const owners = new Map<string, Owner>([["x", { fleet: "mine", bundle: "b" }]]);
    const { contests } = settleClaims(
      "mine",
      [
        { bundle: "a", objectIds: ["x"] },
        { bundle: "b", objectIds: ["x"] },
      ],
      owners,
    );
    expect(contests).toEqual([{ objectId: "x", owner: { fleet: "mine", bundle: "b" }, claimant: { fleet: "mine", bundle: "a" } }]);
  });
});

describe("inDependencyOrder", () => {
  it("ends also when bundles depend on each other", () => {
    expect(inDependencyOrder([bundle("a", { dependsOn: ["b"] }), bundle("b", { dependsOn: ["a"] })]).map(({ name }) => name)).toEqual(["b", "a"]);
  });
});
