import type pg from "pg";
import { foldDrift, type DriftEpisode, type DriftMark } from "../domain/drift-episodes.ts";
import { foldReports, type ClusterFold, type ClusterPosition, type FleetFold, type ReceivedReport } from "../domain/fold-report.ts";
import type { BundleStateRow, DriftedField, ObjectStateRow, TargetStateRow } from "../domain/report-rows.ts";
import { batchRowsMax, deadLetterBytesMax, resendAskMs } from "../limits.ts";
import { notify } from "./listen.ts";
import { saveEvents, type EventInsert } from "./save-events.ts";
import { inBatches, unnestRows, type Columns } from "./unnest.ts";

/** The messages of one cluster in a batch, in the order they came. */
export interface ClusterReports {
  readonly cluster: string;
  readonly received: readonly ReceivedReport[];
}

/** A message that could not be read or folded. */
export interface DeadLetter {
  readonly cluster: string;
  readonly subject: string;
  readonly streamSeq: number;
  readonly reason: string;
  readonly content: Uint8Array;
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
  const positions = await lockPositions(client, batch.clusters.map(({ cluster }) => cluster));
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
    const fold = foldReports(positions.get(cluster)!, received, now);
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
  await savePhasesOf(client, taken);
  await savePositions(client, taken);
  for (const cluster of taken.keys()) saved.clusters.add(cluster);
  for (const { fleet } of fleets) saved.fleets.add(fleet);
  saved.events.push(...eventsOf(taken));
  return rest;
}

interface FleetOfCluster {
  readonly cluster: string;
  readonly fleet: string;
  readonly fold: FleetFold;
}

function fleetFolds(folds: ReadonlyMap<string, ClusterFold>): FleetOfCluster[] {
  return [...folds].flatMap(([cluster, { fleets }]) => [...fleets].map(([fleet, fold]) => ({ cluster, fleet, fold })));
}

/** Locked in one order, so that two writers of clusters never wait for each other crosswise. A removed cluster has no position: its reports change nothing. */
async function lockPositions(client: pg.ClientBase, clusters: readonly string[]): Promise<Map<string, ClusterPosition>> {
  const { rows } = await client.query<{ name: string; epoch: string | null; watermark: string; snapshot_id: string | null; snapshot_parts: number; snapshot_seen: number; snapshot_from: string }>({
    name: "lock-positions",
    text: `SELECT name, epoch, watermark, snapshot_id, snapshot_parts, snapshot_seen, snapshot_from FROM clusters
           WHERE name = ANY($1::text[]) AND removed_at IS NULL ORDER BY name FOR NO KEY UPDATE`,
    values: [[...new Set(clusters)]],
  });
  return new Map(
    rows.map((row) => [
      row.name,
      {
        epoch: row.epoch,
        watermark: BigInt(row.watermark),
        snapshot: row.snapshot_id === null ? null : { id: row.snapshot_id, parts: row.snapshot_parts, seen: row.snapshot_seen, fromSeq: BigInt(row.snapshot_from) },
      },
    ]),
  );
}

async function savePositions(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  interface PositionRow {
    readonly name: string;
    readonly watermark: bigint;
    readonly snapshot_id: string | null;
    readonly snapshot_parts: number;
    readonly snapshot_seen: number;
    readonly snapshot_from: bigint;
    readonly wants_snapshot: boolean;
    readonly has_snapshot: boolean;
  }
  const columns: Columns<PositionRow> = { name: "text", watermark: "bigint", snapshot_id: "text", snapshot_parts: "integer", snapshot_seen: "integer", snapshot_from: "bigint", wants_snapshot: "boolean", has_snapshot: "boolean" };
  const rows = [...folds].map(([name, { position, wantsSnapshot, snapshot }]) => ({
    name,
    watermark: position.watermark,
    snapshot_id: position.snapshot?.id ?? null,
    snapshot_parts: position.snapshot?.parts ?? 0,
    snapshot_seen: position.snapshot?.seen ?? 0,
    snapshot_from: position.snapshot?.fromSeq ?? 0n,
    wants_snapshot: wantsSnapshot,
    has_snapshot: snapshot !== undefined,
  }));
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(columns, part);
    await client.query({
      name: "save-positions",
      text: `UPDATE clusters c SET watermark = r.watermark, snapshot_id = r.snapshot_id, snapshot_parts = r.snapshot_parts, snapshot_seen = r.snapshot_seen, snapshot_from = r.snapshot_from,
               wants_snapshot = r.wants_snapshot OR (c.wants_snapshot AND NOT r.has_snapshot), version = nextval('change_version')
             FROM ${batch.text} WHERE c.name = r.name`,
      values: [...batch.values],
    });
  }
}

