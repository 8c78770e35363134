import type { EventRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { countedEventsMax, packsCountedMax, packsReadMax } from "../limits.ts";
import type { StoredEvent } from "./event-pack.ts";
import type { ListBounds } from "./read-fleets.ts";
import { cursorOf, keysOfCursor, Conditions, type PageOf, readPage } from "./read-page.ts";
import { countInPacks, findSegments, type IdRange, type PackedFilter, type PackedSegment, searchPacks } from "./read-packed-events.ts";

export interface EventFilter extends ListBounds, PackedFilter {
  /** Only events with a greater id. */
  readonly after?: number | undefined;
  readonly order?: "asc" | "desc" | undefined;
}

type EventOfRow = Omit<StoredEvent, "id"> & { readonly id: string };

const everything: IdRange = { above: -1, below: Number.MAX_SAFE_INTEGER };

/**
 * A page of events, of days that are rows and of days that are packed: rows are read first, since a day that is packed between the two is then met twice, not never.
 * A page may be short though `next` leads on: where several filters would have to look through more than packsReadMax packs. `total` stops at countedEventsMax, and
 * where more than one filter leaves something out at what the newest packsCountedMax packs have.
 *
 * @throws StoreError `bad-cursor`.
 */
export async function readEvents(pool: pg.Pool, query: EventFilter): Promise<PageOf<EventRow>> {
  const descending = query.order !== "asc";
  const rows = await readPage<EventOfRow>(pool, {
    from: "events e",
    select: "e.*",
    countMax: countedEventsMax,
    where: eventConditions(query),
    keys: [["e.id", "bigint"]],
    descending,
    limit: query.limit,
    cursor: query.cursor,
  });
  const after: IdRange = { ...everything, above: query.after ?? everything.above };
  const segments = await findSegments(pool, query, after);
  if (segments.length === 0) return { ...rows, items: rows.items.map(eventOfRow) };
  const range = query.cursor === undefined ? after : within(after, Number(keysOfCursor(query.cursor, 1)[0]), descending);
  const packed = await searchPacks(pool, segments, { filter: query, range, descending, wanted: query.limit + 1, packsMax: packsReadMax });
  const merged = inOrder([...rows.items.map(eventOfRow), ...packed.events.map(eventRow)], descending);
  const total = Math.min(countedEventsMax, rows.total + (await countPacked(pool, segments, query, after, countedEventsMax - rows.total)));
  // What lies behind the place where the search stopped is not known.
  const { stoppedAt } = packed;
  const known = stoppedAt === undefined ? merged : merged.filter(({ id }) => (descending ? id >= stoppedAt : id <= stoppedAt));
  const items = known.slice(0, query.limit);
  const isMore = known.length > query.limit || rows.next !== null || stoppedAt !== undefined;
  const last = items.at(-1)?.id;
  if (stoppedAt !== undefined && items.length < query.limit) return { items, next: cursorOf([String(stoppedAt)]), total };
  return { items, next: isMore && last !== undefined ? cursorOf([String(last)]) : null, total };
}

/** Events after an id, oldest first: what a watcher has not seen. Ids become visible in order (see the trigger on events), so none is missed. */
export async function readEventsAfter(pool: pg.Pool, after: number, fleet: string | undefined, limit: number): Promise<readonly EventRow[]> {
  const where = eventConditions({ fleet, after });
  const { rows } = await pool.query<EventOfRow & { packed_to: string | null }>(
    `SELECT e.*, (SELECT max(last_id) FROM event_pack_keys WHERE kind = 'all' AND value = '') AS packed_to FROM events e WHERE ${where.text} ORDER BY e.id LIMIT ${limit}`,
    where.values,
  );
  const own = rows.map(eventOfRow);
  if (rows[0] !== undefined && Number(rows[0].packed_to ?? 0) <= after) return own;
  const range: IdRange = { ...everything, above: after };
  const segments = await findSegments(pool, { fleet }, range);
  // Each pack of its own key has one at least: as many packs as events are enough.
  const packed = await searchPacks(pool, segments, { filter: { fleet }, range, descending: false, wanted: limit, packsMax: Infinity });
  return inOrder([...own, ...packed.events.map(eventRow)], false).slice(0, limit);
}

/** A cursor stands for the last event that was shown. */
function within(range: IdRange, cursor: number, descending: boolean): IdRange {
  return descending ? { ...range, below: Math.min(range.below, cursor) } : { ...range, above: Math.max(range.above, cursor) };
}

function inOrder(events: readonly EventRow[], descending: boolean): EventRow[] {
  const byId = new Map(events.map((event) => [event.id, event]));
  return [...byId.values()].sort((a, b) => (descending ? b.id - a.id : a.id - b.id));
}

/** How many match, up to `max`. Exact where a segment's keys say it; elsewhere (several filters that leave something out, a segment of which only a part is asked for) packs are looked into, the newest first. */
async function countPacked(pool: pg.Pool, segments: readonly PackedSegment[], filter: PackedFilter, range: IdRange, max: number): Promise<number> {
  const isSaid = (segment: PackedSegment): boolean => segment.firstId > range.above && matchesSaid(segment) !== undefined;
  const said = segments.filter(isSaid).reduce((sum, segment) => sum + (matchesSaid(segment) ?? 0), 0);
  if (said >= max) return Math.max(0, max);
  const unsaid = segments.filter((segment) => !isSaid(segment));
  return said + (await countInPacks(pool, unsaid, { filter, range, wanted: max - said, packsMax: packsCountedMax }));
}

/** What all filters leave together, where at most one of them leaves something out: no fewer than `least` match, and no more than each leaves. */
function matchesSaid({ events }: PackedSegment): number | undefined {
  const least = events.reduce((sum, count) => sum + count, 0) - (events.length - 1) * Math.max(...events);
  return least === Math.min(...events) ? least : undefined;
}

function eventConditions({ fleet, cluster, reason, after }: PackedFilter & { readonly after?: number | undefined }): Conditions {
  return new Conditions().add("e.fleet = ¤", fleet).add("e.cluster = ¤", cluster).add("e.reason = ¤", reason).add("e.id > ¤", after);
}

function eventOfRow({ id, ...row }: EventOfRow): EventRow {
  return eventRow({ ...row, id: Number(id) });
}

function eventRow({ id, at, fleet, cluster, bundle, object_id: object, reason, severity, message, revision, trace_id: traceId }: StoredEvent): EventRow {
  return { id, at: at.toISOString(), fleet, cluster, bundle, object, reason, severity, message, revision, traceId };
}
