import { clusterNameLabel } from "@flotilla/proto/names";
import type { ClusterRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { LabelExpression } from "../domain/fleet-spec.ts";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";
import { suspendedSql } from "./suspended.ts";

export interface ClusterFilter extends ListBounds {
  readonly name?: string | undefined;
  readonly labels?: readonly LabelExpression[] | undefined;
  readonly phase?: string | undefined;
  readonly fleet?: string | undefined;
}

interface StoredCluster {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly facts: Record<string, string>;
  readonly phase: ClusterRow["phase"];
  readonly created_at: Date;
  readonly enrolled_at: Date | null;
  readonly last_seen_at: Date | null;
  readonly agent_version: string | null;
  readonly kubernetes_version: string | null;
  readonly hub_id: string | null;
  readonly fleets: string[];
  readonly suspended: ClusterRow["suspended"];
  readonly sync: ClusterRow["sync"];
  readonly health: ClusterRow["health"];
  readonly as_of: Date | null;
}

const itsTargets = `CROSS JOIN LATERAL (
    SELECT COALESCE(array_agg(t.fleet ORDER BY t.fleet), '{}') AS fleets, count(*) AS held,
           count(*) FILTER (WHERE t.sync = 'OutOfSync') AS out_of_sync, count(*) FILTER (WHERE t.sync = 'Unknown') AS unknown,
           (array_agg(t.health ORDER BY health_rank(t.health)))[1] AS health, min(t.as_of) AS as_of
    FROM seen_targets t WHERE t.cluster = c.name AND t.tombstone IS NULL) s`;

/** The same as being among its fleets, without adding those up for every cluster there is. */
const holdsFleet =
  "c.removed_at IS NULL AND EXISTS (SELECT FROM targets t WHERE t.fleet = ¤ AND t.cluster = c.name AND t.tombstone IS NULL AND t.removed_at IS NULL)";

/** A connected cluster without a fleet lacks nothing; whatever is not connected is Unknown. */
const select = `c.name, c.labels, c.facts, c.phase, c.created_at, c.enrolled_at, c.last_seen_at, c.agent_version, c.kubernetes_version, c.hub_id, s.fleets, ${suspendedSql("''", "c.name", "''")},
  CASE WHEN c.phase <> 'Connected' OR s.unknown > 0 AND s.out_of_sync = 0 THEN 'Unknown' WHEN s.out_of_sync > 0 THEN 'OutOfSync' ELSE 'Synced' END AS sync,
  CASE WHEN c.phase <> 'Connected' THEN 'Unknown' WHEN s.held = 0 THEN 'Current' ELSE s.health END AS health,
  COALESCE(s.as_of, c.last_seen_at) AS as_of`;

/** Clusters by name; removed ones only when their phase is asked for. */
export async function readClusters(pool: pg.Pool, query: ClusterFilter): Promise<PageOf<ClusterRow>> {
  const where = new Conditions().add("c.name = ¤", query.name).add("c.phase = ¤", query.phase).add(holdsFleet, query.fleet);
  if (query.phase !== "Removed") where.always("c.phase <> 'Removed'");
  for (const expression of query.labels ?? []) addLabel(where, expression);
  const page = await readPage<StoredCluster>(pool, {
    from: "seen_clusters c",
    adds: itsTargets,
    select,
    where,
    keys: [["c.name", "text"]],
    limit: query.limit,
    cursor: query.cursor,
  });
  return { ...page, items: page.items.map(clusterRow) };
}

export async function readCluster(pool: pg.Pool, name: string): Promise<ClusterRow | undefined> {
  return (await readClusters(pool, { name, limit: 1 })).items[0];
}

/** Every cluster has its own name as a label, which is not stored: the others are asked of the column as it is, ten thousand times. */
function addLabel(where: Conditions, { key, operator, values = [] }: LabelExpression): void {
  const isName = key === clusterNameLabel;
  const label = isName ? "c.name" : "(c.labels ->> (¤::text[])[1])";
  const given = isName ? "¤::text[]" : "(¤::text[])[2:]";
  const listed = isName ? values : [key, ...values];
  if (operator === "In") where.add(`${label} = ANY(${given})`, listed);
  else if (operator === "NotIn") where.add(`(${label} = ANY(${given})) IS NOT TRUE`, listed);
  else if (isName) where.always(operator === "Exists" ? "true" : "false");
  else where.add(operator === "Exists" ? "jsonb_exists(c.labels, ¤)" : "NOT jsonb_exists(c.labels, ¤)", key);
}

function clusterRow(row: StoredCluster): ClusterRow {
  return {
    name: row.name,
    labels: row.labels,
    facts: row.facts,
    phase: row.phase,
    createdAt: row.created_at.toISOString(),
    enrolledAt: isoOrNull(row.enrolled_at),
    lastSeenAt: isoOrNull(row.last_seen_at),
    agentVersion: row.agent_version,
    kubernetesVersion: row.kubernetes_version,
    hub: row.phase === "Connected" ? row.hub_id : null,
    fleets: row.fleets,
    suspended: row.suspended,
    sync: row.sync,
    health: row.health,
    asOf: isoOrNull(row.as_of),
  };
}
