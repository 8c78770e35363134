import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planRemovals, problemOfHeldRemoval, removalDigest, type RemovalQuestion } from "./plan-removals.ts";

const hour = 3_600_000;
const names = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `c-${String(index + from).padStart(4, "0")}`);

function ask(total: number, leaving: number, more: Partial<RemovalQuestion> & { forMs?: number | null } = {}) {
  const { forMs = null, ...question } = more;
  const staying = new Set(names(total - leaving, leaving));
  return planRemovals({
    targeted: names(total).map((cluster) => ({ cluster, leavingForMs: staying.has(cluster) ? null : forMs })),
    staying,
    leftLately: 0,
    removal: { policy: "orphan", graceMs: hour },
    approved: [],
    ...question,
  });
}

describe("a cluster that a fleet no longer selects", () => {
  it("keeps what it has until its grace is over", () => {
    expect(ask(10, 1)).toMatchObject({ removals: [], leaving: [{ cluster: "c-0000", graceMs: hour }], held: undefined });
    expect(ask(10, 1, { forMs: hour - 1 })).toMatchObject({ removals: [], leaving: [{ cluster: "c-0000" }] });
    expect(ask(10, 1, { forMs: hour })).toMatchObject({ removals: [{ cluster: "c-0000", policy: "orphan" }], leaving: [] });
  });

  it("goes by the policy that fleet.yaml names", () => {
    expect(ask(10, 1, { forMs: 5, removal: { policy: "delete", graceMs: 5 } }).removals).toEqual([{ cluster: "c-0000", policy: "delete" }]);
  });

  it("may be the only one that the fleet has", () => {
    expect(ask(1, 1, { forMs: hour }).removals).toHaveLength(1);
  });
});

describe("more clusters than may leave without a person", () => {
  it.each([
    [2, 1, false],
    [2, 2, true],
    [10, 1, false],
    [10, 2, true],
    [19, 2, true],
    [20, 2, false],
    [20, 3, true],
    [100, 10, false],
    [100, 11, true],
    [1_000, 300, true],
  ])("of %i clusters %i leave: held %s", (total, leaving, isHeld) => {
    const plan = ask(total, leaving, { forMs: 10 * hour });
    expect(plan.held !== undefined).toBe(isHeld);
    expect(plan.removals.length).toBe(isHeld ? 0 : leaving);
    if (isHeld) expect(plan.leaving).toEqual(names(leaving).map((cluster) => ({ cluster, graceMs: null })));
  });

  it("are counted over edits one after another", () => {
    expect(ask(9, 1, { forMs: hour, leftLately: 1 }).held).toMatchObject({ clusters: ["c-0000"], of: 10, leftLately: 1, allowed: 1 });
    expect(ask(99, 1, { forMs: hour, leftLately: 1 }).held).toBeUndefined();
  });

  it("go at once when a person approved exactly this list with this policy", () => {
    const digest = ask(10, 3).held?.digest ?? "";
    expect(ask(10, 3, { approved: [digest] })).toMatchObject({ removals: [{}, {}, {}], leaving: [], held: undefined, approval: digest });
    expect(ask(10, 4, { approved: [digest] }).removals).toEqual([]);
    expect(ask(10, 2, { approved: [digest] }).removals).toEqual([]);
    expect(ask(10, 3, { approved: [digest], removal: { policy: "delete", graceMs: hour } }).removals).toEqual([]);
    expect(removalDigest("orphan", ["b", "a"])).toBe(removalDigest("orphan", ["a", "b"]));
  });

  it("are named, with what to do", () => {
    const { held } = ask(100, 30);
    const problem = held && problemOfHeldRemoval("shop", held);
    expect(problem?.message).toContain("30 of 100 clusters");
    expect(problem?.message).toContain("c-0000, c-0001");
    expect(problem?.message).toContain("and 20 more");
    expect(problem?.hint).toContain("fleet approve removal shop");
  });
});

describe("no change of labels, selectors or clusters", () => {
  it("ever removes more than a tenth of a fleet, and more than one, without an approval", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.option(fc.integer({ min: 0, max: 3 * hour }))), { maxLength: 60 }),
        fc.nat({ max: 5 }),
        fc.integer({ min: 1, max: 2 * hour }),
        (rows, leftLately, graceMs) => {
          const targeted = rows.map(([, leavingForMs], index) => ({ cluster: `c-${index}`, leavingForMs }));
          const staying = new Set(targeted.filter((_, index) => rows[index]?.[0]).map(({ cluster }) => cluster));
          const plan = planRemovals({ targeted, staying, leftLately, removal: { policy: "delete", graceMs }, approved: [] });
          const gone = plan.removals.length + (plan.removals.length === 0 ? 0 : leftLately);
          expect(gone === 0 || gone === 1 || gone * 10 <= targeted.length + leftLately).toBe(true);
          for (const { cluster } of plan.removals) {
            expect(staying.has(cluster)).toBe(false);
            expect(targeted.find((row) => row.cluster === cluster)?.leavingForMs ?? -1).toBeGreaterThanOrEqual(graceMs);
          }
          // Everybody who leaves is accounted for, once.
          expect([...plan.removals, ...plan.leaving].map(({ cluster }) => cluster).sort()).toEqual(
            targeted
              .filter(({ cluster }) => !staying.has(cluster))
              .map(({ cluster }) => cluster)
              .sort(),
          );
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
