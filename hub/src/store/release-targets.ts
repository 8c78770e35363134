import { targetDigest } from "@flotilla/proto/digest";
import type pg from "pg";
import type { ClusterClaims, Contest } from "../domain/claims.ts";
import type { HeldRemoval } from "../domain/plan-removals.ts";
import { problemsOfContest } from "../domain/place-bundles.ts";
import type { PlacedTarget } from "../domain/target.ts";
import { batchRowsMax, contestsToldMax } from "../limits.ts";
import { eventOf } from "./create-fleet.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { replaceClaims } from "./replace-claims.ts";
import { saveEvents } from "./save-events.ts";
import { type Leaver, type LeavingToSave, saveLeaving, stillLeaving } from "./save-leaving.ts";
import { voidApprovals } from "./settle-approvals.ts";
import { saveSpecs } from "./target-specs.ts";
import { wantCommitStatus } from "./tell-outside.ts";
import { inBatches } from "./unnest.ts";

export interface TargetRelease {
  readonly fleet: string;
  readonly revision: string;
  readonly placed: readonly PlacedTarget[];
  /** What the fleet owns from now on in the clusters placed on. */
  readonly claims: readonly ClusterClaims[];
  /** Objects that another fleet or bundle owns, by cluster. */
  readonly contests: ReadonlyMap<string, readonly Contest[]>;
  /** Clusters that leave the fleet. */
  readonly removals: readonly Leaver[];
  /** Clusters that the fleet selects, those that leave and keep what they have meanwhile, and what waits for a person. */
  readonly staying?: readonly string[];
  readonly leaving?: LeavingToSave["leaving"];
  readonly heldRemoval?: HeldRemoval | null;
  readonly usedApproval?: string | null;
  /** It is what Git says now, and not what the database had: may take the place of something newer that an agent holds. */
  readonly isCurrent?: boolean;
  readonly traceparent: string | null;
  /** What the history of releases says; "placement" when left out. */
  readonly cause?: ReleaseCause;
  /** The rollout that releases them. */
  readonly rollout?: string | null;
  /** That rollout is this one release; nothing is released when it has ended meanwhile. */
  readonly endsRollout?: boolean;
  /** Only clusters that are at this revision still, or have no target yet: who was moved on meanwhile is left alone. */
  readonly onlyThere?: boolean;
}

/** Why a target was released: kept with it, for people. */
export type ReleaseCause = "rollout" | "rollback" | "placement" | "pin" | "joined";

/**
 * Makes targets visible to agents, in one transaction. A cluster gets a new generation when its digest or revision changed, or when it comes
 * back; an equal digest with a new revision costs the agent nothing and lets the status show the revision. Removals become tombstones.
 * Claims of the clusters placed on are replaced; an object that another fleet claimed meanwhile stays that one's, and this
 * fleet is placed again.
 *
 * @throws StoreError `fenced`.
 */
export async function releaseTargets(pool: pg.Pool, lease: Lease, wanted: TargetRelease): Promise<{ readonly released: number }> {
  return inFencedTransaction(pool, lease, (client) => releaseInside(client, wanted));
}

/** releaseTargets as a part of a transaction, which the caller fences. */
export async function releaseInside(client: pg.ClientBase, wanted: TargetRelease): Promise<{ readonly released: number }> {
  if (wanted.endsRollout === true && !(await stillRuns(client, wanted.rollout))) return { released: 0 };
  const there = wanted.onlyThere === true ? await stillThere(client, wanted) : wanted;
  const release = { ...there, removals: await stillLeaving(client, wanted.removals) };
  const released = [...(await upsertTargets(client, release)), ...(await entomb(client, release))];
  const moved = await replaceClaims(client, release);
  await replaceContests(client, release);
  if (release.endsRollout === true) await endImmediate(client, release);
  if (moved.fleets.length > 0) await notify(client, "flotilla_placement", { fleets: moved.fleets });
  const { fleet, staying = [], leaving = [], heldRemoval = null, usedApproval = null } = release;
  const isSeen = release.staying !== undefined && (await saveLeaving(client, { fleet, staying, leaving, heldRemoval, usedApproval }));
  if (isSeen && released.length === 0) await notify(client, "flotilla_changes", { fleets: [fleet], clusters: leaving.map(({ cluster }) => cluster) });
  if (released.length === 0) return { released: 0 };
  await notify(client, "flotilla_targets", { clusters: released });
  await notify(client, "flotilla_changes", { fleets: [release.fleet], clusters: released });
  await saveEvents(client, [
    eventOf(release.fleet, "TargetsReleased", `${release.revision.slice(0, 12)} released to ${released.length} cluster${released.length === 1 ? "" : "s"}`, {
      revision: release.revision,
      traceId: release.traceparent?.split("-")[1] ?? "",
    }),
  ]);
  return { released: released.length };
}