/** Asks at most every resendAskMs: what was on its way when the agent began anew is no new loss. */
async function askForResend(client: pg.ClientBase, missing: readonly string[]): Promise<readonly string[]> {
  if (missing.length === 0) return [];
  const { rows } = await client.query<{ name: string }>({
    name: "ask-for-resend",
    text: `UPDATE clusters SET wants_resend = true, resend_asked_at = now()
           WHERE name = ANY($1::text[]) AND (resend_asked_at IS NULL OR resend_asked_at < now() - $2 * interval '1 ms') RETURNING name`,
    values: [missing, resendAskMs],
  });
  return rows.map(({ name }) => name);
}

async function forgetFleets(client: pg.ClientBase, fleets: readonly FleetOfCluster[]): Promise<void> {
  const forgotten = fleets.filter(({ fold }) => fold.forget);
  if (forgotten.length === 0) return;
  await deleteFleetRows(client, forgotten);
  await client.query({
    name: "close-drifts-of-forgotten",
    text: `UPDATE drifts d SET healed_at = r.at FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS r (cluster, fleet, at)
           WHERE d.cluster = r.cluster AND d.fleet = r.fleet AND d.healed_at IS NULL AND NOT (d.cluster || ' ' || d.fleet || ' ' || d.object_id = ANY($4::text[]))`,
    // Drift of objects that this fold speaks of is folded below.
    values: [forgotten.map(({ cluster }) => cluster), forgotten.map(({ fleet }) => fleet), forgotten.map(({ fold }) => fold.forgottenAt), forgotten.flatMap(({ cluster, fleet, fold }) => [...fold.drift.keys()].map((objectId) => `${cluster} ${fleet} ${objectId}`))],
  });
}

async function deleteFleetRows(client: pg.ClientBase, fleets: readonly { readonly cluster: string; readonly fleet: string }[]): Promise<void> {
  const values = [fleets.map(({ cluster }) => cluster), fleets.map(({ fleet }) => fleet)];
  for (const table of ["object_states", "bundle_states", "target_states"]) {
    await client.query({
      name: `forget-${table}`,
      text: `DELETE FROM ${table} t USING unnest($1::text[], $2::text[]) AS r (cluster, fleet) WHERE t.cluster = r.cluster AND t.fleet = r.fleet`,
      values,
    });
  }
}

interface TargetStateInsert {
  readonly fleet: string;
  readonly cluster: string;
  readonly generation: bigint;
  readonly revision: string;
  readonly target_digest: string;
  readonly sync: string;
  readonly health: string;
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  readonly prunes_held: number;
  readonly prunes_digest: string;
  readonly recorded_at: Date;
  readonly as_of: Date;
  readonly epoch: string;
  readonly seq: bigint;
}

const targetStateColumns: Columns<TargetStateInsert> = {
  fleet: "text",
  cluster: "text",
  generation: "bigint",
  revision: "text",
  target_digest: "text",
  sync: "text",
  health: "text",
  message: "text",
  objects: "integer",
  healthy: "integer",
  drifted: "integer",
  failed: "integer",
  prunes_held: "integer",
  prunes_digest: "text",
  recorded_at: "timestamptz",
  as_of: "timestamptz",
  epoch: "text",
  seq: "bigint",
};

async function saveTargetStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const rows = fleets.flatMap(({ cluster, fold: { target } }) => (target === undefined ? [] : [targetInsert(cluster, target, now)]));
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(targetStateColumns, part);
    const names = Object.keys(targetStateColumns);
    await client.query({
      name: "save-target-states",
      text: `INSERT INTO target_states (${names.join(", ")}, version) SELECT r.*, nextval('change_version') FROM ${batch.text}
             ON CONFLICT (fleet, cluster) DO UPDATE SET ${names.slice(2).map((name) => `${name} = EXCLUDED.${name}`).join(", ")}, version = EXCLUDED.version`,
      values: [...batch.values],
    });
  }
}

