import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextPrunes, type StagedPrune } from "./prune-stages.ts";

const prune = (key: string, stage: number, bundle = "app"): StagedPrune => ({ key, stage, bundle });

describe("prunes by stage", () => {
  it("go all at once in one stage, in their order", () => {
    expect(nextPrunes([prune("b", 0), prune("a", 0)], [])).toEqual({ now: ["b", "a"], later: new Map() });
  });

  it("go backwards, bundle by bundle", () => {
    const { now, later } = nextPrunes([prune("low", -1), prune("high", 5), prune("other", 0, "two")], []);
    expect(now).toEqual(["high", "other"]);
    expect([...later]).toEqual([["low", "high"]]);
  });

  it("wait for what is being deleted in a later stage, not for what is in their own", () => {
    expect(nextPrunes([prune("a", 0), prune("b", 1)], [prune("c", 1)])).toEqual({ now: ["b"], later: new Map([["a", "c"]]) });
    expect(nextPrunes([prune("a", 0)], [prune("c", 1)])).toEqual({ now: [], later: new Map([["a", "c"]]) });
  });

  it("never go before a later stage of their bundle, and always come to an end", () => {
    const staged = fc.record({ key: fc.uuid(), stage: fc.integer({ min: -2, max: 3 }), bundle: fc.constantFrom("a", "b") });
    fc.assert(
      fc.property(fc.uniqueArray(staged, { selector: ({ key }) => key, maxLength: 12 }), (all) => {
        let open = all;
        const gone: StagedPrune[] = [];
        while (open.length > 0) {
          const { now, later } = nextPrunes(open, []);
          expect(now.length).toBeGreaterThan(0);
          expect(now.length + later.size).toBe(open.length);
          gone.push(...open.filter(({ key }) => now.includes(key)));
          open = open.filter(({ key }) => !now.includes(key));
        }
        for (const [index, one] of gone.entries())
          for (const after of gone.slice(index + 1)) if (after.bundle === one.bundle) expect(after.stage).toBeLessThanOrEqual(one.stage);
      }),
      { verbose: true },
    );
  });
});
