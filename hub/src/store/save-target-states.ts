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
  }
}

function targetInsert(cluster: string, row: TargetStateRow, now: Date): TargetStateInsert {
  const { fleet, generation, revision, sync, health, message, objects, healthy, drifted, failed, epoch, seq } = row;
  return {
    fleet, cluster, generation, revision, target_digest: row.targetDigest, sync, health, message, objects, healthy, drifted, failed, health_counts: row.healthCounts,
    prunes_held: row.prunesHeld, prunes_digest: row.prunesDigest, recorded_at: row.recordedAt, as_of: now, epoch, seq,
  }; // prettier-ignore
}
