import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextDueAt } from "./next-due.ts";
import { TokenBuckets } from "./token-bucket.ts";

const now = new Date("2026-01-01T00:00:00Z");
const ago = (ms: number): Date => new Date(now.getTime() - ms);

describe("nextDueAt", () => {
  it("is at once for a repository that was never asked", () => {
    expect(nextDueAt({ id: "1", lastFetchAt: null, failures: 0 }, now)).toEqual(now);
  });

  it("is an interval and up to a tenth after the last good try", () => {
    const dueMs = nextDueAt({ id: "1", lastFetchAt: now, failures: 0, pollIntervalMs: 5_000 }, now).getTime() - now.getTime();
    expect(dueMs).toBeGreaterThanOrEqual(5_000);
    expect(dueMs).toBeLessThanOrEqual(5_500);
  });

  it("doubles with every failure up to the cap", () => {
    const waitMs = (failures: number): number => nextDueAt({ id: "1", lastFetchAt: now, failures }, now).getTime() - now.getTime();
    expect(waitMs(1)).toBeGreaterThanOrEqual(10_000);
    expect(waitMs(3)).toBeGreaterThan(waitMs(2));
    expect(waitMs(1_000)).toBeLessThanOrEqual(330_000);
    expect(waitMs(1_000)).toBeGreaterThanOrEqual(300_000);
  });

  it("is at once when wanted, but a failing repository waits a second", () => {
    expect(nextDueAt({ id: "1", lastFetchAt: ago(10), failures: 0, wantedAt: now }, now)).toEqual(now);
    expect(nextDueAt({ id: "1", lastFetchAt: ago(10), failures: 9, wantedAt: now }, now).getTime() - now.getTime()).toBe(990);
  });

  it("gives the same answer when asked again, and never one in the past", () => {
    const state = fc.record({
      id: fc.string(),
      lastFetchAt: fc.date({ noInvalidDate: true }),
      failures: fc.nat(),
      pollIntervalMs: fc.integer({ min: 1_000, max: 86_400_000 }),
    });
    fc.assert(
      fc.property(state, (given) => {
        const due = nextDueAt(given, now);
        expect(nextDueAt(given, now)).toEqual(due);
        expect(due.getTime()).toBeGreaterThanOrEqual(now.getTime());
        expect(due.getTime() - now.getTime()).toBeLessThanOrEqual(Math.max(given.pollIntervalMs, 300_000) * 1.1 + 1);
      }),
    );
  });

  it("spreads repositories that were asked together", () => {
    const dues = Array.from({ length: 100 }, (_, id) => nextDueAt({ id: String(id), lastFetchAt: now, failures: 0 }, now).getTime());
    expect(new Set(dues).size).toBeGreaterThan(50);
  });
});

describe("TokenBuckets", () => {
  it("lets a burst through, then a steady rate, each key for itself", () => {
    const buckets = new TokenBuckets(3, 1);
    expect([1, 2, 3, 4].map(() => buckets.take("a", 0))).toEqual([0, 0, 0, 1_000]);
    expect(buckets.take("b", 0)).toBe(0);
    expect(buckets.take("a", 1_000)).toBe(0);
    expect(buckets.take("a", 500)).toBeGreaterThan(0);
  });

  it("never lets more through than burst and rate allow", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 200 }), (pausesMs) => {
        const buckets = new TokenBuckets(5, 2);
        let atMs = 0;
        let passed = 0;
        for (const pauseMs of pausesMs) {
          atMs += pauseMs;
          if (buckets.take("a", atMs) === 0) passed += 1;
        }
        expect(passed).toBeLessThanOrEqual(5 + (atMs / 1_000) * 2 + 1);
      }),
    );
  });

  it("forgets what was not seen for longest", () => {
    const buckets = new TokenBuckets(1, 0.001);
    buckets.take("first", 0);
    for (let n = 0; n < 10_000; n += 1) buckets.take(`k${n}`, 0);
    expect(buckets.take("first", 0)).toBe(0);
  });
});
