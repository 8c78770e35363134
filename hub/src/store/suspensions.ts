import type { Suspension, WindowOverride } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { describeScope, type ActScope } from "../domain/suspension.ts";
import { inActTransaction } from "./audit-log.ts";
import { eventOf } from "./create-fleet.ts";
import { notify } from "./listen.ts";
import { Conditions, type PageOf, readPage } from "./read-page.ts";
import type { ListBounds } from "./read-fleets.ts";
import { saveEvents } from "./save-events.ts";
import { StoreError } from "./store-error.ts";

/**
 * Suspends: from the next generation on nothing is applied, pruned or healed there, until it is resumed. What is suspended already stays as it is.
 *
 * @throws StoreError `not-found`.
 */
export async function suspend(pool: pg.Pool, actor: Actor, scope: ActScope): Promise<Suspension> {
  return inActTransaction(pool, actor, actOf("suspend", scope), async (client) => {
    await checkScope(client, scope);
    const { rowCount } = await client.query(
      `INSERT INTO suspensions (fleet, cluster, bundle, reason, actor, by_name) VALUES ($1, $2, $3, $4, $5, ${nameOfActor("$5")}) ON CONFLICT DO NOTHING`,
      [...valuesOf(scope), actor.reason, actor.id],
    );
    const row = await readOne<Suspension>(client, "suspensions", suspensionColumns, scope);
    if (rowCount !== 0) await told(client, scope, "Suspended", `${describeScope(scope)} suspended by ${row.by}: ${row.reason}`);
    return row;
  });
}

/**
 * Ends a suspension.
 *
 * @throws StoreError `not-found` when there is none of exactly this scope; the hint names those that there are.
 */
export async function resume(pool: pg.Pool, actor: Actor, scope: ActScope): Promise<void> {
  await inActTransaction(pool, actor, actOf("resume", scope), async (client) => {
    const { rowCount } = await client.query("DELETE FROM suspensions WHERE fleet = $1 AND cluster = $2 AND bundle = $3", valuesOf(scope));
    if (rowCount === 0) throw new StoreError("not-found", `${describeScope(scope)} is not suspended`, await hintOfOthers(client, scope));
    await told(client, scope, "Resumed", `${describeScope(scope)} resumed${actor.reason === "" ? "" : `: ${actor.reason}`}`);
  });
}

/**
 * Opens every sync window of a scope until a time. A second one takes the place of the first.
 *
 * @throws StoreError `not-found`.
 */
export async function overrideWindows(pool: pg.Pool, actor: Actor, scope: ActScope, until: Date): Promise<WindowOverride> {
  return inActTransaction(pool, actor, actOf("window.override", scope, { until: until.toISOString() }), async (client) => {
    await checkScope(client, scope);
    await client.query(
      `INSERT INTO window_overrides (fleet, cluster, bundle, reason, actor, by_name, until) VALUES ($1, $2, $3, $4, $5, ${nameOfActor("$5")}, $6)
       ON CONFLICT (fleet, cluster, bundle) DO UPDATE SET reason = EXCLUDED.reason, actor = EXCLUDED.actor, by_name = EXCLUDED.by_name, since = now(), until = EXCLUDED.until`,
      [...valuesOf(scope), actor.reason, actor.id, until],
    );
    const row = await readOne<WindowOverride>(client, "window_overrides", overrideColumns, scope);
    await told(client, scope, "WindowOverridden", `sync windows of ${describeScope(scope)} opened until ${row.until} by ${row.by}: ${row.reason}`);
    return row;
  });
}

/** @throws StoreError `not-found`. */
export async function endOverride(pool: pg.Pool, actor: Actor, scope: ActScope): Promise<void> {
  await inActTransaction(pool, actor, actOf("window.restore", scope), async (client) => {
    const { rowCount } = await client.query(
      "DELETE FROM window_overrides WHERE fleet = $1 AND cluster = $2 AND bundle = $3 AND until > now()",
      valuesOf(scope),
    );
    if (rowCount === 0) throw new StoreError("not-found", `the sync windows of ${describeScope(scope)} are not overridden`);
    await told(client, scope, "WindowRestored", `sync windows of ${describeScope(scope)} count again`);
  });
}

export interface SuspensionFilter extends ListBounds {
  readonly fleet?: string | undefined;
  readonly cluster?: string | undefined;
}

export async function readSuspensions(pool: pg.Pool, query: SuspensionFilter): Promise<PageOf<Suspension>> {
  return readScoped<Suspension>(pool, "suspensions s", suspensionColumns, query);
}

/** Overrides that still count. */
export async function readOverrides(pool: pg.Pool, query: SuspensionFilter): Promise<PageOf<WindowOverride>> {
  return readScoped<WindowOverride>(pool, "(SELECT * FROM window_overrides WHERE until > now()) s", overrideColumns, query);
}

