import type { DriftRow } from "@flotilla/proto/rest/contract";
import { ageOf, agoOf } from "./age.ts";
import { cleanText } from "./clean-text.ts";
import type { Paint } from "./palette.ts";
import type { ListView } from "./print.ts";
import { word } from "./status-cells.ts";

export function driftView(now: number): ListView<DriftRow> {
  return {
    name: ({ id }) => String(id),
    empty: "No drift.",
    columns: [
      { title: "ID", cell: ({ id }) => String(id) },
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "FLEET", cell: ({ fleet }) => fleet },
      { title: "OBJECT", cell: ({ object }) => object },
      { title: "STATE", cell: ({ healedAt }) => word(healedAt === null ? "Drifted" : "Healed") },
      { title: "FIELDS", cell: ({ fields }) => String(fields.length) },
      { title: "BY", cell: ({ fields }) => [...new Set(fields.map(({ manager }) => manager))].join(",") },
      { title: "TIMES", cell: ({ times }) => String(times) },
      { title: "FIRST SEEN", cell: ({ firstSeenAt }) => ageOf(firstSeenAt, now) },
      { title: "LAST SEEN", cell: ({ lastSeenAt }) => ageOf(lastSeenAt, now) },
    ],
    wide: [
      { title: "BUNDLE", cell: ({ bundle }) => bundle },
      { title: "PATHS", cell: ({ fields }) => fields.map(({ path }) => path).join(",") },
    ],
  };
}

/** One drift as a unified diff per field: `-` is what Git says, `+` what lives, with who wrote it. */
export function driftDiff(drift: DriftRow, now: number, paint: Paint): string[] {
  const state = drift.healedAt === null ? paint("drifted", "busy") : paint(`healed ${agoOf(drift.healedAt, now)}`, "good");
  const times = drift.times === 1 ? "once" : `${drift.times} times`;
  return [
    `${paint(cleanText(drift.object), "strong")}   cluster ${drift.cluster}, fleet ${drift.fleet}, bundle ${drift.bundle}`,
    `${state}; seen ${times}, first ${agoOf(drift.firstSeenAt, now)}, last ${agoOf(drift.lastSeenAt, now)}; as of ${agoOf(drift.asOf, now)}`,
    "--- desired (Git)",
    "+++ live",
    ...drift.fields.flatMap((field) => [
      paint(`@@ ${cleanText(field.path)} @@ written by ${cleanText(field.manager) || "unknown"}`, "faint"),
      ...valueLines(field.desired).map((line) => paint(`-${line}`, "bad")),
      ...valueLines(field.live).map((line) => paint(`+${line}`, "good")),
    ]),
  ];
}

/** Values are JSON; objects and lists are laid out, so that the difference is on lines of its own. */
function valueLines(value: string): string[] {
  if (value === "") return [" (absent)"];
  try {
    return JSON.stringify(JSON.parse(value), undefined, 2)
      .split("\n")
      .map((line) => ` ${cleanText(line)}`);
  } catch {
    return [` ${cleanText(value)}`];
  }
}
