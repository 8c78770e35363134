import { parseArgs } from "node:util";
import { eventDaysKept } from "@flotilla/hub/limits";
import { openPool } from "@flotilla/hub/store/pool";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import type pg from "pg";
import { say } from "./crowd-rig.ts";
import { type Figure, reportFigures } from "./figures.ts";
import { embeddedUrl, growEvents, startGrownHub } from "./grown-hub.ts";

/**
 * What a target and an event take in Postgres, with indexes: a target is one app (a bundle of one object) in one cluster, and carries its part of everything that the hub keeps
 * of a cluster: what it should run and ran before, states, claims, phases, certificates. And how long the upkeep takes that drops a day of events.
 * `npm run bench -- state [--json FILE] [--write] [--clusters 10000] [--apps 100] [--events 10000000]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "10000" },
    apps: { type: "string", default: "100" },
    events: { type: "string", default: "10000000" },
  },
});
const [clusters, apps, events] = [Number(values.clusters), Number(values.apps), Number(values.events)];

/** The events are of so many days, the oldest of which is to be dropped. */
const days = 10;
const shownTables = 5;

const hub = await startGrownHub({ clusters, apps });
try {
  const figures = await targetFigures(hub.db, hub.tables);
  await fillDays(hub.db);
  figures.push(...(await eventFigures(hub.db)), await retentionFigure(hub.db, await embeddedUrl(hub.rig.hub.dataDir)));
  process.exitCode = await reportFigures("state", figures, values);
} finally {
  await hub.stop();
}

async function targetFigures(db: pg.Client, tables: readonly string[]): Promise<Figure[]> {
  const targets = clusters * apps;
  const { rows } = await db.query<{ name: string; bytes: string; index_bytes: string }>(
    `SELECT relname AS name, pg_total_relation_size(oid) AS bytes, pg_indexes_size(oid) AS index_bytes FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname = ANY($1::text[]) ORDER BY 2 DESC`,
    [tables],
  );
  const sum = (of: "bytes" | "index_bytes"): number => rows.reduce((total, row) => total + Number(row[of]), 0) / targets;
  return [
    { name: "targets", value: targets, unit: "" },
    { name: "a target, with indexes", value: sum("bytes"), unit: "B", target: 1_536 },
    { name: "of it indexes", value: sum("index_bytes"), unit: "B" },
    ...rows.slice(0, shownTables).map(({ name, bytes }): Figure => ({ name: `of it ${name}`, value: Number(bytes) / targets, unit: "B" })),
  ];
}

/** Days that upkeep made a partition of when they came, the oldest one day older than is kept. */
async function fillDays(db: pg.Client): Promise<void> {
  for (let age = eventDaysKept + 1; age > eventDaysKept + 1 - days; age -= 1) {
    say(`  events of the day ${age} days ago …`);
    const { rows } = await db.query<{ name: string; from: string; to: string }>(
      `SELECT 'events_' || to_char(d, 'YYYYMMDD') AS name, to_char(d, 'YYYY-MM-DD') AS "from", to_char(d + interval '1 day', 'YYYY-MM-DD') AS "to"
       FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') - $1 * interval '1 day' AS d) x`,
      [age],
    );
    for (const { name, from, to } of rows)
      await db.query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF events FOR VALUES FROM ('${from} 00:00:00+00') TO ('${to} 00:00:00+00')`);
    await growEvents(db, clusters, events / days, `now() - interval '${age} days'`);
  }
  await db.query("VACUUM ANALYZE events");
}

async function eventFigures(db: pg.Client): Promise<Figure[]> {
  const { rows } = await db.query<{ bytes: string; index_bytes: string }>(
    "SELECT sum(pg_total_relation_size(inhrelid)) AS bytes, sum(pg_indexes_size(inhrelid)) AS index_bytes FROM pg_inherits WHERE inhparent = 'events'::regclass",
  );
  const count = Number((await db.query<{ rows: string }>("SELECT count(*) AS rows FROM events")).rows[0]?.rows);
  return [
    { name: "events", value: count, unit: "" },
    { name: "an event, with indexes", value: Number(rows[0]?.bytes) / count, unit: "B", target: 120 },
    { name: "of it indexes", value: Number(rows[0]?.index_bytes) / count, unit: "B" },
  ];
}

/** A whole run of the store's upkeep, which drops the oldest day. */
async function retentionFigure(db: pg.Client, url: string): Promise<Figure> {
  const count = async (): Promise<number> =>
    Number((await db.query<{ rows: string }>("SELECT count(*) AS rows FROM pg_inherits WHERE inhparent = 'events'::regclass")).rows[0]?.rows);
  const pool = openPool({ url });
  try {
    const before = await count();
    const at = performance.now();
    await runUpkeep(pool);
    const ms = performance.now() - at;
    if ((await count()) !== before - 1) throw new Error(`upkeep dropped ${before - (await count())} days, not one`);
    return { name: `upkeep that drops a day of ${events / days} events`, value: ms, unit: "ms" };
  } finally {
    await pool.end();
  }
}
