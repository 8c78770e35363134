import type pg from "pg";
import { countedRowsMax } from "../limits.ts";
import { StoreError } from "./store-error.ts";

/** Conditions of a query, with their parameters numbered as they come. */
export class Conditions {
  readonly #texts: string[] = [];
  readonly values: unknown[] = [];

  /** `text` has `¤` where the value goes; undefined values add nothing. */
  add(text: string, value: unknown): this {
    if (value === undefined) return this;
    this.values.push(value);
    this.#texts.push(text.replaceAll("¤", `$${this.values.length}`));
    return this;
  }

  always(text: string): this {
    this.#texts.push(text);
    return this;
  }

  get text(): string {
    return this.#texts.length === 0 ? "true" : this.#texts.join(" AND ");
  }
}

export interface PageQuery {
  /** What is selected from, with its alias: "seen_targets t". */
  readonly from: string;
  /** What is joined to the rows of the page alone, and leaves out none of them: what it adds up is not added up for rows that are not shown. */
  readonly adds?: string;
  /** Select list; names of columns are the row's. */
  readonly select: string;
  readonly where: Conditions;
  /** What orders the rows, unique together: columns with their types, in the order's sequence. */
  readonly keys: readonly (readonly [column: string, type: string])[];
  /** Of the keys' columns those that `where` holds to one value: a bound that names them too would be looked for from the first row on. */
  readonly fixed?: readonly string[];
  /** What is counted, where that is less than what is read: without what only adds columns. */
  readonly countFrom?: string;
  /** Rows are counted up to here; countedRowsMax when left out. */
  readonly countMax?: number;
  readonly descending?: boolean;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface PageOf<Row> {
  readonly items: readonly Row[];
  readonly next: string | null;
  readonly total: number;
}

/**
 * One page, by keys and not by offset: rows that come or go meanwhile shift nothing, and a page costs the same at the end as at the start.
 *
 * @throws StoreError `bad-cursor`.
 */
export async function readPage<Row extends object>(pool: pg.Pool, query: PageQuery): Promise<PageOf<Row>> {
  const columns = query.keys.map(([column]) => column);
  const after = query.cursor === undefined ? undefined : keysOfCursor(query.cursor, query.keys.length);
  const values = [...query.where.values];
  const bound = after === undefined ? "true" : boundAfter(query, after, values);
  const order = columns.map((column) => `${column} ${query.descending === true ? "DESC" : "ASC"}`).join(", ");
  const pageKey = `json_build_array(${columns.map((column) => `${column}::text`).join(", ")})::text AS page_key`;
  const [page, count] = await Promise.all([
    pool.query<Row & { page_key: string }>(`SELECT ${query.select}, ${pageKey} FROM ${rowsOf(query, bound, order)}`, values).catch((error: unknown) => {
      // Only a cursor's own values can fail to be of a key's type.
      if (after !== undefined && (error as { code?: string }).code?.startsWith("22") === true) throw badCursor();
      throw error;
    }),
    pool.query<{ total: number }>(
      `SELECT count(*)::integer AS total FROM (SELECT FROM ${query.countFrom ?? query.from} WHERE ${query.where.text} LIMIT ${query.countMax ?? countedRowsMax}) c`,
      [...query.where.values],
    ),
  ]);
  const items = page.rows.slice(0, query.limit);
  const last = items.at(-1);
  const next = page.rows.length > query.limit && last !== undefined ? encodeCursor(last.page_key) : null;
  return { items, next, total: count.rows[0]?.total ?? 0 };
}

function rowsOf({ from, adds, where, limit }: PageQuery, bound: string, order: string): string {
  const rows = `${from} WHERE ${where.text} AND ${bound} ORDER BY ${order} LIMIT ${limit + 1}`;
  if (adds === undefined) return rows;
  const alias = from.split(" ").at(-1) ?? "";
  return `(SELECT ${alias}.* FROM ${rows}) ${alias} ${adds} ORDER BY ${order}`;
}

/** The condition for what comes after a row; its parameters are added to the values. */
function boundAfter({ keys, fixed = [], descending }: PageQuery, after: readonly string[], values: unknown[]): string {
  const open = keys.flatMap(([column, type], index) => (fixed.includes(column) ? [] : [{ column, type, value: after[index] }]));
  // One row at most: it was on the page before.
  if (open.length === 0) return "false";
  const parameters = open.map(({ type, value }) => `$${values.push(value)}::${type}`);
  return `(${open.map(({ column }) => column).join(", ")}) ${descending === true ? "<" : ">"} (${parameters.join(", ")})`;
}

/**
 * What a cursor was made of.
 *
 * @throws StoreError `bad-cursor`.
 */
export function keysOfCursor(cursor: string, length: number): readonly string[] {
  try {
    const keys: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Array.isArray(keys) && keys.length === length && keys.every((key) => typeof key === "string" && !key.includes("\0"))) return keys as string[];
  } catch {
    // Told below.
  }
  throw badCursor();
}

/** The cursor of a row with these keys. */
export function cursorOf(keys: readonly string[]): string {
  return encodeCursor(JSON.stringify(keys));
}

function encodeCursor(json: string): string {
  return Buffer.from(json).toString("base64url");
}

function badCursor(): StoreError {
  return new StoreError("bad-cursor", "the cursor is not one of this list's", { hint: "begin again without a cursor, and pass on `next` as it is" });
}
