import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { adjustConcurrency, concurrencyMax, concurrencyStart, startConcurrency, type Outcome } from "./concurrency.ts";

const answers = (state: typeof startConcurrency, count: number, latencyMs: number) =>
  Array.from({ length: count }).reduce<typeof startConcurrency>((s) => adjustConcurrency(s, { kind: "answered", latencyMs }), state);

const refused = (at: number): Outcome => ({ kind: "throttled", sentAtMs: at, atMs: at });

describe("adaptive concurrency", () => {
  it("halves once for a burst of refusals, and learns what the server takes", () => {
    const full = answers(startConcurrency, 500, 10);
    const burst = Array.from({ length: 14 }).reduce<typeof full>((state) => adjustConcurrency(state, { kind: "throttled", sentAtMs: 1, atMs: 5 }), full);
    expect(burst).toMatchObject({ limit: 8, ceiling: 15 });
  });

  it("is refused ever more rarely by a server that takes only two at a time", () => {
    let state = answers(startConcurrency, 500, 10);
    let refusals = 0;
    for (let now = 1; now <= 5_000; now++) {
      const tooMany = state.limit > 2;
      if (tooMany) refusals += 1;
      state = tooMany ? adjustConcurrency(state, refused(now)) : answers(state, 1, 10);
    }
    expect(state.limit).toBeLessThanOrEqual(3);
    expect(refusals).toBeLessThan(12);
    // A server that takes more again is believed, in time.
    expect(answers(state, 200_000, 10).limit).toBe(concurrencyMax);
  });

  it("starts at 8 and grows to 16 while answers are quick", () => {
    expect(startConcurrency.limit).toBe(concurrencyStart);
    expect(answers(startConcurrency, 500, 10).limit).toBe(concurrencyMax);
  });

  it("halves when it is told to slow down, and shrinks when answers get slow", () => {
    const full = answers(startConcurrency, 500, 10);
    expect(adjustConcurrency(full, refused(1)).limit).toBe(8);
    expect(answers(full, 500, 2_000).limit).toBeLessThan(4);
  });

  it("comes back when the server does, and never leaves its bounds", () => {
    const slow = answers(answers(startConcurrency, 500, 10), 500, 2_000);
    expect(answers(slow, 2_000, 10).limit).toBe(concurrencyMax);
    const outcome: fc.Arbitrary<Outcome> = fc.oneof(
      fc.record({ kind: fc.constant("throttled" as const), sentAtMs: fc.nat(), atMs: fc.nat() }),
      fc.record({ kind: fc.constant("answered" as const), latencyMs: fc.float({ min: 0, max: 60_000, noNaN: true }) }),
    );
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 500 }), (outcomes) => {
        for (let [state, i] = [startConcurrency, 0]; i < outcomes.length; i++) {
          state = adjustConcurrency(state, outcomes[i] as Outcome);
          expect(state.limit).toBeGreaterThanOrEqual(1);
          expect(state.limit).toBeLessThanOrEqual(concurrencyMax);
        }
      }),
    );
  });
});
