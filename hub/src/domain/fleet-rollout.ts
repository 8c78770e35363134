import { placedRevisionsMax } from "../limits.ts";
import type { RolloutSpec } from "./fleet-spec.ts";
import type { GateState, RolloutCluster, RolloutPhase, Word } from "./rollout.ts";
import type { TargetBundle } from "./target.ts";

/** A rollout as it is kept. Times are epoch ms by the database's clock. */
export interface KeptRollout {
  readonly id: string;
  readonly revision: string;
  readonly from: string | null;
  readonly plan: RolloutSpec;
  readonly phase: RolloutPhase;
  readonly wave: number;
  readonly startedAt: number;
  readonly paused: Word | null;
  readonly approvals: readonly (Word & { readonly wave: number })[];
  readonly gates: readonly GateState[];
  readonly reason: string;
  readonly traceparent: string | null;
  /** Grows with every change: a decision counts only for the version that it was made for. */
  readonly version: string;
}

/** A revision that a fleet or a cluster is kept at. */
export interface Pin extends Word {
  readonly revision: string;
}

/** One cluster of a fleet: what it has, what it may get, and what is known of it. */
export interface FleetCluster extends Omit<RolloutCluster, "isPinned"> {
  /** Revision of its target; null when it has none. */
  readonly assigned: string | null;
  /** Revisions that are placed for it and may be released. */
  readonly placed: readonly string[];
  /** The fleet no longer selects it: it keeps what it has until it leaves. */
  readonly isLeaving: boolean;
}

/** All that a decision about one fleet needs. */
export interface FleetRollout {
  /** The newest good revision of Git. */
  readonly newest: string | null;
  /** The newest revision that went through the whole fleet. */
  readonly settled: string | null;
  readonly isDeleting: boolean;
  readonly open: KeptRollout | undefined;
  readonly queued: KeptRollout | undefined;
  /** How the newest ended one ended. */
  readonly last: { readonly revision: string; readonly phase: RolloutPhase } | undefined;
  readonly held: (Word & { readonly until?: number; readonly ofAll: boolean }) | undefined;
  /** The fleet's is under "". */
  readonly pins: ReadonlyMap<string, Pin>;
  readonly clusters: readonly FleetCluster[];
  /** The database's clock, epoch ms: what all times here are measured against. */
  readonly now: number;
}

/** What a revision came to for a cluster, as it was kept. */
export interface KeptTarget {
  readonly cluster: string;
  readonly revision: string;
  readonly bundles: readonly TargetBundle[];
}

/** Revisions that a fleet's clusters run, or are to run next, most needed first. */
export interface RevisionsInUse {
  readonly revisions: readonly string[];
  /** Only one, the newest of Git, everywhere, and nobody keeps anything: whatever cluster is there gets it. */
  readonly isPlain: boolean;
}

/** What is to be kept placed for a fleet whose clusters join, leave and change labels. */
export function revisionsInUse({ settled, open, queued, last, pins, clusters }: FleetRollout, newest: string): RevisionsInUse {
  const lagging = new Map<string, number>();
  for (const { assigned, isLeaving } of clusters) if (assigned !== null && !isLeaving) lagging.set(assigned, (lagging.get(assigned) ?? 0) + 1);
  const byCount = [...lagging].sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1)).map(([revision]) => revision);
  const wanted = [open?.revision, settled, ...[...pins.values()].map(({ revision }) => revision), queued?.revision, ...byCount];
  const revisions = [...new Set(wanted.filter((revision): revision is string => typeof revision === "string"))].slice(0, placedRevisionsMax);
  const isSettled = settled === newest || (settled === null && last === undefined);
  const isPlain = isSettled && !open && !queued && pins.size === 0 && revisions.every((revision) => revision === newest);
  return { revisions, isPlain };
}

/** What a cluster has to have while no rollout says otherwise; undefined when nothing does. */
export function homeOf(fleet: Pick<FleetRollout, "pins" | "settled">, cluster: string): string | undefined {
  return fleet.pins.get(cluster)?.revision ?? fleet.pins.get("")?.revision ?? fleet.settled ?? undefined;
}
