import type { DriftRow, RevisionRow, Trace } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";
import { StoreError } from "./store-error.ts";

/** Revisions of a fleet, newest first. */
export async function readRevisions(pool: pg.Pool, query: ListBounds & { readonly fleet: string }): Promise<PageOf<RevisionRow>> {
  interface StoredRevision {
    readonly fleet: string;
    readonly revision: string;
    readonly author: string;
    readonly subject: string;
    readonly committed_at: Date | null;
    readonly seen_at: Date;
    readonly outcome: RevisionRow["outcome"];
    readonly problems: RevisionRow["problems"];
    readonly trace_id: string | null;
    readonly clusters: RevisionRow["clusters"];
    readonly rollout: RevisionRow["rollout"];
  }
  const from = `revisions r LEFT JOIN (
      SELECT t.fleet, t.revision, count(*) AS wanted, count(*) FILTER (WHERE t.sync = 'Synced') AS synced, count(*) FILTER (WHERE t.health = 'Current') AS healthy
      FROM seen_targets t WHERE t.tombstone IS NULL GROUP BY t.fleet, t.revision) s ON s.fleet = r.fleet AND s.revision = r.revision
    LEFT JOIN LATERAL (SELECT json_build_object('id', o.id, 'phase', o.phase, 'reason', o.reason) AS rollout FROM rollouts o
      WHERE o.fleet = r.fleet AND o.revision = r.revision ORDER BY o.id DESC LIMIT 1) l ON true`;
  const select = `r.fleet, r.revision, r.author, r.subject, r.committed_at, r.seen_at, r.outcome, r.problems, r.trace_id, l.rollout,
    json_build_object('wanted', COALESCE(s.wanted, 0), 'synced', COALESCE(s.synced, 0), 'healthy', COALESCE(s.healthy, 0)) AS clusters`;
  const where = new Conditions().add("r.fleet = ¤", query.fleet);
  const keys = [
    ["r.seen_at", "timestamptz"],
    ["r.revision", "text"],
  ] as const;
  const page = await readPage<StoredRevision>(pool, {
    from,
    select,
    where,
    keys,
    countFrom: "revisions r",
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ fleet, revision, author, subject, outcome, problems, clusters, rollout, ...row }) => ({
      fleet, revision, author, subject, outcome, problems, clusters, rollout: rollout ?? null,
      committedAt: isoOrNull(row.committed_at), seenAt: row.seen_at.toISOString(), traceId: row.trace_id,
    })), // prettier-ignore
  };
}

/**
 * The hub's own record of a revision's path; the revision may be a prefix.
 *
 * @throws StoreError `not-found`, `ambiguous`.
 */
export async function readTrace(pool: pg.Pool, fleet: string, prefix: string): Promise<Trace> {
  const { rows } = await pool.query<{ revision: string; trace_id: string | null; subject: string; seen_at: Date }>(
    "SELECT revision, trace_id, subject, seen_at FROM revisions WHERE fleet = $1 AND starts_with(revision, $2) ORDER BY seen_at DESC LIMIT 2",
    [fleet, prefix],
  );
  const [row, other] = rows;
  if (row === undefined)
    throw new StoreError("not-found", `the fleet '${fleet}' has had no revision '${prefix}'`, { hint: `fleet history ${fleet} lists them` });
  if (other !== undefined)
    throw new StoreError("ambiguous", `'${prefix}' begins more than one revision of '${fleet}'`, {
      hint: `${row.revision.slice(0, 12)} and ${other.revision.slice(0, 12)}, for two`,
    });
  const phases = await pool.query<{ cluster: string; phase: string; started_at: Date; ended_at: Date; error: string; span_id: string }>(
    "SELECT cluster, phase, started_at, ended_at, error, span_id FROM phases WHERE fleet = $1 AND revision = $2 ORDER BY cluster, started_at, ended_at LIMIT 50000",
    [fleet, row.revision],
  );
  return {
    fleet,
    revision: row.revision,
    traceId: row.trace_id,
    subject: row.subject,
    seenAt: row.seen_at.toISOString(),
    phases: phases.rows.map(({ cluster, phase, error, ...times }) => ({
      cluster,
      phase,
      startedAt: times.started_at.toISOString(),
      endedAt: times.ended_at.toISOString(),
      error,
      spanId: times.span_id,
    })),
  };
}

