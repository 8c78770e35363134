import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { engineLimits } from "../limits.ts";
import { StormFold } from "./storm-fold.ts";

const { stormObjects, stormFoldMs, stormLookMs, stormCalmMs, stormFoldMaxMs } = engineLimits;

describe("the fold of a storm", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("sees a storm in many changes within ten seconds, and not in as many over a longer time", () => {
    const slow = new StormFold();
    for (let step = 0; step < 10; step += 1) {
      expect(slow.moved(stormObjects / 2)).toBe(false);
      vi.advanceTimersByTime(stormFoldMs + 1);
    }
    expect(slow.lookInMs).toBeUndefined();
    const quick = new StormFold();
    expect(quick.moved(stormObjects - 1)).toBe(false);
    expect(quick.moved(1)).toBe(true);
    expect(quick.lookInMs).toBe(stormLookMs);
  });

  it("tells what waits when it was calm for twenty seconds", () => {
    const fold = new StormFold();
    fold.moved(stormObjects);
    fold.wait(["a", "b"]);
    // A burst in every third look, and less between them.
    for (let look = 0; look < 12; look += 1) {
      fold.moved(look % 3 === 2 ? stormObjects / 2 : stormObjects / 2 - 1);
      vi.advanceTimersByTime(stormLookMs);
      expect(fold.look()).toBe(false);
    }
    for (let calmMs: number = stormLookMs; calmMs <= stormCalmMs; calmMs += stormLookMs) {
      vi.advanceTimersByTime(stormLookMs);
      expect(fold.look()).toBe(calmMs === stormCalmMs);
    }
    expect([...fold.waiting]).toEqual(["a", "b"]);
    // One change in calm is one change again.
    expect(fold.moved(1)).toBe(false);
  });

  it("lets nothing wait for longer than two minutes, counted from what waits longest", () => {
    const fold = new StormFold();
    fold.moved(stormObjects);
    fold.wait(["a"]);
    vi.advanceTimersByTime(stormFoldMaxMs - 1_000);
    fold.wait(["a", "b"]);
    expect(fold.isDue).toBe(false);
    expect(fold.lookInMs).toBe(1_000);
    vi.advanceTimersByTime(1_000);
    expect(fold.isDue).toBe(true);
    expect(fold.look()).toBe(true);
    fold.settle("a");
    fold.settle("b");
    expect(fold.isDue).toBe(false);
    // The storm goes on: what changes now waits anew.
    expect(fold.moved(1)).toBe(true);
    fold.wait(["a"]);
    vi.advanceTimersByTime(stormFoldMaxMs - 1);
    expect(fold.isDue).toBe(false);
  });

  it("has nothing to tell when everything has come back before it is calm", () => {
    const fold = new StormFold();
    fold.moved(stormObjects);
    fold.wait(["a"]);
    fold.settle("a");
    for (let calmMs = 0; calmMs < stormCalmMs; calmMs += stormLookMs) {
      vi.advanceTimersByTime(stormLookMs);
      expect(fold.look()).toBe(false);
    }
    expect(fold.lookInMs).toBeUndefined();
  });
});
