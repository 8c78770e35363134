import type pg from "pg";
import { eventDayGraceMs, eventDaysKept, eventPackCharsMax, eventsPerPack, packedAtOnce, packLockMs, packsPerSegment, segmentsPerRun } from "../limits.ts";
import { packEvents, type StoredEvent } from "./event-pack.ts";
import { packSetOf } from "./pack-set.ts";
import { unnestRows } from "./unnest.ts";

const packingLock = 7_021_962;

/** How much goes where; for tests, which need not have millions. */
export interface PackSizes {
  readonly eventsPerPack: number;
  readonly packsPerSegment: number;
  readonly packedAtOnce: number;
  readonly segmentsPerRun: number;
}

export interface PackOptions {
  readonly sizes?: PackSizes;
  /** Ends it after the batch that it is at. */
  readonly signal?: AbortSignal;
}

const ownSizes: PackSizes = { eventsPerPack, packsPerSegment, packedAtOnce, segmentsPerRun };

/** A day whose events are rows, and the tables that are made of them. */
interface Day {
  /** 2026-11-29, UTC. */
  readonly date: string;
  readonly events: string;
  readonly packs: string;
  readonly keys: string;
}

/**
 * Packs the oldest day that is over: its partition of `events` goes in the same transaction in which its packs become visible, so that readers find each event once
 * (those who read rows before packs). Until then the packs are built in tables of their own, a segment at a time: whoever goes on after a crash
 * begins with the first segment that has no keys. One replica packs at a time; a large day takes several runs.
 *
 * @returns the date of the day that was finished; undefined when there was none, it is not done yet, or the signal came.
 */
export async function packOldestDay(pool: pg.Pool, { sizes = ownSizes, signal }: PackOptions = {}): Promise<string | undefined> {
  const client = await pool.connect();
  let broken = true;
  try {
    const { rows } = await client.query<{ mine: boolean }>("SELECT pg_try_advisory_lock($1) AS mine", [packingLock]);
    const finished = rows[0]?.mine === true ? await packDay(client, sizes, signal) : undefined;
    await client.query("SELECT pg_advisory_unlock_all()");
    broken = false;
    return finished;
  } finally {
    // With its connection the lock goes, too.
    client.release(broken);
  }
}

async function packDay(client: pg.ClientBase, sizes: PackSizes, signal: AbortSignal | undefined): Promise<string | undefined> {
  const day = await findDay(client);
  if (day === undefined) return undefined;
  for (const [table, like] of [
    [day.packs, "event_packs"],
    [day.keys, "event_pack_keys"],
  ] as const)
    await client.query(`CREATE TABLE IF NOT EXISTS ${table} (LIKE ${like} INCLUDING ALL, CHECK (day = '${day.date}'))`);
  let { segment, lastId } = await findEnd(client, day);
  for (let segments = 0; segments < sizes.segmentsPerRun; segments += 1) {
    const packed = await packSegment(client, day, { segment, after: lastId, sizes, signal });
    if (signal?.aborted) return undefined;
    if (packed === undefined) return (await finish(client, day, lastId)) ? day.date : undefined;
    segment += 1;
    lastId = packed;
  }
  return undefined;
}

/** The oldest that is over, is kept for longer, and has no packs: a clock that jumped may bring back a day that has. */
async function findDay(client: pg.ClientBase): Promise<Day | undefined> {
  const { rows } = await client.query<{ date: string; name: string }>(
    `SELECT to_char(d, 'YYYY-MM-DD') AS date, to_char(d, 'YYYYMMDD') AS name
     FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS d FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_\\d{8}$') days
     WHERE d < (now() AT TIME ZONE 'UTC' - $1 * interval '1 ms')::date AND d >= (now() AT TIME ZONE 'UTC' - $2 * interval '1 day')::date
       AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = 'event_packs'::regclass AND i.inhrelid = to_regclass('event_packs_' || to_char(d, 'YYYYMMDD')))
     ORDER BY d LIMIT 1`,
    [eventDayGraceMs, eventDaysKept],
  );
  const found = rows[0];
  return found && { date: found.date, events: `events_${found.name}`, packs: `event_packs_${found.name}`, keys: `event_pack_keys_${found.name}` };
}

/** Where an earlier run ended. What it left of a segment is made again. */
async function findEnd(client: pg.ClientBase, day: Day): Promise<{ segment: number; lastId: number }> {
  const { rows } = await client.query<{ segment: number; last_id: string }>(
    `SELECT segment, last_id FROM ${day.keys} WHERE kind = 'all' ORDER BY segment DESC LIMIT 1`,
  );
  const segment = rows[0] === undefined ? 0 : rows[0].segment + 1;
  await client.query(`DELETE FROM ${day.packs} WHERE segment >= $1`, [segment]);
  return { segment, lastId: Number(rows[0]?.last_id ?? 0) };
}

/**
 * Packs what comes after an event, up to a segment.
 *
 * @returns the last event's id; undefined when there was none.
 */
