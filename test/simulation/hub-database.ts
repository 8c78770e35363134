import type { Owner } from "@flotilla/hub/domain/claims";
import { foldReports, type ClusterFold, type ClusterPosition, type ReceivedReport } from "@flotilla/hub/domain/fold-report";
import type { RolloutSpec } from "@flotilla/hub/domain/fleet-spec";
import type { ObjectStateRow, TargetStateRow } from "@flotilla/hub/domain/report-rows";
import type { ClusterMark, RolloutPhase } from "@flotilla/hub/domain/rollout";
import type { TargetApproval, TargetBundle } from "@flotilla/hub/domain/target";

export interface ClusterRow {
  readonly name: string;
  labels: Readonly<Record<string, string>>;
  /** The API's write that set the labels. */
  write: number;
  session: number;
  seenAt: number;
  position: ClusterPosition;
  wantsResend: boolean;
  resendAskedAt: number;
  wantsSnapshot: boolean;
  /** A command that waits for its answer. */
  askedSnapshot: boolean;
}

export interface RolloutRow {
  readonly revision: string;
  readonly from: string | null;
  readonly plan: RolloutSpec;
  phase: RolloutPhase;
  wave: number;
  readonly startedAt: number;
  readonly marks: Map<string, { mark: ClusterMark; since: number; wave: number; releasedAt: number | undefined }>;
}

export interface FleetRow {
  readonly name: string;
  newest: string | null;
  settled: string | null;
  rollout: RolloutRow | undefined;
  last: RolloutPhase | undefined;
  /** Cluster and time of those that left without a person's word. */
  leftAt: number[];
  heldRemoval: string;
  approvedRemovals: string[];
}

export interface TargetRow {
  readonly fleet: string;
  readonly cluster: string;
  generation: bigint;
  revision: string;
  digest: string;
  bundles: readonly TargetBundle[];
  tombstone: "orphan" | "delete" | null;
  pruneApproval: TargetApproval | null;
  heldGeneration: bigint | null;
  leavingSince: number | null;
  isRemoved: boolean;
  releasedAt: number;
  /** Revisions that were healthy here, newest last. */
  healthy: readonly string[];
}

/** An event as it was folded, with the place of its report. */
export interface EventRow {
  readonly cluster: string;
  readonly epoch: string;
  readonly seq: bigint;
  readonly mark: string;
}

/** A report that counted; a gap counts for all from its first. */
export interface TakenRow {
  readonly cluster: string;
  readonly epoch: string;
  readonly firstSeq: bigint;
  readonly seq: bigint;
  /** Of a gap: why what it stands for is lost. */
  readonly lossReason: string;
}

/** A transaction whose writer is not the holder of the lease any more. */
export class Fenced extends Error {
  override readonly name = "Fenced";
}

/** What hub/src/store keeps, as rows in memory: one commit at a time, copied whole for a backup. */
export class HubDatabase {
  clusters = new Map<string, ClusterRow>();
  fleets = new Map<string, FleetRow>();
  /** By "fleet cluster". */
  targets = new Map<string, TargetRow>();
  /** Cluster → object → owner. */
  claims = new Map<string, Map<string, Owner>>();
  targetStates = new Map<string, TargetStateRow>();
  /** Cluster → "fleet key" → row. */
  objectStates = new Map<string, Map<string, ObjectStateRow>>();
  events: EventRow[] = [];
  taken: TakenRow[] = [];
  deadLetters = 0;
  /** Grows with whatever may change what is placed. */
  placements = 0;
  intake = { created: "", seq: 0 };
  /** The token of whoever may write. */
  lease = 0;

  copy(): HubDatabase {
    return Object.assign(new HubDatabase(), structuredClone({ ...this }));
  }

  /** One transaction of the holder of a lease. */
  commit<T>(token: number, act: () => T): T {
    if (token !== this.lease) throw new Fenced(`token ${token} is not ${this.lease}`);
    return act();
  }

  target(fleet: string, cluster: string): TargetRow | undefined {
    return this.targets.get(`${fleet} ${cluster}`);
  }

