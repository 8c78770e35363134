import type { ClusterEvent, FleetReport, ReportEnvelope, SnapshotPart } from "@flotilla/proto/gen/report";
import type { DriftMark, HealedBy } from "./drift-episodes.ts";
import {
  cleanText,
  objectIdText,
  readBundleState,
  readEvent,
  readFields,
  readObjectState,
  readPhase,
  readTargetState,
  timeOf,
  type ReportFrame,
} from "./read-report.ts";
import type { BundleStateRow, ObjectStateRow, ReportedEvent, ReportedPhase, TargetStateRow } from "./report-rows.ts";

/** How far a cluster's reports are committed. */
export interface ClusterPosition {
  /** The outbox being read; null until the first link. */
  readonly epoch: string | null;
  readonly watermark: bigint;
  /** The snapshot that is coming in: `seen` of its parts are committed, the first of them as `fromSeq`. */
  readonly snapshot: { readonly id: string; readonly parts: number; readonly seen: number; readonly fromSeq: bigint } | null;
}

/** One message of a cluster, decoded; or one that could not be, with the place it would have had. */
export type ReceivedReport =
  | { readonly kind: "report"; readonly envelope: ReportEnvelope }
  | { readonly kind: "poison"; readonly epoch: string; readonly seq: bigint };

/** The changes to one fleet's rows of one cluster. Applied in this order: forget, then what is set, then the sweep of the snapshot. */
export interface FleetFold {
  /** Everything known before is dropped. */
  forget: boolean;
  /** The agent said that it let go of the fleet; the generation it spoke of. */
  removedGeneration: bigint | undefined;
  target: TargetStateRow | undefined;
  /** By name: those that the reports named. */
  readonly bundles: Map<string, BundleStateRow>;
  /** A report among them named all: those not named are gone. */
  namesAllBundles: boolean;
  readonly objects: Map<string, ObjectStateRow | "gone">;
  readonly drift: Map<string, DriftMark[]>;
  /** When it was forgotten first in this fold: what was open before ended then. */
  forgottenAt: Date | undefined;
}

/** What a batch of one cluster's reports changes. */
export interface ClusterFold {
  readonly position: ClusterPosition;
  /** Reports taken; the others were older, or of another outbox, or came too early. */
  readonly committed: number;
  /** A report after a hole came: the agent must publish again from the watermark. */
  readonly missing: boolean;
  /** Something was skipped for good: the agent must say everything again. */
  readonly wantsSnapshot: boolean;
  readonly fleets: ReadonlyMap<string, FleetFold>;
  /**
   * Set when a snapshot became whole: objects without its mark go, and so do fleets that it does not name, unless they were reported since it
   * began (`fromSeq`): those are newer.
   */
  readonly snapshot: { readonly id: string; readonly fleets: ReadonlySet<string>; readonly fromSeq: bigint; readonly at: Date } | undefined;
  readonly events: readonly ReportedEvent[];
  readonly phases: ReadonlyMap<string, ReportedPhase>;
  /** What comes after a snapshot that became whole: to be folded next, from `position`, when these changes are applied. */
  readonly rest: readonly ReceivedReport[];
}

/**
 * Folds reports of one cluster into row changes. A report counts when `first_seq <= watermark + 1 <= seq` and its epoch is the
 * cluster's; older ones change nothing, newer ones wait for what is missing. Wall clocks never decide. Any duplication,
 * order and splitting into batches of the same reports gives the same rows in the end.
 *
 * `now` stands in for missing or impossible times only.
 */
export function foldReports(start: ClusterPosition, received: readonly ReceivedReport[], now: Date): ClusterFold {
  const fold = new Fold(start, now);
  const sorted = [...received].sort(bySeq);
  let taken = 0;
  while (taken < sorted.length && !fold.isSwept) {
    const next = sorted[taken];
    if (next === undefined) break;
    fold.take(next);
    taken += 1;
  }
  return fold.result(sorted.slice(taken));
}

