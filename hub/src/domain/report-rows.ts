import type { HealthCounts, HealthWord, SyncWord } from "@flotilla/proto/rest/contract";

/** What folded reports say, as rows; the names of REST's words. */

export interface TargetStateRow {
  readonly fleet: string;
  readonly generation: bigint;
  readonly revision: string;
  readonly targetDigest: string;
  readonly sync: SyncWord;
  readonly health: HealthWord;
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  /** By word, of the objects that are not Current; none is left out. */
  readonly healthCounts: HealthCounts;
  readonly prunesHeld: number;
  readonly prunesDigest: string;
  /** Agent's clock. */
  readonly recordedAt: Date;
  readonly epoch: string;
  readonly seq: bigint;
}

export interface BundleStateRow {
  readonly bundle: string;
  readonly digest: string;
  readonly sync: SyncWord;
  readonly health: HealthWord;
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  /** By word, of the objects that are not Current; none is left out. */
  readonly healthCounts: HealthCounts;
}

export interface DriftedField {
  readonly path: string;
  readonly desired: string;
  readonly live: string;
  readonly manager: string;
  readonly operation: string;
  readonly subresource: string;
  /** RFC 3339; null when unknown. */
  readonly changedAt: string | null;
  readonly members: readonly string[];
}

export interface ObjectStateRow {
  /** "group/kind/namespace/name" */
  readonly objectId: string;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly bundle: string;
  readonly uid: string;
  readonly sync: SyncWord;
  readonly health: HealthWord;
  readonly message: string;
  readonly change: string;
  readonly drift: readonly DriftedField[];
  /** What keeps it although it is no longer in Git; "" while it is. */
  readonly prune: "held" | "waits" | "terminating" | "";
  /** Snapshot that is coming in: whoever lacks its mark when it is whole, goes. */
  readonly snapshotId: string | null;
}

export interface ReportedEvent {
  readonly at: Date;
  readonly fleet: string;
  readonly bundle: string;
  readonly objectId: string;
  readonly reason: string;
  readonly severity: "Normal" | "Warning";
  readonly message: string;
  readonly revision: string;
  readonly traceId: string;
}

export interface ReportedPhase {
  readonly fleet: string;
  readonly revision: string;
  readonly phase: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly error: string;
  readonly spanId: string;
}
