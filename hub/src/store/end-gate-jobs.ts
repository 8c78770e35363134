import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { EndedGate } from "../domain/gates.ts";
import { notify } from "./listen.ts";

/**
 * Nobody waits any more for the Jobs of rollouts that ended or go back: each cluster in which one may run is told. Part of the transaction that ends them.
 * A cluster that is away until the gate's time is over needs no word: its Job has a deadline of its own.
 */
export async function endGateJobs(client: pg.ClientBase, rollouts: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ cluster: string; command: string; gate: string; fleet: string; namespace: string; expires_at: Date }>({
    name: "read-open-gate-jobs",
    // An answer holds its command and waits for the rollout, which is held here: one that is being taken leaves no Job to end, and is not waited for.
    text: `WITH open AS (SELECT a.cluster, a.command, a.gate FROM gate_answers a JOIN commands c ON c.id = a.command
                         WHERE a.rollout = ANY($1::bigint[]) AND a.kind = 'job' AND a.verdict IS NULL AND c.acked_at IS NULL AND c.expires_at > now()
                         FOR UPDATE OF c SKIP LOCKED)
           UPDATE commands c SET acked_at = now(), error = 'nobody waits for it any more' FROM open WHERE c.id = open.command
           RETURNING open.cluster, open.command, open.gate, c.fleet, c.question -> 'job' ->> 'namespace' AS namespace, c.expires_at`,
    values: [rollouts],
  });
  if (rows.length === 0) return;
  const questions = rows.map(({ command, gate, namespace }) => JSON.stringify({ command, gate, namespace } satisfies EndedGate));
  await client.query({
    name: "end-gate-jobs",
    text: `INSERT INTO commands (id, cluster, kind, fleet, expires_at, question)
           SELECT k.id, k.cluster, 'end-gate', k.fleet, k.expires_at, k.question::jsonb
           FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]) AS k (id, cluster, fleet, expires_at, question)`,
    values: [rows.map(() => randomUUID()), rows.map(({ cluster }) => cluster), rows.map(({ fleet }) => fleet), rows.map((row) => row.expires_at), questions],
  });
  await notify(client, "flotilla_commands", { clusters: rows.map(({ cluster }) => cluster) });
}
