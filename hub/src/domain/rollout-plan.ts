import type { FleetDocument } from "./fleet-schema.ts";
import type { Amount, LabelSelector, RolloutSpec } from "./fleet-spec.ts";
import { parseDuration } from "./parse-duration.ts";
import { matchesSelector, type Labels } from "./select-clusters.ts";

/** Without `rollout` in fleet.yaml: every cluster at once, and no failure stops it. */
export const immediateRollout: RolloutSpec = {
  waves: [{ name: "all", clusters: {}, after: { healthy: true, soakMs: 0, metrics: [], jobs: [] } }],
  failureBudget: { percent: 100 },
  onFailure: "hold",
  progressDeadlineMs: 600_000,
  onNewRevision: "supersede",
};

/** Index of the wave that a cluster belongs to: the first that selects it, else the last. */
export function waveOf({ waves }: RolloutSpec, labels: Labels): number {
  const index = waves.findIndex(({ clusters }) => matchesSelector(clusters, labels));
  return index < 0 ? waves.length - 1 : index;
}

/** A part of a number of clusters, rounded up. */
export function amountUp(amount: Amount, of: number): number {
  return "count" in amount ? amount.count : Math.ceil((of * amount.percent) / 100);
}

/** A part of a number of clusters, rounded down. */
export function amountDown(amount: Amount, of: number): number {
  return "count" in amount ? amount.count : Math.floor((of * amount.percent) / 100);
}

type RolloutDocument = NonNullable<FleetDocument["spec"]["rollout"]>;

/** The rollout as fleet.yaml says it, with every default filled in. */
export function planOf(rollout: RolloutDocument): RolloutSpec {
  const { waves, failureBudget, onFailure } = rollout;
  return {
    ...immediateRollout,
    ...(waves && {
      waves: waves.map(({ name, clusters = {}, maxConcurrency, after }) => ({
        name,
        clusters: clusters as LabelSelector,
        ...(maxConcurrency !== undefined && { maxConcurrency: amountOf(maxConcurrency) }),
        after: {
          healthy: after?.healthy ?? true,
          soakMs: parseDuration(after?.soak ?? "0s") ?? 0,
          ...(after?.approval !== undefined && { approval: after.approval }),
          metrics: [],
          jobs: [],
        },
      })),
    }),
    failureBudget: failureBudget === undefined ? { count: 0 } : amountOf(failureBudget),
    onFailure: onFailure ?? "rollback",
  };
}

function amountOf(written: number | string): Amount {
  return typeof written === "number" ? { count: written } : { percent: Number.parseFloat(written) };
}
