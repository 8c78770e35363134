import { cleanText } from "@flotilla/proto/plain-words";
import type { Paint, Tone } from "./palette.ts";

/** A cell with a meaning. */
export interface Cell {
  readonly text: string;
  readonly tone: Tone;
}

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string | Cell;
}

const gap = "   ";

/** Lines of an aligned table, titles first, without trailing blanks. Nothing for no rows. */
export function tableLines<Row>(columns: readonly Column<Row>[], rows: readonly Row[], paint: Paint): string[] {
  const cells = rows.map((row) => columns.map((column) => asCell(column.cell(row))));
  const widths = columns.map((column, index) => Math.max(column.title.length, ...cells.map((line) => line[index]?.text.length ?? 0)));
  const line = (parts: readonly Cell[]): string =>
    parts
      .map((part, index) => paint(part.text, part.tone) + (index === parts.length - 1 ? "" : " ".repeat((widths[index] ?? 0) - part.text.length)))
      .join(gap)
      .trimEnd();
  if (rows.length === 0) return [];
  return [line(columns.map(({ title }) => ({ text: title, tone: "faint" }))), ...cells.map(line)];
}

function asCell(cell: string | Cell): Cell {
  const { text, tone } = typeof cell === "string" ? { text: cell, tone: "plain" as const } : cell;
  // Messages may have line breaks; a table's row is one line. An empty cell would look like a shifted one.
  return { text: text === "" ? "-" : cleanText(text.replaceAll(/\s+/g, " ")), tone };
}
