import { waveOf } from "./rollout-plan.ts";
import type { ClusterMark, MarkChange, Rollout, RolloutCluster } from "./rollout.ts";

/** A cluster with what the rollout has made of it by now. */
export interface JudgedCluster {
  readonly cluster: RolloutCluster;
  readonly wave: number;
  readonly mark: ClusterMark;
  /** Since when the mark holds (epoch ms). */
  readonly since: number;
  readonly why: string;
  /** When time alone makes another mark of it; undefined when only news do. */
  readonly until: number | undefined;
}

/** Judges every cluster from what it was and what it reports. Pure; in the order of the clusters. */
export function judgeClusters(rollout: Rollout, clusters: readonly RolloutCluster[], now: number): readonly JudgedCluster[] {
  return clusters.map((cluster) => judge(rollout, cluster, waveOf(rollout.plan, cluster.labels), now));
}

/** What is to be kept of a judgement: nothing when it is what was kept before. */
export function markChangesOf(judged: readonly JudgedCluster[]): readonly MarkChange[] {
  return judged
    .filter(({ cluster, wave, mark }) => mark !== cluster.mark || wave !== cluster.markedWave)
    .map(({ cluster, wave, mark, since, why }) => ({ cluster: cluster.name, wave, mark, since, why }));
}

/** Whether it was released and not taken back: it runs the rollout's revision, or will when it is there again. */
export function runsRevision({ cluster, mark }: JudgedCluster): boolean {
  return cluster.releasedAt !== undefined && mark !== "RolledBack" && mark !== "Kept" && mark !== "Waiting";
}

function judge({ plan, phase }: Rollout, cluster: RolloutCluster, wave: number, now: number): JudgedCluster {
  const { mark, since, releasedAt, offlineSince, observed, isPinned } = cluster;
  const stay = (kept: ClusterMark, why = "", until?: number): JudgedCluster => ({ cluster, wave, mark: kept, since: kept === mark ? since : now, why, until });
  if (isPinned) return stay("Kept", "it is pinned to another revision");
  // What was taken back stays so; what was kept by a pin goes on when the pin is gone.
  if (mark === "RolledBack" || (mark === "Kept" && phase === "RollingBack")) return stay(mark, cluster.keptWhy);
  if (releasedAt === undefined) return stay("Waiting");
  if (offlineSince !== undefined) {
    const skippedAt = offlineSince + plan.progressDeadlineMs;
    if (mark === "Skipped" || now >= skippedAt) return stay("Skipped", `offline since ${new Date(offlineSince).toISOString()}: it catches up when it returns`);
    return stay(mark === "Failed" ? "Failed" : "Updating", "offline", skippedAt);
  }
  if (observed?.isCurrent) {
    if (observed.isSynced && observed.health === "Current") return stay("Healthy");
    if (observed.health === "Failed") return stay("Failed", observed.message === "" ? "its health is Failed" : observed.message);
  }
  // What failed has failed until it is healthy.
  if (mark === "Failed") return stay("Failed", observed?.isCurrent ? observed.message : "");
  const deadline = (mark === "Updating" ? Math.max(since, releasedAt) : now) + plan.progressDeadlineMs;
  if (now < deadline) return stay("Updating", observed?.isCurrent ? observed.message : "it has not reported the new revision yet", deadline);
  const minutes = Math.round(plan.progressDeadlineMs / 6_000) / 10;
  const what = observed?.isCurrent ? observed.message : "it has not applied the new revision";
  return stay("Failed", `not healthy within ${minutes} minutes${what === "" ? "" : `: ${what}`}`);
}
