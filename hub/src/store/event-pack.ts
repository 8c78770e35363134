import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { eventPackBytesMax } from "../limits.ts";
import type { EventInsert } from "./save-events.ts";

/** An event as it is stored, in a row of its own or in a pack. */
export interface StoredEvent extends EventInsert {
  readonly id: number;
}

const textColumns = ["fleet", "cluster", "bundle", "object_id", "reason", "severity", "message", "revision", "trace_id"] as const;

/** Columns compress better than rows: what is alike stands together, and each text is there once. */
interface Columns {
  readonly version: 1;
  /** The first, then how much greater each is than the one before. */
  readonly ids: readonly number[];
  /** Milliseconds since 1970. No distances: between the ends of what Postgres takes for a time they are no safe integers. */
  readonly ats: readonly number[];
  /** In the order of textColumns. */
  readonly texts: readonly TextColumn[];
}

interface TextColumn {
  readonly words: readonly string[];
  readonly rows: readonly number[];
}

/** Events in order of ids as one compressed value; times to the millisecond. */
export function packEvents(events: readonly StoredEvent[]): Buffer {
  const columns: Columns = {
    version: 1,
    ids: distances(events.map(({ id }) => id)),
    ats: events.map(({ at }) => at.getTime()),
    texts: textColumns.map((name) => textColumn(events.map((event) => event[name]))),
  };
  return zstdCompressSync(JSON.stringify(columns));
}

/**
 * What was packed.
 *
 * @throws Error when it is no pack, of a newer version, or larger than any.
 */
export function unpackEvents(body: Uint8Array): StoredEvent[] {
  const { version, ids, ats, texts } = JSON.parse(zstdDecompressSync(body, { maxOutputLength: eventPackBytesMax }).toString("utf8")) as Columns;
  if (version !== 1) throw new Error(`events are packed as version ${String(version)}, and this hub reads version 1: a newer hub wrote them`);
  const text = texts.map(({ words, rows }) => rows.map((row) => words[row] ?? ""));
  return sums(ids).map((id, row) => {
    const named = Object.fromEntries(textColumns.map((name, column) => [name, text[column]?.[row] ?? ""])) as Pick<StoredEvent, (typeof textColumns)[number]>;
    return { id, at: new Date(ats[row] ?? 0), ...named };
  });
}

function distances(values: readonly number[]): number[] {
  return values.map((value, index) => value - (values[index - 1] ?? 0));
}

function sums(values: readonly number[]): number[] {
  let sum = 0;
  return values.map((value) => (sum += value));
}

function textColumn(texts: readonly string[]): TextColumn {
  const places = new Map<string, number>();
  const rows = texts.map((text) => {
    const place = places.get(text) ?? places.size;
    if (place === places.size) places.set(text, place);
    return place;
  });
  return { words: [...places.keys()], rows };
}
