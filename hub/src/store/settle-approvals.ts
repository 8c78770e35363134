import type pg from "pg";

/**
 * What came of approvals, from what clusters just reported: used when nothing of the list is left, void when the agent holds another list
 * for the same revision. An approval that a newer revision made void counts as used after all when its prunes were done before.
 */
export async function settleApprovals(client: pg.ClientBase, targets: readonly { readonly cluster: string; readonly fleet: string }[]): Promise<void> {
  if (targets.length === 0) return;
  await client.query({
    name: "settle-approvals",
    text: `WITH reported AS (
             SELECT a.id, s.revision = a.revision AND NOT s.prunes_digest IN ('', a.digest) AS other_list,
                    NOT EXISTS (SELECT 1 FROM object_states o WHERE o.fleet = a.fleet AND o.cluster = a.cluster AND o.object_id = ANY(a.subjects) AND o.prune IN ('held', 'waits')) AS gone
             FROM unnest($1::text[], $2::text[]) AS r (fleet, cluster)
             JOIN approvals a ON a.kind = 'prune' AND a.fleet = r.fleet AND a.cluster = r.cluster AND a.outcome IS DISTINCT FROM 'used'
             JOIN target_states s ON s.fleet = a.fleet AND s.cluster = a.cluster AND s.generation >= a.generation
             WHERE s.revision = a.revision)
           UPDATE approvals a SET outcome = CASE WHEN w.gone THEN 'used' ELSE 'void' END, why = CASE WHEN w.gone THEN '' ELSE 'another list is held now' END, settled_at = now()
           FROM reported w WHERE w.id = a.id AND (w.gone OR (w.other_list AND a.outcome IS NULL))`,
    values: [targets.map(({ fleet }) => fleet), targets.map(({ cluster }) => cluster)],
  });
}

/** Approvals that nothing can come of any more. */
export async function voidApprovals(client: pg.ClientBase, fleet: string, clusters: readonly string[], why: string, exceptRevision = ""): Promise<void> {
  await client.query({
    name: "void-approvals",
    text: `UPDATE approvals SET outcome = 'void', why = $3, settled_at = now()
           WHERE kind = 'prune' AND fleet = $1 AND cluster = ANY($2::text[]) AND outcome IS NULL AND revision <> $4`,
    values: [fleet, clusters, why, exceptRevision],
  });
}
