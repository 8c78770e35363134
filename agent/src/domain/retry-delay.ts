/** How an error of the API server is retried. */
export type RetryClass =
  /** Passes by itself within moments: a definition or a webhook that is not ready yet. */
  | "soon"
  /** Somebody has to act: refused by admission, RBAC or validation, or held by another manager. */
  | "patient";

const soonMs = { first: 150, cap: 5_000 } as const;
const patientMs = { first: 1_000, cap: 60_000 } as const;

/**
 * Delay before the n-th retry (n from 1) of one object, doubling to a cap, ± 20 % so that many objects do not come back
 * together. Retries never end: the cap is what bounds them.
 */
export function retryDelayMs(retryClass: RetryClass, attempt: number, random: number): number {
  const { first, cap } = retryClass === "soon" ? soonMs : patientMs;
  const delay = Math.min(cap, first * 2 ** Math.min(attempt - 1, 20));
  return Math.round(delay * (0.8 + 0.4 * random));
}
