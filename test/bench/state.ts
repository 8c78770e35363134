import { parseArgs } from "node:util";
import { eventDaysKept } from "@flotilla/hub/limits";
import { packOldestDay } from "@flotilla/hub/store/pack-events";
import { openPool } from "@flotilla/hub/store/pool";
import { readEvents } from "@flotilla/hub/store/read-events";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import type pg from "pg";
import { say } from "./crowd-rig.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";
import { embeddedUrl, growEvents, startGrownHub } from "./grown-hub.ts";

/**
 * What a target and an event take in Postgres, with indexes: a target is one app (a bundle of one object) in one cluster, and carries its part of everything that the hub keeps
 * of a cluster: what it should run and ran before, states, claims, phases, certificates. Events fill the days that are kept; all but the newest are packed by the hub's own upkeep.
 * How long that takes, what a page of them takes to read, and how long the upkeep takes that drops a day.
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

/** Days with events: those that are kept, today, and the oldest, which is to be dropped. */
const days = eventDaysKept + 2;
const perDay = Math.ceil(events / days);
const shownTables = 5;
const pageReads = 40;

const hub = await startGrownHub({ clusters, apps });
const pool = openPool({ url: await embeddedUrl(hub.rig.hub.dataDir) });
try {
  const figures = await targetFigures(hub.db, hub.tables);
  for (let age = 0; age < days; age += 1) await fillDay(hub.db, age);
  await hub.db.query("VACUUM ANALYZE events");
  figures.push(await retentionFigure(), ...(await eventFigures(hub.db)));
  process.exitCode = await reportFigures("state", figures, values);
} finally {
  await pool.end();
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

/** A day that upkeep made a partition of when it came. */
async function fillDay(db: pg.Client, age: number): Promise<void> {
  say(`  events of the day ${age} days ago …`);
  const { rows } = await db.query<{ name: string; from: string; to: string }>(
    `SELECT 'events_' || to_char(d, 'YYYYMMDD') AS name, to_char(d, 'YYYY-MM-DD') AS "from", to_char(d + interval '1 day', 'YYYY-MM-DD') AS "to"
     FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') - $1 * interval '1 day' AS d) x`,
    [age],
  );
  for (const { name, from, to } of rows)
    await db.query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF events FOR VALUES FROM ('${from} 00:00:00+00') TO ('${to} 00:00:00+00')`);
  await growEvents(db, clusters, perDay, `now() - interval '${age} days'`);
}

interface Size {
  readonly events: number;
  readonly bytes: number;
  readonly indexBytes: number;
}

async function sizeOf(db: pg.Client, parents: readonly string[], countText: string): Promise<Size> {
  const { rows } = await db.query<{ bytes: string; index_bytes: string; events: string }>(
    `SELECT sum(pg_total_relation_size(inhrelid)) AS bytes, sum(pg_indexes_size(inhrelid)) AS index_bytes, (${countText}) AS events
     FROM pg_inherits WHERE inhparent = ANY (SELECT unnest($1::text[])::regclass)`,
    [parents],
  );
  return { events: Number(rows[0]?.events), bytes: Number(rows[0]?.bytes), indexBytes: Number(rows[0]?.index_bytes) };
}

function rowsSize(db: pg.Client): Promise<Size> {
  return sizeOf(db, ["events"], "SELECT count(*) FROM events");
}

function packsSize(db: pg.Client): Promise<Size> {
  return sizeOf(db, ["event_packs", "event_pack_keys"], "SELECT COALESCE(sum(events), 0) FROM event_pack_keys WHERE kind = 'all'");
}

/** As rows, then when all days but yesterday and today are packed: no more are rows at any time. */
async function eventFigures(db: pg.Client): Promise<Figure[]> {
  // The first went with the upkeep that dropped the oldest.
  const [asRows, first] = [await rowsSize(db), await packsSize(db)];
  const cpuBefore = process.cpuUsage();
  const times: number[] = [];
  while (times.length < eventDaysKept - 2) {
    const at = performance.now();
    await packNext();
    times.push((performance.now() - at) / 1_000);
    say(`  packed day ${times.length + 1} of ${eventDaysKept - 1} in ${times.at(-1)?.toFixed(1)} s`);
  }
  const cpu = process.cpuUsage(cpuBefore);
  await db.query("VACUUM ANALYZE events");
  const [rows, packs] = [await rowsSize(db), await packsSize(db)];
  const count = asRows.events + first.events;
  if (rows.events + packs.events !== count) throw new Error(`${count} events became ${rows.events} rows and ${packs.events} in packs`);
  return [
    { name: "events", value: count, unit: "" },
    { name: "an event, with indexes", value: (rows.bytes + packs.bytes) / count, unit: "B", target: 120 },
    { name: "an event of today and yesterday, as a row", value: rows.bytes / rows.events, unit: "B" },
    { name: "of it indexes", value: rows.indexBytes / rows.events, unit: "B" },
    { name: "an event of an earlier day, packed", value: packs.bytes / packs.events, unit: "B" },
    medianFigure(`packing a day of ${perDay} events`, times, "s"),
    { name: "CPU of the hub to pack a thousand events", value: (cpu.user + cpu.system) / (packs.events - first.events), unit: "ms" },
    ...(await readFigures(db)),
  ];
}

/** One day, however many runs it takes. In the first hour of a day (UTC) there is one fewer to pack. */
async function packNext(): Promise<void> {
  for (let runs = 0; runs < 50; runs += 1) if ((await packOldestDay(pool)) !== undefined) return;
  throw new Error("no day is left to pack: run this bench after one o'clock UTC");
}

/** Pages of a hundred out of packed days, at random places. */
async function readFigures(db: pg.Client): Promise<Figure[]> {
  const { rows } = await db.query<{ first: string; last: string }>(
    "SELECT min(first_id) AS first, max(last_id) AS last FROM event_pack_keys WHERE kind = 'all'",
  );
  const [first, last] = [Number(rows[0]?.first), Number(rows[0]?.last)];
  const cursorAt = () => Buffer.from(JSON.stringify([String(Math.floor(first + Math.random() * (last - first)))])).toString("base64url");
  const cluster = (await db.query<{ cluster: string }>("SELECT cluster FROM events WHERE cluster <> '' ORDER BY id DESC LIMIT 1")).rows[0]?.cluster;
  const figures: Figure[] = [];
  for (const [name, filter] of [
    ["all clusters", {}],
    ["one cluster", { cluster }],
  ] as const) {
    const times: number[] = [];
    for (let read = 0; read < pageReads; read += 1) {
      const at = performance.now();
      await readEvents(pool, { limit: 100, cursor: cursorAt(), ...filter });
      times.push(performance.now() - at);
    }
    figures.push(medianFigure(`a page of 100 packed events of ${name}`, times, "ms"));
  }
  return figures;
}

/** A whole run of the store's upkeep, which drops the oldest day and packs the next. */
async function retentionFigure(): Promise<Figure> {
  const count = async (): Promise<number> =>
    Number((await pool.query<{ rows: string }>("SELECT count(*) AS rows FROM pg_inherits WHERE inhparent = 'events'::regclass")).rows[0]?.rows);
  const before = await count();
  const at = performance.now();
  await runUpkeep(pool);
  const ms = performance.now() - at;
  if ((await count()) >= before) throw new Error("upkeep dropped no day");
  return { name: `upkeep that drops a day of ${perDay} events and packs another`, value: ms, unit: "ms" };
}
