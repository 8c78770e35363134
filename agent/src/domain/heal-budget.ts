import { healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";

/** One correction of one object. */
export interface Correction {
  /** Epoch milliseconds. */
  readonly at: number;
  /** What was corrected: manager and path of each field, as fieldKey gives them. */
  readonly fields: readonly string[];
}

/** Whether a drifted object may be corrected now (G16). Times are epoch milliseconds. */
export type HealDecision =
  | { readonly kind: "heal" }
  | { readonly kind: "wait"; readonly until: number }
  /** Another controller keeps writing the same fields: reported, not fought, until the window has moved on. */
  | { readonly kind: "fight"; readonly until: number };

/**
 * Gap to keep after so many corrections of one field against one manager. Two make a pattern: until then an edit is healed at once, and edits
 * of different fields, or by different managers, are no pattern.
 */
const gapsMs = [0, 0, 500, 2_000, 8_000] as const;

/** Decide by the earlier corrections of this one object. Other objects never count. */
export function decideHeal(earlier: readonly Correction[], now: number): HealDecision {
  const recent = recentHeals(earlier, now);
  const [oldest, newest] = [recent[0], recent.at(-1)];
  if (oldest === undefined || newest === undefined) return { kind: "heal" };
  if (recent.length >= maxHealsPerWindow) return { kind: "fight", until: oldest.at + healWindowMs };
  const until = newest.at + (gapsMs[repeatsOf(recent)] ?? 0);
  return until <= now ? { kind: "heal" } : { kind: "wait", until };
}

/** How often the newest correction's most disputed field was corrected against the same manager; 0 without corrections. */
export function repeatsOf(recent: readonly Correction[]): number {
  const fields = recent.at(-1)?.fields ?? [];
  return Math.max(0, ...fields.map((field) => recent.filter((correction) => correction.fields.includes(field)).length));
}

/** The corrections that still count, oldest first; never more than the budget. */
export function recentHeals(earlier: readonly Correction[], now: number): Correction[] {
  return earlier.filter(({ at }) => at > now - healWindowMs && at <= now).slice(-maxHealsPerWindow);
}

/** One field against one manager. */
export function fieldKey(manager: string, path: string): string {
  return `${manager} ${path}`;
}
