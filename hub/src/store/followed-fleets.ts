import type pg from "pg";
import { clusterNameLabel } from "@flotilla/proto/names";
import type { Owner, WantedObjects } from "../domain/claims.ts";
import type { LabelSelector } from "../domain/fleet-spec.ts";
import type { TargetedCluster } from "../domain/plan-removals.ts";
import type { Problem } from "../domain/problem.ts";
import type { PlacedCluster } from "../domain/target.ts";
import { removalWindowMs } from "../limits.ts";

export type StoredRef = { readonly branch: string } | { readonly tag: string } | { readonly commit: string } | { readonly semver: string };

/** A fleet as its follower needs it. */
export interface FollowedFleetRow {
  readonly name: string;
  readonly ref: StoredRef;
  readonly path: string;
  readonly selector: LabelSelector | null;
  readonly revision: string | null;
  readonly seenRevision: string | null;
  readonly seenTag: string | null;
  readonly problems: readonly Problem[];
  readonly deleting: "orphan" | "delete" | null;
  /** Until the grace of the first cluster that leaves is over; null when none leaves. */
  readonly leavesInMs: number | null;
}

export async function listFleetsOfRepository(pool: pg.Pool, repositoryId: string): Promise<readonly FollowedFleetRow[]> {
  const { rows } = await pool.query<FollowedFleetRow>({
    name: "list-fleets-of-repository",
    text: `SELECT name, ref, path, selector, revision, seen_revision AS "seenRevision", seen_tag AS "seenTag", problems, deleting,
             (SELECT (EXTRACT(EPOCH FROM min(t.leaves_at) - now()) * 1000)::float8 FROM targets t WHERE t.fleet = name AND t.tombstone IS NULL AND t.leaving_since IS NOT NULL) AS "leavesInMs"
           FROM fleets WHERE repository_id = $1 ORDER BY name`,
    values: [repositoryId],
  });
  return rows;
}

/** Every cluster that was not removed, enrolled or not, with its own name as a label. */
export async function readClustersForPlacement(pool: pg.Pool): Promise<readonly PlacedCluster[]> {
  const { rows } = await pool.query<PlacedCluster>({
    name: "read-clusters-for-placement",
    text: "SELECT name, labels || jsonb_build_object($1::text, name) AS labels FROM clusters WHERE removed_at IS NULL ORDER BY name",
    values: [clusterNameLabel],
  });
  return rows;
}

/** Fewer clusters are looked at one by one; more cost less when the claims of other fleets are read through. */
const clustersOneByOneMax = 200;

interface OwnerRow {
  readonly cluster: string;
  readonly object_id: string;
  readonly fleet: string;
  readonly bundle: string;
}

/**
 * Who else than a fleet owns what it wants, by cluster and object id; of what it wants twice the fleet itself is told too. Its own claims, a million in a
 * large fleet, are not read for it.
 */
export async function readOwners(
  pool: pg.Pool,
  clusters: readonly string[],
  fleet: string,
  wanted: WantedObjects,
): Promise<ReadonlyMap<string, ReadonlyMap<string, Owner>>> {
  const others =
    clusters.length <= clustersOneByOneMax
      ? {
          name: "read-owners-in-clusters",
          text: `SELECT c.* FROM unnest($1::text[]) AS k (cluster)
                 CROSS JOIN LATERAL (SELECT cluster, object_id, fleet, bundle FROM claims WHERE claims.cluster = k.cluster OFFSET 0) c
                 WHERE c.fleet <> $2 AND c.object_id = ANY($3::text[])`,
        }
      : {
          name: "read-owners",
          // The other fleets are found by steps through the index, one for each. What they have is read once and held against both lists: not looked for by each pair of them.
          text: `SELECT c.* FROM (
                   SELECT cluster, object_id, fleet, bundle FROM claims WHERE fleet = ANY(ARRAY(
                     WITH RECURSIVE owner AS ((SELECT fleet FROM claims ORDER BY fleet LIMIT 1) UNION ALL
                       SELECT (SELECT c.fleet FROM claims c WHERE c.fleet > owner.fleet ORDER BY c.fleet LIMIT 1) FROM owner WHERE owner.fleet IS NOT NULL)
                     SELECT fleet FROM owner WHERE fleet <> $2)) OFFSET 0) c
                 WHERE c.cluster = ANY($1::text[]) AND c.object_id = ANY($3::text[])`,
        };
  const { rows } = await pool.query<OwnerRow>({ ...others, values: [clusters, fleet, wanted.ids] });
  rows.push(...(await readOwnClaims(pool, clusters, fleet, wanted.twice)));
  const owners = new Map<string, Map<string, Owner>>();
  // One object per owner: a cluster has thousands of claims and tens of owners.
  const known = new Map<string, Owner>();
  for (const { cluster, object_id: objectId, fleet: ownerFleet, bundle } of rows) {
    const key = `${ownerFleet}/${bundle}`;
    const owner = known.get(key) ?? { fleet: ownerFleet, bundle };
    known.set(key, owner);
    const inCluster = owners.get(cluster) ?? new Map<string, Owner>();
    owners.set(cluster, inCluster.set(objectId, owner));
  }
  return owners;
}

async function readOwnClaims(pool: pg.Pool, clusters: readonly string[], fleet: string, objectIds: readonly string[]): Promise<OwnerRow[]> {
  if (objectIds.length === 0) return [];
  const { rows } = await pool.query<OwnerRow>({
    name: "read-own-claims",
    text: "SELECT cluster, object_id, fleet, bundle FROM claims WHERE fleet = $2 AND cluster = ANY($1::text[]) AND object_id = ANY($3::text[])",
    values: [clusters, fleet, objectIds],
  });
  return rows;
}

/** Clusters that hold a target of the fleet without a tombstone, and what is known of those that leave. */
export async function readTargeted(
  pool: pg.Pool,
  fleet: string,
): Promise<{ readonly clusters: readonly TargetedCluster[]; readonly leftLately: number; readonly approved: readonly string[] }> {
  const clusters = await pool.query<TargetedCluster>({
    name: "read-targeted",
    text: `SELECT cluster, (EXTRACT(EPOCH FROM now() - leaving_since) * 1000)::float8 AS "leavingForMs" FROM targets WHERE fleet = $1 AND tombstone IS NULL ORDER BY cluster`,
    values: [fleet],
  });
  const left = await pool.query<{ lately: number; approved: string[] }>({
    name: "read-left-lately",
    text: `SELECT (SELECT count(*)::integer FROM targets WHERE fleet = $1 AND tombstone IS NOT NULL AND left_at > now() - $2 * interval '1 ms') AS lately,
                  ARRAY(SELECT digest FROM approvals WHERE kind = 'removal' AND fleet = $1 AND outcome IS NULL) AS approved`,
    values: [fleet, removalWindowMs],
  });
  return { clusters: clusters.rows, leftLately: left.rows[0]?.lately ?? 0, approved: left.rows[0]?.approved ?? [] };
}

/** traceparent of a revision's root span; null when the revision or its trace is not known. */
export async function readTraceparent(pool: pg.Pool, fleet: string, revision: string): Promise<string | null> {
  const { rows } = await pool.query<{ traceparent: string | null }>({
    name: "read-traceparent",
    text: "SELECT traceparent FROM revisions WHERE fleet = $1 AND revision = $2",
    values: [fleet, revision],
  });
  return rows[0]?.traceparent ?? null;
}