function targetInsert(cluster: string, row: TargetStateRow, now: Date): TargetStateInsert {
  const { fleet, generation, revision, sync, health, message, objects, healthy, drifted, failed, epoch, seq } = row;
  return {
    fleet, cluster, generation, revision, target_digest: row.targetDigest, sync, health, message, objects, healthy, drifted, failed,
    prunes_held: row.prunesHeld, prunes_digest: row.prunesDigest, recorded_at: row.recordedAt, as_of: now, epoch, seq,
  }; // prettier-ignore
}

interface BundleStateInsert extends BundleStateRow {
  readonly fleet: string;
  readonly cluster: string;
  readonly as_of: Date;
}

const bundleStateColumns: Columns<BundleStateInsert> = {
  fleet: "text",
  cluster: "text",
  bundle: "text",
  digest: "text",
  sync: "text",
  health: "text",
  message: "text",
  objects: "integer",
  healthy: "integer",
  drifted: "integer",
  failed: "integer",
  as_of: "timestamptz",
};

async function saveBundleStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const whole = fleets.filter(({ fold }) => fold.bundles !== undefined);
  const rows = whole.flatMap(({ cluster, fleet, fold }) => (fold.bundles ?? []).map((bundle) => ({ ...bundle, fleet, cluster, as_of: now })));
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(bundleStateColumns, part);
    const names = Object.keys(bundleStateColumns);
    await client.query({
      name: "save-bundle-states",
      text: `INSERT INTO bundle_states AS b (${names.join(", ")}) SELECT * FROM ${batch.text}
             ON CONFLICT (fleet, cluster, bundle) DO UPDATE SET ${names.slice(3).map((name) => `${name} = EXCLUDED.${name}`).join(", ")}
             WHERE ${differs("b", names.slice(3, -1))}`,
      values: [...batch.values],
    });
  }
  if (whole.length === 0) return;
  await client.query({
    name: "drop-bundle-states",
    text: `DELETE FROM bundle_states b USING unnest($1::text[], $2::text[]) AS w (cluster, fleet)
           WHERE b.cluster = w.cluster AND b.fleet = w.fleet
             AND NOT EXISTS (SELECT 1 FROM unnest($3::text[], $4::text[], $5::text[]) AS r (cluster, fleet, bundle)
                             WHERE r.cluster = b.cluster AND r.fleet = b.fleet AND r.bundle = b.bundle)`,
    values: [whole.map(({ cluster }) => cluster), whole.map(({ fleet }) => fleet), rows.map(({ cluster }) => cluster), rows.map(({ fleet }) => fleet), rows.map(({ bundle }) => bundle)],
  });
}

interface ObjectStateInsert {
  readonly fleet: string;
  readonly cluster: string;
  readonly object_id: string;
  readonly api_group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly bundle: string;
  readonly uid: string;
  readonly sync: string;
  readonly health: string;
  readonly message: string;
  readonly change: string;
  readonly drift: string;
  readonly as_of: Date;
  readonly snapshot_id: string | null;
}

const objectStateColumns: Columns<ObjectStateInsert> = {
  fleet: "text",
  cluster: "text",
  object_id: "text",
  api_group: "text",
  version: "text",
  kind: "text",
  namespace: "text",
  name: "text",
  bundle: "text",
  uid: "text",
  sync: "text",
  health: "text",
  message: "text",
  change: "text",
  drift: "jsonb",
  as_of: "timestamptz",
  snapshot_id: "text",
};

/** What is written only when it differs. */
const objectContent = ["version", "bundle", "uid", "sync", "health", "message", "change", "drift"];

