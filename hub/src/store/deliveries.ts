import type pg from "pg";
import type { CheckState } from "../domain/forge.ts";
import { deliveryKeptMs, deliveryRetryMaxMs, deliveryRetryMinMs } from "../limits.ts";
import type { Sealing } from "./sealing.ts";

/** A commit's status that the forge does not show yet. */
export interface DueStatus {
  readonly fleet: string;
  readonly sha: string;
  readonly repositoryId: string;
  readonly state: CheckState;
  readonly description: string;
  readonly version: string;
}

export interface DueNotification {
  readonly id: string;
  readonly hook: string;
  readonly url: string;
  readonly secret: string;
  readonly body: unknown;
}

export interface DuePullRequest {
  readonly repositoryId: string;
  readonly number: number;
  readonly heard: string;
}

const retry = `next_at = now() + LEAST($2::float8 * power(2, LEAST(attempts, 20)), $3) * interval '1 ms', attempts = attempts + 1`;
const retryValues = [deliveryRetryMinMs, deliveryRetryMaxMs] as const;

export async function listDueStatuses(pool: pg.Pool): Promise<readonly DueStatus[]> {
  const { rows } = await pool.query<DueStatus>({
    name: "list-due-statuses",
    text: `SELECT fleet, sha, repository_id::text AS "repositoryId", state, description, version::text AS version FROM commit_statuses
           WHERE version > sent AND next_at <= now() ORDER BY next_at LIMIT 100`,
  });
  return rows;
}

export async function noteStatusSent(pool: pg.Pool, { fleet, sha, version }: DueStatus): Promise<void> {
  await pool.query("UPDATE commit_statuses SET sent = $3, attempts = 0 WHERE fleet = $1 AND sha = $2 AND sent < $3", [fleet, sha, version]);
}

/** Tried again later; in `againMs` when the forge says so. */
export async function noteStatusFailed(pool: pg.Pool, { fleet, sha }: DueStatus, againMs: number): Promise<void> {
  await pool.query(
    `UPDATE commit_statuses SET next_at = now() + GREATEST($4, LEAST($2::float8 * power(2, LEAST(attempts, 20)), $3)) * interval '1 ms', attempts = attempts + 1 WHERE fleet = $1 AND sha = $5`,
    [fleet, ...retryValues, againMs, sha],
  );
}

export async function listDueNotifications(pool: pg.Pool, sealing: Sealing): Promise<readonly DueNotification[]> {
  const { rows } = await pool.query<Omit<DueNotification, "secret"> & { sealed: Buffer }>({
    name: "list-due-notifications",
    text: "SELECT n.id, n.hook, h.url, h.sealed_secret AS sealed, n.body FROM notifications n JOIN notify_hooks h ON h.fleet = n.hook WHERE n.next_at <= now() ORDER BY n.created_at LIMIT 100",
  });
  return rows.map(({ sealed, ...row }) => ({ ...row, secret: sealing.open(sealed).toString("utf8") }));
}

export async function noteNotificationSent(pool: pg.Pool, { id, hook }: DueNotification): Promise<void> {
  await pool.query("DELETE FROM notifications WHERE id = $1", [id]);
  await pool.query("UPDATE notify_hooks SET error = NULL, error_at = NULL WHERE fleet = $1 AND error IS NOT NULL", [hook]);
}

export async function noteNotificationFailed(pool: pg.Pool, { id, hook }: DueNotification, error: string): Promise<void> {
  await pool.query(`UPDATE notifications SET ${retry} WHERE id = $1`, [id, ...retryValues]);
  await pool.query("UPDATE notify_hooks SET error = $2, error_at = now() WHERE fleet = $1", [hook, error.slice(0, 500)]);
}

/** What nobody took for a day is given up; pull requests that nothing was heard of for 30 days are forgotten. */
export async function dropOldDeliveries(pool: pg.Pool): Promise<void> {
  await pool.query("DELETE FROM notifications WHERE created_at < now() - $1 * interval '1 ms'", [deliveryKeptMs]);
  await pool.query("UPDATE commit_statuses SET sent = version WHERE version > sent AND changed_at < now() - $1 * interval '1 ms'", [deliveryKeptMs]);
  await pool.query("DELETE FROM commit_statuses WHERE changed_at < now() - interval '30 days'");
  await pool.query("DELETE FROM pull_requests WHERE heard_at < now() - interval '30 days'");
}