async function packSegment(
  client: pg.ClientBase,
  day: Day,
  { segment, after, sizes, signal }: { readonly segment: number; readonly after: number; readonly sizes: PackSizes; readonly signal: AbortSignal | undefined },
): Promise<number | undefined> {
  const keys = new SegmentKeys();
  let rest: StoredEvent[] = [];
  let lastId = after;
  for (let pack = 0; pack < sizes.packsPerSegment;) {
    // What there is of the segment is made again.
    if (signal?.aborted) return undefined;
    const read = await readRows(client, day, rest.at(-1)?.id ?? lastId, sizes.packedAtOnce);
    rest.push(...read);
    const isEnd = read.length < sizes.packedAtOnce;
    const packs: StoredEvent[][] = [];
    while (rest.length > 0 && pack + packs.length < sizes.packsPerSegment) {
      const next = takePack(rest, sizes.eventsPerPack);
      // One that the next rows may fill.
      if (next.length === rest.length && !isEnd) break;
      packs.push(next);
      rest = rest.slice(next.length);
    }
    await savePacks(client, day, segment, pack, packs);
    for (const [index, events] of packs.entries()) keys.add(pack + index, events);
    pack += packs.length;
    lastId = packs.at(-1)?.at(-1)?.id ?? lastId;
    if (isEnd) break;
  }
  if (lastId === after) return undefined;
  await saveKeys(client, day, segment, keys);
  return lastId;
}

async function readRows(client: pg.ClientBase, day: Day, after: number, limit: number): Promise<StoredEvent[]> {
  const { rows } = await client.query<StoredEvent & { id: string }>(
    `SELECT id, at, fleet, cluster, bundle, object_id, reason, severity, message, revision, trace_id FROM ${day.events} WHERE id > $1 ORDER BY id LIMIT ${limit}`,
    [after],
  );
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

/** The first of them that fit into a pack; at least one. */
function takePack(events: readonly StoredEvent[], countMax: number): StoredEvent[] {
  let chars = 0;
  let count = 0;
  for (const { message, object_id: object } of events.slice(0, countMax)) {
    chars += message.length + object.length;
    if (count > 0 && chars > eventPackCharsMax) break;
    count += 1;
  }
  return events.slice(0, count);
}

async function savePacks(client: pg.ClientBase, day: Day, segment: number, first: number, packs: readonly (readonly StoredEvent[])[]): Promise<void> {
  if (packs.length === 0) return;
  const rows = packs.map((events, index) => ({
    pack: first + index,
    first_id: events[0]?.id ?? 0,
    last_id: events.at(-1)?.id ?? 0,
    body: packEvents(events),
  }));
  const batch = unnestRows({ pack: "smallint", first_id: "bigint", last_id: "bigint", body: "bytea" }, rows, 2);
  await client.query(
    `INSERT INTO ${day.packs} (day, segment, pack, first_id, last_id, body) SELECT '${day.date}', $1, pack, first_id, last_id, body FROM ${batch.text}`,
    [segment, ...batch.values],
  );
}

/** What a segment has of each fleet, cluster and reason. */
class SegmentKeys {
  readonly #keys = new Map<string, { kind: string; value: string; events: number; packs: Set<number> }>();
  #firstId = Infinity;
  #lastId = 0;

  add(pack: number, events: readonly StoredEvent[]): void {
    for (const { id, fleet, cluster, reason } of events) {
      this.#firstId = Math.min(this.#firstId, id);
      this.#lastId = Math.max(this.#lastId, id);
      for (const [kind, value] of Object.entries({ all: "", fleet, cluster, reason })) this.#count(kind, value, pack);
    }
  }

  get rows() {
    return [...this.#keys.values()].map(({ packs, ...key }) => ({
      ...key,
      first_id: this.#firstId,
      last_id: this.#lastId,
      packs: Buffer.from(packSetOf(packs)),
    }));
  }

  #count(kind: string, value: string, pack: number): void {
    const name = `${kind} ${value}`;
    const key = this.#keys.get(name) ?? { kind, value, events: 0, packs: new Set() };
    key.events += 1;
    key.packs.add(pack);
    this.#keys.set(name, key);
  }
}

async function saveKeys(client: pg.ClientBase, day: Day, segment: number, keys: SegmentKeys): Promise<void> {
  const batch = unnestRows({ kind: "text", value: "text", events: "integer", first_id: "bigint", last_id: "bigint", packs: "bytea" }, keys.rows, 2);
  await client.query(
    `INSERT INTO ${day.keys} (day, segment, kind, value, events, first_id, last_id, packs)
     SELECT '${day.date}', $1, kind, value, events, first_id, last_id, packs FROM ${batch.text}`,
    [segment, ...batch.values],
  );
}

/** Packs in, rows out. False when somebody held the events for too long, or an event came after all: the next run goes on. */
async function finish(client: pg.ClientBase, day: Day, lastId: number): Promise<boolean> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL lock_timeout = ${packLockMs}`);
    // What can wait, waits before anyone waits for us. Then as DROP takes them: the parent first.
    await client.query(`LOCK TABLE ${day.packs}, ${day.keys} IN ACCESS EXCLUSIVE MODE`);
    await client.query("LOCK TABLE ONLY event_packs, ONLY event_pack_keys IN SHARE UPDATE EXCLUSIVE MODE");
    await client.query("LOCK TABLE ONLY events IN ACCESS EXCLUSIVE MODE");
    await client.query(`LOCK TABLE ${day.events} IN ACCESS EXCLUSIVE MODE`);
    const { rows } = await client.query<{ more: boolean }>(`SELECT EXISTS (SELECT FROM ${day.events} WHERE id > $1) AS more`, [lastId]);
    if (rows[0]?.more !== false) {
      await client.query("ROLLBACK");
      return false;
    }
    await client.query(`ALTER TABLE event_packs ATTACH PARTITION ${day.packs} FOR VALUES IN ('${day.date}')`);
    await client.query(`ALTER TABLE event_pack_keys ATTACH PARTITION ${day.keys} FOR VALUES IN ('${day.date}')`);
    await client.query(`DROP TABLE ${day.events}`);
    await client.query("COMMIT");
    return true;
  } catch (error) {
    await client.query("ROLLBACK");
    // 55P03: lock_not_available.
    if ((error as { code?: string }).code === "55P03") return false;
    throw error;
  }
}
