import type { BundleRow, ObjectRow, TargetRow } from "@flotilla/proto/rest/contract";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import type pg from "pg";
import { behindProblem } from "./behind-problem.ts";
import { isoOrNull } from "./iso-time.ts";
import type { ListBounds } from "./read-fleets.ts";
import { Conditions, readPage, type PageOf } from "./read-page.ts";
import { suspendedSql } from "./suspended.ts";

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
    from: "seen_targets t",
    select: `t.*, ${suspendedSql("t.fleet", "t.cluster", "''")}, CASE WHEN t.held_generation IS NOT NULL THEN ${behindProblem("t")} END AS behind`,
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
  const silentToo = asksForSilent(query);
  const page = await readPage<Omit<BundleRow, "asOf" | "healthCounts"> & { as_of: Date | null; health_counts: BundleRow["healthCounts"] | null }>(pool, {
    ...(silentToo
      ? { from: "bundle_states b", adds: "JOIN seen_bundles s ON (s.fleet, s.cluster, s.bundle) = (b.fleet, b.cluster, b.bundle)" }
      : { from: "seen_bundles b", ...(saysNothingSeen(query) && { countFrom: "bundle_states b" }) }),
    select: `${silentToo ? "s" : "b"}.*, ${suspendedSql("b.fleet", "b.cluster", "b.bundle")}`,
    where: stateConditions("b", query, silentToo),
    keys,
    fixed: fixedBy("b", query),
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
  const silentToo = asksForSilent(query, query.troubled);
  const where = stateConditions("o", query, silentToo)
    .add("o.kind = ¤", query.kind)
    .add("o.namespace = ¤", query.namespace)
    .add("o.name = ¤", query.name)
    .add("o.prune = ¤", query.prune);
  if (query.troubled === true) where.always(silentToo ? `(o.sync <> 'Synced' OR o.health <> 'Current' OR ${isSilent("o")})` : seenInTrouble);
  const keys = [
    ["o.fleet", "text"],
    ["o.cluster", "text"],
    ["o.object_id", "text"],
  ] as const;
  const page = await readPage<Omit<ObjectRow, "asOf" | "group" | "protection"> & { api_group: string; as_of: Date | null }>(pool, {
    ...(silentToo
      ? { from: "object_states o", adds: "JOIN seen_objects s ON (s.fleet, s.cluster, s.object_id) = (o.fleet, o.cluster, o.object_id)" }
      : { from: "seen_objects o", ...(saysNothingSeen(query) && query.troubled !== true && { countFrom: "object_states o" }) }),
    select: silentToo ? "s.*" : "o.*",
    where,
    keys,
    fixed: fixedBy("o", query),
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

/** Nothing is asked that depends on whether a cluster is heard: the rows are counted as they are. A cluster that is removed takes its own along. */
function saysNothingSeen({ sync, health }: StateFilter): boolean {
  return sync === undefined && health === undefined;
}

/**
 * Everything of a silent cluster is asked for, besides what was told to be so: then rows are found, counted and brought in order by what was told and by
 * who is silent, and what is seen is asked for those of the page alone.
 */
function asksForSilent({ sync, health }: StateFilter, troubled = false): boolean {
  const words = [sync, health].filter((word) => word !== undefined);
  return words.length === 0 ? troubled : words.every((word) => word === "Unknown");
}

const seenInTrouble = `(o.sync <> 'Synced' OR o.health <> 'Current') AND (o.told_sync <> 'Synced' OR o.told_health <> 'Current' OR ${isSilent("o")})`;

function stateConditions(alias: string, query: StateFilter, silentToo: boolean): Conditions {
  const where = new Conditions().add(`${alias}.fleet = ¤`, query.fleet).add(`${alias}.cluster = ¤`, query.cluster).add(`${alias}.bundle = ¤`, query.bundle);
  const add = silentToo ? addUnknown : addWord;
  add(where, alias, "sync", query.sync);
  add(where, alias, "health", query.health);
  return where;
}

/** In terms of the tables, which have what was told. */
function addUnknown(where: Conditions, alias: string, column: "sync" | "health", word: string | undefined): void {
  if (word !== undefined) where.always(`(${alias}.${column} = 'Unknown' OR ${isSilent(alias)})`);
}

/** In terms of the views. What is seen is also what was told, unless the cluster is silent: that is what the indexes know. */
function addWord(where: Conditions, alias: string, column: "sync" | "health", word: string | undefined): void {
  where.add(`${alias}.${column} = ¤`, word);
  if (word === "Unknown") where.always(`(${alias}.told_${column} = 'Unknown' OR ${isSilent(alias)})`);
  else where.add(`${alias}.told_${column} = ¤`, word);
}

function isSilent(alias: string): string {
  return `${alias}.cluster = ANY (ARRAY(SELECT name FROM seen_clusters WHERE phase NOT IN ('Connected', 'Removed')))`;
}

function fixedBy(alias: string, query: StateFilter): string[] {
  return (["fleet", "cluster", "bundle"] as const).filter((column) => query[column] !== undefined).map((column) => `${alias}.${column}`);
}
