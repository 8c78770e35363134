import type pg from "pg";
import type { HealthCounts } from "@flotilla/proto/rest/contract";
import type { BundleStateRow } from "../domain/report-rows.ts";
import { batchRowsMax } from "../limits.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { differs, inBatches, unnestRows, type Columns } from "./unnest.ts";

interface BundleStateInsert extends Omit<BundleStateRow, "healthCounts"> {
  readonly health_counts: HealthCounts;
  readonly fleet: string;
  readonly cluster: string;
  readonly as_of: Date;
}

const bundleStateColumns: Columns<BundleStateInsert> = {
  fleet: "text",
  cluster: "text",
  bundle: "text",
  digest: "text",
  sync: "text",
  health: "text",
  message: "text",
  objects: "integer",
  healthy: "integer",
  drifted: "integer",
  failed: "integer",
  health_counts: "jsonb",
  as_of: "timestamptz",
};

export async function saveBundleStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const whole = fleets.filter(({ fold }) => fold.namesAllBundles);
  const rows = fleets.flatMap(({ cluster, fleet, fold }) =>
    [...fold.bundles.values()].map(({ healthCounts, ...bundle }) => ({ ...bundle, fleet, cluster, health_counts: healthCounts, as_of: now })),
  );
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(bundleStateColumns, part);
    const names = Object.keys(bundleStateColumns);
    const content = names.slice(3, -1);
    await client.query({
      name: "save-bundle-states",
      // A report that names every bundle names most as they were: a row that conflicts is locked and written to disk even where nothing is set.
      text: `INSERT INTO bundle_states AS b (${names.join(", ")})
             SELECT r.* FROM ${batch.text} LEFT JOIN bundle_states k ON k.fleet = r.fleet AND k.cluster = r.cluster AND k.bundle = r.bundle
             WHERE k.fleet IS NULL OR (${content.map((name) => `k.${name}`).join(", ")}) IS DISTINCT FROM (${content.map((name) => `r.${name}`).join(", ")})
             ON CONFLICT (fleet, cluster, bundle) DO UPDATE SET ${names
               .slice(3)
               .map((name) => `${name} = EXCLUDED.${name}`)
               .join(", ")}
             WHERE ${differs("b", content)}`,
      values: [...batch.values],
    });
  }
  if (whole.length === 0) return;
  await client.query({
    name: "drop-bundle-states",
    // Each cluster's rows are held against its own names: against those of the batch it would be a product of both.
    text: `DELETE FROM bundle_states b USING unnest($1::text[], $2::text[], $3::jsonb[]) AS w (cluster, fleet, kept)
           WHERE b.cluster = w.cluster AND b.fleet = w.fleet AND NOT jsonb_exists(w.kept, b.bundle)`,
    values: [
      whole.map(({ cluster }) => cluster),
      whole.map(({ fleet }) => fleet),
      whole.map(({ fold }) => JSON.stringify(Object.fromEntries([...fold.bundles.keys()].map((bundle) => [bundle, true])))),
    ],
  });
}
