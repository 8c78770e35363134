import { unpackBody } from "@flotilla/proto/body";
import type pg from "pg";
import { type RollbackHazard, rollbackHazards } from "../domain/rollback-hazards.ts";
import { hazardPairsMax } from "../limits.ts";
import { loadBodies } from "./bodies.ts";
import type { Sealing } from "./sealing.ts";

/**
 * What an API server would refuse, or lose data over, when clusters go back: the first reason by cluster. Looked at once for clusters that go from
 * the same objects to the same objects, at most `hazardPairsMax` different ways. What was never applied (a cluster says that it is out of sync)
 * stands in nobody's way: that is what a failed change mostly is.
 *
 * @param wanted the revision by cluster; "" is every cluster of the fleet.
 */
export async function readHazards(
  db: pg.Pool | pg.ClientBase,
  pool: pg.Pool,
  sealing: Sealing,
  fleet: string,
  wanted: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ clusters: string[]; now: string[]; before: string[] }>(
    `SELECT array_agg(t.cluster ORDER BY t.cluster) AS clusters, n.digests AS now, b.digests AS before
     FROM targets t JOIN unnest($2::text[], $3::text[]) AS w (cluster, revision) ON ($4 OR w.cluster = t.cluster)
     JOIN LATERAL (SELECT spec FROM releases r WHERE r.fleet = $1 AND r.cluster = t.cluster AND r.revision = w.revision ORDER BY generation DESC LIMIT 1) k ON true
     JOIN target_specs s ON s.digest = k.spec
     CROSS JOIN LATERAL (SELECT array_agg(x ->> 'digest' ORDER BY x ->> 'digest') AS digests FROM jsonb_array_elements(t.bundles) x) n
     CROSS JOIN LATERAL (SELECT array_agg(x ->> 'digest' ORDER BY x ->> 'digest') AS digests FROM jsonb_array_elements(s.bundles) x) b
     WHERE t.fleet = $1 AND t.tombstone IS NULL AND n.digests IS DISTINCT FROM b.digests GROUP BY n.digests, b.digests LIMIT ${hazardPairsMax}`,
    [fleet, [...wanted.keys()], [...wanted.values()], wanted.has("")],
  );
  const found = new Map<string, string>();
  for (const { clusters, now, before } of rows) {
    const hazards = await hazardsBetween(pool, sealing, now ?? [], before ?? []);
    if (hazards.length === 0) continue;
    const unapplied = await readUnapplied(
      db,
      fleet,
      clusters,
      hazards.map(({ object }) => object),
    );
    for (const cluster of clusters) {
      const [first, ...others] = hazards.filter(({ object }) => !unapplied.has(`${cluster} ${object}`));
      if (first) found.set(cluster, `${first.message}${others.length === 0 ? "" : ` (and ${others.length} more)`}`);
    }
  }
  return found;
}

/** Bodies that both have are only opened to know what is there now. */
async function hazardsBetween(pool: pg.Pool, sealing: Sealing, now: readonly string[], before: readonly string[]): Promise<readonly RollbackHazard[]> {
  const kept = new Set(now);
  const older = before.filter((digest) => !kept.has(digest));
  const bodies = await loadBodies(pool, sealing, [...new Set([...now, ...older])]);
  const open = (digests: readonly string[]) => digests.flatMap((digest) => unpackBody(digest, bodies.get(digest) ?? Buffer.alloc(0)));
  return rollbackHazards(open(now.filter((digest) => bodies.has(digest))), open(older.filter((digest) => bodies.has(digest))));
}

/** "cluster object" of those that are not as the target wants them. */
async function readUnapplied(
  db: pg.Pool | pg.ClientBase,
  fleet: string,
  clusters: readonly string[],
  objects: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ cluster: string; object_id: string }>(
    "SELECT cluster, object_id FROM object_states WHERE fleet = $1 AND cluster = ANY($2::text[]) AND object_id = ANY($3::text[]) AND sync = 'OutOfSync'",
    [fleet, clusters, objects],
  );
  return new Set(rows.map(({ cluster, object_id: object }) => `${cluster} ${object}`));
}