function bySeq(a: ReceivedReport, b: ReceivedReport): number {
  const [left, right] = [seqOf(a), seqOf(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function seqOf(report: ReceivedReport): bigint {
  return report.kind === "report" ? report.envelope.seq : report.seq;
}

class Fold {
  readonly #epoch: string | null;
  readonly #now: Date;
  readonly #fleets = new Map<string, FleetFold>();
  readonly #events: ReportedEvent[] = [];
  readonly #phases = new Map<string, ReportedPhase>();
  #watermark: bigint;
  #incoming: ClusterPosition["snapshot"];
  #whole: ClusterFold["snapshot"];
  #committed = 0;
  #missing = false;
  #wantsSnapshot = false;

  constructor(start: ClusterPosition, now: Date) {
    this.#epoch = start.epoch;
    this.#watermark = start.watermark;
    this.#incoming = start.snapshot;
    this.#now = now;
  }

  /** A snapshot became whole: the sweep of its rows comes before anything newer. */
  get isSwept(): boolean {
    return this.#whole !== undefined;
  }

  take(received: ReceivedReport): void {
    const { epoch, seq, firstSeq } = received.kind === "report" ? received.envelope : { ...received, firstSeq: received.seq };
    if (epoch !== this.#epoch || seq <= this.#watermark) return;
    if (firstSeq > this.#watermark + 1n) {
      this.#missing = true;
      return;
    }
    this.#watermark = seq;
    this.#committed += 1;
    // Whatever waited for this one has come.
    this.#missing = false;
    if (received.kind === "poison") this.#skip();
    else this.#commit(received.envelope);
  }

  result(rest: readonly ReceivedReport[]): ClusterFold {
    return {
      position: { epoch: this.#epoch, watermark: this.#watermark, snapshot: this.#incoming },
      committed: this.#committed,
      missing: this.#missing,
      wantsSnapshot: this.#wantsSnapshot,
      fleets: this.#fleets,
      snapshot: this.#whole,
      events: this.#events,
      phases: this.#phases,
      rest,
    };
  }

  /** A report that nobody can read: what it said comes again with a snapshot; a snapshot that it was part of will not be whole. */
  #skip(): void {
    this.#wantsSnapshot = true;
    this.#incoming = null;
  }

  #commit(envelope: ReportEnvelope): void {
    const { report } = envelope;
    if (report.case === "fleet") return this.#takeFleet(report.value, this.#frame(envelope));
    if (report.case === "snapshot") return this.#takePart(report.value, envelope);
    if (report.case === "gap") return this.#takeGap(envelope, report.value.count, report.value.reason);
    this.#skip();
  }

  #frame(envelope: ReportEnvelope): ReportFrame {
    return {
      epoch: envelope.epoch,
      seq: envelope.seq,
      recordedAt: timeOf(envelope.recordedAt, this.#now),
      traceId: /^00-([0-9a-f]{32})-/.exec(envelope.traceparent)?.[1] ?? "",
      // Reports between the parts are newer than the snapshot: they must not be swept.
      snapshotId: this.#incoming?.id ?? null,
    };
  }

  #takeGap(envelope: ReportEnvelope, count: bigint, reason: string): void {
    this.#skip();
    const at = timeOf(envelope.recordedAt, this.#now);
    const message = `${count} reports were dropped by the agent (${cleanText(reason, 200)}); a snapshot follows`;
    this.#events.push({ at, fleet: "", bundle: "", objectId: "", reason: "ReportsLost", severity: "Warning", message, revision: "", traceId: "" });
  }

  #takePart(part: SnapshotPart, envelope: ReportEnvelope): void {
    const id = cleanText(part.snapshotId);
    const before = this.#incoming?.id === id ? this.#incoming : { seen: 0, fromSeq: envelope.seq };
    const incoming = { id, parts: part.parts, seen: before.seen + 1, fromSeq: before.fromSeq };
    this.#incoming = incoming;
    const frame = this.#frame(envelope);
    if (part.state !== undefined && part.state.fleet !== "") this.#takeFleet(part.state, frame);
    if (incoming.seen < part.parts) return;
    this.#complete({ id, fleets: new Set(part.fleets), fromSeq: incoming.fromSeq, at: frame.recordedAt });
  }

  #complete(snapshot: NonNullable<ClusterFold["snapshot"]>): void {
    this.#incoming = null;
    this.#whole = snapshot;
    this.#wantsSnapshot = false;
    for (const [name, fleet] of this.#fleets) {
      const isNewer = fleet.target !== undefined && fleet.target.seq >= snapshot.fromSeq;
      if (!snapshot.fleets.has(name) && !isNewer) forget(fleet, snapshot.at);
      for (const [objectId, row] of fleet.objects) {
        if (row !== "gone" && row.snapshotId !== snapshot.id) remove(fleet, objectId, snapshot.at);
      }
    }
  }

  #takeFleet(report: FleetReport, frame: ReportFrame): void {
    const fleet = this.#fleet(report.fleet);
    for (const event of report.events) {
      const read = readEvent(event, report, frame);
      this.#events.push(read);
      markEvent(fleet, read, event.drift);
    }
    for (const phase of report.phases) this.#keepPhase(readPhase(phase, report, frame));
    if (report.removed) {
      forget(fleet, frame.recordedAt);
      fleet.removedGeneration = report.generation;
      return;
    }
    fleet.removedGeneration = undefined;
    const target = readTargetState(report, frame);
    if (target !== undefined) {
      fleet.target = target;
      if (!report.changedBundlesOnly) {
        fleet.bundles.clear();
        fleet.namesAllBundles = true;
      }
      for (const state of report.bundles) {
        const row = readBundleState(state);
        fleet.bundles.set(row.bundle, row);
      }
    }
    const seen = { at: frame.recordedAt, revision: cleanText(report.revision) };
    for (const state of report.objects) setObject(fleet, readObjectState(state, frame), seen);
    for (const id of report.gone) remove(fleet, objectIdText(id), frame.recordedAt);
  }

  /** The first time counts, unless it failed. */
  #keepPhase(phase: ReportedPhase): void {
    const key = [phase.fleet, phase.revision, phase.phase].join("\n");
    const kept = this.#phases.get(key);
    if (kept === undefined || kept.error !== "") this.#phases.set(key, phase);
  }

  #fleet(name: string): FleetFold {
    const known = this.#fleets.get(name);
    if (known !== undefined) return known;
    const fresh: FleetFold = {
      forget: false,
      removedGeneration: undefined,
      target: undefined,
      bundles: new Map(),
      namesAllBundles: false,
      objects: new Map(),
      drift: new Map(),
      forgottenAt: undefined,
    };
    this.#fleets.set(name, fresh);
    return fresh;
  }
}