async function saveObjectStates(client: pg.ClientBase, fleets: readonly FleetOfCluster[], now: Date): Promise<void> {
  const rows: ObjectStateInsert[] = [];
  const gone: { cluster: string; fleet: string; objectId: string }[] = [];
  for (const { cluster, fleet, fold } of fleets) {
    for (const [objectId, row] of fold.objects) {
      if (row === "gone") gone.push({ cluster, fleet, objectId });
      else rows.push(objectInsert(cluster, fleet, row, now));
    }
  }
  for (const part of inBatches(rows, batchRowsMax)) {
    const batch = unnestRows(objectStateColumns, part);
    const names = Object.keys(objectStateColumns);
    await client.query({
      name: "save-object-states",
      text: `INSERT INTO object_states AS o (${names.join(", ")}) SELECT * FROM ${batch.text}
             ON CONFLICT (fleet, cluster, object_id) DO UPDATE SET ${names.slice(3).map((name) => `${name} = EXCLUDED.${name}`).join(", ")}
             WHERE ${differs("o", objectContent)} OR EXCLUDED.snapshot_id IS NOT NULL`,
      values: [...batch.values],
    });
  }
  for (const part of inBatches(gone, batchRowsMax)) {
    await client.query({
      name: "drop-object-states",
      text: `DELETE FROM object_states o USING unnest($1::text[], $2::text[], $3::text[]) AS r (cluster, fleet, object_id)
             WHERE o.cluster = r.cluster AND o.fleet = r.fleet AND o.object_id = r.object_id`,
      values: [part.map(({ cluster }) => cluster), part.map(({ fleet }) => fleet), part.map(({ objectId }) => objectId)],
    });
  }
}

function objectInsert(cluster: string, fleet: string, row: ObjectStateRow, now: Date): ObjectStateInsert {
  const { objectId, group, version, kind, namespace, name, bundle, uid, sync, health, message, change, drift, snapshotId } = row;
  return {
    fleet, cluster, object_id: objectId, api_group: group, version, kind, namespace, name, bundle, uid, sync, health, message, change,
    drift: JSON.stringify(drift), as_of: now, snapshot_id: snapshotId,
  }; // prettier-ignore
}

function differs(table: string, columns: readonly string[]): string {
  return `(${columns.map((column) => `${table}.${column}`).join(", ")}) IS DISTINCT FROM (${columns.map((column) => `EXCLUDED.${column}`).join(", ")})`;
}

/** A snapshot is whole: what it did not name, and nobody reported since it began, is not there. */
async function sweepSnapshots(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  for (const [cluster, { snapshot, position }] of folds) {
    if (snapshot === undefined) continue;
    const held = [...snapshot.fleets];
    await client.query({
      name: "sweep-target-states",
      text: "DELETE FROM target_states WHERE cluster = $1 AND NOT (fleet = ANY($2::text[])) AND NOT (epoch = $3 AND seq >= $4)",
      values: [cluster, held, position.epoch, snapshot.fromSeq],
    });
    const isLeft = "(NOT (x.fleet = ANY($2::text[])) AND NOT EXISTS (SELECT 1 FROM target_states s WHERE s.fleet = x.fleet AND s.cluster = x.cluster))";
    await client.query({ name: "sweep-bundle-states", text: `DELETE FROM bundle_states x WHERE x.cluster = $1 AND ${isLeft}`, values: [cluster, held] });
    await client.query({
      name: "sweep-object-states",
      text: `DELETE FROM object_states x WHERE x.cluster = $1 AND (x.snapshot_id IS DISTINCT FROM $3 OR ${isLeft})`,
      values: [cluster, held, snapshot.id],
    });
  }
}

/** A target with a tombstone that the agent let go of, or never had, is done with. */
async function markRemoved(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>, fleets: readonly FleetOfCluster[]): Promise<void> {
  const removed = fleets.filter(({ fold }) => fold.removedGeneration !== undefined);
  if (removed.length > 0) {
    await client.query({
      name: "mark-removed",
      text: `UPDATE targets t SET removed_at = now() FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r (cluster, fleet, generation)
             WHERE t.cluster = r.cluster AND t.fleet = r.fleet AND t.tombstone IS NOT NULL AND t.removed_at IS NULL AND t.generation <= r.generation`,
      values: [removed.map(({ cluster }) => cluster), removed.map(({ fleet }) => fleet), removed.map(({ fold }) => fold.removedGeneration)],
    });
  }
  for (const [cluster, { snapshot }] of folds) {
    if (snapshot === undefined) continue;
    await client.query({
      name: "mark-removed-by-snapshot",
      text: `UPDATE targets t SET removed_at = now() WHERE t.cluster = $1 AND t.tombstone IS NOT NULL AND t.removed_at IS NULL AND NOT (t.fleet = ANY($2::text[]))
               AND NOT EXISTS (SELECT 1 FROM target_states s WHERE s.fleet = t.fleet AND s.cluster = t.cluster)`,
      values: [cluster, [...snapshot.fleets]],
    });
  }
}

