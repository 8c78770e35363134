import type pg from "pg";
import type { ClusterFold, ClusterPosition } from "../domain/fold-report.ts";
import { batchRowsMax, resendAskMs } from "../limits.ts";
import { inBatches, unnestRows, type Columns } from "./unnest.ts";

/** Locked in one order, so that two writers of clusters never wait for each other crosswise. A removed cluster has no position: its reports change nothing. */
export async function lockPositions(client: pg.ClientBase, clusters: readonly string[]): Promise<Map<string, ClusterPosition>> {
  const { rows } = await client.query<{
    name: string;
    epoch: string | null;
    watermark: string;
    snapshot_id: string | null;
    snapshot_parts: number;
    snapshot_seen: number;
    snapshot_from: string;
  }>({
    name: "lock-positions",
    text: `SELECT name, epoch, watermark, snapshot_id, snapshot_parts, snapshot_seen, snapshot_from FROM clusters
           WHERE name = ANY($1::text[]) AND removed_at IS NULL ORDER BY name FOR NO KEY UPDATE`,
    values: [[...new Set(clusters)]],
  });
  return new Map(
    rows.map((row) => [
      row.name,
      {
        epoch: row.epoch,
        watermark: BigInt(row.watermark),
        snapshot:
          row.snapshot_id === null ? null : { id: row.snapshot_id, parts: row.snapshot_parts, seen: row.snapshot_seen, fromSeq: BigInt(row.snapshot_from) },
      },
    ]),
  );
}

export async function savePositions(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  interface PositionRow {
    readonly name: string;
    readonly watermark: bigint;
    readonly snapshot_id: string | null;
    readonly snapshot_parts: number;
    readonly snapshot_seen: number;
    readonly snapshot_from: bigint;
    readonly wants_snapshot: boolean;
    readonly has_snapshot: boolean;
  }
  const columns: Columns<PositionRow> = {
    name: "text",
    watermark: "bigint",
    snapshot_id: "text",
    snapshot_parts: "integer",
    snapshot_seen: "integer",
    snapshot_from: "bigint",
    wants_snapshot: "boolean",
    has_snapshot: "boolean",
  };
  const rows = [...folds].map(([name, { position, wantsSnapshot, snapshot }]) => ({
    name,
    watermark: position.watermark,
    snapshot_id: position.snapshot?.id ?? null,
    snapshot_parts: position.snapshot?.parts ?? 0,
    snapshot_seen: position.snapshot?.seen ?? 0,
    snapshot_from: position.snapshot?.fromSeq ?? 0n,
    wants_snapshot: wantsSnapshot,
    has_snapshot: snapshot !== undefined,
  }));
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(columns, part);
    await client.query({
      name: "save-positions",
      text: `UPDATE clusters c SET watermark = r.watermark, snapshot_id = r.snapshot_id, snapshot_parts = r.snapshot_parts, snapshot_seen = r.snapshot_seen, snapshot_from = r.snapshot_from,
               wants_snapshot = r.wants_snapshot OR (c.wants_snapshot AND NOT r.has_snapshot), version = nextval('change_version')
             FROM ${batch.text} WHERE c.name = r.name`,
      values: [...batch.values],
    });
  }
}

/** Asks at most every resendAskMs: what was on its way when the agent began anew is no new loss. */
export async function askForResend(client: pg.ClientBase, missing: readonly string[]): Promise<readonly string[]> {
  if (missing.length === 0) return [];
  const { rows } = await client.query<{ name: string }>({
    name: "ask-for-resend",
    text: `UPDATE clusters SET wants_resend = true, resend_asked_at = now()
           WHERE name = ANY($1::text[]) AND (resend_asked_at IS NULL OR resend_asked_at < now() - $2 * interval '1 ms') RETURNING name`,
    values: [missing, resendAskMs],
  });
  return rows.map(({ name }) => name);
}