async function upsertTargets(client: pg.ClientBase, release: TargetRelease): Promise<string[]> {
  const { fleet, revision, placed, traceparent, isCurrent = false } = release;
  const released: string[] = [];
  // In one order, so that two releases never wait for each other crosswise.
  const sorted = [...placed].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  for (const part of inBatches(sorted, batchRowsMax)) {
    const clusters = part.map(({ cluster }) => cluster);
    const problems = part.map((target) => JSON.stringify(target.problems));
    await saveSpecs(client, part);
    const { rows } = await client.query<ReleasedRow>({
      name: "release-targets",
      // What a target is made of goes to Postgres once for all clusters that get the same; and most of a large fleet are as they were: a row that conflicts is locked and
      // written to disk even where nothing is set.
      text: `INSERT INTO targets AS t (fleet, cluster, generation, revision, digest, bundles, problems, traceparent, released_at)
             SELECT $1, r.cluster, 1, $2, r.digest, s.bundles, r.problems, $3, clock_timestamp()
             FROM unnest($4::text[], $5::text[], $6::jsonb[]) AS r (cluster, digest, problems)
             JOIN clusters c ON c.name = r.cluster AND c.removed_at IS NULL
             JOIN target_specs s ON s.digest = r.digest
             LEFT JOIN targets k ON k.fleet = $1 AND k.cluster = r.cluster
             WHERE k.fleet IS NULL OR k.digest <> r.digest OR k.revision <> $2 OR k.tombstone IS NOT NULL OR ($7 AND k.held_generation IS NOT NULL)
             ON CONFLICT (fleet, cluster) DO UPDATE SET generation = CASE WHEN $7 THEN GREATEST(t.generation, t.held_generation) ELSE t.generation END + 1, revision = EXCLUDED.revision, digest = EXCLUDED.digest, bundles = EXCLUDED.bundles,
               problems = EXCLUDED.problems, traceparent = EXCLUDED.traceparent, released_at = EXCLUDED.released_at, tombstone = NULL, removed_at = NULL, left_at = NULL,
               prune_approval = CASE WHEN t.revision = EXCLUDED.revision AND t.tombstone IS NULL THEN t.prune_approval END
               , held_generation = CASE WHEN $7 THEN NULL ELSE t.held_generation END
             WHERE t.digest <> EXCLUDED.digest OR t.revision <> EXCLUDED.revision OR t.tombstone IS NOT NULL OR ($7 AND t.held_generation IS NOT NULL)
             RETURNING cluster, generation::text AS generation, digest`,
      values: [fleet, revision, traceparent, clusters, part.map(({ digest }) => digest), problems, isCurrent],
    });
    released.push(...rows.map(({ cluster }) => cluster));
    await saveHistory(client, release, rows);
    await voidApprovals(
      client,
      fleet,
      rows.map(({ cluster }) => cluster),
      "a newer revision was released",
      revision,
    );
    await client.query({
      name: "update-target-problems",
      text: `UPDATE targets t SET problems = r.problems FROM unnest($2::text[], $3::jsonb[]) AS r (cluster, problems)
             WHERE t.fleet = $1 AND t.cluster = r.cluster AND t.problems IS DISTINCT FROM r.problems`,
      values: [fleet, clusters, problems],
    });
  }
  return released;
}

async function stillRuns(client: pg.ClientBase, rollout: string | null | undefined): Promise<boolean> {
  return (await client.query("SELECT 1 FROM rollouts WHERE id = $1 AND phase = 'Running' FOR UPDATE", [rollout])).rows.length === 1;
}

async function stillThere(client: pg.ClientBase, release: TargetRelease): Promise<TargetRelease> {
  const { rows } = await client.query<{ cluster: string }>({
    name: "moved-on",
    // Locked before it is compared: a condition that Postgres moves inside would look at what was there before a release that is being written.
    text: `WITH locked AS MATERIALIZED (SELECT cluster, revision, tombstone FROM targets WHERE fleet = $1 AND cluster = ANY($2::text[]) ORDER BY cluster FOR UPDATE)
           SELECT cluster FROM locked WHERE revision <> $3 AND tombstone IS NULL`,
    values: [release.fleet, release.placed.map(({ cluster }) => cluster), release.revision],
  });
  const moved = new Set(rows.map(({ cluster }) => cluster));
  return moved.size === 0 ? release : releaseOf(release, (cluster) => !moved.has(cluster));
}

/** A release without some of its clusters. */
function releaseOf(release: TargetRelease, keeps: (cluster: string) => boolean): TargetRelease {
  const { placed, claims, contests } = release;
  return {
    ...release,
    placed: placed.filter(({ cluster }) => keeps(cluster)),
    claims: claims.filter(({ cluster }) => keeps(cluster)),
    contests: new Map([...contests].filter(([cluster]) => keeps(cluster))),
  };
}

