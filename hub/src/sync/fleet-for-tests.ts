import type { FollowedFleet } from "./ports.ts";

/** A fleet that follows main and has seen nothing yet. */
export function followedFleet(more: Partial<FollowedFleet> = {}): FollowedFleet {
  return {
    name: "shop",
    ref: { branch: "main" },
    path: "",
    selector: {},
    revision: null,
    seenRevision: null,
    seenTag: null,
    problems: [],
    deleting: null,
    leavesInMs: null,
    ...more,
  };
}
