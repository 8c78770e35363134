import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";
import { decideHeal, fieldKey, recentHeals, repeatsOf, type Correction } from "./heal-budget.ts";

const rival = fieldKey("rival", "/data/a");
const against = (...times: number[]): Correction[] => times.map((at) => ({ at, fields: [rival] }));

describe("the heal budget of one object", () => {
  it("heals an edit at once, and the second one too; two corrections of one field by one manager are a pattern that slows down", () => {
    expect(decideHeal([], 1_000)).toEqual({ kind: "heal" });
    expect(decideHeal(against(1_000), 1_001)).toEqual({ kind: "heal" });
    expect(decideHeal(against(1_000, 1_001), 1_100)).toEqual({ kind: "wait", until: 1_501 });
    expect(decideHeal(against(1_000, 1_001, 1_501), 3_000)).toEqual({ kind: "wait", until: 3_501 });
    expect(decideHeal(against(1_000, 1_001, 1_501, 3_501), 11_501)).toEqual({ kind: "heal" });
  });

  it("sees no pattern in edits of different fields, or by different managers", () => {
    const edits = ["kubectl-edit /data/a", "kubectl-edit /data/b", "k9s /data/a", "kubectl-edit /data/c"].map((field, i) => ({ at: i, fields: [field] }));
    expect(repeatsOf(edits)).toBe(1);
    expect(decideHeal(edits, 10)).toEqual({ kind: "heal" });
    expect(repeatsOf([...edits, { at: 5, fields: ["kubectl-edit /data/z", "k9s /data/a"] }])).toBe(2);
  });

  it("calls a sixth correction within the window a fight, until the oldest leaves the window", () => {
    const heals = against(0, 10_000, 20_000, 30_000, 90_000);
    expect(decideHeal(heals, 200_000)).toEqual({ kind: "fight", until: healWindowMs });
    expect(decideHeal(heals, healWindowMs + 1)).toEqual({ kind: "heal" });
  });

  it("never lets more through than the budget in any window, whatever the times and fields of the edits", () => {
    const edit = fc.record({ gap: fc.integer({ min: 0, max: 120_000 }), fields: fc.subarray(["a", "b", "c"], { minLength: 1 }) });
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 200 }), (edits) => {
        let now = 0;
        let heals: Correction[] = [];
        const all: number[] = [];
        for (const { gap, fields } of edits) {
          now += gap;
          if (decideHeal(heals, now).kind !== "heal") continue;
          heals = recentHeals([...heals, { at: now, fields }], now);
          all.push(now);
        }
        for (const from of all) expect(all.filter((at) => at >= from && at < from + healWindowMs).length).toBeLessThanOrEqual(maxHealsPerWindow);
      }),
    );
  });
});
