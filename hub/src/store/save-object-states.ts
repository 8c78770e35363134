import type pg from "pg";
import type { ObjectStateRow } from "../domain/report-rows.ts";
import { batchRowsMax } from "../limits.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { differs, inBatches, unnestRows, type Columns } from "./unnest.ts";

interface ObjectStateInsert {
  readonly fleet: string;
  readonly cluster: string;
  readonly object_id: string;
  readonly api_group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly bundle: string;
  readonly uid: string;
  readonly sync: string;
  readonly health: string;
  readonly message: string;
  readonly change: string;
  readonly drift: string;
  readonly prune: string;
  readonly as_of: Date;
  readonly snapshot_id: string | null;
}

const objectStateColumns: Columns<ObjectStateInsert> = {
  fleet: "text",
  cluster: "text",
  object_id: "text",
  api_group: "text",
  version: "text",
  kind: "text",
  namespace: "text",
  name: "text",
  bundle: "text",
  uid: "text",
  sync: "text",
  health: "text",
  message: "text",
  change: "text",
  drift: "jsonb",
  prune: "text",
  as_of: "timestamptz",
  snapshot_id: "text",
};

/** What is written only when it differs. */
const objectContent = ["version", "bundle", "uid", "sync", "health", "message", "change", "drift", "prune"];

export async function saveObjectStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const rows: ObjectStateInsert[] = [];
  const gone: { cluster: string; fleet: string; objectId: string }[] = [];
  for (const { cluster, fleet, fold } of fleets) {
    for (const [objectId, row] of fold.objects) {
      if (row === "gone") gone.push({ cluster, fleet, objectId });
      else rows.push(objectInsert(cluster, fleet, row, now));
    }
  }
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(objectStateColumns, part);
    const names = Object.keys(objectStateColumns);
    await client.query({
      name: "save-object-states",
      text: `INSERT INTO object_states AS o (${names.join(", ")}) SELECT * FROM ${batch.text}
             ON CONFLICT (fleet, cluster, object_id) DO UPDATE SET ${names
               .slice(3)
               .map((name) => `${name} = EXCLUDED.${name}`)
               .join(", ")}
             WHERE ${differs("o", objectContent)} OR EXCLUDED.snapshot_id IS NOT NULL`,
      values: [...batch.values],
    });
  }
  for (const part of inBatches(gone, batchRowsMax)) {
    await client.query({
      name: "drop-object-states",
      text: `DELETE FROM object_states o USING unnest($1::text[], $2::text[], $3::text[]) AS r (cluster, fleet, object_id)
             WHERE o.cluster = r.cluster AND o.fleet = r.fleet AND o.object_id = r.object_id`,
      values: [part.map(({ cluster }) => cluster), part.map(({ fleet }) => fleet), part.map(({ objectId }) => objectId)],
    });
  }
}

function objectInsert(cluster: string, fleet: string, row: ObjectStateRow, now: Date): ObjectStateInsert {
  const { objectId, group, version, kind, namespace, name, bundle, uid, sync, health, message, change, drift, prune, snapshotId } = row;
  return {
    fleet, cluster, object_id: objectId, api_group: group, version, kind, namespace, name, bundle, uid, sync, health, message, change,
    drift: JSON.stringify(drift), prune, as_of: now, snapshot_id: snapshotId,
  }; // prettier-ignore
}