function forget(fleet: FleetFold, at: Date): void {
  fleet.forget = true;
  fleet.forgottenAt ??= at;
  fleet.target = undefined;
  fleet.bundles.clear();
  fleet.namesAllBundles = false;
  fleet.objects.clear();
  for (const objectId of fleet.drift.keys()) mark(fleet, objectId, { kind: "healed", at, by: "gone" });
}

function setObject(fleet: FleetFold, row: ObjectStateRow, seen: { readonly at: Date; readonly revision: string }): void {
  fleet.objects.set(row.objectId, row);
  const { bundle, drift: fields } = row;
  mark(fleet, row.objectId, fields.length > 0 ? { kind: "seen", ...seen, bundle, fields } : { kind: "healed", at: seen.at, by: null });
}

function remove(fleet: FleetFold, objectId: string, at: Date): void {
  fleet.objects.set(objectId, "gone");
  mark(fleet, objectId, { kind: "healed", at, by: "gone" });
}

/** What an agent's event says of a drift: that it was found, or how it ended. Found as part of a fight is found once more. */
const sightings: ReadonlySet<string> = new Set(["DriftDetected", "DriftReported", "Fight"]);
const endings: ReadonlyMap<string, HealedBy> = new Map([
  ["DriftHealed", "agent"],
  ["DriftEnded", "itself"],
  ["DriftAccepted", "accepted"],
  ["DriftReplaced", "target"],
]);

function markEvent(fleet: FleetFold, { reason, objectId, at, bundle, revision }: ReportedEvent, drift: ClusterEvent["drift"]): void {
  if (objectId === "") return;
  const by = endings.get(reason);
  if (sightings.has(reason)) mark(fleet, objectId, { kind: "detected", at, bundle, revision, fields: readFields(drift) });
  else if (by !== undefined) mark(fleet, objectId, { kind: "healed", at, by });
}

function mark(fleet: FleetFold, objectId: string, next: DriftMark): void {
  const marks = fleet.drift.get(objectId);
  if (marks === undefined) {
    // What was open before the fleet was forgotten ended then.
    const first: DriftMark[] = fleet.forgottenAt === undefined ? [] : [{ kind: "healed", at: fleet.forgottenAt, by: "gone" }];
    fleet.drift.set(objectId, [...first, next]);
  } else {
    const last = marks.at(-1);
    if (next.kind !== "healed" || last?.kind !== "healed" || (last.by === null && next.by !== null)) marks.push(next);
  }
}
