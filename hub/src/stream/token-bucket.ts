/** Lets `burst` through at once and `perSecond` in the long run, per key. Keys are bounded: the one least recently asked for is forgotten. */
export class TokenBuckets {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #keysMax: number;
  readonly #now: () => number;
  readonly #levels = new Map<string, { tokens: number; at: number }>();

  constructor(burst: number, perSecond: number, keysMax: number, now: () => number = () => performance.now()) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#keysMax = keysMax;
    this.#now = now;
  }

  /** 0 when it may pass, else how many milliseconds to wait. */
  take(key: string): number {
    const now = this.#now();
    const level = this.#levels.get(key) ?? { tokens: this.#burst, at: now };
    this.#levels.delete(key);
    const tokens = Math.min(this.#burst, level.tokens + ((now - level.at) / 1_000) * this.#perSecond);
    const passes = tokens >= 1;
    this.#levels.set(key, { tokens: passes ? tokens - 1 : tokens, at: now });
    if (this.#levels.size > this.#keysMax) this.#forgetOldest();
    return passes ? 0 : Math.ceil(((1 - tokens) / this.#perSecond) * 1_000);
  }

  #forgetOldest(): void {
    for (const key of this.#levels.keys()) {
      this.#levels.delete(key);
      return;
    }
  }
}
