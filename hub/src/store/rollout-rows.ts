import type pg from "pg";
import { clusterNameLabel } from "@flotilla/proto/names";
import type { FleetCluster, FleetRollout, KeptRollout, KeptTarget, Pin } from "../domain/fleet-rollout.ts";
import type { ClusterMark, Observation, Word } from "../domain/rollout.ts";
import { readSpecs } from "./target-specs.ts";

/** Fleets of a repository of which something is to be decided: a rollout is open or waits, or a person's word is not carried out everywhere. */
export async function listRollingFleets(pool: pg.Pool, repositoryId: string): Promise<readonly { readonly name: string; readonly untilMs: number | null }[]> {
  const { rows } = await pool.query<{ name: string; untilMs: number | null }>({
    name: "list-rolling-fleets",
    text: `SELECT f.name, (SELECT (EXTRACT(EPOCH FROM min(r.until) - now()) * 1000)::float8 FROM rollouts r WHERE r.fleet = f.name AND r.phase IN ('Running', 'RollingBack', 'Queued')) AS "untilMs"
           FROM fleets f WHERE f.repository_id = $1 AND f.deleting IS NULL AND (
             EXISTS (SELECT 1 FROM rollouts r WHERE r.fleet = f.name AND r.phase IN ('Running', 'RollingBack', 'Queued'))
             OR EXISTS (SELECT 1 FROM pins p WHERE p.fleet = f.name)
             OR EXISTS (SELECT 1 FROM targets t WHERE t.fleet = f.name AND t.tombstone IS NULL AND t.revision <> f.settled_revision))
           ORDER BY f.name`,
    values: [repositoryId],
  });
  return rows;
}

/** Undefined when there is no such fleet. */
export async function readFleetRollout(pool: pg.Pool, fleet: string): Promise<FleetRollout | undefined> {
  const head = await pool.query<{ newest: string | null; settled: string | null; deleting: string | null; now: number }>({
    name: "read-fleet-rollout",
    text: `SELECT revision AS newest, settled_revision AS settled, deleting, ${epoch("clock_timestamp()")} AS now FROM fleets WHERE name = $1`,
    values: [fleet],
  });
  const [row] = head.rows;
  if (row === undefined) return undefined;
  const rollouts = await readRollouts(pool, fleet);
  const open = rollouts.find(({ phase }) => phase === "Running" || phase === "RollingBack");
  const queued = rollouts.find(({ phase }) => phase === "Queued");
  const last = rollouts.find(({ phase }) => !["Queued", "Running", "RollingBack"].includes(phase));
  const pins = await readPins(pool, fleet);
  const wanted = [open?.revision, row.settled, pins.get("")?.revision].filter((revision) => typeof revision === "string");
  return {
    newest: row.newest,
    settled: row.settled,
    isDeleting: row.deleting !== null,
    open,
    queued,
    last: last && { revision: last.revision, phase: last.phase },
    held: await readHold(pool, fleet),
    pins,
    clusters: await readClusters(pool, fleet, open, [...new Set([...wanted, ...[...pins.values()].map(({ revision }) => revision)])]),
    now: row.now,
  };
}

/** The open one, the one that waits, and the one that ended last. */
async function readRollouts(pool: pg.Pool, fleet: string): Promise<readonly KeptRollout[]> {
  const { rows } = await pool.query<KeptRollout>({
    name: "read-rollouts-of-fleet",
    text: `SELECT id::text AS id, revision, from_revision AS "from", plan, phase, wave, ${epoch("started_at")} AS "startedAt", paused, approvals, gates, reason, traceparent, version::text AS version
           FROM rollouts WHERE fleet = $1 AND (phase IN ('Queued', 'Running', 'RollingBack')
             OR id = (SELECT max(id) FROM rollouts WHERE fleet = $1 AND phase NOT IN ('Queued', 'Running', 'RollingBack', 'Superseded', 'Skipped')))
           ORDER BY id DESC`,
    values: [fleet],
  });
  return rows;
}

