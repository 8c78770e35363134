import type { RolloutSpec } from "./fleet-spec.ts";
import type { Rollout, RolloutCluster, Step } from "./rollout.ts";
import { matchesSelector, type Labels } from "./select-clusters.ts";
// STUB for the lead's own tests: another engineer's file takes its place.
export function waveOf(plan: RolloutSpec, labels: Labels): number {
  const index = plan.waves.findIndex(({ clusters }) => matchesSelector(clusters, labels));
  return index < 0 ? plan.waves.length - 1 : index;
}
export function nextWave(rollout: Rollout, clusters: readonly RolloutCluster[], now: number): Step {
  const marks = clusters.flatMap(({ name, mark, labels, observed, releasedAt }) => {
    if (releasedAt === undefined || mark === "RolledBack") return [];
    const now_ =
      observed?.isCurrent && observed.health === "Failed"
        ? "Failed"
        : observed?.isCurrent && observed.isSynced && observed.health === "Current"
          ? "Healthy"
          : "Updating";
    return now_ === mark
      ? []
      : [{ cluster: name, wave: waveOf(rollout.plan, labels), mark: now_ as "Failed" | "Healthy" | "Updating", since: now, why: observed?.message ?? "" }];
  });
  const markOf = new Map(marks.map(({ cluster, mark }) => [cluster, mark]));
  const of = ({ name, mark }: RolloutCluster) => markOf.get(name) ?? mark;
  const failed = clusters.find((cluster) => of(cluster) === "Failed");
  if (rollout.phase === "RollingBack" || failed) {
    const back = clusters.filter((cluster) => cluster.releasedAt !== undefined && of(cluster) !== "RolledBack" && of(cluster) !== "Kept");
    if (back.length === 0) return { decision: { kind: "done", reason: "rolled back" }, marks };
    return {
      decision: { kind: "rollback", clusters: back.map(({ name }) => name), reason: `cluster ${failed?.name} failed` },
      marks,
      ...(failed && { failure: { cluster: failed.name, message: failed.observed?.message ?? "" } }),
    };
  }
  for (const [index, wave] of rollout.plan.waves.entries()) {
    const here = clusters.filter(({ labels }) => waveOf(rollout.plan, labels) === index);
    const waiting = here.filter((cluster) => of(cluster) === "Waiting");
    if (waiting.length > 0) {
      if (rollout.paused) return { decision: { kind: "hold", wave: index, reason: "paused" }, marks };
      return { decision: { kind: "release", wave: index, clusters: waiting.map(({ name }) => name), reason: `wave ${wave.name}` }, marks };
    }
    if (here.some((cluster) => of(cluster) !== "Healthy"))
      return { decision: { kind: "hold", wave: index, reason: `wave ${wave.name} is not healthy yet` }, marks };
  }
  return { decision: { kind: "done", reason: "all waves are through" }, marks };
}
