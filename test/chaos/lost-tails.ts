/** A time whose transactions a Postgres that went back lost: from its copy until it was stopped and had the copy put back. Epoch ms. */
export interface LostTail {
  readonly from: number;
  readonly to: number;
}

/** Whether what happened then may be lost with a tail; what is told before it is committed, or followed after it was released, so long before or after it. */
export function isInTail(tails: readonly LostTail[], at: number, { beforeMs = 0, afterMs = 0 } = {}): boolean {
  return tails.some(({ from, to }) => at >= from - beforeMs && at <= to + afterMs);
}

/** An outbox keeps a report until the hub has committed it: through an outage of the hub or the broker, and the reconnects after it. */
export const commitLagMs = 45_000;

/** An agent may be stopped, or its link hang, with the word in its hand that what is lost now was committed. */
export const lateWordMs = 20_000;

/** Until a hub that went back has fetched Git, knows what agents hold, and has released above it. */
export const catchUpMs = 30_000;

/** What is not asked about, in words for a verdict. */
export function tellLost(count: number): string {
  return count === 0 ? "" : `; ${count} more may be lost with a tail of Postgres`;
}
