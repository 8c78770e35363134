import { healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";

/** Whether a drifted object may be corrected now (G16). Times are epoch milliseconds. */
export type HealDecision =
  | { readonly kind: "heal" }
  | { readonly kind: "wait"; readonly until: number }
  /** Another controller keeps writing the same fields: reported, not fought, until the window has moved on. */
  | { readonly kind: "fight"; readonly until: number };

/** Gap to keep after the n-th correction inside the window. The first edit is healed at once; a fight slows down by itself. */
const gapsMs = [0, 500, 2_000, 8_000, 30_000] as const;

/** Decide by the times of earlier corrections of this one object. Other objects never count. */
export function decideHeal(earlier: readonly number[], now: number): HealDecision {
  const recent = recentHeals(earlier, now);
  const [oldest, newest] = [recent[0], recent.at(-1)];
  if (oldest === undefined || newest === undefined) return { kind: "heal" };
  if (recent.length >= maxHealsPerWindow) return { kind: "fight", until: oldest + healWindowMs };
  const until = newest + (gapsMs[recent.length] ?? 0);
  return until <= now ? { kind: "heal" } : { kind: "wait", until };
}

/** The corrections that still count, oldest first; never more than the budget. */
export function recentHeals(earlier: readonly number[], now: number): number[] {
  return earlier.filter((at) => at > now - healWindowMs && at <= now).slice(-maxHealsPerWindow);
}
