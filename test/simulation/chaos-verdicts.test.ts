import { describe, expect, it } from "vitest";
import type { AuditedWrite } from "../chaos/audited-writes.ts";
import { judgeBudgets } from "../chaos/judge-budgets.ts";
import { judgeDeletes } from "../chaos/judge-deletes.ts";
import { type EndState, judgeLeftovers, judgeView, judgeWrites, type LiveMap } from "../chaos/judge-end.ts";
import { isInTail, type LostTail } from "../chaos/lost-tails.ts";
import { disorderIn, doubledIn, gapsOf, missingOf, owedOf } from "../chaos/judge-reports.ts";

const recorded = ["applied a", "applied b"].map((text, index) => ({ cluster: "c", place: `epoch/${index}`, notBefore: 0, goneAt: 1, text }));
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
    expect(disorderIn([a, a, b], [a, b, a])).toHaveLength(1);
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

    it("ask for an event that had left its outbox before it, was recorded after it, or stayed, and for none that left in it (G1)", () => {
      const lay = (notBefore: number, goneAt: number) => ({ cluster: "c", place: `epoch/${notBefore}`, notBefore, goneAt, text: "applied" });
      const asked = [lay(900_000, 999_999), lay(1_020_001, 1_030_000), lay(900_000, 1_040_001), lay(1_020_000, Number.POSITIVE_INFINITY)];
      const lost = [lay(900_000, 1_000_000), lay(1_010_000, 1_011_000), lay(1_020_000, 1_040_000)];
      expect(owedOf([...asked, ...lost], [tail])).toEqual(asked);
      expect(owedOf(lost, [])).toEqual(lost);
    });

    it("find a loss that an agent told, unless it told it when Postgres had lost what it had had (G1)", () => {
      const found = (at: number, tails = [tail]) => gapsOf([{ cluster: "c", at, message: "3 reports were lost" }], tails);
      for (const at of [999_999, 1_065_001]) expect(found(at)).toEqual(["c: 3 reports were lost"]);
      for (const at of [1_000_000, 1_065_000]) expect(found(at)).toEqual([]);
      expect(found(1_010_000, [])).toHaveLength(1);
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
});