/** Without waves a rollout is over when it was released. */
async function endImmediate(client: pg.ClientBase, { fleet, revision, rollout = null, placed }: TargetRelease): Promise<void> {
  const where = `released to ${placed.length} cluster${placed.length === 1 ? "" : "s"} at once`;
  const { rowCount } = await client.query({
    name: "end-immediate-rollout",
    text: `WITH ended AS (UPDATE rollouts SET phase = 'Done', reason = $3, ended_at = now(), version = nextval('change_version') WHERE id = $2 AND phase = 'Running' RETURNING id)
           UPDATE fleets SET settled_revision = $4 WHERE name = $1 AND EXISTS (SELECT 1 FROM ended)`,
    values: [fleet, rollout, `${where}: fleet.yaml has no rollout`, revision],
  });
  if (rowCount === 1) await wantCommitStatus(client, { fleet, revision, state: "success", description: where });
}

interface ReleasedRow {
  readonly cluster: string;
  readonly generation: string;
  readonly digest: string;
}

/** What ran where, for history and for going back. */
async function saveHistory(
  client: pg.ClientBase,
  { fleet, revision, cause = "placement", rollout = null }: TargetRelease,
  rows: readonly ReleasedRow[],
): Promise<void> {
  if (rows.length === 0) return;
  await client.query({
    name: "save-releases",
    text: `INSERT INTO releases (fleet, cluster, generation, revision, spec, rollout, cause)
           SELECT $1, r.cluster, r.generation, $2, r.spec, $3, $4 FROM unnest($5::text[], $6::bigint[], $7::text[]) AS r (cluster, generation, spec) ON CONFLICT DO NOTHING`,
    values: [fleet, revision, rollout, cause, rows.map(({ cluster }) => cluster), rows.map(({ generation }) => generation), rows.map(({ digest }) => digest)],
  });
}

async function entomb(client: pg.ClientBase, { fleet, removals, traceparent, usedApproval, isCurrent = false }: TargetRelease): Promise<string[]> {
  if (removals.length === 0) return [];
  const { rows } = await client.query<{ cluster: string }>({
    name: "entomb-targets",
    // What is asked for now goes above what an agent holds, also where the database was restored from a backup.
    text: `UPDATE targets t SET generation = CASE WHEN $7 THEN GREATEST(t.generation, t.held_generation) ELSE t.generation END + 1, tombstone = r.policy, digest = $2, bundles = '[]', problems = '[]', traceparent = $3, prune_approval = NULL, claims_digest = '',
             leaving_since = NULL, leaves_at = NULL, left_at = CASE WHEN $6 THEN now() END, held_generation = CASE WHEN $7 THEN NULL ELSE t.held_generation END,
             released_at = clock_timestamp(), removed_at = NULL
           FROM unnest($4::text[], $5::text[]) AS r (cluster, policy) WHERE t.fleet = $1 AND t.cluster = r.cluster AND t.tombstone IS NULL RETURNING t.cluster`,
    values: [
      fleet,
      targetDigest([]),
      traceparent,
      removals.map(({ cluster }) => cluster),
      removals.map(({ policy }) => policy),
      // What a person asked for does not count against what may leave without one.
      (usedApproval ?? null) === null && removals.some(({ labels }) => labels !== undefined),
      isCurrent || removals.every(({ labels }) => labels === undefined),
    ],
  });
  const left = rows.map(({ cluster }) => cluster);
  await voidApprovals(client, fleet, left, "the cluster left the fleet");
  return left;
}

/** What other fleets are told about objects that this one wanted. All are kept, for placing again when one is let go; the message is cut per owner. */
async function replaceContests(client: pg.ClientBase, { fleet, placed, contests, removals }: TargetRelease): Promise<void> {
  const clusters = [...placed.map(({ cluster }) => cluster), ...removals.map(({ cluster }) => cluster)];
  await client.query({
    name: "drop-contests",
    text: "DELETE FROM contests WHERE claimant_fleet = $1 AND cluster = ANY($2::text[])",
    values: [fleet, clusters],
  });
  const rows = [...contests].flatMap(([cluster, found]) =>
    found
      .filter(({ owner }) => owner.fleet !== fleet)
      .slice(0, contestsToldMax * 10)
      .map((contest) => ({ cluster, owner: contest.owner.fleet, objectId: contest.objectId, problem: JSON.stringify(problemsOfContest(contest).forOwner) })),
  );
  for (const part of inBatches(rows, batchRowsMax)) {
    await client.query({
      name: "save-contests",
      text: `INSERT INTO contests (claimant_fleet, cluster, owner_fleet, object_id, problem)
             SELECT $1, r.* FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[]) AS r (cluster, owner, object_id, problem) ON CONFLICT DO NOTHING`,
      values: [
        fleet,
        part.map(({ cluster }) => cluster),
        part.map(({ owner }) => owner),
        part.map(({ objectId }) => objectId),
        part.map(({ problem }) => problem),
      ],
    });
  }
}
