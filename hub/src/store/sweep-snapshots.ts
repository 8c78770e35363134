import type pg from "pg";
import type { ClusterFold } from "../domain/fold-report.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";

/** A snapshot is whole: what it did not name, and nobody reported since it began, is not there. */
export async function sweepSnapshots(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  for (const [cluster, { snapshot, position }] of folds) {
    if (snapshot === undefined) continue;
    const held = [...snapshot.fleets];
    await client.query({
      name: "sweep-target-states",
      text: "DELETE FROM target_states WHERE cluster = $1 AND NOT (fleet = ANY($2::text[])) AND NOT (epoch = $3 AND seq >= $4)",
      values: [cluster, held, position.epoch, snapshot.fromSeq],
    });
    const isLeft = "(NOT (x.fleet = ANY($2::text[])) AND NOT EXISTS (SELECT 1 FROM target_states s WHERE s.fleet = x.fleet AND s.cluster = x.cluster))";
    await client.query({ name: "sweep-bundle-states", text: `DELETE FROM bundle_states x WHERE x.cluster = $1 AND ${isLeft}`, values: [cluster, held] });
    await client.query({
      name: "sweep-object-states",
      text: `DELETE FROM object_states x WHERE x.cluster = $1 AND (x.snapshot_id IS DISTINCT FROM $3 OR ${isLeft})`,
      values: [cluster, held, snapshot.id],
    });
  }
}

/** Drift of objects that a snapshot swept away has ended. */
export async function closeSweptDrifts(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  for (const [cluster, { snapshot }] of folds) {
    if (snapshot === undefined) continue;
    await client.query({
      name: "close-swept-drifts",
      text: `UPDATE drifts d SET healed_at = $2, healed_by = 'gone' WHERE d.cluster = $1 AND d.healed_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM object_states o WHERE o.fleet = d.fleet AND o.cluster = d.cluster AND o.object_id = d.object_id)`,
      values: [cluster, snapshot.at],
    });
  }
}

/** A target with a tombstone that the agent let go of, or never had, is done with. */
export async function markRemoved(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>, fleets: readonly FleetOfCluster[]): Promise<void> {
  const removed = fleets.filter(({ fold }) => fold.removedGeneration !== undefined);
  if (removed.length > 0) {
    await client.query({
      name: "mark-removed",
      text: `UPDATE targets t SET removed_at = now() FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r (cluster, fleet, generation)
             WHERE t.cluster = r.cluster AND t.fleet = r.fleet AND t.tombstone IS NOT NULL AND t.removed_at IS NULL AND t.generation <= r.generation`,
      values: [removed.map(({ cluster }) => cluster), removed.map(({ fleet }) => fleet), removed.map(({ fold }) => fold.removedGeneration)],
    });
  }
  for (const [cluster, { snapshot }] of folds) {
    if (snapshot === undefined) continue;
    await client.query({
      name: "mark-removed-by-snapshot",
      text: `UPDATE targets t SET removed_at = now() WHERE t.cluster = $1 AND t.tombstone IS NOT NULL AND t.removed_at IS NULL AND NOT (t.fleet = ANY($2::text[]))
               AND NOT EXISTS (SELECT 1 FROM target_states s WHERE s.fleet = t.fleet AND s.cluster = t.cluster)`,
      values: [cluster, [...snapshot.fleets]],
    });
  }
}
