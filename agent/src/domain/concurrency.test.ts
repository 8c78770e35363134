import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { adjustConcurrency, concurrencyMax, concurrencyStart, startConcurrency, type Outcome } from "./concurrency.ts";

const answers = (state: typeof startConcurrency, count: number, latencyMs: number) =>
  Array.from({ length: count }).reduce<typeof startConcurrency>((s) => adjustConcurrency(s, { kind: "answered", latencyMs }), state);

describe("adaptive concurrency", () => {
  it("starts at 8 and grows to 16 while answers are quick", () => {
    expect(startConcurrency.limit).toBe(concurrencyStart);
    expect(answers(startConcurrency, 500, 10).limit).toBe(concurrencyMax);
  });

  it("halves when it is told to slow down, and shrinks when answers get slow", () => {
    const full = answers(startConcurrency, 500, 10);
    expect(adjustConcurrency(full, { kind: "throttled" }).limit).toBe(8);
    expect(answers(full, 500, 2_000).limit).toBeLessThan(4);
  });

  it("comes back when the server does, and never leaves its bounds", () => {
    const slow = answers(answers(startConcurrency, 500, 10), 500, 2_000);
    expect(answers(slow, 2_000, 10).limit).toBe(concurrencyMax);
    const outcome: fc.Arbitrary<Outcome> = fc.oneof(
      fc.constant<Outcome>({ kind: "throttled" }),
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
