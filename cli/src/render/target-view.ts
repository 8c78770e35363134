import { shortRevision } from "@flotilla/proto/plain-words";
import type { BundleRow, FleetRow, Suspension, TargetRow } from "@flotilla/proto/rest/contract";
import { counted } from "./counted.ts";
import { agoOf } from "./age.ts";
import { refText } from "./fleet-view.ts";
import type { Paint } from "./palette.ts";
import { toneOf } from "./palette.ts";
import type { ListView } from "./print.ts";
import type { Cell } from "./table.ts";
import { problemLine } from "./problem-lines.ts";
import { asOfCell, countCell, wordUnless } from "./status-cells.ts";

/** Columns of `fleet status FLEET`: one row per cluster. */
export function targetView(now: number): ListView<TargetRow> {
  const unknown = (row: TargetRow): boolean => row.clusterPhase === "Unknown" || row.sync === "Unknown";
  return {
    name: ({ cluster }) => cluster,
    empty: "No cluster belongs to this fleet: neither fleet.yaml's spec.clusters nor --selector of 'fleet create' matches one. See 'fleet cluster list'.",
    columns: [
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "SYNC", cell: (row) => wordUnless(unknown(row), row.sync) },
      { title: "HEALTH", cell: (row) => wordUnless(unknown(row), row.health) },
      { title: "RUNS", cell: ({ running }) => shortRevision(running?.revision) },
      { title: "WANTED", cell: ({ wanted, leaving }) => wantedCell(wanted, leaving) },
      { title: "OBJECTS", cell: ({ healthy, objects }) => `${healthy}/${objects}` },
      { title: "DRIFTED", cell: ({ drifted }) => countCell(drifted, "busy") },
      { title: "FAILED", cell: ({ failed }) => countCell(failed, "bad") },
      { title: "AS OF", cell: (row) => asOfCell(row.asOf, unknown(row), now) },
      { title: "MESSAGE", cell: (row) => targetMessage(row) },
    ],
  };
}

/** Columns of `fleet status FLEET -o wide`: clusters × bundles. */
export function bundleView(now: number): ListView<BundleRow> {
  const unknown = ({ sync }: BundleRow): boolean => sync === "Unknown";
  return {
    name: ({ cluster, bundle }) => `${cluster}/${bundle}`,
    empty: "No cluster has told about a bundle yet.",
    columns: [
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "BUNDLE", cell: ({ bundle }) => bundle },
      { title: "SYNC", cell: (row) => wordUnless(unknown(row), row.sync) },
      { title: "HEALTH", cell: (row) => wordUnless(unknown(row), row.health) },
      { title: "OBJECTS", cell: ({ healthy, objects }) => `${healthy}/${objects}` },
      { title: "NOT CURRENT", cell: ({ healthCounts }) => healthCountsText(healthCounts) },
      { title: "DRIFTED", cell: ({ drifted }) => countCell(drifted, "busy") },
      { title: "FAILED", cell: ({ failed }) => countCell(failed, "bad") },
      { title: "DIGEST", cell: ({ digest }) => shortRevision(digest.replace(/^sha256:/, "")) },
      { title: "AS OF", cell: (row) => asOfCell(row.asOf, unknown(row), now) },
      {
        title: "MESSAGE",
        cell: ({ message, suspended }) => [suspended === null ? "" : suspensionLine(suspended), message].filter((part) => part !== "").join("; "),
      },
    ],
  };
}

/** "1 Failed, 3 InProgress", the worst first. */
function healthCountsText(counts: BundleRow["healthCounts"]): string {
  const worstFirst = ["Failed", "NotFound", "Unknown", "Terminating", "InProgress"];
  return worstFirst.flatMap((word) => (counts[word] === undefined ? [] : [`${counts[word]} ${word}`])).join(", ");
}

function wantedCell(wanted: TargetRow["wanted"], leaving: TargetRow["leaving"]): string | Cell {
  if (wanted.removing) return "removing";
  return leaving === null ? shortRevision(wanted.revision) : { text: "leaving", tone: "busy" };
}

function leavingText({ at }: NonNullable<TargetRow["leaving"]>): string {
  return at === null
    ? "no longer selected; leaves the fleet once a person lets it go"
    : `no longer selected; leaves the fleet at ${at.slice(0, 16).replace("T", " ")} UTC`;
}

/** For people: what is stopped, by whom and why. */
export function suspensionLine({ fleet, cluster, by, reason }: Suspension): string {
  const scope = fleet === null ? "cluster suspended" : cluster === null ? "suspended" : "suspended here";
  return `${scope} by ${by}: ${reason}`;
}

function targetMessage(row: TargetRow): string {
  if (row.clusterPhase === "Unknown") return "cluster cannot be reached";
  if (row.clusterPhase === "Pending") return "no agent has joined yet";
  if (row.suspended !== null) return `${suspensionLine(row.suspended)}${row.message === "" ? "" : `; ${row.message}`}`;
  if (row.leaving !== null) return leavingText(row.leaving);
  if (row.prunesHeld > 0)
    return `${counted(row.prunesHeld, "deletion")} held: fleet approve prune ${row.fleet} --cluster ${row.cluster}${row.message === "" ? "" : `; ${row.message}`}`;
  return row.message || (row.problems[0]?.message ?? "");
}

/** What stands above the table: the fleet itself, and what is wrong with its source. */
export function fleetHeading(fleet: FleetRow, now: number, paint: Paint): string[] {
  const { tally } = fleet;
  const behind =
    fleet.seenRevision !== null && fleet.seenRevision !== fleet.revision ? `; ${shortRevision(fleet.seenRevision)} was seen and is not released` : "";
  return [
    `${paint(fleet.name, "strong")}   ${fleet.repository} (${refText(fleet.ref)}${fleet.path ? `, path ${fleet.path}` : ""})`,
    `revision ${shortRevision(fleet.revision)}${behind}; fetched ${agoOf(fleet.source.fetchedAt, now)}`,
    `${paint(fleet.sync, toneOf(fleet.sync))} on ${tally.synced} of ${tally.clusters}, ${paint(fleet.health, toneOf(fleet.health))} on ${tally.current} of ${tally.clusters}` +
      (tally.unknown > 0 ? `, ${paint(`Unknown on ${tally.unknown}`, "unsure")}` : "") +
      (tally.drifted > 0 ? `, ${paint(`drifted on ${tally.drifted}`, "busy")}` : ""),
    ...(fleet.suspended === null ? [] : [paint(`${suspensionLine(fleet.suspended)}, ${agoOf(fleet.suspended.since, now)}`, "busy")]),
    ...(fleet.deleting === null ? [] : [paint(`deleting; objects: ${fleet.deleting}`, "busy")]),
    ...(fleet.source.error === null ? [] : [paint(`source: ${fleet.source.error}`, "bad")]),
    ...fleet.problems.map((problem) => paint(problemLine(problem, "error"), "bad")),
    ...fleet.warnings.map((problem) => paint(problemLine(problem, "warning"), "busy")),
    "",
  ];
}
