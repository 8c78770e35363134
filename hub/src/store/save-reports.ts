import type pg from "pg";
import { foldReports, type ClusterFold, type ClusterPosition, type ReceivedReport } from "../domain/fold-report.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { forgetFleets } from "./forget-fleets.ts";
import { insertPhases } from "./insert-phases.ts";
import { notify } from "./listen.ts";
import { askForResend, lockPositions, savePositions } from "./report-positions.ts";
import { saveBundleStates } from "./save-bundle-states.ts";
import { saveDeadLetters, type DeadLetter } from "./save-dead-letters.ts";
import { saveDrifts } from "./save-drifts.ts";
import { saveEvents, type EventInsert } from "./save-events.ts";
import { saveObjectStates } from "./save-object-states.ts";
import { settleApprovals } from "./settle-approvals.ts";
import { saveTargetStates } from "./save-target-states.ts";
import { closeSweptDrifts, markRemoved, sweepSnapshots } from "./sweep-snapshots.ts";

/** The messages of one cluster in a batch, in the order they came. */
export interface ClusterReports {
  readonly cluster: string;
  readonly received: readonly ReceivedReport[];
}

export interface ReportBatch {
  readonly clusters: readonly ClusterReports[];
  readonly deadLetters: readonly DeadLetter[];
}

export interface SavedReports {
  /** Reports that were taken; the rest were old, foreign or early. */
  readonly committed: number;
  /** Clusters asked to publish again. */
  readonly resend: readonly string[];
}

/**
 * Folds a batch into Postgres: states, drift, events, phases, watermarks, dead letters, and the NOTIFYs about them. Runs in the
 * caller's transaction; a report that was committed before changes nothing.
 */
export async function saveReports(client: pg.ClientBase, batch: ReportBatch, now = new Date()): Promise<SavedReports> {
  const positions = await lockPositions(
    client,
    batch.clusters.map(({ cluster }) => cluster),
  );
  const saved: Saved = { committed: 0, clusters: new Set(), fleets: new Set(), missing: new Set(), events: [] };
  let pending = new Map(batch.clusters.filter(({ cluster }) => positions.has(cluster)).map(({ cluster, received }) => [cluster, received]));
  // A second round only for what follows a snapshot that became whole; each takes at least one report.
  while (pending.size > 0) pending = await saveRound(client, positions, pending, saved, now);
  const resend = await askForResend(client, [...saved.missing]);
  await saveDeadLetters(client, batch.deadLetters);
  await saveEvents(client, saved.events);
  await notifyOf(client, saved, resend);
  return { committed: saved.committed, resend };
}

/** What the rounds of a batch came to. */
interface Saved {
  committed: number;
  readonly clusters: Set<string>;
  readonly fleets: Set<string>;
  readonly missing: Set<string>;
  readonly events: EventInsert[];
}

async function saveRound(
  client: pg.ClientBase,
  positions: Map<string, ClusterPosition>,
  pending: ReadonlyMap<string, readonly ReceivedReport[]>,
  saved: Saved,
  now: Date,
): Promise<Map<string, readonly ReceivedReport[]>> {
  const taken = new Map<string, ClusterFold>();
  const rest = new Map<string, readonly ReceivedReport[]>();
  for (const [cluster, received] of pending) {
    const position = positions.get(cluster);
    if (position === undefined) continue;
    const fold = foldReports(position, received, now);
    positions.set(cluster, fold.position);
    if (fold.committed > 0) taken.set(cluster, fold);
    if (fold.rest.length > 0) rest.set(cluster, fold.rest);
    if (fold.missing) saved.missing.add(cluster);
    else saved.missing.delete(cluster);
    saved.committed += fold.committed;
  }
  if (taken.size === 0) return rest;
  const fleets = fleetFolds(taken);
  await forgetFleets(client, fleets);
  await saveTargetStates(client, fleets, now);
  await saveBundleStates(client, fleets, now);
  await saveObjectStates(client, fleets, now);
  await saveDrifts(client, fleets);
  await sweepSnapshots(client, taken);
  await closeSweptDrifts(client, taken);
  await markRemoved(client, taken, fleets);
  await settleApprovals(client, fleets);
  await savePhasesOf(client, taken);
  await savePositions(client, taken);
  for (const cluster of taken.keys()) saved.clusters.add(cluster);
  for (const { fleet } of fleets) saved.fleets.add(fleet);
  saved.events.push(...eventsOf(taken));
  return rest;
}

function fleetFolds(folds: ReadonlyMap<string, ClusterFold>): FleetOfCluster[] {
  return [...folds].flatMap(([cluster, { fleets }]) => [...fleets].map(([fleet, fold]) => ({ cluster, fleet, fold })));
}

async function savePhasesOf(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  const rows = [...folds].flatMap(([cluster, { phases }]) => [...phases.values()].map((phase) => ({ ...phase, cluster })));
  await insertPhases(client, rows);
}

function eventsOf(folds: ReadonlyMap<string, ClusterFold>): EventInsert[] {
  return [...folds].flatMap(([cluster, { events }]) =>
    events.map(({ objectId, traceId, ...event }) => ({ ...event, cluster, object_id: objectId, trace_id: traceId })),
  );
}

async function notifyOf(client: pg.ClientBase, saved: Saved, resend: readonly string[]): Promise<void> {
  const clusters = [...new Set([...saved.clusters, ...resend])];
  if (clusters.length > 0) await notify(client, "flotilla_watermarks", { clusters });
  if (saved.clusters.size > 0) await notify(client, "flotilla_changes", { fleets: [...saved.fleets], clusters: [...saved.clusters] });
}
