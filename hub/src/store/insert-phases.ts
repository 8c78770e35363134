import type pg from "pg";
import { batchRowsMax } from "../limits.ts";
import { inBatches } from "./unnest.ts";

export interface PhaseInsert {
  readonly fleet: string;
  readonly revision: string;
  /** Empty for what happens once per revision. */
  readonly cluster: string;
  readonly phase: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly error: string;
  readonly spanId: string;
}

/** The first time of a step counts, unless it failed then. */
export async function insertPhases(client: pg.Pool | pg.ClientBase, phases: readonly PhaseInsert[]): Promise<void> {
  for (const part of inBatches(phases, batchRowsMax)) {
    await client.query({
      name: "insert-phases",
      text: `INSERT INTO phases AS p (fleet, revision, cluster, phase, started_at, ended_at, error, span_id)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[])
             ON CONFLICT (fleet, revision, cluster, phase) DO UPDATE
             SET started_at = EXCLUDED.started_at, ended_at = EXCLUDED.ended_at, error = EXCLUDED.error, span_id = EXCLUDED.span_id WHERE p.error <> ''`,
      values: [
        part.map(({ fleet }) => fleet),
        part.map(({ revision }) => revision),
        part.map(({ cluster }) => cluster),
        part.map(({ phase }) => phase),
        part.map(({ startedAt }) => startedAt),
        part.map(({ endedAt }) => endedAt),
        part.map(({ error }) => error),
        part.map(({ spanId }) => spanId),
      ],
    });
  }
}
