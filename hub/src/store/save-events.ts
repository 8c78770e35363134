import type pg from "pg";
import { batchRowsMax } from "../limits.ts";
import { inBatches, unnestRows } from "./unnest.ts";

/** A line of `fleet events`. Empty strings where nothing applies. */
export interface EventInsert {
  /** Clock of where it happened. */
  readonly at: Date;
  readonly fleet: string;
  readonly cluster: string;
  readonly bundle: string;
  readonly object_id: string;
  readonly reason: string;
  readonly severity: "Normal" | "Warning";
  readonly message: string;
  readonly revision: string;
  readonly trace_id: string;
}

const columns = {
  at: "timestamptz",
  fleet: "text",
  cluster: "text",
  bundle: "text",
  object_id: "text",
  reason: "text",
  severity: "text",
  message: "text",
  revision: "text",
  trace_id: "text",
};

/** Adds events. Writers take turns from here to their commit (so that ids become visible in order): call it late in a transaction. */
export async function saveEvents(client: pg.Pool | pg.ClientBase, events: readonly EventInsert[]): Promise<void> {
  for (const rows of inBatches(events, batchRowsMax)) {
    const batch = unnestRows<EventInsert>(columns, rows);
    await client.query({
      name: "save-events",
      text: `INSERT INTO events (at, fleet, cluster, bundle, object_id, reason, severity, message, revision, trace_id) SELECT * FROM ${batch.text}`,
      values: [...batch.values],
    });
  }
}
