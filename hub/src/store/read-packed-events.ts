import type pg from "pg";
import { packsAtOnce } from "../limits.ts";
import { type StoredEvent, unpackEvents } from "./event-pack.ts";
import { type PackSet, packsInAll } from "./pack-set.ts";

/** Undefined filters nothing. */
export interface PackedFilter {
  readonly fleet?: string | undefined;
  readonly cluster?: string | undefined;
  readonly reason?: string | undefined;
}

/** Ids between these two, neither of them included. */
export interface IdRange {
  readonly above: number;
  readonly below: number;
}

/** A segment that may have what is looked for. */
export interface PackedSegment {
  readonly day: string;
  readonly segment: number;
  readonly firstId: number;
  readonly lastId: number;
  /** How many events the whole segment has, and how many of them each filter leaves, in any order. */
  readonly events: readonly number[];
  /** Packs to look into, ascending. */
  readonly packs: readonly number[];
}

export interface PackedPage {
  /** In the order that was asked for. */
  readonly events: readonly StoredEvent[];
  /** Where the search was given up before it had found enough: up to this id, seen from where it began, everything was looked at. */
  readonly stoppedAt?: number;
}

/** Segments that may have such events, in order of their ids. */
export async function findSegments(pool: pg.Pool, filter: PackedFilter, { above, below }: IdRange): Promise<PackedSegment[]> {
  const keys = Object.entries({ fleet: filter.fleet, cluster: filter.cluster, reason: filter.reason }).flatMap(([kind, value]) =>
    value === undefined ? [] : [[kind, value] as const],
  );
  const wanted = [["all", ""] as const, ...keys];
  const { rows } = await pool.query<{ day: string; segment: number; first_id: string; last_id: string; events: number[]; sets: PackSet[] }>({
    name: `find-event-segments-${wanted.length}`,
    text: `SELECT to_char(day, 'YYYY-MM-DD') AS day, segment, first_id, last_id, array_agg(events) AS events, array_agg(packs) AS sets FROM event_pack_keys
           WHERE (${wanted.map((_key, index) => `(kind = $${index * 2 + 3} AND value = $${index * 2 + 4})`).join(" OR ")}) AND last_id > $1 AND first_id < $2
           GROUP BY event_pack_keys.day, segment, first_id, last_id HAVING count(*) = ${wanted.length} ORDER BY last_id`,
    values: [above, below, ...wanted.flat()],
  });
  return rows.map(({ day, segment, first_id: firstId, last_id: lastId, events, sets }) => ({
    day,
    segment,
    firstId: Number(firstId),
    lastId: Number(lastId),
    events,
    packs: packsInAll(sets),
  }));
}

export interface PackedSearch {
  readonly filter: PackedFilter;
  readonly range: IdRange;
  readonly descending: boolean;
  /** Ends when it has found so many, or looked into so many packs. */
  readonly wanted: number;
  readonly packsMax: number;
}

/** The first events of a range, from its upper end down or from its lower end up. */
export async function searchPacks(pool: pg.Pool, segments: readonly PackedSegment[], search: PackedSearch): Promise<PackedPage> {
  const { descending, range, wanted } = search;
  let found: StoredEvent[] = [];
  let left = search.packsMax;
  // Days overlap, by what was committed around midnight or by a clock that jumped: one segment's ids may lie between those of another.
  const isBeyond = (id: number): boolean => {
    const last = found[wanted - 1];
    return last !== undefined && (descending ? id < last.id : id > last.id);
  };
  const ordered = segments.toSorted((a, b) => (descending ? b.lastId - a.lastId : a.firstId - b.firstId));
  for (const [index, segment] of ordered.entries()) {
    if (isBeyond(descending ? segment.lastId : segment.firstId)) break;
    for await (const pack of readPacks(pool, segment, search)) {
      if (isBeyond(descending ? pack.lastId : pack.firstId)) break;
      // A search that would not get on by stopping here goes on.
      const stoppedAt = left > 0 ? undefined : edgeOf([pack, ...ordered.slice(index + 1)], descending);
      if (stoppedAt !== undefined && (descending ? stoppedAt < range.below : stoppedAt > range.above)) return { events: found, stoppedAt };
      left -= 1;
      const events = [...found, ...matching(pack, search)];
      found = events.sort((a, b) => (descending ? b.id - a.id : a.id - b.id)).slice(0, wanted);
    }
  }
  return { events: found };
}

/** How many events of a range match, of those in the newest packs. */
export async function countInPacks(pool: pg.Pool, segments: readonly PackedSegment[], search: Omit<PackedSearch, "descending">): Promise<number> {
  let count = 0;
  let left = search.packsMax;
  for (const segment of segments.toReversed()) {
    for await (const pack of readPacks(pool, segment, { ...search, descending: true })) {
      if (left === 0 || count >= search.wanted) return Math.min(count, search.wanted);
      left -= 1;
      count += matching(pack, search).length;
    }
  }
  return Math.min(count, search.wanted);
}

/** What is not looked at lies behind this id, on the side where the search was going. */
function edgeOf(rest: readonly { readonly firstId: number; readonly lastId: number }[], descending: boolean): number {
  return descending ? Math.max(...rest.map(({ lastId }) => lastId)) + 1 : Math.min(...rest.map(({ firstId }) => firstId)) - 1;
}

function matching({ events }: Pack, { filter, range }: Pick<PackedSearch, "filter" | "range">): StoredEvent[] {
  return events.filter((event) => event.id > range.above && event.id < range.below && isWanted(event, filter));
}

function isWanted(event: StoredEvent, { fleet, cluster, reason }: PackedFilter): boolean {
  return (
    (fleet === undefined || event.fleet === fleet) && (cluster === undefined || event.cluster === cluster) && (reason === undefined || event.reason === reason)
  );
}

interface Pack {
  readonly firstId: number;
  readonly lastId: number;
  readonly events: readonly StoredEvent[];
}

/** A segment's packs that reach into the range, in order, fetched as they are needed. A day that went by age meanwhile ends early. */
async function* readPacks(pool: pg.Pool, { day, segment, packs }: PackedSegment, { range, descending }: PackedSearch): AsyncGenerator<Pack> {
  for (let rest = packs; rest.length > 0;) {
    const { rows } = await pool.query<{ pack: number; first_id: string; last_id: string; body: Buffer }>({
      name: `read-event-packs-${descending ? "down" : "up"}`,
      text: `SELECT pack, first_id, last_id, body FROM event_packs
             WHERE day = $1::date AND segment = $2 AND pack = ANY ($3::smallint[]) AND last_id > $4 AND first_id < $5
             ORDER BY pack ${descending ? "DESC" : "ASC"} LIMIT ${packsAtOnce}`,
      values: [day, segment, rest, range.above, range.below],
    });
    for (const row of rows) yield { firstId: Number(row.first_id), lastId: Number(row.last_id), events: unpackEvents(row.body) };
    const last = rows.at(-1)?.pack;
    if (last === undefined || rows.length < packsAtOnce) return;
    rest = rest.filter((pack) => (descending ? pack < last : pack > last));
  }
}
