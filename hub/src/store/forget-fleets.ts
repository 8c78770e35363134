import type pg from "pg";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";

/** Drops everything about fleets that their clusters let go of. */
export async function forgetFleets(client: pg.ClientBase, fleets: readonly FleetOfCluster[]): Promise<void> {
  const forgotten = fleets.filter(({ fold }) => fold.forget);
  if (forgotten.length === 0) return;
  await deleteFleetRows(client, forgotten);
  await client.query({
    name: "close-drifts-of-forgotten",
    text: `UPDATE drifts d SET healed_at = r.at, healed_by = 'gone' FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS r (cluster, fleet, at)
           WHERE d.cluster = r.cluster AND d.fleet = r.fleet AND d.healed_at IS NULL AND NOT (d.cluster || ' ' || d.fleet || ' ' || d.object_id = ANY($4::text[]))`,
    // Drift of objects that this fold speaks of is folded below.
    values: [
      forgotten.map(({ cluster }) => cluster),
      forgotten.map(({ fleet }) => fleet),
      forgotten.map(({ fold }) => fold.forgottenAt),
      forgotten.flatMap(({ cluster, fleet, fold }) => [...fold.drift.keys()].map((objectId) => `${cluster} ${fleet} ${objectId}`)),
    ],
  });
}

async function deleteFleetRows(client: pg.ClientBase, fleets: readonly { readonly cluster: string; readonly fleet: string }[]): Promise<void> {
  const values = [fleets.map(({ cluster }) => cluster), fleets.map(({ fleet }) => fleet)];
  for (const table of ["object_states", "bundle_states", "target_states"]) {
    await client.query({
      name: `forget-${table}`,
      text: `DELETE FROM ${table} t USING unnest($1::text[], $2::text[]) AS r (cluster, fleet) WHERE t.cluster = r.cluster AND t.fleet = r.fleet`,
      values,
    });
  }
}
