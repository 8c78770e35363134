import { expect, it } from "vitest";
import { TokenBuckets } from "./token-bucket.ts";

it("lets a burst through, then what the rate allows, each key for itself", () => {
  let now = 0;
  const buckets = new TokenBuckets(3, 2, 10, () => now);
  expect([1, 2, 3].map(() => buckets.take("a"))).toEqual([0, 0, 0]);
  expect(buckets.take("a")).toBe(500);
  expect(buckets.take("b")).toBe(0);
  now += 500;
  expect(buckets.take("a")).toBe(0);
  expect(buckets.take("a")).toBeGreaterThan(0);
});

it("forgets the key that was asked for least recently when there are too many", () => {
  const buckets = new TokenBuckets(1, 0.001, 2, () => 0);
  for (const key of ["a", "b", "c"]) buckets.take(key);
  expect(buckets.take("c")).toBeGreaterThan(0);
  expect(buckets.take("a")).toBe(0);
});
