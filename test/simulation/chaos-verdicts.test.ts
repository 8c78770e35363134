import { describe, expect, it } from "vitest";
import type { AuditedWrite } from "../chaos/audited-writes.ts";
import { fought } from "../chaos/chaos-fleet.ts";
import type { FaultSpan } from "../chaos/chaos-record.ts";
import { judgeDeletes } from "../chaos/judge-deletes.ts";
import { type EndState, judgeLeftovers, judgeView, judgeWrites, type LiveMap } from "../chaos/judge-end.ts";
import { type HealWord, judgeFights } from "../chaos/judge-fights.ts";
import { disorderIn, doubledIn, missingOf } from "../chaos/judge-reports.ts";

const recorded = ["applied a", "applied b"].map((text, index) => ({ cluster: "c", place: `epoch/${index}`, text }));
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
    const judged = (env: string) => judgeWrites({ labels: new Map([["c", { answered: "prod", tried: ["dev"] }]]) }, new Map([["c", { env }]])).problems;
    expect(judged("prod")).toEqual([]);
    expect(judged("dev")).toEqual([]);
    expect(judged("old")).toEqual(["c was answered env=prod, and has env=old"]);
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
      judgeFights({ faults: [...faults], rival: [{ cluster: "c", object: fought, at: first + 10_000 }], peaceAt }, writes, words).problems;
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
      judgeDeletes({ pushed }, [{ cluster: "c", object: "a", at, kind: "deleted", byAgent: true, hasUid: true, ...more }], releases).map(
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
