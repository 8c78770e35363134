import type { Contents } from "./chaos-fleet.ts";

/** What was pushed, so that deletes can be judged. */
export interface Pushed {
  readonly revision: string;
  readonly contents: Contents;
  readonly at: number;
}

/** Everything that the verdicts are about, besides the rig itself. */
export interface ChaosRecord {
  readonly pushed: Pushed[];
  /** Labels by cluster: what the API answered last, and what was tried after that without an answer. */
  readonly labels: Map<string, { answered: string; tried: string[] }>;
  final: Contents;
}
