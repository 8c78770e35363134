import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { inActTransaction } from "./audit-log.ts";
import type { Credentials } from "./create-fleet.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";

/** A repository as its follower needs it. */
export interface RepositoryRow {
  readonly id: string;
  readonly url: string;
  readonly pollIntervalMs: number;
  readonly lastFetchAt: Date | null;
  /** Fetches that failed since the last good one. */
  readonly failures: number;
  /** Set by a webhook or by `fleet sync`; cleared by the fetch that began after it. */
  readonly wantedAt: Date | null;
  readonly wantedTraceparent: string | null;
}

const select = `SELECT id, url, poll_interval_ms AS "pollIntervalMs", last_fetch_at AS "lastFetchAt", failures, wanted_at AS "wantedAt", wanted_traceparent AS "wantedTraceparent" FROM repositories`;

export async function listRepositories(pool: pg.Pool): Promise<readonly RepositoryRow[]> {
  return (await pool.query<RepositoryRow>({ name: "list-repositories", text: `${select} ORDER BY id` })).rows;
}

export async function readRepository(pool: pg.Pool, id: string): Promise<RepositoryRow | undefined> {
  return (await pool.query<RepositoryRow>({ name: "read-repository", text: `${select} WHERE id = $1`, values: [id] })).rows[0];
}

/** Undefined when it needs none. */
export async function readCredentials(pool: pg.Pool, sealing: Sealing, id: string): Promise<Credentials | undefined> {
  const { rows } = await pool.query<{ sealed: Buffer | null }>("SELECT sealed_credentials AS sealed FROM repositories WHERE id = $1", [id]);
  const sealed = rows[0]?.sealed;
  return sealed === null || sealed === undefined ? undefined : (JSON.parse(sealing.open(sealed).toString("utf8")) as Credentials);
}

/** A repository as its webhook needs it. */
export async function readWebhook(pool: pg.Pool, sealing: Sealing, id: string): Promise<{ readonly url: string; readonly secret: string } | undefined> {
  if (!/^\d{1,18}$/.test(id)) return undefined;
  const { rows } = await pool.query<{ url: string; sealed: Buffer | null }>("SELECT url, sealed_webhook_secret AS sealed FROM repositories WHERE id = $1", [
    id,
  ]);
  const row = rows[0];
  return row === undefined || row.sealed === null ? undefined : { url: row.url, secret: sealing.open(row.sealed).toString("utf8") };
}

/** Asks the followers of repositories for a fetch now. The first who asked since the last fetch gives the trace. */
export async function markWanted(pool: pg.Pool | pg.ClientBase, ids: readonly string[], traceparent: string | null): Promise<void> {
  await pool.query({
    name: "mark-wanted",
    text: `UPDATE repositories SET wanted_traceparent = CASE WHEN wanted_at IS NULL THEN $2 ELSE wanted_traceparent END, wanted_at = COALESCE(wanted_at, now())
           WHERE id = ANY($1::bigint[])`,
    values: [ids, traceparent],
  });
  await notify(pool, "flotilla_repositories", { ids });
}

/**
 * What a fetch came to. A wish that was uttered while the fetch was under way stays.
 *
 * @throws StoreError `fenced`.
 */
export async function saveFetchOutcome(
  pool: pg.Pool,
  lease: Lease,
  repository: { readonly id: string },
  outcome: { readonly problem: { readonly message: string } | undefined; readonly startedAt: Date },
): Promise<void> {
  const error = outcome.problem?.message ?? null;
  await inFencedTransaction(pool, lease, async (client) => {
    const { rows } = await client.query<{ changed: boolean }>({
      name: "save-fetch-outcome",
      text: `UPDATE repositories r SET last_fetch_at = now(), error = $2, failures = CASE WHEN $2::text IS NULL THEN 0 ELSE r.failures + 1 END,
               fetched_at = CASE WHEN $2::text IS NULL THEN now() ELSE r.fetched_at END,
               wanted_at = CASE WHEN r.wanted_at <= $3 THEN NULL ELSE r.wanted_at END,
               wanted_traceparent = CASE WHEN r.wanted_at <= $3 THEN NULL ELSE r.wanted_traceparent END
             FROM (SELECT id, error FROM repositories WHERE id = $1 FOR UPDATE) o WHERE r.id = o.id RETURNING o.error IS DISTINCT FROM $2 AS changed`,
      values: [repository.id, error, outcome.startedAt],
    });
    if (rows[0]?.changed !== true) return;
    const fleets = await client.query<{ name: string }>("SELECT name FROM fleets WHERE repository_id = $1", [repository.id]);
    await notify(client, "flotilla_changes", { fleets: fleets.rows.map(({ name }) => name), clusters: [] });
  });
}

/** What of a fleet is to be reconciled now; what is not said is not narrowed. */
export interface SyncChoice {
  readonly cluster?: string | undefined;
  readonly bundle?: string | undefined;
  /** "group/kind/namespace/name", or "Kind/namespace/name" for any group. */
  readonly objects?: readonly string[] | undefined;
  /** Also what is unchanged, and hooks that ran. */
  readonly force?: boolean | undefined;
}

/**
 * `fleet sync`: a fetch of the fleet's repository now, and a reconcile of its clusters (all, or one) by command.
 *
 * @throws StoreError `not-found`.
 */
export async function wantSync(
  pool: pg.Pool,
  actor: Actor,
  fleet: string,
  choice: SyncChoice,
  lifetimeMs: number,
  traceparent: string | null,
): Promise<{ readonly revision: string | null }> {
  const { cluster, bundle = "", objects = [], force = false } = choice;
  const details = { ...(bundle !== "" && { bundle }), ...(objects.length > 0 && { objects }), ...(force && { force }) };
  return inActTransaction(pool, actor, { act: "fleet.sync", fleet, ...(cluster !== undefined && { cluster }), details }, async (client) => {
    const { rows } = await client.query<{ repository_id: string; revision: string | null }>("SELECT repository_id, revision FROM fleets WHERE name = $1", [
      fleet,
    ]);
    const row = rows[0];
    if (row === undefined) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
    await markWanted(client, [row.repository_id], traceparent);
    const commands = await client.query<{ cluster: string }>(
      `INSERT INTO commands (id, cluster, kind, fleet, expires_at, bundle, objects, force)
       SELECT gen_random_uuid()::text, t.cluster, 'sync', t.fleet, now() + $3 * interval '1 ms', $4, $5, $6 FROM seen_targets t
       WHERE t.fleet = $1 AND t.tombstone IS NULL AND t.cluster_phase = 'Connected' AND ($2::text IS NULL OR t.cluster = $2) RETURNING cluster`,
      [fleet, cluster ?? null, lifetimeMs, bundle, objects, force],
    );
    if (commands.rows.length > 0) await notify(client, "flotilla_commands", { clusters: commands.rows.map((command) => command.cluster) });
    return { revision: row.revision };
  });
}
