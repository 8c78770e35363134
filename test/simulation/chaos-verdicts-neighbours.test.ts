import { describe, expect, it } from "vitest";
import type { Arrivals } from "../chaos/arrival-tap.ts";
import type { Pushed } from "../chaos/chaos-record.ts";
import { judgeNeighbours, revisionsSince } from "../chaos/judge-neighbours.ts";

describe("the verdict of chaos on a cluster in trouble and its neighbours (G17)", () => {
  const [from, to] = [1_000_000, 1_030_000];
  const siege = { cluster: "struck", from, to };
  const push = (revision: string, at: number, contents: Record<string, string>, hasBroken = false): Pushed => ({
    ...{ revision, at, hasBroken },
    contents: new Map(Object.entries(contents)),
  });
  const before = push("before", from - 60_000, { "c-1": "1", "c-5": "1" });
  const first = push("first", from + 1_000, { "c-1": "2", "c-5": "2" });
  const seen = (values: Record<string, number>) => new Map(Object.entries(values));
  const shown = (...steps: [string, number][]) => steps.map(([revision, at]) => ({ revision, at }));
  /** In "real" there is an API server to look at, in "other" there is not. */
  const arrivals = (live: Record<string, number>, ...steps: [string, number][]): Arrivals => ({
    live: new Map([["real", seen(live)]]),
    shown: new Map([
      ["real", shown(...steps)],
      ["struck", shown()],
    ]),
  });
  const judged = (pushed: readonly Pushed[], at: Arrivals, sieges = [siege]) => judgeNeighbours({ pushed: [...pushed], sieges }, at);
  const inTime = { "c-1 2": from + 2_000, "c-5 2": from + 3_000 };
  const late = ["first was not whole in real within 10 s, while struck was in trouble"];

  it("finds nothing where a push is there in time, by the API server and by the hub, and says how many it looked at", () => {
    const { problems, looked } = judged([before, first], arrivals(inTime, ["first", from + 4_000]));
    expect(problems).toEqual([]);
    expect(looked).toMatch(/^1 times a push .* \(1 times\), 0 of them with a broken object; after 3000 ms in the median and 3000 ms at most$/);
  });

  it("finds one that the hub shows late or not at all, and one of whose objects a single one is late or not there", () => {
    expect(judged([before, first], arrivals(inTime, ["first", from + 11_001])).problems).toEqual(late);
    expect(judged([before, first], arrivals(inTime, ["before", from])).problems).toEqual(late);
    expect(judged([before, first], arrivals({ ...inTime, "c-5 2": from + 11_001 }, ["first", from + 4_000])).problems).toEqual(late);
    expect(judged([before, first], arrivals({ "c-1 2": from + 2_000 }, ["first", from + 4_000])).problems).toEqual(late);
    expect(judged([before, first], { ...arrivals({}, ["before", from]), live: new Map() }).problems).toEqual(late);
  });

  it("looks at nothing where nobody was in trouble, at no push before or after, and not at the one that is in trouble", () => {
    const nothing = arrivals({}, ["before", from]);
    const looked = (pushed: readonly Pushed[], sieges = [siege]) => judged(pushed, nothing, sieges);
    for (const none of [looked([before, first], []), looked([before]), looked([before, { ...first, at: to + 1 }])])
      expect([none.problems, none.looked.startsWith("0 times")]).toEqual([[], true]);
    const after = { ...first, at: to + 1 };
    expect(judged([before, after], arrivals({ "c-1 2": to + 2, "c-5 2": to + 2 }, ["first", to + 3])).looked).toMatch(/^0 times/);
    expect(judged([before, first], arrivals(inTime, ["first", from + 4_000]), [{ ...siege, cluster: "real" }]).problems).toEqual([
      "first was not whole in struck within 10 s, while real was in trouble",
    ]);
  });

  it("does not know of what came only when the trouble was over, and had time left", () => {
    const end = to - 5_000;
    const atEnd = { ...first, at: end };
    expect(judged([before, atEnd], arrivals({ "c-1 2": end + 1, "c-5 2": end + 1 }, ["first", to + 1_001])).looked).toMatch(/^0 times/);
    expect(judged([before, atEnd], arrivals({ "c-1 2": end + 1, "c-5 2": end + 1 }, ["first", to + 1_000])).looked).toMatch(/^1 times/);
  });

  it("asks a commit with a broken object for all that is not of its bundle", () => {
    const broken = { ...first, hasBroken: true };
    const { problems, looked } = judged([before, broken], arrivals({ "c-5 2": from + 3_000 }, ["first", from + 4_000]));
    expect(problems).toEqual([]);
    expect(looked).toContain("1 of them with a broken object");
    expect(judged([before, broken], arrivals({ "c-1 2": from + 3_000 }, ["first", from + 4_000])).problems).toEqual([
      "first, which has a broken object, was not whole in real within 10 s, while struck was in trouble",
    ]);
  });

  it("takes what came later for what came before it, asks for no value that is replaced before it is due, and for none that was there before", () => {
    const second = push("second", from + 2_000, { "c-1": "3", "c-5": "2" });
    const came = { "c-5 2": from + 3_000, "c-1 3": from + 3_000 };
    expect(judged([before, first, second], arrivals(came, ["second", from + 4_000])).problems).toEqual([]);
    expect(judged([before, first, { ...second, at: from + 11_001 }], arrivals(came, ["second", from + 4_000])).problems).toContain(late[0]);
    expect(judged([before, first, { ...second, at: from + 11_001 }], arrivals({ "c-5 2": from + 3_000 }, ["first", from + 4_000])).problems).toContain(late[0]);
    const back = push("back", from + 2_000, { "c-1": "1", "c-5": "1" });
    expect(judged([before, first, back], arrivals({}, ["before", from - 50_000], ["back", from + 3_000])).problems).toEqual([]);
  });

  it("takes a branch that goes back to what runs already for arrived", () => {
    const again = { ...before, at: from + 1_000 };
    expect(judged([before, again], arrivals({}, ["before", from - 50_000])).problems).toEqual([]);
    expect(judged([before, again], arrivals({}, ["before", from - 50_000], ["other", from + 500])).problems).toHaveLength(1);
    expect(revisionsSince([before, first, again], "first")).toEqual(new Set(["first", "before"]));
    expect(revisionsSince([before, first, again], "before")).toEqual(new Set(["before"]));
  });
});
