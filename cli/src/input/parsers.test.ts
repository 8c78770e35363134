import { describe, expect, it } from "vitest";
import { parseDuration } from "./parse-duration.ts";
import { parseLabelChanges, parseLabels } from "./parse-labels.ts";
import { parseSelector } from "./parse-selector.ts";

describe("a duration", () => {
  it("has units that add up", () => {
    expect(["250ms", "90s", "5m", "1h30m", "2d", "1.5s"].map(parseDuration)).toEqual([250, 90_000, 300_000, 5_400_000, 172_800_000, 1_500]);
  });

  it("is refused without a unit, with an unknown one, or with rubbish around it", () => {
    for (const text of ["5", "5 m", "5x", "", "m5", "-5m", "5m!"]) expect(() => parseDuration(text), text).toThrow("e.g. 30s, 5m, 1h30m");
  });
});

describe("labels", () => {
  it("are key=value, also with a prefix and an empty value", () => {
    expect(parseLabels(["env=prod", "example.com/team=a_b.c", "x="])).toEqual({ env: "prod", "example.com/team": "a_b.c", x: "" });
  });

  it("are removed by a trailing minus", () => {
    expect(parseLabelChanges(["env-", "tier=canary"])).toEqual({ env: null, tier: "canary" });
  });

  it("obey Kubernetes' rules", () => {
    for (const part of ["env", "=x", "-a=b", "a=b c", `a=${"x".repeat(64)}`, "a/b/c=d"]) expect(() => parseLabels([part]), part).toThrow();
  });
});

describe("a selector", () => {
  it("reads as kubectl's", () => {
    expect(parseSelector("env=prod, tier==web")).toEqual({ matchLabels: { env: "prod", tier: "web" } });
    expect(parseSelector("region in (eu, us),env!=dev,edge,!old,zone notin (a)").matchExpressions).toEqual([
      { key: "region", operator: "In", values: ["eu", "us"] },
      { key: "env", operator: "NotIn", values: ["dev"] },
      { key: "edge", operator: "Exists" },
      { key: "old", operator: "DoesNotExist" },
      { key: "zone", operator: "NotIn", values: ["a"] },
    ]);
  });

  it("is refused when it is none", () => {
    for (const text of ["env = = x", "a in b", "(x)"]) expect(() => parseSelector(text), text).toThrow("is not a selector");
  });
});
