import { packOldestDay, type PackSizes } from "@flotilla/hub/store/pack-events";
import { openPool } from "@flotilla/hub/store/pool";
import { migrate } from "@flotilla/hub/store/migrate";
import { type EventFilter, readEvents, readEventsAfter } from "@flotilla/hub/store/read-events";
import { readChangeMarks } from "@flotilla/hub/store/read-history";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import { eventDaysKept } from "@flotilla/hub/limits";
import type { EventRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";
import { seededRandom } from "../harness/random.ts";
import { waitFor } from "../harness/wait-for.ts";

/** FLOTILLA_PACK_SEED draws the same events and questions again. */
const seed = Number(process.env.FLOTILLA_PACK_SEED ?? Math.floor(Math.random() * 1_000_000));

let database: TestDatabase;
let pool: pg.Pool;

const migrated = async (url: string): Promise<void> => {
  const own = openPool({ url });
  await migrate(own);
  await own.end();
};

beforeEach(async () => {
  database = await createTestDatabase({ migrate: migrated });
  pool = openPool({ url: database.url });
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

/** Few in each, so that some thousand events are many packs and several segments. */
const small: PackSizes = { eventsPerPack: 20, packsPerSegment: 16, packedAtOnce: 150, segmentsPerRun: 2 };
const fleets = ["", "shop", "billing"];
const clusters = ["", ...Array.from({ length: 8 }, (_, index) => `berlin-${index}`)];
const reasons = ["Applied", "Healed", "Drifted", "ApplyFailed"];

/** A day's partition, as upkeep would have made it when the day came. */
async function makeDay(age: number): Promise<string> {
  const { rows } = await pool.query<{ name: string; from: string; to: string }>(
    `SELECT 'events_' || to_char(d, 'YYYYMMDD') AS name, to_char(d, 'YYYY-MM-DD') AS "from", to_char(d + interval '1 day', 'YYYY-MM-DD') AS "to"
     FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') - $1 * interval '1 day' AS d) x`,
    [age],
  );
  const { name, from, to } = rows[0]!;
  await pool.query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF events FOR VALUES FROM ('${from} 00:00:00+00') TO ('${to} 00:00:00+00')`);
  return name;
}

/** Events of a day that was so many days ago, at most one in ten of the next day: ids around midnight overlap. */
async function addDay(random: () => number, age: number, count: number): Promise<void> {
  const draw = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const rows = Array.from({ length: count }, (_, index) => ({
    fleet: draw(fleets),
    cluster: draw(clusters),
    reason: random() < 0.01 ? "FleetDeleted" : draw(reasons),
    message: `${age} days ago, the ${index}th${random() < 0.02 ? " ✓ „quoted“\n" : ""}`,
    age: index > count - 10 && random() < 0.5 ? age - 1 : age,
  }));
  await pool.query(
    `INSERT INTO events (at, fleet, cluster, bundle, object_id, reason, severity, message, revision, trace_id, committed_at)
     SELECT now() - interval '1 hour', fleet, cluster, 'web', 'v1/ConfigMap/default/web', reason, 'Normal', message, 'abc', 'def',
            date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - age * interval '1 day' + interval '12 hours'
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[]) AS r (fleet, cluster, reason, message, age)`,
    [rows.map((row) => row.fleet), rows.map((row) => row.cluster), rows.map((row) => row.reason), rows.map((row) => row.message), rows.map((row) => row.age)],
  );
}

/** Every page of a list. */
async function listAll(query: EventFilter): Promise<{ items: EventRow[]; total: number }> {
  const items: EventRow[] = [];
  let total = 0;
  for (let cursor: string | undefined; ;) {
    const page = await readEvents(pool, { ...query, cursor });
    expect(page.items.length).toBeLessThanOrEqual(query.limit);
    items.push(...page.items);
    total = page.total;
    if (page.next === null) return { items, total };
    cursor = page.next;
  }
}

const packAll = async (sizes: PackSizes): Promise<string[]> => {
  const days: string[] = [];
  for (let left = 0; left < 12;) {
    const day = await packOldestDay(pool, { sizes });
    if (day === undefined) left += 1;
    else days.push(day);
  }
  return days;
};

const partitionsOf = async (parent: string): Promise<string[]> =>
  (
    await pool.query<{ name: string }>(
      `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '${parent}'::regclass AND c.relname ~ '\\d{8}$' ORDER BY 1`,
    )
  ).rows.map(({ name }) => name);

describe("events of days that are over", () => {
  it(`are packed, and every list, page and watch says of them what it said before (seed ${seed})`, async () => {
    const random = seededRandom(seed);
    const draw = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    for (const age of [6, 5, 4, 3, 1, 0]) await makeDay(age);
    // A clock that jumped: the ids of one day lie around those of the others.
    for (const [age, count] of [[3, 60], [6, 700], [4, 450], [3, 60], [1, 120]] as const) await addDay(random, age, count); // prettier-ignore
    const { rows } = await pool.query<{ first: number; last: number }>("SELECT min(id)::integer AS first, max(id)::integer AS last FROM events");
    const { first, last } = rows[0]!;
    const someId = () => first - 5 + Math.floor(random() * (last - first + 10));
    const questions = Array.from({ length: 40 }, (): EventFilter => ({
      limit: draw([23, 60, 500]),
      cursor: undefined,
      ...(random() < 0.4 && { fleet: draw(["shop", "billing", "none"]) }),
      ...(random() < 0.4 && { cluster: draw(clusters.slice(1)) }),
      ...(random() < 0.4 && { reason: draw([...reasons, "FleetDeleted"]) }),
      ...(random() < 0.3 && { after: someId() }),
      ...(random() < 0.5 && { order: draw(["asc", "desc"] as const) }),
    }));
    const watches = Array.from({ length: 20 }, () => [someId(), draw([undefined, "shop", "none"]), draw([1, 20, 500])] as const);
    const ask = async () => ({
      lists: await Promise.all(questions.map(listAll)),
      watches: await Promise.all(watches.map((watch) => readEventsAfter(pool, ...watch))),
      newest: (await readChangeMarks(pool)).eventId,
    });
    const before = await ask();
    expect(await packAll(small)).toHaveLength(4);
    expect(await partitionsOf("event_packs")).toHaveLength(4);
    expect(await partitionsOf("events")).toHaveLength(2);
    expect(await ask()).toEqual(before);
    // Also those of the midnight when nothing came after.
    const today = await pool.query<{ id: number }>("SELECT id::integer FROM events ORDER BY id");
    await pool.query("DELETE FROM events");
    expect((await readChangeMarks(pool)).eventId).toBe(Math.max(...(await listAll({ limit: 500, cursor: undefined })).items.map(({ id }) => id)));
    expect(today.rows.length).toBeGreaterThan(100);
  });

  it("are read while they are packed, each once", async () => {
    const random = seededRandom(7);
    await makeDay(4);
    await addDay(random, 4, 900);
    const query: EventFilter = { limit: 100, cursor: undefined };
    const before = await listAll(query);
    let packed = false;
    const packing = packAll({ ...small, segmentsPerRun: 1 }).finally(() => (packed = true));
    let reads = 0;
    while (!packed || reads < 3) {
      expect((await listAll(query)).items).toEqual(before.items);
      expect(await readEventsAfter(pool, 0, undefined, 500)).toEqual(before.items.toReversed().slice(0, 500));
      reads += 1;
    }
    expect(await packing).toHaveLength(1);
  });

  it("are packed once by two hubs at once, and go on where a hub died", async () => {
    const random = seededRandom(8);
    await makeDay(4);
    await addDay(random, 4, 1_500);
    const before = await listAll({ limit: 500, cursor: undefined });
    const sizes = { ...small, segmentsPerRun: 1 };
    expect(await packOldestDay(pool, { sizes })).toBeUndefined();
    // The next segment is half written when its hub dies: it has packs and no keys.
    const [packs] = (await pool.query<{ name: string }>("SELECT relname AS name FROM pg_class WHERE relname ~ '^event_packs_\\d{8}$'")).rows;
    await pool.query(`INSERT INTO ${packs!.name} SELECT day, 1, 0, last_id + 1, last_id + 20, 'half' FROM ${packs!.name} ORDER BY pack DESC LIMIT 1`);
    const days: (string | undefined)[] = [];
    for (let runs = 0; runs < 12; runs += 1) days.push(...(await Promise.all([packOldestDay(pool, { sizes }), packOldestDay(pool, { sizes })])));
    expect(days.filter((day) => day !== undefined)).toHaveLength(1);
    expect(await listAll({ limit: 500, cursor: undefined })).toEqual(before);
    // What addDay put into the next day, which has no partition here.
    const count = (table: string) => pool.query(`SELECT count(*)::integer AS count FROM ${table}`).then(({ rows }) => rows);
    expect(await count("events")).toEqual(await count("events_other"));
  });

  it("are left where they are when the hub stops, and packed by the next", async () => {
    await makeDay(4);
    await addDay(seededRandom(13), 4, 400);
    expect(await packOldestDay(pool, { sizes: small, signal: AbortSignal.abort() })).toBeUndefined();
    expect(await partitionsOf("event_packs")).toEqual([]);
    expect(await packAll(small)).toHaveLength(1);
  });

  it("are packed fewer together where they are long", async () => {
    await makeDay(4);
    await pool.query(
      "INSERT INTO events (at, reason, severity, message, committed_at) SELECT now(), 'Long', 'Normal', repeat('x', 3000000) || i, now() - interval '4 days' FROM generate_series(1, 4) i",
    );
    const before = await listAll({ limit: 2, cursor: undefined });
    expect(await packOldestDay(pool)).toBeDefined();
    expect((await pool.query("SELECT count(*)::integer AS packs FROM event_packs")).rows).toEqual([{ packs: 4 }]);
    expect(await listAll({ limit: 2, cursor: undefined })).toEqual(before);
  });

  it("stay rows while somebody holds them, and are packed by a later run", async () => {
    await makeDay(4);
    await addDay(seededRandom(9), 4, 100);
    const reader = await pool.connect();
    await reader.query("BEGIN");
    await reader.query("SELECT count(*) FROM events");
    expect(await packOldestDay(pool, { sizes: small })).toBeUndefined();
    await reader.query("COMMIT");
    reader.release();
    expect(await packOldestDay(pool, { sizes: small })).toBeDefined();
  });

  it("are taken along when they come after the last of the day was packed", async () => {
    await makeDay(4);
    await addDay(seededRandom(10), 4, 320);
    expect(await packOldestDay(pool, { sizes: { ...small, segmentsPerRun: 1 } })).toBeUndefined();
    await pool.query("INSERT INTO events (at, reason, severity, message, committed_at) VALUES (now(), 'Late', 'Normal', '', now() - interval '4 days')");
    await packAll(small);
    expect((await listAll({ limit: 10, cursor: undefined, reason: "Late" })).items).toHaveLength(1);
  });

  it("are taken along when they come while the end of the packing waits for its locks", async () => {
    await makeDay(4);
    await addDay(seededRandom(14), 4, 100);
    const writer = await pool.connect();
    await writer.query("BEGIN");
    await writer.query("SELECT count(*) FROM events");
    const packing = packOldestDay(pool, { sizes: small });
    await waitFor(async () => (await pool.query("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass")).rowCount === 1);
    await writer.query("INSERT INTO events (at, reason, severity, message, committed_at) VALUES (now(), 'Late', 'Normal', '', now() - interval '4 days')");
    await writer.query("COMMIT");
    writer.release();
    expect(await packing).toBeUndefined();
    expect(await packAll(small)).toHaveLength(1);
    expect((await listAll({ limit: 10, cursor: undefined, reason: "Late" })).items).toHaveLength(1);
  });

  it("stay rows when a clock that jumped brings back a day that was packed, and are listed with it", async () => {
    const name = await makeDay(4);
    await addDay(seededRandom(11), 4, 100);
    await packAll(small);
    expect(await makeDay(4)).toBe(name);
    await pool.query("INSERT INTO events (at, reason, severity, message, committed_at) VALUES (now(), 'Again', 'Normal', '', now() - interval '4 days')");
    expect(await packAll(small)).toEqual([]);
    expect((await listAll({ limit: 500, cursor: undefined })).items).toHaveLength(101);
  });

  it("go by age, a day at a time, packed or not", async () => {
    for (const age of [eventDaysKept + 2, eventDaysKept, 4]) {
      await makeDay(age);
      await addDay(seededRandom(12), age, 30);
    }
    // Begun by a hub that was off ever since.
    for (const table of ["event_packs", "event_pack_keys"]) await pool.query(`CREATE TABLE ${table}_20200101 (LIKE ${table} INCLUDING ALL)`);
    await runUpkeep(pool);
    expect((await pool.query("SELECT relname FROM pg_class WHERE relname ~ '_20200101$'")).rows).toEqual([]);
    // The one that is too old is dropped, not packed.
    expect(await partitionsOf("event_packs")).toHaveLength(1);
    await runUpkeep(pool);
    expect(await partitionsOf("event_packs")).toHaveLength(2);
    await pool.query("ALTER TABLE event_packs DETACH PARTITION " + (await partitionsOf("event_packs"))[0]);
    const listed = (await listAll({ limit: 500, cursor: undefined })).items;
    // Keys without packs: a day that is just going. Nothing fails.
    expect(listed.length).toBeGreaterThan(20);
  });

  it("are found by several filters in pages that may be short, where there is more to look through than one page may", async () => {
    await makeDay(4);
    await pool.query(
      `INSERT INTO events (at, fleet, cluster, reason, severity, message, committed_at)
       SELECT now(), CASE WHEN i % 2 = 0 THEN 'shop' ELSE 'billing' END, CASE WHEN i % 2 = 1 OR i = 20 THEN 'berlin-1' ELSE 'berlin-2' END, 'Applied', 'Normal', '', now() - interval '4 days'
       FROM generate_series(1, 6000) i`,
    );
    while ((await packOldestDay(pool, { sizes: { eventsPerPack: 2, packsPerSegment: 1_000, packedAtOnce: 2_000, segmentsPerRun: 10 } })) === undefined);
    const query = { limit: 10, cursor: undefined, fleet: "shop", cluster: "berlin-1" };
    const firstPage = await readEvents(pool, query);
    expect(firstPage).toMatchObject({ items: [], total: 0 });
    expect(firstPage.next).not.toBeNull();
    expect((await listAll(query)).items).toHaveLength(1);
    // One of these leaves nothing out: the other's number is theirs, too.
    expect((await readEvents(pool, { limit: 1, cursor: undefined, reason: "Applied", cluster: "berlin-1" })).total).toBe(3_001);
    expect((await readEvents(pool, { limit: 1, cursor: undefined, reason: "Applied", cluster: "berlin-1", fleet: "billing" })).total).toBeLessThan(3_000);
    expect((await listAll({ ...query, order: "asc" })).items).toHaveLength(1);
  });
});
