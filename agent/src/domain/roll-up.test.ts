import { describe, expect, it } from "vitest";
import { healthThatCounts, rollUp, worseOf, type CountedObject } from "./roll-up.ts";

const object = (more: Partial<CountedObject>): CountedObject => ({
  bundle: "web",
  name: "Deployment web",
  synced: true,
  health: "Current",
  drifted: false,
  failed: false,
  message: "",
  ...more,
});

describe("the roll-up", () => {
  it("is the worst of all, with counts and the reason", () => {
    const result = rollUp([
      object({}),
      object({ health: "InProgress", message: "0 of 1" }),
      object({ health: "Failed", name: "Pod x", message: "CrashLoopBackOff" }),
      object({ drifted: true, synced: false }),
    ]);
    expect(result).toEqual({
      synced: false,
      health: "Failed",
      message: "Pod x: CrashLoopBackOff",
      objects: 4,
      healthy: 2,
      drifted: 1,
      failed: 0,
      healthCounts: { inProgress: 1, failed: 1, terminating: 0, notFound: 0, unknown: 0 },
    });
  });

  it("never lets Unknown pass for healthy, nor hide a failure", () => {
    expect(worseOf("Unknown", "Current")).toBe("Unknown");
    expect(worseOf("Unknown", "Failed")).toBe("Failed");
  });

  it("of nothing is well", () => {
    expect(rollUp([])).toMatchObject({ synced: true, health: "Current", objects: 0, message: "" });
  });

  it("does not count the ill health of what is in Git no more, whose deletion may wait for a person", () => {
    expect(healthThatCounts("Failed", false)).toBe("Current");
    expect(healthThatCounts("InProgress", false)).toBe("Current");
    expect(healthThatCounts("Terminating", false)).toBe("Terminating");
    expect(healthThatCounts("Failed", true)).toBe("Failed");
  });
});
