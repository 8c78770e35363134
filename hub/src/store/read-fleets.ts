import { apiPrefix, type FleetRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { type HeldRemoval, problemOfHeldRemoval } from "../domain/plan-removals.ts";
import { behindProblem } from "./behind-problem.ts";
import { isoOrNull } from "./iso-time.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";
import { suspendedSql } from "./suspended.ts";

export interface ListBounds {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

interface StoredFleet {
  readonly name: string;
  readonly url: string;
  readonly ref: FleetRow["ref"];
  readonly path: string;
  readonly selector: FleetRow["selector"];
  readonly created_at: Date;
  readonly revision: string | null;
  readonly seen_revision: string | null;
  readonly problems: FleetRow["problems"];
  readonly warnings: FleetRow["warnings"];
  readonly deleting: FleetRow["deleting"];
  readonly suspended: FleetRow["suspended"];
  readonly fetched_at: Date | null;
  readonly last_fetch_at: Date | null;
  readonly error: string | null;
  readonly repository_id: string;
  readonly tally: FleetRow["tally"];
  readonly sync: FleetRow["sync"];
  readonly health: FleetRow["health"];
  readonly as_of: Date | null;
  readonly removal_held: HeldRemoval | null;
}

/** Clusters that leave the fleet count only while the whole fleet is being deleted. */
const from = `fleets f JOIN repositories r ON r.id = f.repository_id
  CROSS JOIN LATERAL (
    SELECT COALESCE(sum(n), 0)::integer AS clusters,
           COALESCE(sum(n) FILTER (WHERE sync = 'Synced'), 0)::integer AS synced, COALESCE(sum(n) FILTER (WHERE sync = 'OutOfSync'), 0)::integer AS out_of_sync,
           COALESCE(sum(n) FILTER (WHERE sync = 'Unknown'), 0)::integer AS unknown, COALESCE(sum(n) FILTER (WHERE health = 'Current'), 0)::integer AS current,
           COALESCE(sum(n) FILTER (WHERE health = 'InProgress'), 0)::integer AS in_progress,
           COALESCE(sum(n) FILTER (WHERE health IN ('Failed', 'NotFound')), 0)::integer AS failed, COALESCE(sum(n) FILTER (WHERE is_drifted), 0)::integer AS drifted,
           (array_agg(health ORDER BY health_rank(health)))[1] AS health, min(as_of) AS as_of
    -- The same words are said of thousands of clusters: each is looked at once, and the sums are made of what is left.
    FROM (SELECT sync, health, drifted > 0 AS is_drifted, count(*) AS n, min(as_of) AS as_of FROM seen_targets t
          WHERE t.fleet = f.name AND (t.tombstone IS NULL OR f.deleting IS NOT NULL) GROUP BY 1, 2, 3) t) s`;

/** What single clusters of the fleet do not get, and what other fleets want of its objects: so many are shown, each with its cluster. */
const clusterProblemsShown = 50;
const allProblems = `f.problems
  || COALESCE((SELECT jsonb_agg(x.problem || jsonb_build_object('cluster', x.cluster)) FROM (
       SELECT t.cluster, p.problem FROM targets t CROSS JOIN LATERAL jsonb_array_elements(t.problems) AS p (problem)
       WHERE t.fleet = f.name AND t.tombstone IS NULL AND t.problems <> '[]' ORDER BY t.cluster LIMIT ${clusterProblemsShown}) x), '[]')
  || COALESCE((SELECT jsonb_agg(x.problem || jsonb_build_object('cluster', x.cluster)) FROM (
       SELECT t.cluster, ${behindProblem("t")} AS problem FROM targets t
       WHERE t.fleet = f.name AND t.tombstone IS NULL AND t.held_generation IS NOT NULL ORDER BY t.cluster LIMIT ${clusterProblemsShown}) x), '[]')
  || COALESCE((SELECT jsonb_agg(x.problem || jsonb_build_object('cluster', x.cluster)) FROM (
       SELECT c.cluster, c.problem FROM contests c WHERE c.owner_fleet = f.name AND c.claimant_fleet <> f.name ORDER BY c.cluster, c.object_id LIMIT ${clusterProblemsShown}) x), '[]')`;

const select = `f.name, r.url, f.ref, f.path, f.selector, f.created_at, f.revision, f.seen_revision, ${allProblems} AS problems, f.warnings, f.deleting, ${suspendedSql("f.name", "''", "''")},
  r.fetched_at, r.last_fetch_at, r.error, r.id AS repository_id, s.as_of, f.removal_held,
  json_build_object('clusters', s.clusters, 'synced', s.synced, 'outOfSync', s.out_of_sync, 'unknown', s.unknown, 'current', s.current,
                    'inProgress', s.in_progress, 'failed', s.failed, 'drifted', s.drifted) AS tally,
  CASE WHEN s.out_of_sync > 0 THEN 'OutOfSync' WHEN s.unknown > 0 OR s.clusters = 0 THEN 'Unknown' ELSE 'Synced' END AS sync,
  COALESCE(s.health, 'Unknown') AS health`;

export async function readFleets(pool: pg.Pool, query: ListBounds & { readonly name?: string | undefined }): Promise<PageOf<FleetRow>> {
  const where = new Conditions().add("f.name = ¤", query.name);
  const page = await readPage<StoredFleet>(pool, { from, select, where, keys: [["f.name", "text"]], countFrom: "fleets f", ...query });
  return { ...page, items: page.items.map(fleetRow) };
}

/** Whether there is such a fleet: nothing is added up for that. */
export async function hasFleet(pool: pg.Pool, name: string): Promise<boolean> {
  return (await pool.query({ name: "has-fleet", text: "SELECT FROM fleets WHERE name = $1", values: [name] })).rows.length > 0;
}

export async function readFleet(pool: pg.Pool, name: string): Promise<FleetRow | undefined> {
  return (await readFleets(pool, { name, limit: 1 })).items[0];
}

function fleetRow(row: StoredFleet): FleetRow {
  return {
    name: row.name,
    repository: row.url,
    ref: row.ref,
    path: row.path,
    selector: row.selector,
    createdAt: row.created_at.toISOString(),
    revision: row.revision,
    seenRevision: row.seen_revision,
    sync: row.sync,
    health: row.health,
    tally: row.tally,
    problems: row.removal_held === null ? row.problems : [...row.problems, problemOfHeldRemoval(row.name, row.removal_held)],
    warnings: row.warnings,
    deleting: row.deleting,
    suspended: row.suspended,
    source: {
      fetchedAt: isoOrNull(row.fetched_at),
      lastTryAt: isoOrNull(row.last_fetch_at),
      error: row.error,
      webhookPath: `${apiPrefix}/webhooks/${row.repository_id}`,
    },
    asOf: isoOrNull(row.as_of),
  };
}

/** Clusters that wait for a person before they leave; null when none does. */
export async function readHeldRemoval(pool: pg.Pool, fleet: string): Promise<HeldRemoval | null> {
  const { rows } = await pool.query<{ removal_held: HeldRemoval | null }>("SELECT removal_held FROM fleets WHERE name = $1", [fleet]);
  return rows[0]?.removal_held ?? null;
}

/** Counts for /metrics: one row per fleet. */
export async function readTallies(pool: pg.Pool): Promise<readonly { readonly fleet: string; readonly tally: FleetRow["tally"] }[]> {
  const { rows } = await pool.query<StoredFleet>(`SELECT ${select} FROM ${from} ORDER BY f.name`);
  return rows.map(({ name, tally }) => ({ fleet: name, tally }));
}
