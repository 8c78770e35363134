import { describe, expect, it } from "vitest";
import type { ApprovedList } from "../chaos/approve-held.ts";
import type { AuditedWrite } from "../chaos/audited-writes.ts";
import { fought } from "../chaos/chaos-fleet.ts";
import type { FaultSpan, Meddling } from "../chaos/chaos-record.ts";
import { judgeBudgets } from "../chaos/judge-budgets.ts";
import { judgeDeletes } from "../chaos/judge-deletes.ts";
import { type HealWord, judgeFights } from "../chaos/judge-fights.ts";
import { judgeHeals } from "../chaos/judge-heals.ts";
import type { LostTail } from "../chaos/lost-tails.ts";

describe("the verdicts of chaos on what agents wrote", () => {
  describe("of deletes", () => {
    const pushed = [
      { revision: "one", contents: new Map([["a", "1"]]), at: 0 },
      { revision: "two", contents: new Map(), at: 1_000 },
      { revision: "three", contents: new Map([["a", "2"]]), at: 10_000 },
    ];
    const releases = pushed.map(({ revision, at }) => ({ cluster: "c", revision, at: at + 100 }));
    const judged = (at: number, more = {}) =>
      judgeDeletes({ pushed, lostTails: [] }, [{ cluster: "c", object: "a", at, kind: "deleted", byAgent: true, hasUid: true, ...more }], releases).map(
        ({ problems }) => problems.length,
      );

    it("find nothing where the revision does not name it, also when the agent is a little late", () => {
      expect(judged(2_000)).toEqual([0, 0]);
      expect(judged(20_000)).toEqual([0, 0]);
    });

    it("find one before any revision left it out, one long after it came back, and one in another cluster (G5)", () => {
      expect(judged(50)).toEqual([1, 0]);
      expect(judged(200_000)).toEqual([1, 0]);
      expect(judged(2_000, { cluster: "other" })).toEqual([1, 0]);
      expect(judged(50, { byAgent: false })).toEqual([0, 0]);
    });

    it("find one under a revision that nobody pushed (G5)", () => {
      const unknown = judgeDeletes(
        { pushed, lostTails: [] },
        [{ cluster: "c", object: "a", at: 200, kind: "deleted", byAgent: true, hasUid: true }],
        [{ cluster: "c", revision: "unknown", at: 100 }],
      );
      expect(unknown.map(({ problems }) => problems.length)).toEqual([1, 0]);
    });

    it("find one without a UID (G7)", () => {
      expect(judged(2_000, { hasUid: false })).toEqual([0, 1]);
    });
  });

  describe("of budgets (G6)", () => {
    const stock = Array.from({ length: 12 }, (_, index) => `stock-${index}`);
    const pushed = [
      { revision: "full", contents: new Map(stock.map((name) => [name, "1"])), at: 0 },
      { revision: "empty", contents: new Map<string, string>(), at: 10_000 },
    ];
    const release = (revision: string, at: number) => ({ cluster: "c", revision, at });
    const releases = [release("full", 100), release("empty", 10_100)];
    const write = (object: string, at: number, more: Partial<AuditedWrite> = {}): AuditedWrite => ({
      ...{ cluster: "c", object, at, kind: "deleted", byAgent: true, hasUid: true },
      ...more,
    });
    const made = stock.map((name) => write(name, 200, { kind: "made" }));
    const deletes = (count: number, at = 11_000) => stock.slice(0, count).map((name, index) => write(name, at + index));
    const list = (more: Partial<ApprovedList> = {}): ApprovedList => ({ cluster: "c", revision: "empty", objects: stock, at: 10_900, ...more });
    const judged = (writes: readonly AuditedWrite[], approved: readonly ApprovedList[] = [], released = releases) =>
      judgeBudgets({ pushed, approved: [...approved], lostTails: [] }, [...made, ...writes], released).problems;
    const over = (index: number) => `stock-${index} was deleted in c, over the budget and on no list that was approved`;

    it("find nothing within the budget, on an approved list, by hand, and in a bundle with a budget of its own", () => {
      expect(judged(deletes(5))).toEqual([]);
      expect(judged(deletes(12), [list()])).toEqual([]);
      expect(judged(deletes(12).map((one) => ({ ...one, byAgent: false })))).toEqual([]);
      expect(judged(deletes(12).map((one, index) => ({ ...one, object: `c-${index}` })))).toEqual([]);
    });

    it("find a sixth delete, also when the same revision is released again", () => {
      expect(judged(deletes(6))).toEqual([over(5)]);
      expect(judged(deletes(6), [], [...releases, release("empty", 10_500)])).toEqual([over(5)]);
    });

    it("find what an approval does not let go: of another cluster, revision or list, or that came later", () => {
      for (const approved of [list({ cluster: "other" }), list({ revision: "full" }), list({ objects: ["stock-12"] }), list({ at: 12_000 })])
        expect(judged(deletes(6), [approved])).toEqual([over(5)]);
      expect(judged(deletes(7), [list({ objects: stock.slice(0, 1) })])).toEqual([over(6)]);
    });

    it("give each revision a budget, and an agent that is late the one of before", () => {
      const later = [...releases, release("full", 12_000), release("empty", 14_000)];
      expect(judged([...deletes(5), ...stock.map((name) => write(name, 13_000, { kind: "made" })), ...deletes(5, 15_000)], [], later)).toEqual([]);
    });
  });

  describe("of heals (G9)", () => {
    const [at, peaceAt] = [1_000_000, 1_100_000];
    const edit = { cluster: "c", object: "c-1", at };
    const answer = (after: number, more: Partial<AuditedWrite> = {}): AuditedWrite => ({
      ...{ cluster: "c", object: "c-1", at: at + after, kind: "changed", byAgent: true, hasUid: false },
      ...more,
    });
    const span = (name: string, from: number, to: number, cluster?: string): FaultSpan => ({ name, cluster, from: at + from, to: at + to });
    const verdict = (writes: readonly AuditedWrite[], faults: readonly FaultSpan[] = [], edits: readonly Meddling[] = [edit]) =>
      judgeHeals({ edits: [...edits], faults: [...faults], peaceAt }, writes);
    const unhealed = [`c-1 in c was edited at ${new Date(at).toISOString()}, and its agent did nothing in time`];

    it("find nothing where the agent answers in time, and one that it did not answer, or late, or elsewhere", () => {
      expect(verdict([answer(100)]).problems).toEqual([]);
      expect(verdict([answer(100, { kind: "deleted" })]).problems).toEqual([]);
      const others = [answer(-1), answer(5_001), answer(1, { byAgent: false }), answer(1, { object: "c-2" }), answer(1, { cluster: "other" })];
      for (const writes of [[], ...others.map((one) => [one])]) expect(verdict(writes).problems).toEqual(unhealed);
    });

    it("count what was put right while the hub was away, and excuse nothing for it", () => {
      const faults = [span("hub killed", -1_000, 5_000)];
      expect(verdict([answer(100)], faults).looked).toMatch(/^1 of 1 edits by hand, 1 of them made and put right while/);
      expect(verdict([answer(5_500)], faults).looked).toMatch(/, 0 of them made/);
      expect(verdict([], faults).problems).toEqual(unhealed);
      expect(verdict([answer(100)], [span("hub killed", -2_000, -1_000)]).looked).toMatch(/, 0 of them made/);
    });

    it("give a cluster that was struck itself until it was left in peace for so long, and the others nothing", () => {
      const killed = span("agent killed", 4_000, 6_000, "c");
      expect(verdict([answer(26_000)], [killed]).problems).toEqual([]);
      expect(verdict([answer(26_001)], [killed]).problems).toEqual(unhealed);
      expect(verdict([answer(26_001)], [killed, span("API server killed", 25_000, 25_100)]).problems).toEqual([]);
      const wire = (what?: string) => ({ ...span("wire to an API server damaged", -20_000, -15_000, "c"), what });
      for (const what of ["half open", undefined]) expect(verdict([answer(35_000)], [wire(what)]).problems).toEqual([]);
      for (const fault of [span("agent killed", -1_000, 6_000, "other"), span("agent killed", -20_000, -15_000, "c"), wire("reset")])
        expect(verdict([answer(5_001)], [fault]).problems).toEqual(unhealed);
    });

    it("ask nothing for what is edited again and again, and for what the last push may have put right", () => {
      const before = [1, 2, 3].map((seconds) => ({ ...edit, at: at - seconds * 1_000 }));
      const answered = before.map(({ at: when }) => answer(when - at + 1));
      expect(verdict(answered, [], [...before, edit]).problems).toEqual([]);
      expect(verdict(answered, [], [...before.slice(1), edit]).problems).toEqual(unhealed);
      expect(verdict([], [], [{ ...edit, at: peaceAt - 4_000 }]).problems).toEqual([]);
    });
  });

  describe("of fights (G16)", () => {
    const [first, peaceAt] = [1_000_000, 1_100_000];
    const change = (at: number, more: Partial<AuditedWrite> = {}): AuditedWrite => ({
      ...{ cluster: "c", object: fought, at, kind: "changed", byAgent: true, hasUid: false },
      ...more,
    });
    const times = (count: number) => Array.from({ length: count }, (_, index) => first + index * 1_000);
    const word = (at: number, reason: HealWord["reason"], object = `/ConfigMap/default/${fought}`): HealWord => ({ cluster: "c", object, at, reason });
    const told = word(first + 6_000, "Fight");
    const goesOn: Meddling = { cluster: "c", object: fought, at: first + 10_000 };
    const judged = (
      writes: readonly AuditedWrite[],
      words: readonly HealWord[] = [told],
      faults: readonly FaultSpan[] = [],
      rival = goesOn,
      lostTails: LostTail[] = [],
    ) => judgeFights({ faults: [...faults], rival: [rival], lostTails, peaceAt }, writes, words).problems;
    const tooMany = [`${fought} in c was corrected more than 5 times in ten minutes`];

    it("find nothing in five corrections, and in what is no correction: others' writes, the first apply, the last push", () => {
      const five = times(5).map((at) => change(at));
      expect(judged(five)).toEqual([]);
      const others = [change(first + 7, { byAgent: false }), change(first + 8, { kind: "made" }), change(first + 9, { object: "c-1" }), change(peaceAt + 1)];
      expect(judged([...five, ...others])).toEqual([]);
      expect(judged(times(6).map((at) => change(at, { object: "c-1" })))).toEqual([]);
    });

    it("find a sixth within ten minutes, unless the agent was killed in between, or may not have had an answer", () => {
      const six = times(6).map((at) => change(at));
      expect(judged(six)).toEqual(tooMany);
      const killed = (cluster: string, name = "agent killed") => [{ name, cluster, from: first + 500, to: first + 600 }];
      for (const name of ["agent killed", "API server killed", "wire to an API server damaged"]) expect(judged(six, [told], killed("c", name))).toEqual([]);
      expect(judged(six, [told], killed("c", "agent stopped and woken"))).toEqual(tooMany);
      expect(judged(six, [told], killed("other"))).toEqual(tooMany);
    });

    it("find a sixth correction of any object that its agent told", () => {
      const healed = times(6).map((at) => word(at, "DriftHealed", "/ConfigMap/default/c-1"));
      expect(judged([], [...healed.slice(1), told])).toEqual([]);
      expect(judged([], [...healed.slice(1), word(first + 601_000, "DriftHealed", "/ConfigMap/default/c-1"), told])).toEqual([]);
      expect(judged([], [...healed, told])).toEqual(["/ConfigMap/default/c-1 in c was corrected more than 5 times in ten minutes"]);
    });

    it("find a fight that was not told although the rival went on", () => {
      const five = times(5).map((at) => change(at));
      expect(judged(five, [])).toEqual([`${fought} in c was corrected 5 times, its rival went on, and no fight was told`]);
      expect(judged(five, [{ ...told, cluster: "other" }])).toHaveLength(1);
      expect(judged(five.slice(1), [])).toEqual([]);
      expect(judged(five, [], [], { ...goesOn, cluster: "other" })).toEqual([]);
      expect(judged(five, [], [], { ...goesOn, at: first + 1 })).toEqual([]);
      expect(judged(five, [], [], goesOn, [{ from: first + 3_000, to: first + 5_000 }])).toEqual([]);
      expect(judged(five, [], [], goesOn, [{ from: first + 60_000, to: first + 65_000 }])).toHaveLength(1);
    });
  });
});
