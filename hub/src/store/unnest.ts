/** Postgres types of the columns of a batch. */
export type Columns<Row> = { readonly [Column in keyof Row & string]: string };

export interface UnnestedBatch {
  /** `unnest($1::text[], …) AS r (a, …)` */
  readonly text: string;
  readonly values: readonly (readonly unknown[])[];
}

/** Rows as arrays for one statement, whatever their number: the statement's text stays the same, so it is planned once. */
export function unnestRows<Row>(columns: Columns<Row>, rows: readonly Row[], firstParameter = 1): UnnestedBatch {
  const names = Object.keys(columns) as (keyof Row & string)[];
  const parameters = names.map((name, index) => `$${index + firstParameter}::${columns[name]}[]`);
  return { text: `unnest(${parameters.join(", ")}) AS r (${names.join(", ")})`, values: names.map((name) => rows.map((row) => row[name])) };
}

/** Parts of at most `size` rows. */
export function* inBatches<Row>(rows: readonly Row[], size: number): Generator<readonly Row[]> {
  for (let start = 0; start < rows.length; start += size) yield rows.slice(start, start + size);
}

/** The condition of an upsert that writes only what differs. */
export function differs(table: string, columns: readonly string[]): string {
  return `(${columns.map((column) => `${table}.${column}`).join(", ")}) IS DISTINCT FROM (${columns.map((column) => `EXCLUDED.${column}`).join(", ")})`;
}