export async function listDuePullRequests(pool: pg.Pool): Promise<readonly DuePullRequest[]> {
  const { rows } = await pool.query<DuePullRequest>({
    name: "list-due-pull-requests",
    text: `SELECT repository_id::text AS "repositoryId", number, heard::text AS heard FROM pull_requests WHERE heard > done AND next_at <= now() ORDER BY heard_at LIMIT 100`,
  });
  return rows;
}

/** Whether nothing new was heard since. */
export async function isNewestWord(pool: pg.Pool, { repositoryId, number, heard }: DuePullRequest): Promise<boolean> {
  const { rows } = await pool.query("SELECT 1 FROM pull_requests WHERE repository_id = $1 AND number = $2 AND heard = $3", [repositoryId, number, heard]);
  return rows.length === 1;
}

export async function notePullRequestDone(pool: pg.Pool, { repositoryId, number, heard }: DuePullRequest): Promise<void> {
  await pool.query("UPDATE pull_requests SET done = $3, attempts = 0, error = NULL WHERE repository_id = $1 AND number = $2 AND done < $3", [
    repositoryId,
    number,
    heard,
  ]);
}

export async function notePullRequestFailed(pool: pg.Pool, { repositoryId, number }: DuePullRequest, error: string, againMs: number): Promise<void> {
  await pool.query(
    `UPDATE pull_requests SET next_at = now() + GREATEST($4, LEAST($2::float8 * power(2, LEAST(attempts, 20)), $3)) * interval '1 ms', attempts = attempts + 1, error = $5
     WHERE repository_id = $1 AND number = $6`,
    [repositoryId, ...retryValues, againMs, error.slice(0, 500), number],
  );
}

/** Closed, or gone: nothing more is to be said about it. */
export async function forgetPullRequest(pool: pg.Pool, { repositoryId, number, heard }: DuePullRequest): Promise<void> {
  await pool.query("DELETE FROM pull_requests WHERE repository_id = $1 AND number = $2 AND heard = $3", [repositoryId, number, heard]);
}

/** A fleet that a pull request concerns, and what was said about it before. */
export interface CheckedFleet {
  readonly fleet: string;
  readonly head: string | null;
  readonly state: "success" | "failure" | "error" | null;
  readonly comment: string | null;
}

/** Fleets of the repository that follow the branch that it is to be merged into. */
export async function listCheckedFleets(pool: pg.Pool, repositoryId: string, number: number, base: string): Promise<readonly CheckedFleet[]> {
  const { rows } = await pool.query<CheckedFleet>(
    `SELECT f.name AS fleet, c.head, c.state, c.comment FROM fleets f LEFT JOIN pull_request_checks c ON c.repository_id = $1 AND c.number = $2 AND c.fleet = f.name
     WHERE f.repository_id = $1 AND f.ref ->> 'branch' = $3 AND f.deleting IS NULL ORDER BY f.name`,
    [repositoryId, number, base],
  );
  return rows;
}

export interface CheckToSave {
  readonly fleet: string;
  readonly head: string;
  readonly state: CheckedFleet["state"];
  readonly headline: string;
  readonly preview: string | null;
  readonly comment: string | null;
}

export async function saveCheck(pool: pg.Pool, { repositoryId, number }: DuePullRequest, check: CheckToSave): Promise<void> {
  const { fleet, head, state, headline, preview, comment } = check;
  await pool.query(
    `INSERT INTO pull_request_checks AS c (repository_id, number, fleet, head, state, headline, preview, comment)
     SELECT repository_id, number, $3, $4, $5, $6, $7, $8 FROM pull_requests WHERE repository_id = $1 AND number = $2
     ON CONFLICT (repository_id, number, fleet) DO UPDATE SET head = EXCLUDED.head, state = EXCLUDED.state, headline = EXCLUDED.headline, preview = EXCLUDED.preview,
       comment = COALESCE(EXCLUDED.comment, c.comment), at = now()`,
    [repositoryId, number, fleet, head, state, headline.slice(0, 1_000), preview, comment],
  );
}