interface DriftRowOfObject {
  readonly cluster: string;
  readonly fleet: string;
  readonly objectId: string;
  readonly marks: readonly DriftMark[];
}

interface StoredEpisode extends DriftEpisode {
  readonly id: string;
}

async function saveDrifts(client: pg.ClientBase, fleets: readonly FleetOfCluster[]): Promise<void> {
  const marked: DriftRowOfObject[] = fleets.flatMap(({ cluster, fleet, fold }) => [...fold.drift].map(([objectId, marks]) => ({ cluster, fleet, objectId, marks })));
  for (const part of inBatches(marked, batchRowsMax)) {
    const last = await readLastEpisodes(client, part);
    const updates: StoredEpisode[] = [];
    const inserts: (DriftEpisode & Omit<DriftRowOfObject, "marks">)[] = [];
    for (const { cluster, fleet, objectId, marks } of part) {
      const stored = last.get([cluster, fleet, objectId].join("\n"));
      const [first, ...others] = foldDrift(stored, marks);
      if (stored === undefined && first !== undefined) others.unshift(first);
      else if (stored !== undefined && first !== undefined && first !== stored) updates.push({ ...first, id: stored.id });
      inserts.push(...others.map((episode) => ({ ...episode, cluster, fleet, objectId })));
    }
    await updateEpisodes(client, updates);
    await insertEpisodes(client, inserts);
  }
}

async function readLastEpisodes(client: pg.ClientBase, objects: readonly DriftRowOfObject[]): Promise<Map<string, StoredEpisode>> {
  interface EpisodeRow {
    readonly cluster: string;
    readonly fleet: string;
    readonly object_id: string;
    readonly id: string;
    readonly bundle: string;
    readonly fields: readonly DriftedField[];
    readonly first_seen_at: Date;
    readonly last_seen_at: Date;
    readonly times: number;
    readonly healed_at: Date | null;
  }
  const { rows } = await client.query<EpisodeRow>({
    name: "read-last-episodes",
    text: `SELECT d.* FROM unnest($1::text[], $2::text[], $3::text[]) AS r (cluster, fleet, object_id)
           CROSS JOIN LATERAL (SELECT * FROM drifts d WHERE d.cluster = r.cluster AND d.fleet = r.fleet AND d.object_id = r.object_id
                               ORDER BY d.id DESC LIMIT 1) d`,
    values: [objects.map(({ cluster }) => cluster), objects.map(({ fleet }) => fleet), objects.map(({ objectId }) => objectId)],
  });
  return new Map(
    rows.map((row) => [
      [row.cluster, row.fleet, row.object_id].join("\n"),
      { id: row.id, bundle: row.bundle, fields: row.fields, firstSeenAt: row.first_seen_at, lastSeenAt: row.last_seen_at, times: row.times, healedAt: row.healed_at },
    ]),
  );
}

async function updateEpisodes(client: pg.ClientBase, episodes: readonly StoredEpisode[]): Promise<void> {
  if (episodes.length === 0) return;
  await client.query({
    name: "update-drifts",
    text: `UPDATE drifts d SET bundle = r.bundle, fields = r.fields, last_seen_at = r.last_seen_at, times = r.times, healed_at = r.healed_at
           FROM unnest($1::bigint[], $2::text[], $3::jsonb[], $4::timestamptz[], $5::integer[], $6::timestamptz[]) AS r (id, bundle, fields, last_seen_at, times, healed_at)
           WHERE d.id = r.id`,
    values: [
      episodes.map(({ id }) => id),
      episodes.map(({ bundle }) => bundle),
      episodes.map(({ fields }) => JSON.stringify(fields)),
      episodes.map(({ lastSeenAt }) => lastSeenAt),
      episodes.map(({ times }) => times),
      episodes.map(({ healedAt }) => healedAt),
    ],
  });
}

async function insertEpisodes(client: pg.ClientBase, episodes: readonly (DriftEpisode & Omit<DriftRowOfObject, "marks">)[]): Promise<void> {
  if (episodes.length === 0) return;
  await client.query({
    name: "insert-drifts",
    text: `INSERT INTO drifts (cluster, fleet, object_id, bundle, fields, first_seen_at, last_seen_at, times, healed_at)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::timestamptz[], $7::timestamptz[], $8::integer[], $9::timestamptz[])`,
    values: [
      episodes.map(({ cluster }) => cluster),
      episodes.map(({ fleet }) => fleet),
      episodes.map(({ objectId }) => objectId),
      episodes.map(({ bundle }) => bundle),
      episodes.map(({ fields }) => JSON.stringify(fields)),
      episodes.map(({ firstSeenAt }) => firstSeenAt),
      episodes.map(({ lastSeenAt }) => lastSeenAt),
      episodes.map(({ times }) => times),
      episodes.map(({ healedAt }) => healedAt),
    ],
  });
}

