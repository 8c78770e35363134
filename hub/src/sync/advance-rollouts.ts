import { rolloutLookFactor, rolloutLookMaxMs, rolloutLookMinMs, rolloutNetMs } from "../limits.ts";
import type { Lease } from "./ports.ts";
import type { LookAgain } from "./release-wave.ts";

/** A fleet of which something is to be decided. */
export interface RollingFleet {
  readonly name: string;
  /** Until its rollout is to be looked at though nobody said so; null when only news can change anything. */
  readonly untilMs: number | null;
}

export interface AdvancePorts {
  listRollingFleets(repositoryId: string): Promise<readonly RollingFleet[]>;
  releaseWave(lease: Lease, fleet: string): Promise<LookAgain>;
  report(error: unknown, doing: string): void;
}

type RolloutNews = (fleets: readonly string[] | undefined, isNew: boolean) => void;

/** Says that there is news of fleets: rows that people or agents changed. */
export class RolloutHints {
  readonly #loops = new Set<RolloutNews>();

  /** Of these fleets (undefined: of anything); `isNew` when one that did not roll may do so now. */
  tell(fleets: readonly string[] | undefined, isNew: boolean): void {
    for (const tell of this.#loops) tell(fleets, isNew);
  }

  listen(tell: RolloutNews): () => void {
    this.#loops.add(tell);
    return () => void this.#loops.delete(tell);
  }
}

/**
 * Advances the rollouts of one repository's fleets while its lease is held: on news, at the times that decisions name, and every so often
 * as the net. A fleet whose cluster reports come by the hundred is looked at a few times a second at most, and the dearer a look, the rarer.
 * Fleets do not wait for each other.
 */
export async function advanceRollouts(ports: AdvancePorts, hints: RolloutHints, lease: Lease, repositoryId: string, signal: AbortSignal): Promise<void> {
  const loop = new AdvanceLoop(ports, lease, repositoryId, signal);
  const unlisten = hints.listen((fleets, isNew) => loop.onNews(fleets, isNew));
  try {
    loop.look();
    await new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  } finally {
    unlisten();
    await loop.close();
  }
}

interface FleetClock {
  timer: NodeJS.Timeout | undefined;
  /** When the timer fires (performance.now()). */
  at: number;
  running: Promise<void> | undefined;
  /** News came while it was looked at. */
  again: boolean;
  /** No look before this. */
  notBefore: number;
}

class AdvanceLoop {
  readonly #ports: AdvancePorts;
  readonly #lease: Lease;
  readonly #repositoryId: string;
  readonly #signal: AbortSignal;
  readonly #fleets = new Map<string, FleetClock>();
  #listing: Promise<void> | undefined;
  #listAgain = false;
  #net: NodeJS.Timeout | undefined;

  constructor(ports: AdvancePorts, lease: Lease, repositoryId: string, signal: AbortSignal) {
    this.#ports = ports;
    this.#lease = lease;
    this.#repositoryId = repositoryId;
    this.#signal = signal;
  }

  /** What is known to roll is looked at soon; of others the rows tell whether they roll by now. */
  onNews(fleets: readonly string[] | undefined, isNew: boolean): void {
    if (this.#signal.aborted) return;
    const unknown = fleets === undefined || (isNew && fleets.some((name) => !this.#fleets.has(name)));
    for (const name of fleets ?? this.#fleets.keys()) if (this.#fleets.has(name)) this.#lookAt(name, 0);
    if (unknown) this.look();
  }

  /** Read which fleets roll. */
  look(): void {
    if (this.#listing) {
      this.#listAgain = true;
      return;
    }
    this.#listing = this.#list().finally(() => {
      this.#listing = undefined;
      if (this.#listAgain && !this.#signal.aborted) {
        this.#listAgain = false;
        this.look();
      }
    });
  }

  async close(): Promise<void> {
    clearTimeout(this.#net);
    for (const { timer } of this.#fleets.values()) clearTimeout(timer);
    await Promise.allSettled([this.#listing, ...[...this.#fleets.values()].map(({ running }) => running)]);
  }

  async #list(): Promise<void> {
    clearTimeout(this.#net);
    try {
      const fleets = await this.#ports.listRollingFleets(this.#repositoryId);
      const names = new Set(fleets.map(({ name }) => name));
      for (const [name, clock] of this.#fleets) {
        if (names.has(name) || clock.running) continue;
        clearTimeout(clock.timer);
        this.#fleets.delete(name);
      }
      for (const { name, untilMs } of fleets) this.#lookAt(name, this.#fleets.has(name) ? Math.max(0, untilMs ?? 0) : 0);
    } catch (error) {
      this.#ports.report(error, "looking for rollouts");
    }
    if (this.#signal.aborted) return;
    this.#net = setTimeout(() => this.look(), rolloutNetMs);
    this.#net.unref();
  }

  #lookAt(name: string, inMs: number): void {
    if (this.#signal.aborted) return;
    const clock = this.#fleets.get(name) ?? { timer: undefined, at: Infinity, running: undefined, again: false, notBefore: 0 };
    this.#fleets.set(name, clock);
    if (clock.running) {
      clock.again = true;
      return;
    }
    const at = Math.max(performance.now() + Math.min(inMs, rolloutNetMs), clock.notBefore);
    if (at >= clock.at) return;
    clearTimeout(clock.timer);
    clock.at = at;
    clock.timer = setTimeout(() => this.#run(name, clock), Math.max(0, at - performance.now()));
  }

  #run(name: string, clock: FleetClock): void {
    [clock.timer, clock.at] = [undefined, Infinity];
    clock.again = false;
    clock.running = this.#advance(name, clock);
  }

  async #advance(name: string, clock: FleetClock): Promise<void> {
    const startedAt = performance.now();
    let again: LookAgain = rolloutNetMs;
    try {
      again = await this.#ports.releaseWave(this.#lease, name);
    } catch (error) {
      if (!this.#signal.aborted) this.#ports.report(error, `advancing the rollout of fleet ${name}`);
    }
    const tookMs = performance.now() - startedAt;
    clock.running = undefined;
    clock.notBefore = performance.now() + Math.max(rolloutLookMinMs, Math.min(tookMs * rolloutLookFactor, rolloutLookMaxMs));
    if (clock.again) this.#lookAt(name, 0);
    // Its clusters go on reporting, and each look reads all of them. Who begins something says so.
    else if (again === "over") this.#fleets.delete(name);
    else if (again !== undefined) this.#lookAt(name, again);
  }
}
