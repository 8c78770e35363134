import { cleanText, shortRevision } from "@flotilla/proto/plain-words";
import type { EventRow } from "@flotilla/proto/rest/contract";
import { ageOf } from "./age.ts";
import { objectText } from "./object-text.ts";
import type { Paint } from "./palette.ts";
import type { ListView } from "./print.ts";
import { word } from "./status-cells.ts";

export function eventView(now: number): ListView<EventRow> {
  return {
    name: ({ id }) => String(id),
    empty: "No events.",
    columns: [
      { title: "AGE", cell: ({ at }) => ageOf(at, now) },
      { title: "TYPE", cell: ({ severity }) => word(severity) },
      { title: "REASON", cell: ({ reason }) => reason },
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "OBJECT", cell: (event) => objectText(event.object) || event.bundle || event.fleet },
      { title: "MESSAGE", cell: ({ message }) => message },
    ],
    wide: [
      { title: "FLEET", cell: ({ fleet }) => fleet },
      { title: "BUNDLE", cell: ({ bundle }) => bundle },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "ID", cell: ({ id }) => String(id) },
    ],
  };
}

/** One event of a stream that never ends, so columns are of fixed width and times absolute. */
export function eventLine(event: EventRow, paint: Paint): string {
  const about = objectText(event.object) || event.bundle || event.fleet;
  const line = [event.at.slice(0, 19).replace("T", " "), event.cluster.padEnd(14), event.reason.padEnd(18), `${about}: ${event.message}`];
  return paint(cleanText(line.join("  ")), event.severity === "Warning" ? "busy" : "plain");
}
