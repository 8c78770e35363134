import { unpackBody } from "@flotilla/proto/body";
import type { KubeObject } from "@flotilla/proto/digest";
import type { Rendered } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { objectIdOf } from "../domain/object-id.ts";
import type { TargetBundle } from "../domain/target.ts";
import { loadBodies } from "./bodies.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";

/**
 * The objects of one cluster's target as its agent gets them, without those that another fleet owns; values of Secrets are keyed hashes.
 * Undefined when the cluster has no target of the fleet.
 *
 * @param revision as it was released there last, or is placed to be; may be a prefix. Without it: what it has now.
 * @throws StoreError `not-found` when a body is no longer kept, or the revision was never released there; `ambiguous`.
 */
export async function readRendered(pool: pg.Pool, sealing: Sealing, fleet: string, cluster: string, revision?: string): Promise<Rendered | undefined> {
  const target = revision === undefined ? await presentTarget(pool, fleet, cluster) : await olderTarget(pool, fleet, cluster, revision);
  if (target === undefined) return undefined;
  const bundles: Rendered["bundles"] = [];
  // One body at a time: the largest is 256 MB unpacked.
  for (const { name, digest, excluded } of target.bundles) {
    const body = (await loadBodies(pool, sealing, [digest])).get(digest);
    if (body === undefined)
      throw new StoreError("not-found", `the body of bundle '${name}' is no longer kept`, { hint: `fleet sync ${fleet} renders it again` });
    const left = new Set(excluded);
    const objects = unpackBody(digest, body).filter((object) => !left.has(objectIdOf(object)));
    bundles.push({ name, digest, objects: objects.map((object) => hideSecrets(object, sealing) as Record<string, unknown>) });
  }
  return { fleet, cluster, revision: target.revision, generation: Number(target.generation), bundles, problems: target.problems };
}

interface StoredTarget {
  readonly generation: string;
  readonly revision: string;
  readonly bundles: readonly TargetBundle[];
  readonly problems: Rendered["problems"];
}

async function presentTarget(pool: pg.Pool, fleet: string, cluster: string): Promise<StoredTarget | undefined> {
  const { rows } = await pool.query<StoredTarget>(
    "SELECT t.generation, t.revision, t.bundles, s.problems FROM targets t JOIN seen_targets s USING (fleet, cluster) WHERE t.fleet = $1 AND t.cluster = $2",
    [fleet, cluster],
  );
  return rows[0];
}

async function olderTarget(pool: pg.Pool, fleet: string, cluster: string, prefix: string): Promise<StoredTarget> {
  const { rows } = await pool.query<StoredTarget>(
    `SELECT DISTINCT ON (k.revision) k.generation, k.revision, x.bundles, '[]'::jsonb AS problems FROM (
       SELECT generation, revision, spec FROM releases WHERE fleet = $1 AND cluster = $2
       UNION ALL SELECT 0, revision, spec FROM placements WHERE fleet = $1 AND cluster = $2) k JOIN target_specs x ON x.digest = k.spec
     WHERE starts_with(k.revision, $3) ORDER BY k.revision, k.generation DESC LIMIT 2`,
    [fleet, cluster, prefix.toLowerCase()],
  );
  const [row, other] = rows;
  if (row === undefined)
    throw new StoreError("not-found", `revision '${prefix}' of fleet ${fleet} was not released to cluster ${cluster}, or is no longer kept`, {
      hint: `fleet history ${fleet} --cluster ${cluster} lists what was`,
    });
  if (other !== undefined)
    throw new StoreError("ambiguous", `'${prefix}' begins more than one revision`, { hint: `${row.revision.slice(0, 12)} and ${other.revision.slice(0, 12)}` });
  return row;
}

function hideSecrets(object: KubeObject, sealing: Sealing): KubeObject {
  if (object.kind !== "Secret" || object.apiVersion !== "v1") return object;
  const hidden: Record<string, unknown> = { ...object };
  for (const field of ["data", "stringData"]) {
    const values = object[field];
    if (typeof values !== "object" || values === null) continue;
    hidden[field] = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, `hmac-sha256:${sealing.fingerprint(`${field}/${String(value)}`)}`]));
  }
  return hidden as unknown as KubeObject;
}