const iso = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column.slice(2)}`;
const suspensionColumns = `NULLIF(s.fleet, '') AS fleet, NULLIF(s.cluster, '') AS cluster, NULLIF(s.bundle, '') AS bundle, s.reason, s.by_name AS by, ${iso("s.since")}`;
const overrideColumns = `${suspensionColumns}, ${iso("s.until")}`;

async function readScoped<Row extends object>(pool: pg.Pool, from: string, select: string, query: SuspensionFilter): Promise<PageOf<Row>> {
  const where = new Conditions().add("s.fleet = ¤", query.fleet).add("s.cluster = ¤", query.cluster);
  const keys = [["s.fleet", "text"], ["s.cluster", "text"], ["s.bundle", "text"]] as const; // prettier-ignore
  const page = await readPage<Row & { page_key?: string }>(pool, { from, select, where, keys, limit: query.limit, cursor: query.cursor });
  return { ...page, items: page.items.map(({ page_key: _key, ...row }) => row as unknown as Row) };
}

async function readOne<Row extends object>(client: pg.ClientBase, table: string, columns: string, scope: ActScope): Promise<Row> {
  const { rows } = await client.query<Row>(`SELECT ${columns} FROM ${table} s WHERE s.fleet = $1 AND s.cluster = $2 AND s.bundle = $3`, valuesOf(scope));
  const [row] = rows;
  if (row === undefined) throw new StoreError("schema", `${describeScope(scope)} was not written`);
  return row;
}

/** The description of a token, or its id where it has none. */
export function nameOfActor(parameter: string): string {
  return `COALESCE((SELECT NULLIF(description, '') FROM api_tokens WHERE id = ${parameter}::text), ${parameter}::text)`;
}

function valuesOf({ fleet, cluster, bundle }: ActScope): string[] {
  return [fleet, cluster, bundle];
}

function actOf(act: string, scope: ActScope, details: Record<string, unknown> = {}): Parameters<typeof inActTransaction>[2] {
  const { fleet, cluster, bundle } = scope;
  return { act, ...(fleet !== "" && { fleet }), ...(cluster !== "" && { cluster }), details: { ...details, ...(bundle !== "" && { bundle }) } };
}

/** @throws StoreError `not-found` when the fleet, the cluster or the bundle is not there: a slip must not pass for a suspension. */
async function checkScope(client: pg.ClientBase, { fleet, cluster, bundle }: ActScope): Promise<void> {
  if (fleet !== "" && (await isMissing(client, "SELECT 1 FROM fleets WHERE name = $1", [fleet])))
    throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
  if (cluster !== "" && (await isMissing(client, "SELECT 1 FROM clusters WHERE name = $1 AND removed_at IS NULL", [cluster])))
    throw new StoreError("not-found", `there is no cluster '${cluster}'`, { hint: "`fleet cluster list` shows those there are" });
  if (bundle === "") return;
  const { rows } = await client.query<{ name: string }>(
    `SELECT DISTINCT b.value ->> 'name' AS name FROM revisions r, jsonb_array_elements(r.spec -> 'bundles') b
     WHERE r.fleet = $1 AND r.revision = (SELECT revision FROM fleets WHERE name = $1) ORDER BY 1`,
    [fleet],
  );
  if (rows.some(({ name }) => name === bundle)) return;
  const known = rows.map(({ name }) => name).slice(0, 20);
  throw new StoreError("not-found", `fleet ${fleet} has no bundle '${bundle}'`, known.length === 0 ? {} : { hint: `it has ${known.join(", ")}` });
}

async function isMissing(client: pg.ClientBase, text: string, values: readonly string[]): Promise<boolean> {
  return (await client.query(text, [...values])).rows.length === 0;
}

async function hintOfOthers(client: pg.ClientBase, { fleet, cluster }: ActScope): Promise<{ hint?: string }> {
  const { rows } = await client.query<ActScope>(
    "SELECT fleet, cluster, bundle FROM suspensions WHERE ($1 <> '' AND fleet = $1) OR ($2 <> '' AND cluster = $2) OR (fleet = '' AND $2 = '') ORDER BY 1, 2, 3 LIMIT 5",
    [fleet, cluster],
  );
  return rows.length === 0 ? {} : { hint: `suspended are: ${rows.map(describeScope).join("; ")}` };
}

/** Agents hear of it with a new generation of every target concerned; readers by an event. */
async function told(client: pg.ClientBase, scope: ActScope, reason: string, message: string): Promise<void> {
  const { fleet, cluster } = scope;
  const { rows } = await client.query<{ fleet: string; cluster: string }>(
    `UPDATE targets t SET generation = t.generation + 1, released_at = clock_timestamp()
     FROM (SELECT fleet, cluster FROM targets WHERE ($1 = '' OR fleet = $1) AND ($2 = '' OR cluster = $2) AND removed_at IS NULL ORDER BY fleet, cluster FOR UPDATE) o
     WHERE t.fleet = o.fleet AND t.cluster = o.cluster RETURNING t.fleet, t.cluster`,
    [fleet, cluster],
  );
  await client.query("UPDATE fleets SET version = nextval('change_version') WHERE name = $1", [fleet]);
  await client.query("UPDATE clusters SET version = nextval('change_version') WHERE name = $1", [cluster]);
  const clusters = [...new Set(rows.map((row) => row.cluster))];
  if (clusters.length > 0) await notify(client, "flotilla_targets", { clusters });
  const fleets = [...new Set([...rows.map((row) => row.fleet), ...(fleet === "" ? [] : [fleet])])];
  await notify(client, "flotilla_changes", { fleets, clusters: cluster === "" ? clusters : [...new Set([...clusters, cluster])] });
  await saveEvents(client, [
    {
      ...eventOf(fleet, reason, message.slice(0, 1_000), { cluster, severity: reason === "Resumed" || reason === "WindowRestored" ? "Normal" : "Warning" }),
      bundle: scope.bundle,
    },
  ]);
}
