import type { ForgeRow, NotifyHookRow, PullRequestRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { type ForgeKind, forgePlaceOf, type ForgePlace } from "../domain/forge.ts";
import { inActTransaction } from "./audit-log.ts";
import { isoOrNull } from "./iso-time.ts";
import { notify } from "./listen.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";

export interface ForgeToSet {
  readonly kind?: ForgeKind | undefined;
  readonly apiUrl?: string | undefined;
  readonly project?: string | undefined;
  readonly token: string;
  readonly forks: boolean;
}

/**
 * Says where the pull requests of a fleet's repository are; it counts for all fleets of that repository.
 *
 * @throws StoreError `not-found`; `conflict` when the forge's kind has to be said.
 */
export async function setForge(pool: pg.Pool, sealing: Sealing, actor: Actor, fleet: string, wanted: ForgeToSet): Promise<ForgeRow> {
  const { kind, apiUrl, project, token, forks } = wanted;
  return inActTransaction(pool, actor, { act: "forge.set", fleet, details: { kind: kind ?? "", apiUrl: apiUrl ?? "", forks } }, async (client) => {
    const { id, url } = await repositoryOf(client, fleet);
    const place = forgePlaceOf(url, { kind, apiUrl, project });
    if (!place)
      throw new StoreError("conflict", `it cannot be told from ${new URL(url).host} which forge it is`, { hint: "say --kind github, gitlab or gitea" });
    await client.query(
      `INSERT INTO forges (repository_id, kind, api_url, project, sealed_token, forks) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (repository_id) DO UPDATE SET kind = EXCLUDED.kind, api_url = EXCLUDED.api_url, project = EXCLUDED.project, sealed_token = EXCLUDED.sealed_token,
         forks = EXCLUDED.forks, error = NULL, error_at = NULL, set_at = now()`,
      [id, place.kind, place.apiUrl, place.project, sealing.seal(token), forks],
    );
    // What the old token could not do is tried at once.
    await client.query("UPDATE commit_statuses SET next_at = now() WHERE repository_id = $1", [id]);
    await client.query("UPDATE pull_requests SET next_at = now() WHERE repository_id = $1", [id]);
    await notify(client, "flotilla_outside", {});
    const row = (await selectForges(client, id))[0];
    if (!row) throw new StoreError("schema", "the forge was not saved");
    return row;
  });
}

/** @throws StoreError `not-found`. */
export async function removeForge(pool: pg.Pool, actor: Actor, fleet: string): Promise<void> {
  await inActTransaction(pool, actor, { act: "forge.remove", fleet }, async (client) => {
    const { id } = await repositoryOf(client, fleet);
    const { rowCount } = await client.query("DELETE FROM forges WHERE repository_id = $1", [id]);
    if (rowCount === 0) throw noForge(fleet);
  });
}

export async function readForges(pool: pg.Pool): Promise<ForgeRow[]> {
  return selectForges(pool);
}

async function selectForges(db: pg.Pool | pg.ClientBase, repository?: string): Promise<ForgeRow[]> {
  const { rows } = await db.query<Omit<ForgeRow, "errorAt" | "setAt"> & { errorAt: Date | null; setAt: Date }>(
    `SELECT r.url AS repository, g.kind, g.api_url AS "apiUrl", g.project, g.forks, COALESCE(g.error, '') AS error, g.error_at AS "errorAt", g.set_at AS "setAt",
       COALESCE((SELECT array_agg(f.name ORDER BY f.name) FROM fleets f WHERE f.repository_id = g.repository_id), '{}') AS fleets,
       (SELECT count(*) FROM commit_statuses s WHERE s.repository_id = g.repository_id AND s.version > s.sent)::integer AS waiting
     FROM forges g JOIN repositories r ON r.id = g.repository_id WHERE $1::bigint IS NULL OR g.repository_id = $1 ORDER BY r.url LIMIT 1000`,
    [repository ?? null],
  );
  return rows.map((row) => ({ ...row, errorAt: isoOrNull(row.errorAt), setAt: row.setAt.toISOString() }));
}

/** How to speak to the forge of a repository. */
export interface OpenedForge extends ForgePlace {
  readonly token: string;
  readonly forks: boolean;
}

/** @throws StoreError `not-found`. */
export async function readForgeOfFleet(pool: pg.Pool, sealing: Sealing, fleet: string): Promise<OpenedForge> {
  const { id } = await repositoryOf(pool, fleet);
  const forge = await readForge(pool, sealing, id);
  if (!forge) throw noForge(fleet);
  return forge;
}

export async function readForge(pool: pg.Pool, sealing: Sealing, repositoryId: string): Promise<OpenedForge | undefined> {
  const { rows } = await pool.query<ForgePlace & { forks: boolean; sealed: Buffer }>(
    `SELECT kind, api_url AS "apiUrl", project, forks, sealed_token AS sealed FROM forges WHERE repository_id = $1`,
    [repositoryId],
  );
  if (!rows[0]) return undefined;
  const { sealed, ...place } = rows[0];
  return { ...place, token: sealing.open(sealed).toString("utf8") };
}

/** What the forge said last: an error, or that it took something. */
export async function noteForge(pool: pg.Pool, repositoryId: string, error: string | null): Promise<void> {
  await pool.query(
    "UPDATE forges SET error = $2, error_at = CASE WHEN $2::text IS NULL THEN NULL ELSE now() END WHERE repository_id = $1 AND error IS DISTINCT FROM $2",
    [repositoryId, error],
  );
}

function noForge(fleet: string): StoreError {
  return new StoreError("not-found", `the repository of fleet ${fleet} has no forge`, { hint: `fleet forge set ${fleet}` });
}

async function repositoryOf(db: pg.Pool | pg.ClientBase, fleet: string): Promise<{ readonly id: string; readonly url: string }> {
  const { rows } = await db.query<{ id: string; url: string }>(
    "SELECT r.id::text AS id, r.url FROM fleets f JOIN repositories r ON r.id = f.repository_id WHERE f.name = $1",
    [fleet],
  );
  if (!rows[0]) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
  return rows[0];
}

/** Something was heard of a pull request; false when its repository has no forge. */
export async function hearPullRequest(db: pg.Pool | pg.ClientBase, repositoryId: string, number: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO pull_requests AS p (repository_id, number) SELECT repository_id, $2 FROM forges WHERE repository_id = $1
     ON CONFLICT (repository_id, number) DO UPDATE SET heard = p.heard + 1, heard_at = now(), attempts = 0, next_at = now(), error = NULL`,
    [repositoryId, number],
  );
  if (rowCount === 0) return false;
  await notify(db, "flotilla_outside", {});
  return true;
}

/**
 * A person asks for a check.
 *
 * @throws StoreError `not-found`.
 */
export async function askForCheck(pool: pg.Pool, actor: Actor, fleet: string, number: number): Promise<void> {
  await inActTransaction(pool, actor, { act: "pull-request.check", fleet, details: { number } }, async (client) => {
    const { id } = await repositoryOf(client, fleet);
    if (!(await hearPullRequest(client, id, number))) throw noForge(fleet);
    // A person wants to see it made, also when nothing has changed.
    await client.query("UPDATE pull_request_checks SET state = NULL WHERE repository_id = $1 AND number = $2", [id, number]);
  });
}

/** The newest pull requests that were heard of, with what came of them. */
export async function readPullRequests(pool: pg.Pool, fleet: string): Promise<PullRequestRow[]> {
  const { rows } = await pool.query<Omit<PullRequestRow, "at"> & { at: Date | null }>(
    `SELECT p.number, c.fleet, c.head, COALESCE(c.state, 'pending') AS state, COALESCE(c.headline, '') AS headline, c.preview, COALESCE(p.error, '') AS error, c.at
     FROM pull_requests p JOIN fleets f ON f.name = $1 AND f.repository_id = p.repository_id
     LEFT JOIN pull_request_checks c ON c.repository_id = p.repository_id AND c.number = p.number AND c.fleet = $1 ORDER BY p.heard_at DESC LIMIT 200`,
    [fleet],
  );
  return rows.map((row) => ({ ...row, fleet, at: isoOrNull(row.at) }));
}

/**
 * Who is told how rollouts end: of a fleet, or of every one.
 *
 * @throws StoreError `not-found`.
 */
export async function setNotifyHook(
  pool: pg.Pool,
  sealing: Sealing,
  actor: Actor,
  hook: { readonly fleet: string | undefined; readonly url: string; readonly secret: string },
): Promise<NotifyHookRow> {
  const { fleet = "", url, secret } = hook;
  return inActTransaction(pool, actor, { act: "notify.set", fleet, details: { url } }, async (client) => {
    if (fleet !== "") await repositoryOf(client, fleet);
    await client.query(
      `INSERT INTO notify_hooks (fleet, url, sealed_secret) VALUES ($1, $2, $3)
       ON CONFLICT (fleet) DO UPDATE SET url = EXCLUDED.url, sealed_secret = EXCLUDED.sealed_secret, error = NULL, error_at = NULL, set_at = now()`,
      [fleet, url, sealing.seal(secret)],
    );
    const row = (await selectNotifyHooks(client)).find((found) => (found.fleet ?? "") === fleet);
    if (!row) throw new StoreError("schema", "the receiver was not saved");
    return row;
  });
}

/** @throws StoreError `not-found`. */
export async function removeNotifyHook(pool: pg.Pool, actor: Actor, fleet: string | undefined): Promise<void> {
  await inActTransaction(pool, actor, { act: "notify.remove", fleet: fleet ?? "" }, async (client) => {
    const { rowCount } = await client.query("DELETE FROM notify_hooks WHERE fleet = $1", [fleet ?? ""]);
    if (rowCount === 0) throw new StoreError("not-found", fleet === undefined ? "nobody is told of all fleets" : `nobody is told of fleet ${fleet}`);
  });
}

export async function readNotifyHooks(pool: pg.Pool): Promise<NotifyHookRow[]> {
  return selectNotifyHooks(pool);
}

async function selectNotifyHooks(db: pg.Pool | pg.ClientBase): Promise<NotifyHookRow[]> {
  const { rows } = await db.query<Omit<NotifyHookRow, "errorAt" | "setAt"> & { errorAt: Date | null; setAt: Date }>(
    `SELECT NULLIF(h.fleet, '') AS fleet, h.url, COALESCE(h.error, '') AS error, h.error_at AS "errorAt", h.set_at AS "setAt",
       (SELECT count(*) FROM notifications n WHERE n.hook = h.fleet)::integer AS waiting FROM notify_hooks h ORDER BY h.fleet LIMIT 1000`,
  );
  return rows.map((row) => ({ ...row, errorAt: isoOrNull(row.errorAt), setAt: row.setAt.toISOString() }));
}
