import type { HoldRow, PinRow, ReleaseRow, RolloutClusterRow, RolloutDecisionRow, RolloutRow, RolloutStatus, WaveRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { RolloutSpec } from "../domain/fleet-spec.ts";
import type { GateState, Word } from "../domain/rollout.ts";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";
import { StoreError } from "./store-error.ts";

interface StoredRollout {
  readonly id: string;
  readonly fleet: string;
  readonly revision: string;
  readonly from_revision: string | null;
  readonly subject: string | null;
  readonly plan: RolloutSpec;
  readonly phase: RolloutRow["phase"];
  readonly wave: number;
  readonly reason: string;
  readonly until: Date | null;
  readonly started_at: Date;
  readonly ended_at: Date | null;
  readonly paused: Word | null;
  readonly failure: { readonly cluster: string; readonly message: string; readonly at: number } | null;
  readonly approvals: readonly (Word & { readonly wave: number })[];
  readonly gates: readonly GateState[];
  readonly marks: readonly { readonly wave: number; readonly mark: string; readonly count: number }[] | null;
}

const rolloutFrom = `rollouts r LEFT JOIN revisions v ON v.fleet = r.fleet AND v.revision = r.revision
  LEFT JOIN LATERAL (SELECT json_agg(json_build_object('wave', k.wave, 'mark', k.mark, 'count', k.count)) AS marks
    FROM (SELECT wave, mark, count(*) AS count FROM rollout_clusters WHERE rollout = r.id GROUP BY wave, mark) k) m ON true`;
const rolloutSelect = `r.id, r.fleet, r.revision, r.from_revision, v.subject, r.plan, r.phase, r.wave, r.reason, r.until, r.started_at, r.ended_at, r.paused, r.failure, r.approvals, r.gates, m.marks`;

/** Rollouts of a fleet, newest first. */
export async function readRollouts(pool: pg.Pool, query: ListBounds & { readonly fleet?: string | undefined }): Promise<PageOf<RolloutRow>> {
  const where = new Conditions().add("r.fleet = ¤", query.fleet);
  const keys = [["r.id", "bigint"]] as const;
  const page = await readPage<StoredRollout>(pool, {
    from: rolloutFrom,
    select: rolloutSelect,
    where,
    keys,
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return { ...page, items: page.items.map(rowOf) };
}

/**
 * What a fleet's rollout is doing, and what people said about it.
 *
 * @throws StoreError `not-found`.
 */
export async function readRolloutStatus(pool: pg.Pool, fleet: string): Promise<RolloutStatus> {
  const heads = await pool.query<{ newest: string | null; settled: string | null }>(
    "SELECT revision AS newest, settled_revision AS settled FROM fleets WHERE name = $1",
    [fleet],
  );
  const [head] = heads.rows;
  if (head === undefined) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
  const { rows } = await pool.query<StoredRollout>(
    `SELECT ${rolloutSelect} FROM ${rolloutFrom} WHERE r.fleet = $1 AND (r.phase IN ('Queued', 'Running', 'RollingBack')
       OR r.id = (SELECT max(id) FROM rollouts WHERE fleet = $1 AND phase NOT IN ('Queued', 'Running', 'RollingBack', 'Skipped'))) ORDER BY r.id DESC`,
    [fleet],
  );
  const find = (...phases: readonly string[]): StoredRollout | undefined => rows.find(({ phase }) => phases.includes(phase));
  const shown = find("Running", "RollingBack") ?? rows.find(({ phase }) => phase !== "Queued");
  const queued = find("Queued");
  return {
    fleet,
    ...head,
    rollout: shown ? rowOf(shown) : null,
    queued: queued ? rowOf(queued) : null,
    pins: [...(await readPins(pool, fleet))],
    holds: [...(await readHolds(pool, fleet))],
  };
}

function rowOf(row: StoredRollout): RolloutRow {
  const { id, fleet, revision, plan, phase, wave, reason, approvals, gates, marks } = row;
  return {
    id: Number(id),
    fleet,
    revision,
    from: row.from_revision,
    subject: row.subject ?? "",
    phase,
    wave,
    waves: plan.waves.map((spec, index): WaveRow => {
      const of = (marks ?? []).filter((mark) => mark.wave === index);
      const approved = approvals.find((approval) => approval.wave === index);
      return {
        name: spec.name,
        clusters: of.reduce((sum, { count }) => sum + count, 0),
        marks: Object.fromEntries(of.map(({ mark, count }) => [mark, count])),
        approval: spec.after.approval ?? null,
        approved: approved ? wordOf(approved) : null,
        soakMs: spec.after.soakMs,
      };
    }),
    reason,
    until: isoOrNull(row.until),
    startedAt: row.started_at.toISOString(),
    endedAt: isoOrNull(row.ended_at),
    paused: row.paused && wordOf(row.paused),
    failure: row.failure && { cluster: row.failure.cluster, message: row.failure.message, at: new Date(row.failure.at).toISOString() },
    gates: gates.map((gate) => ({ ...gate, at: new Date(gate.at).toISOString() })),
  };
}

function wordOf({ by, reason, at }: Word): { by: string; reason: string; at: string } {
  return { by, reason, at: new Date(at).toISOString() };
}

/** What a fleet, and clusters of it, are kept at. */
export async function readPins(pool: pg.Pool | pg.ClientBase, fleet: string): Promise<readonly PinRow[]> {
  const { rows } = await pool.query<Omit<PinRow, "cluster" | "at"> & { cluster: string; at: Date }>(
    "SELECT fleet, cluster, revision, by, reason, at FROM pins WHERE fleet = $1 ORDER BY cluster LIMIT 10000",
    [fleet],
  );
  return rows.map(({ cluster, at, ...pin }) => ({ ...pin, cluster: cluster === "" ? null : cluster, at: at.toISOString() }));
}

/** Holds that count now: of one fleet and of all, or, without a name, every one. */
export async function readHolds(pool: pg.Pool, fleet?: string): Promise<readonly HoldRow[]> {
  const { rows } = await pool.query<{ fleet: string; by: string; reason: string; at: Date; until: Date | null }>(
    "SELECT fleet, by, reason, at, until FROM holds WHERE ($1::text IS NULL OR fleet IN ($1, '')) AND (until IS NULL OR until > now()) ORDER BY fleet LIMIT 10000",
    [fleet ?? null],
  );
  return rows.map(({ at, until, ...hold }) => ({ ...hold, fleet: hold.fleet === "" ? null : hold.fleet, at: at.toISOString(), until: isoOrNull(until) }));
}

/** The history of one rollout, newest first. */
export async function readDecisions(pool: pg.Pool, rollout: number, query: ListBounds): Promise<PageOf<RolloutDecisionRow>> {
  interface Stored extends Omit<RolloutDecisionRow, "id" | "at"> {
    readonly id: string;
    readonly at: Date;
  }
  const page = await readPage<Stored>(pool, {
    from: "rollout_decisions d",
    select: "d.id, d.at, d.kind, d.wave, d.clusters, d.reason, d.by",
    where: new Conditions().add("d.rollout = ¤::bigint", rollout),
    keys: [["d.id", "bigint"]],
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ id, at, kind, wave, clusters, reason, by }) => ({ id: Number(id), at: at.toISOString(), kind, wave, clusters, reason, by })),
  };
}

/** The clusters of one rollout, by name. */
export async function readRolloutClusters(
  pool: pg.Pool,
  rollout: number,
  query: ListBounds & { readonly mark?: string | undefined },
): Promise<PageOf<RolloutClusterRow>> {
  interface Stored extends Omit<RolloutClusterRow, "since" | "releasedAt"> {
    readonly since: Date;
    readonly released_at: Date | null;
  }
  const page = await readPage<Stored>(pool, {
    from: "rollout_clusters k",
    select: "k.cluster, k.wave, k.mark, k.since, k.released_at, k.why",
    where: new Conditions().add("k.rollout = ¤::bigint", rollout).add("k.mark = ¤", query.mark),
    keys: [["k.cluster", "text"]],
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ cluster, wave, mark, since, why, released_at: releasedAt }) => ({
      cluster,
      wave,
      mark,
      since: since.toISOString(),
      releasedAt: isoOrNull(releasedAt),
      why,
    })),
  };
}

