import { ageOf } from "./age.ts";
import { toneOf } from "./palette.ts";
import type { Cell } from "./table.ts";

/** A status word in its colour. */
export function word(text: string): Cell {
  return { text, tone: toneOf(text) };
}

/** The hub says Unknown once a lease ran out; a row that contradicts its own cluster is Unknown too, never green. */
export function wordUnless(unknown: boolean, text: string): Cell {
  return word(unknown ? "Unknown" : text);
}

/** How old the fact is; loud when the row is Unknown. */
export function asOfCell(asOf: string | null, unknown: boolean, now: number): Cell {
  const age = ageOf(asOf, now);
  return unknown ? { text: asOf === null ? "never" : `as of ${age} ago`, tone: "unsure" } : { text: age, tone: "plain" };
}

/** A count that is only loud when it is not zero. */
export function countCell(count: number, tone: "bad" | "busy" | "unsure"): Cell {
  return { text: String(count), tone: count === 0 ? "plain" : tone };
}

export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(",");
}
