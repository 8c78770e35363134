/**
 * The hub's time, as its Welcome told it. The hub dates certificates, commands and rights by its own clock, and the agent's may be wrong by
 * minutes or days: judged by that one, commands would be refused as expired, and a certificate would be renewed again and again.
 */
export class HubClock {
  #heard: { readonly hubMs: number; readonly at: number } | undefined;

  /** The hub said what time it has. */
  hear(hubMs: number): void {
    this.#heard = { hubMs, at: performance.now() };
  }

  /** Milliseconds since 1970 by the hub's clock; by the agent's own until the hub has told. Goes on evenly when the agent's clock is set. */
  now(): number {
    return this.#heard === undefined ? Date.now() : this.#heard.hubMs + (performance.now() - this.#heard.at);
  }

  /** How far the agent's own clock is ahead of the hub's; negative when it is behind. */
  get aheadMs(): number {
    return Date.now() - this.now();
  }

  /** The moment that the hub calls `hubMs`, by the agent's own clock. */
  inOwnTime(hubMs: number): number {
    return Math.round(hubMs + this.aheadMs);
  }
}
