import { revisionsKeptPerFleet } from "@flotilla/proto/limits";
import type pg from "pg";
import {
  approvalsKeptMs,
  bodyGraceMs,
  commandsKeptMs,
  previewsKeptMs,
  deadLettersMax,
  driftsKeptMax,
  driftsKeptMs,
  eventDaysAhead,
  eventDaysKept,
  releasesKeptMs,
  upkeepRowsMax,
} from "../limits.ts";
import { dropOldDeliveries } from "./deliveries.ts";
import { packOldestDay } from "./pack-events.ts";
import { inTransaction } from "./pool.ts";

/**
 * Keeps the database bounded: event partitions made ahead, packed when their day is over and dropped by age, and what nobody asks for any more. Each run takes a bounded
 * part, so that neither a long absence nor a clock that jumped makes one run dear or drops more than a day of events. Any
 * replica may run it at any time.
 */
export async function runUpkeep(pool: pg.Pool, signal?: AbortSignal): Promise<void> {
  await makePartitions(pool);
  await dropOldestPartition(pool, "events");
  // Keys first: they say which packs there are.
  await dropOldestPartition(pool, "event_pack_keys");
  await dropOldestPartition(pool, "event_packs");
  await pool.query(
    `DELETE FROM events_other WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_other WHERE committed_at < now() - $1 * interval '1 day' LIMIT ${upkeepRowsMax}))`,
    [eventDaysKept],
  );
  await pool.query("DELETE FROM dead_letters WHERE id <= (SELECT id FROM dead_letters ORDER BY id DESC OFFSET $1 LIMIT 1)", [deadLettersMax]);
  await pool.query("DELETE FROM previews WHERE created_at < now() - $1 * interval '1 ms'", [previewsKeptMs]);
  await dropOldDeliveries(pool);
  await pool.query("DELETE FROM commands WHERE expires_at < now() - $1 * interval '1 ms'", [commandsKeptMs]);
  await pool.query("DELETE FROM enrol_tokens WHERE expires_at < now() - interval '7 days'");
  await pool.query(`DELETE FROM drifts WHERE id = ANY(ARRAY(SELECT id FROM drifts WHERE healed_at < now() - $1 * interval '1 ms' LIMIT ${upkeepRowsMax}))`, [
    driftsKeptMs,
  ]);
  await dropSurplusDrifts(pool);
  await pool.query("DELETE FROM approvals WHERE settled_at < now() - $1 * interval '1 ms'", [approvalsKeptMs]);
  await dropOldReleases(pool);
  await dropUnusedPlacements(pool);
  await dropOldRevisions(pool);
  await dropUnusedBodies(pool);
  await packOldestDay(pool, signal === undefined ? {} : { signal });
}

/** However often objects drift: the newest healed ones stay. */
async function dropSurplusDrifts(pool: pg.Pool): Promise<void> {
  await pool.query(
    `DELETE FROM drifts WHERE id = ANY(ARRAY(
       SELECT id FROM drifts WHERE healed_at IS NOT NULL ORDER BY healed_at LIMIT
         LEAST(${upkeepRowsMax}, GREATEST(0, (SELECT count(*) FROM drifts WHERE healed_at IS NOT NULL) - $1))))`,
    [driftsKeptMax],
  );
}

/** Days of Postgres' clock, which also says to which day an event belongs. A day whose events are in the default partition stays there. */
async function makePartitions(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ name: string; from: string; to: string }>(
    `SELECT 'events_' || to_char(d, 'YYYYMMDD') AS name, to_char(d, 'YYYY-MM-DD') AS "from", to_char(d + interval '1 day', 'YYYY-MM-DD') AS "to"
     FROM generate_series(date_trunc('day', now() AT TIME ZONE 'UTC'), date_trunc('day', now() AT TIME ZONE 'UTC') + $1 * interval '1 day', interval '1 day') AS d
     WHERE to_regclass('events_' || to_char(d, 'YYYYMMDD')) IS NULL`,
    [eventDaysAhead],
  );
  for (const { name, from, to } of rows) {
    await pool
      .query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF events FOR VALUES FROM ('${from} 00:00:00+00') TO ('${to} 00:00:00+00')`)
      .catch((error: unknown) => {
        // 23514: the default partition holds events of that day; 42P07, 42710: another replica was first.
        if (!["23514", "42P07", "42710"].includes((error as { code?: string }).code ?? "")) throw error;
      });
  }
}

/** Of packs also what was begun and never became a partition. */
async function dropOldestPartition(pool: pg.Pool, parent: "events" | "event_packs" | "event_pack_keys"): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class
     WHERE relkind = 'r' AND pg_table_is_visible(oid) AND relname ~ ('^' || $2 || '_\\d{8}$')
       AND right(relname, 8) < to_char(now() AT TIME ZONE 'UTC' - $1 * interval '1 day', 'YYYYMMDD')
     ORDER BY relname LIMIT 1`,
    [eventDaysKept, parent],
  );
  if (rows[0] !== undefined) await pool.query(`DROP TABLE IF EXISTS ${rows[0].name}`);
}