export interface DriftFilter {
  readonly fleet?: string | undefined;
  readonly cluster?: string | undefined;
  readonly bundle?: string | undefined;
  /** An id, or a part of it in any case. */
  readonly object?: string | undefined;
  readonly manager?: string | undefined;
  readonly healedBy?: string | undefined;
  readonly open?: boolean | undefined;
  /** RFC 3339; healed then or later, or not at all. */
  readonly since?: string | undefined;
}

/** Drift episodes, newest first. */
export async function readDrifts(pool: pg.Pool, query: ListBounds & DriftFilter): Promise<PageOf<DriftRow>> {
  interface StoredDrift {
    readonly id: string;
    readonly fleet: string;
    readonly cluster: string;
    readonly bundle: string;
    readonly object_id: string;
    readonly fields: DriftRow["fields"];
    readonly first_fields: DriftRow["firstFields"];
    readonly managers: DriftRow["managers"];
    readonly first_seen_at: Date;
    readonly last_seen_at: Date;
    readonly times: number;
    readonly revision: string;
    readonly healed_at: Date | null;
    readonly healed_by: DriftRow["healedBy"];
    readonly as_of: Date | null;
  }
  const where = new Conditions()
    .add("d.fleet = ¤", query.fleet)
    .add("d.cluster = ¤", query.cluster)
    .add("d.bundle = ¤", query.bundle)
    .add("strpos(lower(d.object_id), lower(¤)) > 0", query.object)
    .add("d.managers ? ¤::text", query.manager)
    .add("d.healed_by = ¤", query.healedBy)
    .add("(d.healed_at IS NULL) = ¤", query.open)
    .add("(d.healed_at IS NULL OR d.healed_at >= ¤::timestamptz)", query.since);
  const from = "drifts d LEFT JOIN target_states s ON s.fleet = d.fleet AND s.cluster = d.cluster";
  const page = await readPage<StoredDrift>(pool, {
    from,
    select: "d.*, s.as_of",
    countFrom: "drifts d",
    where,
    keys: [["d.id", "bigint"]],
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map((row) => ({
      id: Number(row.id),
      fleet: row.fleet,
      cluster: row.cluster,
      bundle: row.bundle,
      object: row.object_id,
      fields: row.fields,
      firstFields: row.first_fields,
      managers: row.managers,
      firstSeenAt: row.first_seen_at.toISOString(),
      lastSeenAt: row.last_seen_at.toISOString(),
      times: row.times,
      revision: row.revision,
      healedAt: isoOrNull(row.healed_at),
      healedBy: row.healed_by,
      asOf: isoOrNull(row.as_of),
    })),
  };
}

/** The newest event's id, 0 when there is none; a number that grows with every change readers can see; how many clusters' leases hold. */
export async function readChangeMarks(pool: pg.Pool): Promise<{ readonly eventId: number; readonly version: number; readonly connected: number }> {
  const { rows } = await pool.query<{ id: string; version: string; connected: number }>({
    name: "read-change-marks",
    text: `SELECT GREATEST((SELECT id FROM events ORDER BY id DESC LIMIT 1), (SELECT max(last_id) FROM event_pack_keys WHERE kind = 'all' AND value = ''), 0) AS id,
                  (SELECT last_value FROM change_version) AS version,
                  (SELECT count(*)::integer FROM clusters WHERE lease_until > now() AND removed_at IS NULL) AS connected`,
  });
  return { eventId: Number(rows[0]?.id ?? 0), version: Number(rows[0]?.version ?? 0), connected: rows[0]?.connected ?? 0 };
}

/** Sizes, for `fleet doctor` and /metrics. */
export async function countRows(pool: pg.Pool): Promise<{ readonly fleets: number; readonly clusters: number; readonly connected: number }> {
  const { rows } = await pool.query<{ fleets: number; clusters: number; connected: number }>(
    `SELECT (SELECT count(*)::integer FROM fleets) AS fleets, count(*)::integer AS clusters,
            (count(*) FILTER (WHERE phase = 'Connected'))::integer AS connected FROM seen_clusters WHERE phase <> 'Removed'`,
  );
  return rows[0] ?? { fleets: 0, clusters: 0, connected: 0 };
}
