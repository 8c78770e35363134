import type pg from "pg";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";

/** The broker's stream as it is now. */
export interface ReportStreamState {
  /** Creation time: another one is another stream. */
  readonly created: string;
  readonly lastSeq: number;
}

/**
 * After which message of the stream the intake begins. When the stream is another than before, or ends before what was committed, the
 * broker lost its store: the intake begins at 0 and every enrolled cluster is asked to publish again from its watermark.
 */
export async function startIntakeAt(pool: pg.Pool, lease: Lease, stream: ReportStreamState): Promise<{ readonly afterSeq: number; readonly wiped: boolean }> {
  return inFencedTransaction(pool, lease, async (client) => {
    const { rows } = await client.query<{ stream_created: string; stream_seq: string }>("SELECT stream_created, stream_seq FROM intake_position FOR UPDATE");
    const known = rows[0];
    const seq = Number(known?.stream_seq ?? 0);
    if (known !== undefined && known.stream_created === stream.created && seq <= stream.lastSeq) return { afterSeq: seq, wiped: false };
    await client.query(
      `INSERT INTO intake_position (stream_created, stream_seq) VALUES ($1, 0)
       ON CONFLICT (only_row) DO UPDATE SET stream_created = EXCLUDED.stream_created, stream_seq = 0`,
      [stream.created],
    );
    if (known === undefined) return { afterSeq: 0, wiped: false };
    await askAllForResend(client);
    return { afterSeq: 0, wiped: true };
  });
}

/** In the transaction of what was folded: how far the stream is read. */
export async function saveIntakePosition(client: pg.ClientBase, created: string, streamSeq: number): Promise<void> {
  await client.query({
    name: "save-intake-position",
    text: "UPDATE intake_position SET stream_seq = $2 WHERE stream_created = $1 AND stream_seq < $2",
    values: [created, streamSeq],
  });
}

async function askAllForResend(client: pg.ClientBase): Promise<void> {
  await client.query("UPDATE clusters SET wants_resend = true, resend_asked_at = now() WHERE removed_at IS NULL AND enrolled_at IS NOT NULL");
  await notify(client, "flotilla_watermarks", { all: true, resend: true });
  const message = "the broker lost its store; every agent publishes again what was not committed";
  await saveEvents(client, [
    { at: new Date(), fleet: "", cluster: "", bundle: "", object_id: "", reason: "BrokerStoreLost", severity: "Warning", message, revision: "", trace_id: "" },
  ]);
}
