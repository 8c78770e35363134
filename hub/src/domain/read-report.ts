import {
  Change,
  EventSeverity,
  Health,
  PruneState,
  SyncState,
  type BundleState,
  type ClusterEvent,
  type DriftField,
  type FleetReport,
  type HealthCounts as WireHealthCounts,
  type ObjectId,
  type ObjectState,
  type PhaseTime,
} from "@flotilla/proto/gen/report";
import type { HealthCounts, HealthWord, SyncWord } from "@flotilla/proto/rest/contract";
import { driftMembersMax, reportTextCharsMax } from "../limits.ts";
import type { BundleStateRow, DriftedField, ObjectStateRow, ReportedEvent, ReportedPhase, TargetStateRow } from "./report-rows.ts";

/** What all rows of one report share. */
export interface ReportFrame {
  readonly epoch: string;
  readonly seq: bigint;
  readonly recordedAt: Date;
  readonly traceId: string;
  readonly snapshotId: string | null;
}

const syncWords: Readonly<Record<number, SyncWord>> = { [SyncState.SYNCED]: "Synced", [SyncState.OUT_OF_SYNC]: "OutOfSync" };

const healthWords: Readonly<Record<number, HealthWord>> = {
  [Health.IN_PROGRESS]: "InProgress",
  [Health.CURRENT]: "Current",
  [Health.FAILED]: "Failed",
  [Health.TERMINATING]: "Terminating",
  [Health.NOT_FOUND]: "NotFound",
};

const changeWords: Readonly<Record<number, string>> = {
  [Change.CREATED]: "created",
  [Change.CONFIGURED]: "configured",
  [Change.UNCHANGED]: "unchanged",
  [Change.SKIPPED]: "skipped",
  [Change.DELETED]: "deleted",
  [Change.FAILED]: "failed",
};

const pruneWords: Readonly<Record<number, ObjectStateRow["prune"]>> = {
  [PruneState.HELD]: "held",
  [PruneState.WAITS]: "waits",
  [PruneState.TERMINATING]: "terminating",
};

/** A word that this hub does not know is Unknown, never healthy. */
const syncWord = (value: number): SyncWord => syncWords[value] ?? "Unknown";
const healthWord = (value: number): HealthWord => healthWords[value] ?? "Unknown";

/** Postgres takes no NUL in text; length is bounded whatever the agent sent. */
export function cleanText(text: string, charsMax = reportTextCharsMax): string {
  const clean = text.includes("\0") ? text.replaceAll("\0", "\uFFFD") : text;
  return (clean.length > charsMax ? clean.slice(0, charsMax) : clean).toWellFormed();
}

/** A protobuf timestamp within the years that Postgres and people can read, else `fallback`. */
export function timeOf<Fallback extends Date | undefined>(
  timestamp: { readonly seconds: bigint; readonly nanos: number } | undefined,
  fallback: Fallback,
): Date | Fallback {
  if (timestamp === undefined || timestamp.seconds < 0n || timestamp.seconds > 253_402_300_799n) return fallback;
  return new Date(Number(timestamp.seconds) * 1_000 + Math.trunc(timestamp.nanos / 1_000_000));
}

export function objectIdText(id: ObjectId | undefined): string {
  return id === undefined ? "" : `${cleanText(id.group)}/${cleanText(id.kind)}/${cleanText(id.namespace)}/${cleanText(id.name)}`;
}

/** The summary's row; undefined when the report has no summary (an early part of a snapshot). */
export function readTargetState(report: FleetReport, frame: ReportFrame): TargetStateRow | undefined {
  const { summary } = report;
  if (summary === undefined) return undefined;
  return {
    fleet: report.fleet,
    generation: report.generation,
    revision: cleanText(report.revision),
    targetDigest: cleanText(report.targetDigest),
    sync: syncWord(summary.sync),
    health: healthWord(summary.health),
    message: cleanText(summary.message),
    ...countsOf(summary),
    healthCounts: healthCountsOf(summary.healthCounts),
    prunesHeld: bounded(summary.prunesHeld),
    prunesDigest: cleanText(summary.prunesDigest),
    recordedAt: frame.recordedAt,
    epoch: frame.epoch,
    seq: frame.seq,
  };
}