/** What was released where, newest first; with `at`, what each cluster had then of each fleet. */
export async function readReleases(
  pool: pg.Pool,
  query: ListBounds & { readonly fleet?: string | undefined; readonly cluster?: string | undefined; readonly at?: string | undefined },
): Promise<PageOf<ReleaseRow>> {
  interface Stored {
    readonly fleet: string;
    readonly cluster: string;
    readonly generation: string;
    readonly revision: string;
    readonly spec: string;
    readonly released_at: Date;
    readonly healthy_at: Date | null;
    readonly cause: string;
    readonly rollout: string | null;
  }
  const where = new Conditions()
    .add("r.fleet = ¤", query.fleet)
    .add("r.cluster = ¤", query.cluster)
    .add(
      "r.released_at <= ¤::timestamptz AND NOT EXISTS (SELECT 1 FROM releases n WHERE n.fleet = r.fleet AND n.cluster = r.cluster AND n.generation > r.generation AND n.released_at <= ¤::timestamptz)",
      query.at,
    );
  const page = await readPage<Stored>(pool, {
    from: "releases r",
    select: "r.fleet, r.cluster, r.generation, r.revision, r.spec, r.released_at, r.healthy_at, r.cause, r.rollout",
    where,
    keys: [
      ["r.released_at", "timestamptz"],
      ["r.fleet", "text"],
      ["r.cluster", "text"],
      ["r.generation", "bigint"],
    ],
    ...(query.fleet !== undefined && { fixed: ["r.fleet"] }),
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ fleet, cluster, generation, revision, spec, cause, rollout, released_at: releasedAt, healthy_at: healthyAt }) => ({
      fleet,
      cluster,
      generation: Number(generation),
      revision,
      digest: spec,
      releasedAt: releasedAt.toISOString(),
      healthyAt: isoOrNull(healthyAt),
      cause,
      rollout: rollout === null ? null : Number(rollout),
    })),
  };
}