/** Drift of objects that a snapshot swept away has ended. */
async function closeSweptDrifts(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  for (const [cluster, { snapshot }] of folds) {
    if (snapshot === undefined) continue;
    await client.query({
      name: "close-swept-drifts",
      text: `UPDATE drifts d SET healed_at = $2 WHERE d.cluster = $1 AND d.healed_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM object_states o WHERE o.fleet = d.fleet AND o.cluster = d.cluster AND o.object_id = d.object_id)`,
      values: [cluster, snapshot.at],
    });
  }
}

async function savePhasesOf(client: pg.ClientBase, folds: ReadonlyMap<string, ClusterFold>): Promise<void> {
  const rows = [...folds].flatMap(([cluster, { phases }]) => [...phases.values()].map((phase) => ({ ...phase, cluster })));
  await insertPhases(client, rows);
}

export interface PhaseInsert {
  readonly fleet: string;
  readonly revision: string;
  /** Empty for what happens once per revision. */
  readonly cluster: string;
  readonly phase: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly error: string;
  readonly spanId: string;
}

/** The first time of a step counts, unless it failed then. */
export async function insertPhases(client: pg.Pool | pg.ClientBase, phases: readonly PhaseInsert[]): Promise<void> {
  for (const part of inBatches(phases, batchRowsMax)) {
    await client.query({
      name: "insert-phases",
      text: `INSERT INTO phases AS p (fleet, revision, cluster, phase, started_at, ended_at, error, span_id)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[])
             ON CONFLICT (fleet, revision, cluster, phase) DO UPDATE
             SET started_at = EXCLUDED.started_at, ended_at = EXCLUDED.ended_at, error = EXCLUDED.error, span_id = EXCLUDED.span_id WHERE p.error <> ''`,
      values: [
        part.map(({ fleet }) => fleet),
        part.map(({ revision }) => revision),
        part.map(({ cluster }) => cluster),
        part.map(({ phase }) => phase),
        part.map(({ startedAt }) => startedAt),
        part.map(({ endedAt }) => endedAt),
        part.map(({ error }) => error),
        part.map(({ spanId }) => spanId),
      ],
    });
  }
}

async function saveDeadLetters(client: pg.ClientBase, letters: readonly DeadLetter[]): Promise<void> {
  if (letters.length === 0) return;
  await client.query({
    name: "save-dead-letters",
    text: `INSERT INTO dead_letters (cluster, subject, stream_seq, reason, content) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[])`,
    values: [
      letters.map(({ cluster }) => cluster),
      letters.map(({ subject }) => subject),
      letters.map(({ streamSeq }) => streamSeq),
      letters.map(({ reason }) => reason.replaceAll("\0", "\uFFFD").slice(0, 1_000)),
      letters.map(({ content }) => Buffer.from(content.subarray(0, deadLetterBytesMax))),
    ],
  });
  await client.query({
    name: "flag-dead-letters",
    text: "UPDATE clusters SET wants_snapshot = true WHERE name = ANY($1::text[]) AND NOT wants_snapshot",
    values: [[...new Set(letters.map(({ cluster }) => cluster))].sort()],
  });
}

function eventsOf(folds: ReadonlyMap<string, ClusterFold>): EventInsert[] {
  return [...folds].flatMap(([cluster, { events }]) => events.map(({ objectId, traceId, ...event }) => ({ ...event, cluster, object_id: objectId, trace_id: traceId })));
}

async function notifyOf(client: pg.ClientBase, saved: Saved, resend: readonly string[]): Promise<void> {
  const clusters = [...new Set([...saved.clusters, ...resend])];
  if (clusters.length > 0) await notify(client, "flotilla_watermarks", { clusters });
  if (saved.clusters.size > 0) await notify(client, "flotilla_changes", { fleets: [...saved.fleets], clusters: [...saved.clusters] });
}
