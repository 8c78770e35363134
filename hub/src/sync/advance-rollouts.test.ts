import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { advanceRollouts, RolloutHints } from "./advance-rollouts.ts";
import type { LookAgain } from "./release-wave.ts";

const lease = { name: "repository/1", holder: "hub", fence: "1" } as never;

/** A fleet that rolls until it is told otherwise; `looks` counts how often its clusters were read. */
function loopOfOne() {
  const state: { looks: number; rolls: boolean; answer: LookAgain } = { looks: 0, rolls: true, answer: undefined };
  const hints = new RolloutHints();
  const stopped = new AbortController();
  const ports = {
    listRollingFleets: async () => (state.rolls ? [{ name: "shop", untilMs: null }] : []),
    releaseWave: async () => {
      state.looks += 1;
      return state.answer;
    },
    report: (error: unknown) => {
      throw error;
    },
  };
  const done = advanceRollouts(ports, hints, lease, "1", stopped.signal);
  const stop = async () => {
    stopped.abort();
    await done;
  };
  return { state, hints, stop };
}

describe("the loop that advances rollouts", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("looks at a fleet that rolls when its clusters report", async () => {
    const { state, hints, stop } = loopOfOne();
    await vi.advanceTimersByTimeAsync(10);
    expect(state.looks).toBe(1);
    hints.tell(["shop"], false);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(state.looks).toBe(2);
    await stop();
  });

  it("does not look at one of which nothing is to be decided, however much its clusters report, until something begins", async () => {
    const { state, hints, stop } = loopOfOne();
    state.answer = "over";
    await vi.advanceTimersByTimeAsync(10);
    for (let report = 0; report < 20; report += 1) {
      hints.tell(["shop"], false);
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(state.looks).toBe(1);
    hints.tell(["shop"], true);
    await vi.advanceTimersByTimeAsync(10);
    expect(state.looks).toBe(2);
    await stop();
  });

  it("finds what rolls within half a minute, though nobody said so", async () => {
    const { state, hints, stop } = loopOfOne();
    state.rolls = false;
    await vi.advanceTimersByTimeAsync(10);
    hints.tell(["shop"], false);
    await vi.advanceTimersByTimeAsync(1_000);
    const before = state.looks;
    state.rolls = true;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(state.looks).toBe(before + 1);
    await stop();
  });
});
