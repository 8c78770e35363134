import type { ApprovalRow, HeldPruneRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, type PageOf, readPage } from "./read-page.ts";

interface StoredHeld {
  readonly fleet: string;
  readonly cluster: string;
  readonly cluster_phase: HeldPruneRow["clusterPhase"];
  readonly revision: string;
  readonly digest: string;
  readonly objects: number;
  readonly whole: boolean;
  readonly reason: string | null;
  readonly approved_by: string | null;
  readonly as_of: Date | null;
}

/** As listDigest of proto/src/digest.ts. */
const heldDigest = `encode(sha256(convert_to('[' || string_agg(to_json(o.object_id)::text, ',' ORDER BY o.object_id COLLATE "C") || ']', 'UTF8')), 'hex')`;

/** Clusters of a fleet where the agent holds prunes, with the digest of each list. */
export async function readHeldPrunes(
  pool: pg.Pool,
  query: ListBounds & { readonly fleet: string; readonly cluster?: string | undefined },
): Promise<PageOf<HeldPruneRow>> {
  const page = await readPage<StoredHeld>(pool, {
    from: `target_states s
      JOIN seen_targets t ON t.fleet = s.fleet AND t.cluster = s.cluster AND t.tombstone IS NULL
      JOIN targets w ON w.fleet = s.fleet AND w.cluster = s.cluster
      CROSS JOIN LATERAL (SELECT ${heldDigest} AS digest, min(o.message) AS reason FROM object_states o WHERE o.fleet = s.fleet AND o.cluster = s.cluster AND o.prune = 'held') h`,
    select: `s.fleet, s.cluster, t.cluster_phase, s.revision, s.prunes_digest AS digest, s.prunes_held AS objects, h.reason, s.as_of,
      h.digest IS NOT DISTINCT FROM s.prunes_digest AS whole,
      CASE WHEN w.prune_approval ->> 'digest' = s.prunes_digest AND w.prune_approval ->> 'revision' = s.revision THEN w.prune_approval ->> 'approvedBy' END AS approved_by`,
    where: new Conditions().add("s.fleet = ¤", query.fleet).add("s.cluster = ¤", query.cluster).always("s.prunes_held > 0"),
    keys: [["s.cluster", "text"]],
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ fleet, cluster, revision, digest, objects, whole, reason, ...row }) => ({
      fleet, cluster, clusterPhase: row.cluster_phase, revision, digest, objects, whole, reason: reason ?? "", approvedBy: row.approved_by, asOf: isoOrNull(row.as_of),
    })), // prettier-ignore
  };
}

interface StoredApproval {
  readonly id: string;
  readonly kind: ApprovalRow["kind"];
  readonly fleet: string;
  readonly cluster: string;
  readonly revision: string;
  readonly digest: string;
  readonly subjects: string[];
  readonly actor: string;
  readonly actor_name: string;
  readonly reason: string;
  readonly approved_at: Date;
  readonly outcome: "used" | "void" | null;
  readonly why: string;
  readonly settled_at: Date | null;
}

/** Approvals, newest first. */
export async function readApprovals(
  pool: pg.Pool,
  query: ListBounds & {
    readonly fleet?: string | undefined;
    readonly cluster?: string | undefined;
    readonly kind?: string | undefined;
    readonly outcome?: string | undefined;
  },
): Promise<PageOf<ApprovalRow>> {
  const where = new Conditions()
    .add("a.fleet = ¤", query.fleet)
    .add("(a.cluster = ¤ OR a.kind = 'removal' AND ¤ = ANY(a.subjects))", query.cluster)
    .add("a.kind = ¤", query.kind)
    .add("COALESCE(a.outcome, 'waiting') = ¤", query.outcome);
  const page = await readPage<StoredApproval>(pool, {
    from: "approvals a",
    select: "a.*",
    where,
    keys: [["a.id", "bigint"]],
    descending: true,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ id, kind, fleet, cluster, revision, digest, subjects, actor, reason, outcome, why, ...row }) => ({
      id: Number(id), kind, fleet, cluster, revision, digest, subjects, actor, approvedBy: row.actor_name, reason, approvedAt: row.approved_at.toISOString(),
      outcome: outcome ?? "waiting", why, settledAt: isoOrNull(row.settled_at),
    })), // prettier-ignore
  };
}