/** The fleet's own hold, the freeze of all, or that it is suspended as a whole: nothing new is released meanwhile. */
async function readHold(pool: pg.Pool, fleet: string): Promise<FleetRollout["held"]> {
  const { rows } = await pool.query<Word & { until: number | null; ofAll: boolean; isSuspended: boolean }>({
    name: "read-hold",
    text: `SELECT by, reason, ${epoch("at")} AS at, ${epoch("until")} AS until, fleet = '' AS "ofAll", false AS "isSuspended" FROM holds WHERE fleet IN ($1, '') AND (until IS NULL OR until > now())
           UNION ALL SELECT by_name, reason, ${epoch("since")}, NULL, false, true FROM suspensions WHERE fleet = $1 AND cluster = '' AND bundle = ''
           ORDER BY "ofAll", "isSuspended" LIMIT 1`,
    values: [fleet],
  });
  const [row] = rows;
  if (!row) return undefined;
  const { by, at, until, ofAll, isSuspended } = row;
  const reason = isSuspended ? `the fleet is suspended${row.reason === "" ? "" : `: ${row.reason}`}` : row.reason;
  return { by, reason, at, ofAll, ...(until !== null && { until }) };
}

async function readPins(pool: pg.Pool, fleet: string): Promise<ReadonlyMap<string, Pin>> {
  const { rows } = await pool.query<Pin & { cluster: string }>({
    name: "read-pins",
    text: `SELECT cluster, revision, by, reason, ${epoch("at")} AS at FROM pins WHERE fleet = $1`,
    values: [fleet],
  });
  return new Map(rows.map(({ cluster, ...pin }) => [cluster, pin]));
}

interface ClusterColumns {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly assigned: string | null;
  readonly isLeaving: boolean;
  readonly placed: readonly string[] | null;
  readonly isCurrent: boolean | null;
  readonly sync: string | null;
  readonly health: Observation["health"] | null;
  readonly message: string | null;
  readonly drifted: number | null;
  readonly failed: number | null;
  readonly offlineSince: number | null;
  readonly mark: ClusterMark | null;
  readonly why: string | null;
  readonly markedWave: number | null;
  readonly since: number | null;
  readonly releasedAt: number | null;
  readonly targetReleasedAt: number | null;
  readonly healthyBefore: string | null;
}

async function readClusters(pool: pg.Pool, fleet: string, open: KeptRollout | undefined, revisions: readonly string[]): Promise<readonly FleetCluster[]> {
  const { rows } = await pool.query<ClusterColumns>({
    name: "read-rollout-clusters",
    text: `SELECT c.name, c.labels || jsonb_build_object($5::text, c.name) AS labels, t.revision AS assigned, COALESCE(t.leaving_since IS NOT NULL, false) AS "isLeaving", p.revisions AS placed,
             s.generation >= t.generation AND s.revision = t.revision AS "isCurrent", s.sync, s.health, s.message, s.drifted, s.failed,
             CASE WHEN u.since IS NOT NULL THEN ${epoch("u.since")} WHEN c.lease_until > now() THEN NULL ELSE ${epoch("COALESCE(c.lease_until, c.enrolled_at, c.created_at)")} END AS "offlineSince",
             rc.mark, rc.why, rc.wave AS "markedWave", ${epoch("rc.since")} AS since, ${epoch("rc.released_at")} AS "releasedAt", ${epoch("t.released_at")} AS "targetReleasedAt",
             (SELECT r.revision FROM releases r WHERE r.fleet = $1 AND r.cluster = c.name AND r.healthy_at IS NOT NULL AND r.revision <> $3 ORDER BY r.generation DESC LIMIT 1) AS "healthyBefore"
           FROM clusters c
           LEFT JOIN targets t ON t.fleet = $1 AND t.cluster = c.name AND t.tombstone IS NULL
           LEFT JOIN target_states s ON s.fleet = $1 AND s.cluster = c.name
           LEFT JOIN rollout_clusters rc ON rc.rollout = $2 AND rc.cluster = c.name
           LEFT JOIN suspensions u ON u.fleet = '' AND u.cluster = c.name AND u.bundle = ''
           LEFT JOIN (SELECT cluster, array_agg(revision) AS revisions FROM placements WHERE fleet = $1 AND revision = ANY($4::text[]) GROUP BY cluster) p ON p.cluster = c.name
           WHERE c.removed_at IS NULL AND (t.cluster IS NOT NULL OR p.cluster IS NOT NULL) ORDER BY c.name`,
    values: [fleet, open?.id ?? null, open?.revision ?? "", revisions, clusterNameLabel],
  });
  return rows.map((row) => clusterOf(row, open));
}

