import type { FleetContext } from "../fleet-context.ts";
import { type Column, tableLines } from "./table.ts";
import { paintFor } from "./palette.ts";

export const listFormats = ["table", "wide", "json", "yaml", "name"] as const;
export type ListFormat = (typeof listFormats)[number];

export function say(context: FleetContext, ...lines: readonly string[]): void {
  for (const line of lines) context.process.stdout.write(`${line}\n`);
}

/** Progress and remarks: on stderr, so that stdout stays what was asked for. */
export function remark(context: FleetContext, ...lines: readonly string[]): void {
  for (const line of lines) context.process.stderr.write(`${line}\n`);
}

/** One value as JSON or as a YAML document. */
export async function structured(value: unknown, format: "json" | "yaml"): Promise<string> {
  if (format === "json") return JSON.stringify(value, undefined, 2);
  const { dump } = await import("js-yaml");
  return dump(value, { lineWidth: -1, noRefs: true }).trimEnd();
}

/** How rows of one kind are shown. */
export interface ListView<Row> {
  readonly columns: readonly Column<Row>[];
  readonly wide?: readonly Column<Row>[];
  readonly name: (row: Row) => string;
  /** Said on stderr instead of an empty table: the next thing to do. */
  readonly empty: string;
}

/** Rows in the asked format; JSON and YAML have `items` with everything the hub said. */
export async function printList<Row>(context: FleetContext, rows: readonly Row[], format: ListFormat, view: ListView<Row>): Promise<void> {
  if (format === "json" || format === "yaml") return say(context, await structured({ items: rows }, format));
  if (format === "name") return say(context, ...rows.map(view.name));
  if (rows.length === 0) return remark(context, view.empty);
  const columns = format === "wide" ? [...view.columns, ...(view.wide ?? [])] : view.columns;
  say(context, ...tableLines(columns, rows, paintFor(context.process.stdout, context.env)));
}
