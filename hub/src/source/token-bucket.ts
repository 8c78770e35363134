import { rateBucketsMax, webhookBurst, webhooksPerSecond } from "../limits.ts";

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/**
 * Token buckets by key (a repository, a sender): a burst at once, then a steady rate. Keys that were not seen for longest are forgotten
 * first, so that a flood of made-up keys costs no memory.
 */
export class TokenBuckets {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(burst: number = webhookBurst, perSecond: number = webhooksPerSecond) {
    this.#burst = burst;
    this.#perSecond = perSecond;
  }

  /** Take one token; 0 when there was one, else the milliseconds after which to come again. */
  take(key: string, nowMs: number = Date.now()): number {
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, filledAtMs: nowMs };
    // A clock that went back fills nothing.
    const elapsedMs = Math.max(0, nowMs - bucket.filledAtMs);
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (elapsedMs / 1_000) * this.#perSecond);
    bucket.filledAtMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > rateBucketsMax) this.#buckets.delete(this.#buckets.keys().next().value as string);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / this.#perSecond) * 1_000);
    bucket.tokens -= 1;
    return 0;
  }
}
