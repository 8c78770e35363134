import { describe, expect, it } from "vitest";
import type { ApprovedList } from "../chaos/approve-held.ts";
import type { AuditedWrite } from "../chaos/audited-writes.ts";
import { fought } from "../chaos/chaos-fleet.ts";
import type { FaultSpan, Meddling } from "../chaos/chaos-record.ts";
import { judgeBudgets } from "../chaos/judge-budgets.ts";
import { judgeDeletes } from "../chaos/judge-deletes.ts";
import { type EndState, judgeLeftovers, judgeView, judgeWrites, type LiveMap } from "../chaos/judge-end.ts";
import { type HealWord, judgeFights } from "../chaos/judge-fights.ts";
import { judgeHeals } from "../chaos/judge-heals.ts";
import { isInTail, type LostTail } from "../chaos/lost-tails.ts";
import { disorderIn, doubledIn, missingOf } from "../chaos/judge-reports.ts";

const recorded = ["applied a", "applied b"].map((text, index) => ({ cluster: "c", place: `epoch/${index}`, seenAt: 0, text }));
const served = (counts: Record<string, number>) => new Map(Object.entries(counts));

describe("the verdicts of chaos", () => {
  it("find nothing where each recorded event is served once", () => {
    const all = served({ "c applied a": 1, "c applied b": 1 });
    expect([...missingOf(recorded, all), ...doubledIn(recorded, all)]).toEqual([]);
  });

  it("find one lost event (G1)", () => {
    expect(missingOf(recorded, served({ "c applied a": 1 })).map(({ text }) => text)).toEqual(["applied b"]);
  });

  it("find one of two that say the same (G1)", () => {
    const twice = [recorded[0], recorded[0]].filter((event) => event !== undefined);
    expect(missingOf(twice, served({ "c applied a": 2 }))).toEqual([]);
    expect(missingOf(twice, served({ "c applied a": 1 }))).toHaveLength(1);
  });

  it("find one event that is served twice (G2)", () => {
    expect(doubledIn(recorded, served({ "c applied a": 2, "c applied b": 1 }))).toEqual(["recorded 1 times, served 2: c applied a"]);
  });

  it("find two reports of a cluster that are served the other way round (G3)", () => {
    const [a, b] = recorded;
    if (!a || !b) throw new Error("two were recorded");
    const found = (...events: (typeof a)[]) => disorderIn(recorded, events);
    expect(found(a, b)).toEqual([]);
    expect(found(b, a)).toEqual(['c recorded it after "applied a", and the hub has it before: applied b']);
    // What is missing is not out of order, what is there twice may be taken where it fits, and other clusters have an order of their own.
    expect(found(b)).toEqual([]);
    expect(found(b, a, b)).toEqual([]);
    expect(disorderIn([...recorded, { ...a, cluster: "other" }], [{ ...a, cluster: "other" }, a, b])).toEqual([]);
  });

  it("find an answered label that is not there, and take one that was tried later for kept (G15)", () => {
    const judged = (env: string) =>
      judgeWrites({ labels: new Map([["c", { answered: "prod", answeredAt: 5, tried: ["dev"] }]]), lostTails: [] }, new Map([["c", { env }]])).problems;
    expect(judged("prod")).toEqual([]);
    expect(judged("dev")).toEqual([]);
    expect(judged("old")).toEqual(["c was answered env=prod, and has env=old"]);
  });

  describe("of what Postgres lost when it went back", () => {
    const tail = { from: 1_000_000, to: 1_020_000 };
    const deleted = (at: number): AuditedWrite => ({ cluster: "c", object: "stock-1", at, kind: "deleted", byAgent: true, hasUid: false });
    const unreleased = (at: number, lostTails: LostTail[]) =>
      judgeDeletes({ pushed: [], lostTails }, [deleted(at)], []).map(({ guarantee, problems, looked }) => ({ guarantee, problems: problems.length, looked }));

    it("ask nothing about what may be lost with it, and everything about what was before and after", () => {
      const about = (at: number) => isInTail([tail], at, { beforeMs: 100, afterMs: 50 });
      expect([999_899, 999_900, 1_010_000, 1_020_050, 1_020_051].map(about)).toEqual([false, true, true, true, false]);
      expect(isInTail([], 1_010_000)).toBe(false);
    });

    it("excuse a delete whose release is forgotten, say how many there were, and excuse no missing UID (G5, G7)", () => {
      expect(unreleased(1_010_000, [tail])).toMatchObject([{ problems: 0, looked: expect.stringContaining("1 more may be lost") }, { problems: 1 }]);
      expect(unreleased(1_010_000, [])).toMatchObject([{ problems: 1 }, { problems: 1 }]);
      expect(unreleased(1_100_000, [tail])).toMatchObject([{ problems: 1 }, { problems: 1 }]);
    });

    it("excuse a label that was answered in it, and none from before (G15)", () => {
      const judged = (answeredAt: number) =>
        judgeWrites({ labels: new Map([["c", { answered: "prod", answeredAt, tried: [] }]]), lostTails: [tail] }, new Map([["c", { env: "dev" }]])).problems;
      expect(judged(1_010_000)).toEqual([]);
      expect(judged(999_999)).toEqual(["c was answered env=prod, and has env=dev"]);
    });

    it("excuse deletes over the budget only while their releases are forgotten (G6)", () => {
      const judged = (at: number) => {
        const writes = Array.from({ length: 6 }, (_, index) => ({ ...deleted(at + index), object: `stock-${index}` }));
        const pushed = [{ revision: "empty", contents: new Map<string, string>(), at: 0 }];
        return judgeBudgets({ pushed, approved: [], lostTails: [tail] }, writes, [{ cluster: "c", revision: "empty", at: 1 }]).problems;
      };
      expect(judged(1_010_000)).toEqual([]);
      expect(judged(1_100_000)).toHaveLength(1);
    });
  });

  describe("of the end", () => {
    const final = new Map([
      ["c-1", "1"],
      ["c-2", "2"],
    ]);
    const calm = { ms: 1, problem: "" };
    const good: LiveMap = { uid: "ua", value: "1", tone: "quiet", isOwned: true };
    const live = new Map([
      ["c-1", good],
      ["c-2", { ...good, uid: "ub", value: "2" }],
    ]);
    const shown = [
      { name: "c-1", sync: "Synced", uid: "ua" },
      { name: "c-2", sync: "Synced", uid: "ub" },
    ];
    const end = (more: Partial<EndState> = {}): EndState => ({ cluster: "c", tone: "quiet", live, shown, ...more });
    const viewOf = (state: EndState, settled = calm) => judgeView({ final }, [state], settled).problems;

    it("find nothing where Git, cluster and hub agree (G4)", () => {
      expect(viewOf(end())).toEqual([]);
      expect(viewOf(end({ live: undefined, shown: shown.map((row) => ({ ...row, uid: "" })) }))).toEqual([]);
    });

    it("find another value, another label's tone, another UID, what is missing, what is too much, and a system that did not settle (G4)", () => {
      expect(viewOf(end({ live: new Map(live).set("c-1", { ...good, value: "0" }) }))).toEqual(["c-1 in c is 0, quiet, Git says 1, quiet"]);
      expect(viewOf(end({ live: new Map(live).set("c-1", { ...good, tone: "loud" }) }))).toEqual(["c-1 in c is 1, loud, Git says 1, quiet"]);
      expect(viewOf(end({ live: new Map(live).set("c-1", { ...good, uid: "other" }) }))).toEqual(["c-1 in c is shown as Synced ua, and is other"]);
      expect(viewOf(end({ shown: shown.slice(1) }))).toEqual(["c-1 in c is shown as missing , and is ua"]);
      expect(viewOf(end({ live: undefined, shown: shown.slice(1) }))).toHaveLength(1);
      expect(viewOf(end({ shown: [...shown, { name: "old", sync: "Synced", uid: "x" }] }))).toEqual(["old is shown in c, and Git does not name it"]);
      expect(viewOf(end(), { ms: 1, problem: "not settled" })).toEqual(["not settled"]);
    });

    it("find what is ours and left over, and leave alone what is not ours (G8)", () => {
      const leftOver = (isOwned: boolean) => judgeLeftovers({ final }, [end({ live: new Map(live).set("old", { ...good, isOwned }) })]).problems;
      expect(leftOver(true)).toEqual(["old is left over in c"]);
      expect(leftOver(false)).toEqual([]);
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
      expect(verdict([answer(21_000)], [killed]).problems).toEqual([]);
      expect(verdict([answer(21_001)], [killed]).problems).toEqual(unhealed);
      expect(verdict([answer(21_001)], [killed, span("API server killed", 20_000, 20_100)]).problems).toEqual([]);
      const wire = (what?: string) => ({ ...span("wire to an API server damaged", -20_000, -14_000, "c"), what });
      for (const what of ["half open", undefined]) expect(verdict([answer(36_000)], [wire(what)]).problems).toEqual([]);
      for (const fault of [span("agent killed", -1_000, 6_000, "other"), span("agent killed", -20_000, -10_000, "c"), wire("reset")])
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
    const judged = (writes: readonly AuditedWrite[], words: readonly HealWord[] = [told], faults: readonly FaultSpan[] = []) =>
      judgeFights({ faults: [...faults], rival: [{ cluster: "c", object: fought, at: first + 10_000 }], lostTails: [], peaceAt }, writes, words).problems;
    const tooMany = [`${fought} in c was corrected more than 5 times in ten minutes`];

    it("find nothing in five corrections, and in what is no correction: others' writes, the first apply, the last push", () => {
      const five = times(5).map((at) => change(at));
      expect(judged(five)).toEqual([]);
      const others = [change(first + 7, { byAgent: false }), change(first + 8, { kind: "made" }), change(first + 9, { object: "c-1" }), change(peaceAt + 1)];
      expect(judged([...five, ...others])).toEqual([]);
      expect(judged([...five, change(first + 600_000)])).toEqual([]);
    });

    it("find a sixth within ten minutes, unless the agent was killed in between", () => {
      const six = times(6).map((at) => change(at));
      expect(judged(six)).toEqual(tooMany);
      const killed = (cluster: string) => [{ name: "agent killed", cluster, from: first + 500, to: first + 600 }];
      expect(judged(six, [told], killed("c"))).toEqual([]);
      expect(judged(six, [told], killed("other"))).toEqual(tooMany);
    });

    it("find a sixth correction of any object that its agent told", () => {
      const healed = times(6).map((at) => word(at, "DriftHealed", "/ConfigMap/default/c-1"));
      expect(judged([], [...healed.slice(1), told])).toEqual([]);
      expect(judged([], [...healed, told])).toEqual(["/ConfigMap/default/c-1 in c was corrected more than 5 times in ten minutes"]);
    });

    it("find a fight that was not told although the rival went on", () => {
      const five = times(5).map((at) => change(at));
      expect(judged(five, [])).toEqual([`${fought} in c was corrected 5 times, its rival went on, and no fight was told`]);
      expect(judged(five.slice(1), [])).toEqual([]);
    });
  });

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
    });

    it("find one without a UID (G7)", () => {
      expect(judged(2_000, { hasUid: false })).toEqual([0, 1]);
    });
  });
});