function clusterOf(row: ClusterColumns, open: KeptRollout | undefined): FleetCluster {
  const isReleased = open !== undefined && row.assigned === open.revision;
  const { mark, since } = markOf(row, isReleased);
  const releasedAt = row.releasedAt ?? (isReleased ? row.targetReleasedAt : null);
  return {
    name: row.name,
    labels: row.labels,
    assigned: row.assigned,
    placed: row.placed ?? [],
    isLeaving: row.isLeaving,
    mark,
    since,
    ...(mark === "Kept" && row.why !== null && { keptWhy: row.why }),
    ...(row.markedWave !== null && { markedWave: row.markedWave }),
    ...(releasedAt !== null && { releasedAt }),
    ...(row.offlineSince !== null && { offlineSince: row.offlineSince }),
    ...(row.sync !== null && row.health !== null && { observed: observationOf(row, row.health) }),
    ...(row.healthyBefore !== null && { healthyBefore: row.healthyBefore }),
  };
}

function observationOf(row: ClusterColumns, health: Observation["health"]): Observation {
  return {
    isCurrent: row.isCurrent ?? false,
    isSynced: row.sync === "Synced",
    health,
    drifted: row.drifted ?? 0,
    failed: row.failed ?? 0,
    message: row.message ?? "",
  };
}

/** A cluster that got the revision without this rollout (it runs what it ran before) counts from its release. */
function markOf(row: ClusterColumns, isReleased: boolean): { readonly mark: ClusterMark; readonly since: number } {
  if (row.mark !== null && !(row.mark === "Waiting" && isReleased)) return { mark: row.mark, since: row.since ?? 0 };
  return isReleased ? { mark: "Updating", since: row.targetReleasedAt ?? 0 } : { mark: "Waiting", since: row.since ?? 0 };
}

/** Of placements, else of what was released there before. Clusters for which neither is kept are left out. */
export async function readKeptTargets(
  pool: pg.Pool,
  fleet: string,
  wanted: readonly { readonly cluster: string; readonly revision: string }[],
): Promise<readonly KeptTarget[]> {
  const { rows } = await pool.query<Omit<KeptTarget, "bundles"> & { spec: string }>({
    name: "read-kept-targets",
    text: `SELECT w.cluster, w.revision, k.spec FROM unnest($2::text[], $3::text[]) AS w (cluster, revision)
           JOIN LATERAL (
             SELECT spec FROM placements p WHERE p.fleet = $1 AND p.revision = w.revision AND p.cluster = w.cluster
             UNION ALL (SELECT spec FROM releases r WHERE r.fleet = $1 AND r.cluster = w.cluster AND r.revision = w.revision ORDER BY generation DESC LIMIT 1) LIMIT 1) k ON true`,
    values: [fleet, wanted.map(({ cluster }) => cluster), wanted.map(({ revision }) => revision)],
  });
  const specs = await readSpecs(
    pool,
    rows.map(({ spec }) => spec),
  );
  return rows.flatMap(({ cluster, revision, spec }) => {
    const bundles = specs.get(spec);
    return bundles === undefined ? [] : [{ cluster, revision, bundles }];
  });
}

/** Object ids of bodies by digest; those that are not here any more are left out. */
export async function readObjectIds(pool: pg.Pool, digests: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const { rows } = await pool.query<{ digest: string; objectIds: string[] }>({
    name: "read-object-ids",
    text: `SELECT digest, object_ids AS "objectIds" FROM bodies WHERE digest = ANY($1::text[])`,
    values: [digests],
  });
  return new Map(rows.map(({ digest, objectIds }) => [digest, objectIds]));
}

/** Epoch ms of a time, as a number. */
function epoch(time: string): string {
  return `(EXTRACT(EPOCH FROM ${time}) * 1000)::float8`;
}
