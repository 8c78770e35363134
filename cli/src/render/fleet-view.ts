import { shortRevision } from "@flotilla/proto/plain-words";
import type { FleetRow, Ref } from "@flotilla/proto/rest/contract";
import { ageOf } from "./age.ts";
import type { ListView } from "./print.ts";
import { asOfCell, countCell, wordUnless } from "./status-cells.ts";

const noFleets = "No fleets. Make one: fleet create NAME --repo URL";

/** Columns of `fleet status` without a name. */
export function fleetStatusView(now: number): ListView<FleetRow> {
  return {
    name: ({ name }) => name,
    empty: noFleets,
    columns: [
      { title: "FLEET", cell: ({ name }) => name },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "SYNC", cell: (fleet) => wordUnless(isUnknown(fleet), fleet.sync) },
      { title: "HEALTH", cell: (fleet) => wordUnless(isUnknown(fleet), fleet.health) },
      { title: "SYNCED", cell: ({ tally }) => `${tally.synced}/${tally.clusters}` },
      { title: "HEALTHY", cell: ({ tally }) => `${tally.current}/${tally.clusters}` },
      { title: "DRIFTED", cell: ({ tally }) => countCell(tally.drifted, "busy") },
      { title: "UNKNOWN", cell: ({ tally }) => countCell(tally.unknown, "unsure") },
      { title: "AS OF", cell: (fleet) => asOfCell(fleet.asOf, isUnknown(fleet), now) },
      { title: "MESSAGE", cell: (fleet) => fleetMessage(fleet) },
    ],
    wide: [
      { title: "REPOSITORY", cell: ({ repository }) => repository },
      { title: "REF", cell: ({ ref }) => refText(ref) },
      { title: "FETCHED", cell: ({ source }) => ageOf(source.fetchedAt, now) },
    ],
  };
}

/** Columns of `fleet list`: what a fleet is, rather than how it does. */
export function fleetListView(now: number): ListView<FleetRow> {
  return {
    name: ({ name }) => name,
    empty: noFleets,
    columns: [
      { title: "FLEET", cell: ({ name }) => name },
      { title: "REPOSITORY", cell: ({ repository }) => repository },
      { title: "REF", cell: ({ ref }) => refText(ref) },
      { title: "PATH", cell: ({ path }) => path || "." },
      { title: "CLUSTERS", cell: ({ tally }) => String(tally.clusters) },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "AGE", cell: ({ createdAt }) => ageOf(createdAt, now) },
    ],
    wide: [
      { title: "FETCHED", cell: ({ source }) => ageOf(source.fetchedAt, now) },
      { title: "MESSAGE", cell: (fleet) => fleetMessage(fleet) },
    ],
  };
}

export function refText(ref: Ref): string {
  // The hub's word for what the server calls its default.
  if ("branch" in ref && ref.branch === "HEAD") return "default branch";
  if ("branch" in ref) return `branch ${ref.branch}`;
  if ("tag" in ref) return `tag ${ref.tag}`;
  if ("commit" in ref) return `commit ${shortRevision(ref.commit)}`;
  return `semver ${ref.semver}`;
}

/** The one thing to know first about a fleet that is not as it should be. */
export function fleetMessage(fleet: FleetRow): string {
  if (fleet.deleting !== null) return `deleting (objects: ${fleet.deleting})`;
  if (fleet.suspended !== null) return `suspended by ${fleet.suspended.by}: ${fleet.suspended.reason}`;
  if (fleet.source.error !== null) return fleet.source.error;
  const [problem] = fleet.problems;
  if (problem) return `${problem.file === undefined ? "" : `${problem.file}:${problem.line ?? 1}: `}${problem.message}`;
  if (fleet.tally.clusters === 0) return "no cluster matches its selector";
  return "";
}

function isUnknown({ tally }: FleetRow): boolean {
  return tally.clusters > 0 && tally.unknown === tally.clusters;
}
