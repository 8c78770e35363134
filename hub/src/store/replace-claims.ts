import { createHash } from "node:crypto";
import type pg from "pg";
import type { Claimant, ClusterClaims } from "../domain/claims.ts";
import { batchRowsMax } from "../limits.ts";
import { inBatches } from "./unnest.ts";

/** What a release says about who owns what. */
export interface ClaimsRelease {
  readonly fleet: string;
  readonly placed: readonly { readonly cluster: string }[];
  readonly claims: readonly ClusterClaims[];
  readonly removals: readonly { readonly cluster: string }[];
}

/**
 * What a fleet owns in the clusters of a release takes the place of what it owned there. Clusters whose targets say that they have just these claims are not
 * looked at; clusters with the same claims share the rows that are sent.
 *
 * @returns fleets that must be placed again: those that wanted what was let go, and this one when it came too late.
 */
export async function replaceClaims(client: pg.ClientBase, release: ClaimsRelease): Promise<{ readonly fleets: readonly string[] }> {
  const { fleet } = release;
  const wanted = await changedClaims(client, release);
  if (wanted.size === 0) return { fleets: [] };
  await sendWanted(client, wanted);
  const freed = await client.query<{ cluster: string; object_id: string }>({
    name: "free-claims",
    text: `DELETE FROM claims c USING wanted_clusters k WHERE c.fleet = $1 AND c.cluster = k.cluster
             AND NOT EXISTS (SELECT 1 FROM wanted_claims w WHERE w.digest = k.digest AND w.object_id = c.object_id AND w.bundle = c.bundle)
           RETURNING c.cluster, c.object_id`,
    values: [fleet],
  });
  await client.query({
    name: "take-claims",
    text: `INSERT INTO claims (cluster, object_id, fleet, bundle)
           SELECT k.cluster, w.object_id, $1, w.bundle FROM wanted_clusters k JOIN wanted_claims w USING (digest)
           WHERE NOT EXISTS (SELECT 1 FROM claims c WHERE c.cluster = k.cluster AND c.object_id = w.object_id)
           ORDER BY k.cluster, w.object_id ON CONFLICT DO NOTHING`,
    values: [fleet],
  });
  const late = await client.query<{ cluster: string }>({
    name: "late-claims",
    text: `SELECT DISTINCT k.cluster FROM wanted_clusters k JOIN wanted_claims w USING (digest) JOIN claims c ON c.cluster = k.cluster AND c.object_id = w.object_id
           WHERE c.fleet <> $1`,
    values: [fleet],
  });
  await client.query({
    name: "note-claims",
    text: `UPDATE targets t SET claims_digest = CASE WHEN t.cluster = ANY($2::text[]) THEN '' ELSE k.digest END
           FROM wanted_clusters k WHERE t.fleet = $1 AND t.cluster = k.cluster AND t.tombstone IS NULL`,
    values: [fleet, late.rows.map(({ cluster }) => cluster)],
  });
  const waiting = await client.query<{ claimant_fleet: string }>({
    name: "claimants-of-freed",
    text: `SELECT DISTINCT x.claimant_fleet FROM contests x JOIN unnest($2::text[], $3::text[]) AS r (cluster, object_id) USING (cluster, object_id)
           WHERE x.owner_fleet = $1 AND x.claimant_fleet <> $1`,
    values: [fleet, freed.rows.map(({ cluster }) => cluster), freed.rows.map(({ object_id: objectId }) => objectId)],
  });
  return { fleets: [...waiting.rows.map((row) => row.claimant_fleet), ...(late.rows.length > 0 ? [fleet] : [])] };
}

/** Fewer rows are joined in no time, whatever the plan. */
const analyzeFrom = 500;

interface WantedClaims {
  readonly digest: string;
  readonly owned: readonly Claimant[];
}

/** By cluster; what leaves, and what is placed without an object, claims nothing. */
async function changedClaims(client: pg.ClientBase, { fleet, placed, claims, removals }: ClaimsRelease): Promise<Map<string, WantedClaims>> {
  const wanted = new Map<string, WantedClaims>(removals.map(({ cluster }) => [cluster, { digest: "", owned: nothing }]));
  for (const { cluster } of placed) wanted.set(cluster, { digest: digestOfClaims(nothing), owned: nothing });
  for (const { cluster, owned } of claims) wanted.set(cluster, { digest: digestOfClaims(owned), owned });
  if (wanted.size === 0) return wanted;
  const { rows } = await client.query<{ cluster: string }>({
    name: "same-claims",
    text: `SELECT t.cluster FROM targets t JOIN unnest($2::text[], $3::text[]) AS r (cluster, digest) USING (cluster)
           WHERE t.fleet = $1 AND r.digest <> '' AND t.claims_digest = r.digest AND t.tombstone IS NULL`,
    values: [fleet, [...wanted.keys()], [...wanted.values()].map(({ digest }) => digest)],
  });
  for (const { cluster } of rows) wanted.delete(cluster);
  return wanted;
}

const nothing: readonly Claimant[] = [];

async function sendWanted(client: pg.ClientBase, wanted: ReadonlyMap<string, WantedClaims>): Promise<void> {
  await client.query("CREATE TEMPORARY TABLE IF NOT EXISTS wanted_claims (digest text, object_id text, bundle text) ON COMMIT DELETE ROWS");
  await client.query("CREATE TEMPORARY TABLE IF NOT EXISTS wanted_clusters (cluster text, digest text) ON COMMIT DELETE ROWS");
  // A transaction may release twice.
  await client.query("DELETE FROM wanted_claims");
  await client.query("DELETE FROM wanted_clusters");
  const sets = new Map([...wanted.values()].map(({ digest, owned }) => [digest, owned]));
  const rows = [...sets].flatMap(([digest, owned]) => owned.flatMap(({ bundle, objectIds }) => objectIds.map((objectId) => ({ digest, objectId, bundle }))));
  for (const part of inBatches(rows, batchRowsMax * 10)) {
    await client.query({
      name: "want-claims",
      text: "INSERT INTO wanted_claims SELECT * FROM unnest($1::text[], $2::text[], $3::text[])",
      values: [part.map(({ digest }) => digest), part.map(({ objectId }) => objectId), part.map(({ bundle }) => bundle)],
    });
  }
  await client.query({
    name: "want-claims-of",
    text: "INSERT INTO wanted_clusters SELECT * FROM unnest($1::text[], $2::text[])",
    values: [[...wanted.keys()], [...wanted.values()].map(({ digest }) => digest)],
  });
  // Made a moment ago, they have no statistics: a plan for a handful of rows would take a hundred thousand of them one by one.
  if (rows.length + wanted.size > analyzeFrom) await client.query("ANALYZE wanted_claims, wanted_clusters");
}

const digests = new WeakMap<readonly Claimant[], string>();

/** Of what one cluster's claims come to; clusters that get the same share the array. */
function digestOfClaims(owned: readonly Claimant[]): string {
  const known = digests.get(owned);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  for (const { bundle, objectIds } of owned.toSorted((a, b) => (a.bundle < b.bundle ? -1 : 1))) {
    hash.update(`${bundle}\0`);
    for (const objectId of objectIds.toSorted()) hash.update(`${objectId}\0`);
    hash.update("\0");
  }
  const digest = hash.digest("hex");
  digests.set(owned, digest);
  return digest;
}
