import { describe, expect, it } from "vitest";
import { doubledIn, judgeWrites, missingOf } from "../chaos/verdicts.ts";

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

  it("find one event that is served twice (G2)", () => {
    expect(doubledIn(recorded, served({ "c applied a": 2, "c applied b": 1 }))).toEqual(["recorded 1 times, served 2: c applied a"]);
  });

  it("find an answered label that is not there, and take one that was tried later for kept (G15)", () => {
    const judged = (env: string) =>
      judgeWrites({ pushed: [], final: new Map(), labels: new Map([["c", { answered: "prod", tried: ["dev"] }]]) }, new Map([["c", { env }]])).problems;
    expect(judged("prod")).toEqual([]);
    expect(judged("dev")).toEqual([]);
    expect(judged("old")).toEqual(["c was answered env=prod, and has env=old"]);
  });
});
