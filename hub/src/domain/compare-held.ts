import type { HeldTargetRow, ReleasedTarget } from "./link-rows.ts";

/**
 * What an agent holds against what is released: the same, older, or "ahead". Ahead is also a generation that stands for something else there (the
 * database was restored from a backup, and counts anew): the agent would refuse it, or take it for what it has.
 */
export function compareHeld(
  held: Pick<HeldTargetRow, "generation" | "digest" | "releasedAt">,
  target: Pick<ReleasedTarget, "generation" | "digest" | "releasedAt">,
): "same" | "older" | "ahead" {
  if (held.generation < target.generation) return "older";
  if (held.generation > target.generation || held.digest !== target.digest) return "ahead";
  return held.releasedAt === undefined || held.releasedAt.getTime() === target.releasedAt.getTime() ? "same" : "ahead";
}