  /** save-reports.ts in memory: the fold's changes in its order. Returns what was folded. */
  fold(cluster: ClusterRow, received: readonly ReceivedReport[], now: number): ClusterFold {
    const before = cluster.position;
    const fold = foldReports(before, received, new Date(now));
    const objects = this.#objectsOf(cluster.name);
    for (const [fleet, rows] of fold.fleets) {
      if (rows.forget) this.#forget(fleet, cluster.name);
      if (rows.target) this.#saveState(cluster.name, rows.target);
      for (const [id, row] of rows.objects) {
        if (row === "gone") objects.delete(`${fleet} ${id}`);
        else objects.set(`${fleet} ${id}`, row);
      }
      if (rows.removedGeneration !== undefined) this.#removed(fleet, cluster.name, rows.removedGeneration);
    }
    if (fold.snapshot) this.#sweep(cluster.name, fold.snapshot);
    this.#note(cluster.name, before, fold, received);
    cluster.wantsSnapshot = fold.wantsSnapshot || (cluster.wantsSnapshot && fold.snapshot === undefined);
    cluster.position = fold.position;
    return fold.rest.length > 0 ? this.fold(cluster, fold.rest, now) : fold;
  }

  #objectsOf(cluster: string): Map<string, ObjectStateRow> {
    const known = this.objectStates.get(cluster);
    if (known) return known;
    const rows = new Map<string, ObjectStateRow>();
    this.objectStates.set(cluster, rows);
    return rows;
  }

  #saveState(cluster: string, state: TargetStateRow): void {
    this.targetStates.set(`${state.fleet} ${cluster}`, state);
    const target = this.target(state.fleet, cluster);
    const isHealthy = state.sync === "Synced" && state.health === "Current" && target?.revision === state.revision;
    if (target && isHealthy && target.healthy.at(-1) !== state.revision) target.healthy = [...target.healthy, state.revision];
  }

  #forget(fleet: string, cluster: string): void {
    this.targetStates.delete(`${fleet} ${cluster}`);
    const objects = this.#objectsOf(cluster);
    for (const key of [...objects.keys()]) if (key.startsWith(`${fleet} `)) objects.delete(key);
  }

  #removed(fleet: string, cluster: string, generation: bigint): void {
    const target = this.target(fleet, cluster);
    if (target?.tombstone && target.generation <= generation) target.isRemoved = true;
  }

  #sweep(cluster: string, { id, fleets, fromSeq }: NonNullable<ClusterFold["snapshot"]>): void {
    const epoch = this.clusters.get(cluster)?.position.epoch;
    for (const [key, state] of [...this.targetStates]) {
      const isNewer = state.epoch === epoch && state.seq >= fromSeq;
      if (key === `${state.fleet} ${cluster}` && !fleets.has(state.fleet) && !isNewer) this.targetStates.delete(key);
    }
    const isLeft = (fleet: string): boolean => !fleets.has(fleet) && !this.targetStates.has(`${fleet} ${cluster}`);
    const objects = this.#objectsOf(cluster);
    for (const [key, row] of [...objects]) if (row.snapshotId !== id || isLeft(key.split(" ")[0] ?? "")) objects.delete(key);
    for (const target of this.targets.values()) {
      if (target.cluster === cluster && target.tombstone && isLeft(target.fleet)) target.isRemoved = true;
    }
  }

  /** Which reports counted, and their events, in the order in which they did. */
  #note(cluster: string, before: ClusterPosition, fold: ClusterFold, received: readonly ReceivedReport[]): void {
    const left = new Set(fold.rest);
    let { watermark } = before;
    const inOrder = received.filter((one) => !left.has(one)).sort((a, b) => Number(placeOf(a).seq - placeOf(b).seq));
    for (const one of inOrder) {
      const { epoch, firstSeq, seq } = placeOf(one);
      if (epoch !== before.epoch || seq <= watermark || seq > fold.position.watermark) continue;
      watermark = seq;
      const lossReason = one.kind === "report" && one.envelope.report.case === "gap" ? one.envelope.report.value.reason : "";
      this.taken.push({ cluster, epoch, firstSeq, seq, lossReason });
      if (one.kind !== "report" || one.envelope.report.case !== "fleet") continue;
      for (const { message: mark } of one.envelope.report.value.events) this.events.push({ cluster, epoch, seq, mark });
    }
  }
}

function placeOf(received: ReceivedReport): { readonly epoch: string; readonly firstSeq: bigint; readonly seq: bigint } {
  return received.kind === "report" ? received.envelope : { ...received, firstSeq: received.seq };
}