export function readBundleState(state: BundleState): BundleStateRow {
  return {
    bundle: cleanText(state.name),
    digest: cleanText(state.digest),
    sync: syncWord(state.sync),
    health: healthWord(state.health),
    message: cleanText(state.message),
    ...countsOf(state),
    healthCounts: healthCountsOf(state.healthCounts),
  };
}

export function readObjectState(state: ObjectState, frame: ReportFrame): ObjectStateRow {
  const id = state.id;
  return {
    objectId: objectIdText(id),
    group: cleanText(id?.group ?? ""),
    version: cleanText(state.version),
    kind: cleanText(id?.kind ?? ""),
    namespace: cleanText(id?.namespace ?? ""),
    name: cleanText(id?.name ?? ""),
    bundle: cleanText(state.bundle),
    uid: cleanText(state.uid),
    sync: syncWord(state.sync),
    health: healthWord(state.health),
    message: cleanText(state.message),
    change: changeWords[state.change] ?? "",
    drift: readFields(state.drift),
    prune: pruneWords[state.prune] ?? "",
    snapshotId: frame.snapshotId,
  };
}

export function readFields(fields: readonly DriftField[]): DriftedField[] {
  return fields.map(({ path, desired, live, manager, operation, subresource, changedAt, members }) => ({
    path: cleanText(path),
    desired: cleanText(desired),
    live: cleanText(live),
    manager: cleanText(manager),
    operation: cleanText(operation),
    subresource: cleanText(subresource),
    changedAt: changedAt === undefined ? null : (timeOf(changedAt, undefined)?.toISOString() ?? null),
    members: members.length > driftMembersMax ? [] : members.map((member) => cleanText(member)),
  }));
}

export function readEvent(event: ClusterEvent, report: FleetReport, frame: ReportFrame): ReportedEvent {
  return {
    at: timeOf(event.at, frame.recordedAt),
    fleet: report.fleet,
    bundle: cleanText(event.bundle),
    objectId: objectIdText(event.object),
    reason: cleanText(event.reason),
    severity: event.severity === EventSeverity.WARNING ? "Warning" : "Normal",
    message: cleanText(event.message),
    revision: cleanText(report.revision),
    traceId: frame.traceId,
  };
}

export function readPhase(phase: PhaseTime, report: FleetReport, frame: ReportFrame): ReportedPhase {
  const startedAt = timeOf(phase.startedAt, frame.recordedAt);
  return {
    fleet: report.fleet,
    revision: cleanText(report.revision),
    phase: cleanText(phase.phase),
    startedAt,
    endedAt: timeOf(phase.endedAt, startedAt),
    error: cleanText(phase.error),
    spanId: cleanText(phase.spanId),
  };
}

type Counts = Pick<BundleStateRow, "objects" | "healthy" | "drifted" | "failed">;

function countsOf({ objects, healthy, drifted, failed }: Counts): Counts {
  return { objects: bounded(objects), healthy: bounded(healthy), drifted: bounded(drifted), failed: bounded(failed) };
}

/** An agent of the version before says nothing of it. */
function healthCountsOf(counts: WireHealthCounts | undefined): HealthCounts {
  const { inProgress = 0, failed = 0, terminating = 0, notFound = 0, unknown = 0 } = counts ?? {};
  const all = { InProgress: inProgress, Failed: failed, Terminating: terminating, NotFound: notFound, Unknown: unknown };
  return Object.fromEntries(Object.entries(all).flatMap(([word, count]) => (count > 0 ? [[word, bounded(count)]] : [])));
}

/** uint32 on the wire, integer in Postgres. */
function bounded(count: number): number {
  return Math.min(count, 2_147_483_647);
}