/** History by age; the newest release of each cluster stays, and the newest that was healthy there: it is the place to go back to. */
async function dropOldReleases(pool: pg.Pool): Promise<void> {
  await pool.query(
    `DELETE FROM releases WHERE ctid = ANY(ARRAY(
       SELECT r.ctid FROM releases r WHERE r.released_at < now() - $1 * interval '1 ms'
         AND EXISTS (SELECT 1 FROM releases n WHERE n.fleet = r.fleet AND n.cluster = r.cluster AND n.generation > r.generation)
         AND (r.healthy_at IS NULL OR EXISTS (SELECT 1 FROM releases n WHERE n.fleet = r.fleet AND n.cluster = r.cluster AND n.generation > r.generation AND n.healthy_at IS NOT NULL AND n.revision <> r.revision))
       LIMIT ${upkeepRowsMax}))`,
    [releasesKeptMs],
  );
}

/** Of revisions that nothing is about to release: neither a rollout that is open or waits, nor the settled one, nor a pin. Then what no row names any more. */
async function dropUnusedPlacements(pool: pg.Pool): Promise<void> {
  await pool.query(
    `DELETE FROM placements WHERE ctid = ANY(ARRAY(
       SELECT p.ctid FROM placements p WHERE p.placed_at < now() - $1 * interval '1 ms'
         AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.fleet = p.fleet AND r.revision = p.revision AND r.phase IN ('Queued', 'Running', 'RollingBack'))
         AND NOT EXISTS (SELECT 1 FROM fleets f WHERE f.name = p.fleet AND f.settled_revision = p.revision)
         AND NOT EXISTS (SELECT 1 FROM pins n WHERE n.fleet = p.fleet AND n.revision = p.revision)
       LIMIT ${upkeepRowsMax}))`,
    [bodyGraceMs],
  );
  await pool.query(
    `DELETE FROM target_specs WHERE digest = ANY(ARRAY(
       SELECT s.digest FROM target_specs s WHERE s.created_at < now() - $1 * interval '1 ms'
         AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.spec = s.digest) AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.spec = s.digest)
         AND NOT EXISTS (SELECT 1 FROM targets t WHERE t.digest = s.digest)
       LIMIT ${upkeepRowsMax})) AND created_at < now() - $1 * interval '1 ms'`,
    [bodyGraceMs],
  );
}

/** The newest of each fleet stay, and those that targets are made of. */
async function dropOldRevisions(pool: pg.Pool): Promise<void> {
  await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ fleet: string; revision: string }>(
      `DELETE FROM revisions r USING (
         SELECT fleet, revision, row_number() OVER (PARTITION BY fleet ORDER BY seen_at DESC) AS age FROM revisions) o
       WHERE o.fleet = r.fleet AND o.revision = r.revision AND o.age > $1
         AND NOT EXISTS (SELECT 1 FROM targets t WHERE t.fleet = r.fleet AND t.revision = r.revision)
         AND NOT EXISTS (SELECT 1 FROM fleets f WHERE f.name = r.fleet AND r.revision IN (f.revision, f.seen_revision, f.settled_revision))
         AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.fleet = r.fleet AND p.revision = r.revision)
         AND NOT EXISTS (SELECT 1 FROM rollouts o WHERE o.fleet = r.fleet AND o.revision = r.revision AND o.phase IN ('Queued', 'Running', 'RollingBack'))
       RETURNING r.fleet, r.revision`,
      [revisionsKeptPerFleet],
    );
    await client.query("DELETE FROM phases p USING unnest($1::text[], $2::text[]) AS r (fleet, revision) WHERE p.fleet = r.fleet AND p.revision = r.revision", [
      rows.map(({ fleet }) => fleet),
      rows.map(({ revision }) => revision),
    ]);
  });
}

/** Bodies that no target, no kept revision and no history of releases names. A young one may belong to a revision that is being rendered now. */
async function dropUnusedBodies(pool: pg.Pool): Promise<void> {
  await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ digest: string }>(
      `DELETE FROM bodies b WHERE b.digest = ANY(ARRAY(
         SELECT o.digest FROM bodies o WHERE o.created_at < now() - $1 * interval '1 ms'
           AND o.digest NOT IN (SELECT x ->> 'digest' FROM targets t CROSS JOIN LATERAL jsonb_array_elements(t.bundles) x WHERE x ->> 'digest' IS NOT NULL)
           AND o.digest NOT IN (SELECT x ->> 'digest' FROM target_specs s CROSS JOIN LATERAL jsonb_array_elements(s.bundles) x WHERE x ->> 'digest' IS NOT NULL)
           AND o.digest NOT IN (SELECT x ->> 'digest' FROM revisions r CROSS JOIN LATERAL jsonb_array_elements(r.rendered) x WHERE x ->> 'digest' IS NOT NULL)
         LIMIT ${upkeepRowsMax}))
       RETURNING digest`,
      [bodyGraceMs],
    );
    await client.query("DELETE FROM renders WHERE digest = ANY($1::text[])", [rows.map(({ digest }) => digest)]);
  });
}

export interface Upkeep {
  close(): Promise<void>;
}

/** Runs it now, and then every so often. A failure waits for the next time. */
export function startUpkeep(pool: pg.Pool, everyMs: number, onError: (error: unknown) => void): Upkeep {
  let running: Promise<void> | undefined;
  const stopped = new AbortController();
  const run = (): void => {
    running ??= runUpkeep(pool, stopped.signal)
      .catch(onError)
      .finally(() => (running = undefined));
  };
  run();
  const timer = setInterval(run, everyMs);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      stopped.abort();
      await running;
    },
  };
}
