import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";
import { decideHeal, recentHeals } from "./heal-budget.ts";

describe("the heal budget of one object", () => {
  it("heals the first edit at once and slows down after", () => {
    expect(decideHeal([], 1_000)).toEqual({ kind: "heal" });
    expect(decideHeal([1_000], 1_100)).toEqual({ kind: "wait", until: 1_500 });
    expect(decideHeal([1_000], 1_500)).toEqual({ kind: "heal" });
  });

  it("calls a sixth correction within the window a fight, until the oldest leaves the window", () => {
    const heals = [0, 10_000, 20_000, 30_000, 90_000];
    expect(decideHeal(heals, 200_000)).toEqual({ kind: "fight", until: healWindowMs });
    expect(decideHeal(heals, healWindowMs + 1)).toEqual({ kind: "heal" });
  });

  it("never lets more through than the budget in any window, whatever the times of the edits", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 120_000 }), { maxLength: 200 }), (gaps) => {
        let now = 0;
        let heals: number[] = [];
        const all: number[] = [];
        for (const gap of gaps) {
          now += gap;
          if (decideHeal(heals, now).kind !== "heal") continue;
          heals = [...recentHeals(heals, now), now];
          all.push(now);
        }
        for (const from of all) expect(all.filter((at) => at >= from && at < from + healWindowMs).length).toBeLessThanOrEqual(maxHealsPerWindow);
      }),
    );
  });
});
