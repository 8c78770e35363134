import { cleanText, shortRevision } from "@flotilla/proto/plain-words";
import type { DriftField, DriftRow } from "@flotilla/proto/rest/contract";
import { ageOf, agoOf } from "./age.ts";
import { objectText } from "./object-text.ts";
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
      { title: "OBJECT", cell: ({ object }) => objectText(object) },
      { title: "STATE", cell: ({ healedAt, healedBy }) => word(healedAt === null ? "Drifted" : stateWords[healedBy ?? "unknown"]) },
      { title: "FIELDS", cell: ({ fields }) => String(fields.length) },
      { title: "BY", cell: ({ managers }) => managers.join(",") },
      { title: "TIMES", cell: ({ times }) => String(times) },
      { title: "FIRST SEEN", cell: ({ firstSeenAt }) => ageOf(firstSeenAt, now) },
      { title: "LAST SEEN", cell: ({ lastSeenAt }) => ageOf(lastSeenAt, now) },
    ],
    wide: [
      { title: "HEALED", cell: ({ healedAt }) => (healedAt === null ? "" : ageOf(healedAt, now)) },
      { title: "BUNDLE", cell: ({ bundle }) => bundle },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "PATHS", cell: ({ fields }) => fields.map(({ path }) => path).join(",") },
    ],
  };
}

/** A word per way to end. */
const stateWords = { agent: "Healed", itself: "Ended", accepted: "Accepted", target: "Replaced", gone: "Gone", unknown: "Healed" } as const;

const endings = {
  agent: "healed by the agent",
  itself: "ended by itself",
  accepted: "accepted: Git says so now",
  target: "replaced by a new revision",
  gone: "ended: the object is gone",
  unknown: "healed",
} as const;

/** One drift as a unified diff per field: `-` is what Git says, `+` what lives, with who wrote it. */
export function driftDiff(drift: DriftRow, now: number, paint: Paint): string[] {
  const state = drift.healedAt === null ? paint("drifted", "busy") : paint(`${endings[drift.healedBy ?? "unknown"]} ${agoOf(drift.healedAt, now)}`, "good");
  const times = drift.times === 1 ? "once" : `${drift.times} times`;
  const others = drift.managers.filter((manager) => !drift.fields.some((field) => field.manager === manager));
  return [
    `${paint(cleanText(objectText(drift.object)), "strong")}   cluster ${drift.cluster}, fleet ${drift.fleet}, bundle ${drift.bundle}, drift ${drift.id}`,
    `${state}; seen ${times}, first ${agoOf(drift.firstSeenAt, now)}, last ${agoOf(drift.lastSeenAt, now)}; as of ${agoOf(drift.asOf, now)}`,
    ...(others.length === 0 ? [] : [cleanText(`before that written by ${others.join(", ")}`)]),
    `--- desired (Git${drift.revision === "" ? "" : `, ${shortRevision(drift.revision)}`})`,
    `+++ live (${drift.cluster})`,
    ...drift.fields.flatMap((field) => [
      paint(`@@ ${cleanText(field.path) || "the whole object"} @@ written by ${cleanText(writerOf(field, now))}`, "faint"),
      ...valueLines(field.desired).map((line) => paint(`-${line}`, "bad")),
      ...valueLines(field.live).map((line) => paint(`+${line}`, "good")),
    ]),
  ];
}

/** "kubectl-edit (Update of scale), 3m ago" */
function writerOf({ manager, operation, subresource, changedAt }: DriftField, now: number): string {
  const how = [operation, subresource].filter((part) => part !== "").join(" of ");
  return `${manager || "unknown"}${how === "" ? "" : ` (${how})`}${changedAt === null ? "" : `, ${agoOf(changedAt, now)}`}`;
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
