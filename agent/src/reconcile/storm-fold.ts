import type { ObjectKey } from "../domain/object-id.ts";
import { engineLimits } from "../limits.ts";

/**
 * When single objects of a storm are told: once it has been calm for stormCalmMs, and where it lasts every stormFoldMaxMs. It comes in bursts: what waits goes on
 * waiting as long as there was one lately. Times are performance.now().
 */
export class StormFold {
  readonly #waiting = new Set<ObjectKey>();
  /** Since when the one that waits longest does. */
  #waitingSince = Infinity;
  /** Changes of health alone since the window began: outside of a storm of stormFoldMs, else since it was looked at. */
  #moves = 0;
  #windowAt = -Infinity;
  #isStorm = false;
  /** When it was last seen to go on. */
  #stormyAt = -Infinity;

  /** Objects that are told later. */
  get waiting(): ReadonlySet<ObjectKey> {
    return this.#waiting;
  }

  /** Whether nothing may wait any longer, storm or not. */
  get isDue(): boolean {
    return performance.now() >= this.#waitingSince + engineLimits.stormFoldMaxMs;
  }

  /** So many objects changed in their health alone. @returns whether there is a storm: then they may wait. */
  moved(count: number): boolean {
    const now = performance.now();
    if (!this.#isStorm && now - this.#windowAt > engineLimits.stormFoldMs) [this.#moves, this.#windowAt] = [0, now];
    this.#moves += count;
    if (this.#isStorm || this.#moves < engineLimits.stormObjects) return this.#isStorm;
    this.#isStorm = true;
    [this.#moves, this.#stormyAt] = [0, now];
    return true;
  }

  wait(keys: Iterable<ObjectKey>): void {
    for (const key of keys) this.#waiting.add(key);
    if (this.#waiting.size > 0) this.#waitingSince = Math.min(this.#waitingSince, performance.now());
  }

  /** An object is told, or has nothing to tell any more. */
  settle(key: ObjectKey): void {
    this.#waiting.delete(key);
    if (this.#waiting.size === 0) this.#waitingSince = Infinity;
  }

  /** Until the next look; undefined when there is nothing to look at. */
  get lookInMs(): number | undefined {
    if (!this.#isStorm) return undefined;
    return Math.max(0, Math.min(engineLimits.stormLookMs, this.#waitingSince + engineLimits.stormFoldMaxMs - performance.now()));
  }

  /** The time of a look has come. @returns whether what waits is to be told now. */
  look(): boolean {
    // A look that came early, for what has waited for the longest time allowed, saw a part of the changes: they count with the next.
    if (this.isDue) return true;
    const now = performance.now();
    if (this.#moves >= engineLimits.stormObjects * (engineLimits.stormLookMs / engineLimits.stormFoldMs)) this.#stormyAt = now;
    this.#isStorm = now - this.#stormyAt < engineLimits.stormCalmMs;
    this.#moves = 0;
    return !this.#isStorm && this.#waiting.size > 0;
  }
}
