import { createHash } from "node:crypto";
import { pollBackoffMaxMs, pollIntervalMs, pollJitter, webhookRetryMs } from "../limits.ts";

/** What decides when a repository is asked again. */
export interface PollState {
  /** Any stable name; spreads repositories that were added together. */
  readonly id: string;
  readonly pollIntervalMs?: number;
  /** The last try, good or bad. */
  readonly lastFetchAt: Date | null;
  /** Tries in a row that failed; 0 after a good one. */
  readonly failures: number;
  /** Set while somebody waits for a fetch (a webhook, `fleet sync`, a new fleet). */
  readonly wantedAt?: Date | null;
}

/**
 * When a repository is due next, never before `now`. Wanted: at once, but a failing repository at most once a second, so that a flood
 * of webhooks does not become a flood of fetches. Otherwise its interval after the last try, doubled for every failure in a row up to
 * the cap, with jitter on top. The jitter is made of id and last try: asking again gives the same answer.
 */
export function nextDueAt(state: PollState, now: Date): Date {
  const { lastFetchAt, failures, wantedAt = null } = state;
  if (lastFetchAt === null) return now;
  // A last try in the future is a clock that was set back: it must not put polling off for hours.
  const lastMs = Math.min(lastFetchAt.getTime(), now.getTime());
  const waitMs = wantedAt === null ? delayMs(state, lastFetchAt) : failures > 0 ? webhookRetryMs : 0;
  return new Date(Math.max(now.getTime(), lastMs + waitMs));
}

function delayMs({ id, pollIntervalMs: interval = pollIntervalMs, failures }: PollState, lastFetchAt: Date): number {
  const backoff = failures === 0 ? interval : Math.max(interval, Math.min(pollBackoffMaxMs, interval * 2 ** Math.min(failures, 30)));
  return Math.round(backoff * (1 + pollJitter * spread(`${id}/${lastFetchAt.getTime()}`)));
}

/** A number from 0 to 1 that belongs to a text. */
function spread(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0) / 0xffff_ffff;
}
