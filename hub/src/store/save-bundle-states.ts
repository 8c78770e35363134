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
  const whole = fleets.filter(({ fold }) => fold.bundles !== undefined);
  const rows = whole.flatMap(({ cluster, fleet, fold }) =>
    (fold.bundles ?? []).map(({ healthCounts, ...bundle }) => ({ ...bundle, fleet, cluster, health_counts: healthCounts, as_of: now })),
  );
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(bundleStateColumns, part);
    const names = Object.keys(bundleStateColumns);
    await client.query({
      name: "save-bundle-states",
      text: `INSERT INTO bundle_states AS b (${names.join(", ")}) SELECT * FROM ${batch.text}
             ON CONFLICT (fleet, cluster, bundle) DO UPDATE SET ${names
               .slice(3)
               .map((name) => `${name} = EXCLUDED.${name}`)
               .join(", ")}
             WHERE ${differs("b", names.slice(3, -1))}`,
      values: [...batch.values],
    });
  }
  if (whole.length === 0) return;
  await client.query({
    name: "drop-bundle-states",
    text: `DELETE FROM bundle_states b USING unnest($1::text[], $2::text[]) AS w (cluster, fleet)
           WHERE b.cluster = w.cluster AND b.fleet = w.fleet
             AND NOT EXISTS (SELECT 1 FROM unnest($3::text[], $4::text[], $5::text[]) AS r (cluster, fleet, bundle)
                             WHERE r.cluster = b.cluster AND r.fleet = b.fleet AND r.bundle = b.bundle)`,
    values: [
      whole.map(({ cluster }) => cluster),
      whole.map(({ fleet }) => fleet),
      rows.map(({ cluster }) => cluster),
      rows.map(({ fleet }) => fleet),
      rows.map(({ bundle }) => bundle),
    ],
  });
}
