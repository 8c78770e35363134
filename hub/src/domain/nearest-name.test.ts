import { describe, expect, it } from "vitest";
import { nearestName, suggestName } from "./nearest-name.ts";

describe("nearestName", () => {
  it.each([
    ["bundels", ["bundles", "values", "clusters"], "bundles"],
    ["cluster", ["clusters", "values"], "clusters"],
    ["mian", ["main", "develop"], "main"],
    ["Platform", ["platform"], "platform"],
    ["xyz", ["main"], undefined],
    ["", ["a"], undefined],
    ["main", [], undefined],
  ])("for %s of %j is %s", (name, candidates, nearest) => {
    expect(nearestName(name, candidates)).toBe(nearest);
  });

  it("is quick on long names and many candidates", () => {
    const startedAt = performance.now();
    nearestName(
      "x".repeat(10_000),
      Array.from({ length: 100_000 }, (_, n) => `candidate-${n}`),
    );
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

describe("suggestName", () => {
  it("lists the names when none is near and they are few", () => {
    expect(suggestName("zzz", ["a", "b"], "bundles")).toBe("the bundles are a, b");
    expect(suggestName("zzz", [])).toBeUndefined();
  });
});
