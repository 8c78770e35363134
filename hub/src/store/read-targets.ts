import type { BundleRow, ObjectRow, TargetRow } from "@flotilla/proto/rest/contract";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import type pg from "pg";
import { behindProblem } from "./behind-problem.ts";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";

interface StoredTarget {
  readonly fleet: string;
  readonly cluster: string;
  readonly cluster_phase: TargetRow["clusterPhase"];
  readonly generation: string;
  readonly revision: string;
  readonly released_at: Date;
  readonly tombstone: string | null;
  readonly problems: TargetRow["problems"];
  readonly running_generation: string | null;
  readonly running_revision: string | null;
  readonly sync: TargetRow["sync"];
  readonly health: TargetRow["health"];
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  readonly health_counts: TargetRow["healthCounts"] | null;
  readonly prunes_held: number;
  readonly suspended: TargetRow["suspended"];
  readonly as_of: Date | null;
  readonly leaving_since: Date | null;
  readonly leaves_at: Date | null;
  readonly behind: TargetRow["problems"][number] | null;
}

/** Targets of a fleet by cluster; `seen_targets` says what is Unknown. */
export async function readTargets(
  pool: pg.Pool,
  query: ListBounds & {
    readonly fleet: string;
    readonly cluster?: string | undefined;
    readonly sync?: string | undefined;
    readonly health?: string | undefined;
  },
): Promise<PageOf<TargetRow>> {
  const where = new Conditions()
    .add("t.fleet = ¤", query.fleet)
    .add("t.cluster = ¤", query.cluster)
    .add("t.sync = ¤", query.sync)
    .add("t.health = ¤", query.health);
  const page = await readPage<StoredTarget>(pool, {
    from: "seen_targets t JOIN targets w ON w.fleet = t.fleet AND w.cluster = t.cluster",
    select: `t.*, w.leaving_since, w.leaves_at, suspension_of(t.fleet, t.cluster, '') AS suspended,
      (SELECT s.health_counts FROM target_states s WHERE s.fleet = t.fleet AND s.cluster = t.cluster) AS health_counts,
      CASE WHEN w.held_generation IS NOT NULL THEN ${behindProblem("w")} END AS behind`,
    where,
    keys: [["t.cluster", "text"]],
    limit: query.limit,
    cursor: query.cursor,
  });
  return { ...page, items: page.items.map(targetRow) };
}

function targetRow(row: StoredTarget): TargetRow {
  const { fleet, cluster, sync, health, message, objects, healthy, drifted, failed, problems } = row;
  return {
    fleet,
    cluster,
    clusterPhase: row.cluster_phase,
    wanted: { generation: Number(row.generation), revision: row.revision, releasedAt: row.released_at.toISOString(), removing: row.tombstone !== null },
    running:
      row.running_generation === null || row.running_revision === null ? null : { generation: Number(row.running_generation), revision: row.running_revision },
    leaving: row.leaving_since === null ? null : { since: row.leaving_since.toISOString(), at: isoOrNull(row.leaves_at) },
    sync,
    health,
    message,
    objects,
    healthy,
    drifted,
    failed,
    healthCounts: row.health_counts ?? {},
    prunesHeld: row.prunes_held,
    suspended: row.suspended,
    problems: row.behind === null ? problems : [...problems, row.behind],
    asOf: isoOrNull(row.as_of),
  };
}

export interface StateFilter extends ListBounds {
  readonly fleet?: string | undefined;
  readonly cluster?: string | undefined;
  readonly bundle?: string | undefined;
  readonly sync?: string | undefined;
  readonly health?: string | undefined;
}

export async function readBundles(pool: pg.Pool, query: StateFilter): Promise<PageOf<BundleRow>> {
  const keys = [
    ["b.fleet", "text"],
    ["b.cluster", "text"],
    ["b.bundle", "text"],
  ] as const;
  const page = await readPage<Omit<BundleRow, "asOf" | "healthCounts"> & { as_of: Date | null; health_counts: BundleRow["healthCounts"] | null }>(pool, {
    from: "seen_bundles b",
    select:
      "b.*, (SELECT s.health_counts FROM bundle_states s WHERE s.fleet = b.fleet AND s.cluster = b.cluster AND s.bundle = b.bundle) AS health_counts, suspension_of(b.fleet, b.cluster, b.bundle) AS suspended",
    where: stateConditions("b", query),
    keys,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ fleet, cluster, bundle, digest, sync, health, message, objects, healthy, drifted, failed, health_counts: healthCounts, suspended, as_of: asOf }) => ({
      fleet, cluster, bundle, digest, sync, health, message, objects, healthy, drifted, failed, healthCounts: healthCounts ?? {}, suspended, asOf: isoOrNull(asOf),
    })), // prettier-ignore
  };
}

export interface ObjectFilter extends StateFilter {
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  /** Only those that are not Synced and Current. */
  readonly troubled?: boolean | undefined;
  /** What keeps it although it is no longer in Git. */
  readonly prune?: string | undefined;
}

export async function readObjects(pool: pg.Pool, query: ObjectFilter): Promise<PageOf<ObjectRow>> {
  const where = stateConditions("o", query)
    .add("o.kind = ¤", query.kind)
    .add("o.namespace = ¤", query.namespace)
    .add("o.name = ¤", query.name)
    .add("p.prune = ¤", query.prune);
  if (query.troubled === true) where.always("(o.sync <> 'Synced' OR o.health <> 'Current')");
  const keys = [
    ["o.fleet", "text"],
    ["o.cluster", "text"],
    ["o.object_id", "text"],
  ] as const;
  const page = await readPage<Omit<ObjectRow, "asOf" | "group" | "protection"> & { api_group: string; as_of: Date | null }>(pool, {
    from: "seen_objects o JOIN object_states p ON p.fleet = o.fleet AND p.cluster = o.cluster AND p.object_id = o.object_id",
    select: "o.*, p.prune",
    where,
    keys,
    limit: query.limit,
    cursor: query.cursor,
  });
  return {
    ...page,
    items: page.items.map(({ fleet, cluster, bundle, api_group: group, version, kind, namespace, name, uid, sync, health, message, change, drift, prune, as_of: asOf }) => ({
      fleet, cluster, bundle, group, version, kind, namespace, name, uid, sync, health, message, change, drift, prune,
      protection: prune === "" ? "" : (whyProtected({ group, kind, namespace }) ?? ""), asOf: isoOrNull(asOf),
    })), // prettier-ignore
  };
}

function stateConditions(alias: string, query: StateFilter): Conditions {
  return new Conditions()
    .add(`${alias}.fleet = ¤`, query.fleet)
    .add(`${alias}.cluster = ¤`, query.cluster)
    .add(`${alias}.bundle = ¤`, query.bundle)
    .add(`${alias}.sync = ¤`, query.sync)
    .add(`${alias}.health = ¤`, query.health);
}
