import { renderRetryMaxMs, renderRetryMinMs } from "../limits.ts";
import type { FollowedFleet } from "./ports.ts";

interface Retry {
  readonly revision: string;
  readonly tries: number;
  /** When it was tried last, or first seen to have failed, epoch ms. */
  readonly triedAt: number;
}

/**
 * When a revision is tried again whose render ran out of time: that may have been the machine's fault and not the revision's. Soon, then ever later; in what
 * other problems a revision ended is its own fault, and waits for the next commit.
 */
export class RenderRetries {
  readonly #byFleet = new Map<string, Retry>();

  /** When the first of these fleets is due, epoch ms; undefined when none has anything to try again. The rest are forgotten. */
  firstDue(fleets: readonly FollowedFleet[], now: number): number | undefined {
    const waiting = new Map(fleets.filter(ranOutOfTime).map((fleet) => [fleet.name, fleet]));
    for (const name of this.#byFleet.keys()) if (!waiting.has(name)) this.#byFleet.delete(name);
    const dues = [...waiting.values()].map((fleet) => dueAt(this.#of(fleet, now)));
    return dues.length === 0 ? undefined : Math.min(...dues);
  }

  /** Whether the fleet's newest revision is to be tried again now: it is its turn, or a person or a webhook asked, and it had the shortest rest. */
  isDue(fleet: FollowedFleet, now: number, isWanted: boolean): boolean {
    if (!ranOutOfTime(fleet)) return false;
    const retry = this.#of(fleet, now);
    return dueAt(isWanted ? { ...retry, tries: 0 } : retry) <= now;
  }

  /** It was. */
  tried(fleet: FollowedFleet, now: number): void {
    if (!ranOutOfTime(fleet)) return;
    const { revision, tries } = this.#of(fleet, now);
    this.#byFleet.set(fleet.name, { revision, tries: tries + 1, triedAt: now });
  }

  #of(fleet: FollowedFleet, now: number): Retry {
    const known = this.#byFleet.get(fleet.name);
    const revision = fleet.seenRevision ?? "";
    if (known?.revision === revision) return known;
    const fresh = { revision, tries: 0, triedAt: now };
    this.#byFleet.set(fleet.name, fresh);
    return fresh;
  }
}

function dueAt({ tries, triedAt }: Retry): number {
  return triedAt + Math.min(renderRetryMinMs * 2 ** tries, renderRetryMaxMs);
}

/** What Git says now is not what the fleet runs, for that reason alone: with another problem beside it the end would be the same. */
function ranOutOfTime({ problems, revision, seenRevision, deleting }: FollowedFleet): boolean {
  return deleting === null && revision !== seenRevision && problems.length > 0 && problems.every(({ code }) => code === "render-timeout");
}
