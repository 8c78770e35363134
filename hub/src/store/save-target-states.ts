import type pg from "pg";
import type { HealthCounts } from "@flotilla/proto/rest/contract";
import type { TargetStateRow } from "../domain/report-rows.ts";
import { batchRowsMax } from "../limits.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { inBatches, unnestRows, type Columns } from "./unnest.ts";

interface TargetStateInsert {
  readonly fleet: string;
  readonly cluster: string;
  readonly generation: bigint;
  readonly revision: string;
  readonly target_digest: string;
  readonly sync: string;
  readonly health: string;
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  readonly health_counts: HealthCounts;
  readonly prunes_held: number;
  readonly prunes_digest: string;
  readonly recorded_at: Date;
  readonly as_of: Date;
  readonly epoch: string;
  readonly seq: bigint;
}

const targetStateColumns: Columns<TargetStateInsert> = {
  fleet: "text",
  cluster: "text",
  generation: "bigint",
  revision: "text",
  target_digest: "text",
  sync: "text",
  health: "text",
  message: "text",
  objects: "integer",
  healthy: "integer",
  drifted: "integer",
  failed: "integer",
  health_counts: "jsonb",
  prunes_held: "integer",
  prunes_digest: "text",
  recorded_at: "timestamptz",
  as_of: "timestamptz",
  epoch: "text",
  seq: "bigint",
};

export async function saveTargetStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const rows = fleets.flatMap(({ cluster, fold: { target } }) => (target === undefined ? [] : [targetInsert(cluster, target, now)]));
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(targetStateColumns, part);
    const names = Object.keys(targetStateColumns);
    await client.query({
      name: "save-target-states",
      text: `INSERT INTO target_states (${names.join(", ")}, version) SELECT r.*, nextval('change_version') FROM ${batch.text}
             ON CONFLICT (fleet, cluster) DO UPDATE SET ${names
               .slice(2)
               .map((name) => `${name} = EXCLUDED.${name}`)
               .join(", ")}, version = EXCLUDED.version`,
      values: [...batch.values],
    });
    await noteHealthy(client, part);
  }
}

/** The first time that a cluster is healthy and in sync with what was released to it: the place to come back to. */
async function noteHealthy(client: pg.ClientBase, rows: readonly TargetStateInsert[]): Promise<void> {
  const healthy = rows.filter(({ sync, health }) => sync === "Synced" && health === "Current");
  if (healthy.length === 0) return;
  await client.query({
    name: "note-healthy-releases",
    // A generation may be newer than its release: suspending and approving make one too.
    text: `UPDATE releases r SET healthy_at = now() FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS s (fleet, cluster, generation, revision)
           WHERE r.fleet = s.fleet AND r.cluster = s.cluster AND r.revision = s.revision AND r.healthy_at IS NULL
             AND r.generation = (SELECT max(x.generation) FROM releases x WHERE x.fleet = s.fleet AND x.cluster = s.cluster AND x.generation <= s.generation)`,
    values: [
      healthy.map(({ fleet }) => fleet),
      healthy.map(({ cluster }) => cluster),
      healthy.map(({ generation }) => generation),
      healthy.map(({ revision }) => revision),
    ],
  });
}

function targetInsert(cluster: string, row: TargetStateRow, now: Date): TargetStateInsert {
  const { fleet, generation, revision, sync, health, message, objects, healthy, drifted, failed, epoch, seq } = row;
  return {
    fleet, cluster, generation, revision, target_digest: row.targetDigest, sync, health, message, objects, healthy, drifted, failed, health_counts: row.healthCounts,
    prunes_held: row.prunesHeld, prunes_digest: row.prunesDigest, recorded_at: row.recordedAt, as_of: now, epoch, seq,
  }; // prettier-ignore
}
