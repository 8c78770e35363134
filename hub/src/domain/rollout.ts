import type { RolloutSpec } from "./fleet-spec.ts";
import type { Labels } from "./select-clusters.ts";

/** Where a rollout stands. All but Queued, Running and RollingBack are ends. */
export type RolloutPhase = "Queued" | "Running" | "RollingBack" | "Done" | "RolledBack" | "Failed" | "Aborted" | "Superseded" | "Skipped";

/**
 * What a rollout has made of one cluster. Waiting: not released yet; Updating: released, and neither healthy nor failed; Skipped: offline
 * beyond the progress deadline, it catches up when it returns; Kept: pinned, or it cannot go back, so it is not counted.
 */
export type ClusterMark = "Waiting" | "Updating" | "Healthy" | "Failed" | "Skipped" | "RolledBack" | "Kept";

/** A person's word, and when (epoch ms). */
export interface Word {
  readonly by: string;
  readonly reason: string;
  readonly at: number;
}

/** What a cluster last reported about the fleet. */
export interface Observation {
  /** It is about the target that was released last, and not an older one. */
  readonly isCurrent: boolean;
  readonly isSynced: boolean;
  readonly health: "Current" | "InProgress" | "Failed" | "Terminating" | "NotFound" | "Unknown";
  readonly drifted: number;
  /** Objects that could not be applied. */
  readonly failed: number;
  /** Why it is not healthy or not in sync: object and reason. */
  readonly message: string;
}

/** One cluster that the fleet selects, as a decision needs it. Times are epoch ms. */
export interface RolloutCluster {
  readonly name: string;
  readonly labels: Labels;
  /** What the decision before left: Waiting for a cluster that is new here. */
  readonly mark: ClusterMark;
  readonly since: number;
  /** The wave that it was counted in then; undefined for a cluster that is new here. */
  readonly markedWave?: number;
  /** Of a cluster that is Kept: why it did not go back. */
  readonly keptWhy?: string;
  /** When this rollout released it; undefined until then. */
  readonly releasedAt?: number;
  /** Since when the hub has not heard of it; undefined while it does. */
  readonly offlineSince?: number;
  /** undefined: nothing was ever reported. */
  readonly observed?: Observation;
  /** Kept at a revision of its own: not released, not counted. */
  readonly isPinned: boolean;
  /** The newest other revision that was healthy there. */
  readonly healthyBefore?: string;
}

/** What is known of one gate of a wave. */
export interface GateState {
  readonly wave: number;
  readonly name: string;
  readonly kind: "metric" | "job";
  readonly verdict: "asked" | "passed" | "failed" | "unknown";
  readonly message: string;
  readonly at: number;
}

/** A rollout as a decision needs it. */
export interface Rollout {
  readonly revision: string;
  /** What to go back to where a cluster has nothing that was healthy; null when there is nothing. */
  readonly from: string | null;
  readonly plan: RolloutSpec;
  readonly phase: "Running" | "RollingBack";
  /** Index of the wave that was reached. */
  readonly wave: number;
  readonly startedAt: number;
  readonly paused?: Word;
  /** The fleet's hold, or the freeze of all. */
  readonly held?: Word & { readonly until?: number; readonly ofAll: boolean };
  readonly approvals: readonly (Word & { readonly wave: number })[];
  readonly gates: readonly GateState[];
}

/** What the evaluation found out about a cluster that is to be kept with the rollout. */
export interface MarkChange {
  readonly cluster: string;
  readonly wave: number;
  readonly mark: ClusterMark;
  readonly since: number;
  readonly why: string;
}

/** What a gate is to be asked, or asked again. */
export interface GateAsk {
  readonly wave: number;
  readonly name: string;
  readonly kind: "metric" | "job";
  /** Clusters whose agents answer. */
  readonly clusters: readonly string[];
}

/** What is to be done next. */
export type Decision =
  | { readonly kind: "release"; readonly wave: number; readonly clusters: readonly string[]; readonly reason: string }
  /** `until`: when time alone may change the answer; undefined: an event must. */
  | { readonly kind: "hold"; readonly wave: number; readonly reason: string; readonly until?: number; readonly asks?: readonly GateAsk[] }
  /** These clusters go back now, each to what was healthy there, else to `from`. */
  | { readonly kind: "rollback"; readonly clusters: readonly string[]; readonly reason: string }
  /** The revision is bad and what was released stays: onFailure hold, or nothing to go back to. */
  | { readonly kind: "fail"; readonly reason: string }
  | { readonly kind: "done"; readonly reason: string };

export interface Step {
  readonly decision: Decision;
  readonly marks: readonly MarkChange[];
  /** Set with the decision that ends the forward way: what failed first, for people. */
  readonly failure?: { readonly cluster: string; readonly message: string };
}
