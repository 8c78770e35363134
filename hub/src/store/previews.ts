import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { DryRunAnswer, DryRunQuestion, PreviewFound } from "../domain/preview.ts";
import type { TargetBundle } from "../domain/target.ts";
import { batchRowsMax, openPreviewsMax } from "../limits.ts";
import { notify } from "./listen.ts";
import { inTransaction } from "./pool.ts";
import { StoreError } from "./store-error.ts";
import { inBatches } from "./unnest.ts";

/** A preview as it is kept. */
export interface KeptPreview {
  readonly id: string;
  readonly fleet: string;
  readonly createdAt: Date;
  readonly until: Date;
  readonly endedAt: Date | null;
  readonly found: PreviewFound;
}

/** The fleet that a preview is about, as its maker needs it. */
export interface PreviewedFleet {
  readonly name: string;
  readonly path: string;
  readonly selector: Readonly<Record<string, unknown>> | null;
  readonly revision: string | null;
  readonly repositoryId: string;
  readonly url: string;
}

/**
 * Begins a preview that is to end within a time.
 *
 * @throws StoreError `not-found`; `conflict` when too many are being made.
 */
export async function beginPreview(pool: pg.Pool, begun: { fleet: string; askedBy: string; found: PreviewFound; withinMs: number }): Promise<string> {
  return inTransaction(pool, async (client) => {
    const fleets = await client.query("SELECT 1 FROM fleets WHERE name = $1", [begun.fleet]);
    if (fleets.rows.length === 0) throw new StoreError("not-found", `there is no fleet '${begun.fleet}'`, { hint: "`fleet list` shows those there are" });
    const { rows } = await client.query<{ count: number }>("SELECT count(*)::integer AS count FROM previews WHERE ended_at IS NULL AND until > now()");
    if ((rows[0]?.count ?? 0) >= openPreviewsMax)
      throw new StoreError("conflict", `${openPreviewsMax} previews are being made already`, { hint: "try again when one of them has ended" });
    const id = randomUUID();
    await client.query("INSERT INTO previews (id, fleet, asked_by, until, found) VALUES ($1, $2, $3, now() + $4 * interval '1 ms', $5)", [
      id,
      begun.fleet,
      begun.askedBy,
      begun.withinMs,
      JSON.stringify(begun.found),
    ]);
    return id;
  });
}

/** What is known by now. What was asked is forgotten when the preview has ended. */
export async function savePreview(pool: pg.Pool, id: string, found: PreviewFound): Promise<void> {
  const hasEnded = found.phase === "Done" || found.phase === "Failed";
  await inTransaction(pool, async (client) => {
    await client.query("UPDATE previews SET found = $2, ended_at = CASE WHEN $3 THEN now() END WHERE id = $1", [id, JSON.stringify(found), hasEnded]);
    if (!hasEnded) return;
    await client.query("DELETE FROM commands WHERE kind = 'dry-run' AND id IN (SELECT command FROM preview_answers WHERE preview = $1)", [id]);
    await client.query("DELETE FROM preview_answers WHERE preview = $1", [id]);
  });
}

/** @throws StoreError `not-found`. */
export async function readPreview(pool: pg.Pool, id: string): Promise<KeptPreview> {
  const { rows } = await pool.query<KeptPreview & { answered: number; isOver: boolean }>(
    `SELECT id, fleet, created_at AS "createdAt", until, ended_at AS "endedAt", found, ended_at IS NULL AND until < now() - interval '30 s' AS "isOver",
       (SELECT count(*) FROM preview_answers WHERE preview = id AND answer IS NOT NULL)::integer AS answered FROM previews WHERE id = $1`,
    [id],
  );
  const [row] = rows;
  if (!row) throw new StoreError("not-found", "there is no such preview", { hint: "previews are kept for a day" });
  const { answered, isOver, ...preview } = row;
  const { found } = preview;
  if (isOver)
    return {
      ...preview,
      found: { ...found, phase: "Failed", problems: [{ code: "preview-broke-off", message: "the hub that made it has ended", hint: "ask again" }] },
    };
  return preview.endedAt === null ? { ...preview, found: { ...found, clusters: { ...found.clusters, answered } } } : preview;
}

export async function readPreviewedFleet(pool: pg.Pool, fleet: string): Promise<PreviewedFleet | undefined> {
  const { rows } = await pool.query<PreviewedFleet>(
    `SELECT f.name, f.path, f.selector, f.revision, f.repository_id AS "repositoryId", r.url FROM fleets f JOIN repositories r ON r.id = f.repository_id WHERE f.name = $1`,
    [fleet],
  );
  return rows[0];
}

/** What a cluster runs now, and whether it can be asked. */
export interface PresentTarget {
  readonly cluster: string;
  readonly digest: string;
  readonly bundles: readonly TargetBundle[];
}

export async function readPresentTargets(pool: pg.Pool, fleet: string): Promise<readonly PresentTarget[]> {
  const { rows } = await pool.query<PresentTarget>("SELECT cluster, digest, bundles FROM targets WHERE fleet = $1 AND tombstone IS NULL", [fleet]);
  return rows;
}

/** Clusters that are not connected, and since when they were not heard (null: never). */
export async function readAway(pool: pg.Pool, clusters: readonly string[]): Promise<ReadonlyMap<string, Date | null>> {
  const { rows } = await pool.query<{ name: string; since: Date | null }>(
    "SELECT name, last_seen_at AS since FROM clusters WHERE name = ANY($1::text[]) AND (lease_until IS NULL OR lease_until <= now())",
    [clusters],
  );
  return new Map(rows.map(({ name, since }) => [name, since]));
}

/** How long the fleet's newest rollout that is done took. */
export async function readLastRolloutMs(pool: pg.Pool, fleet: string): Promise<number | null> {
  const { rows } = await pool.query<{ ms: number }>(
    "SELECT (EXTRACT(EPOCH FROM ended_at - started_at) * 1000)::float8 AS ms FROM rollouts WHERE fleet = $1 AND phase = 'Done' ORDER BY id DESC LIMIT 1",
    [fleet],
  );
  return rows[0] ? Math.round(rows[0].ms) : null;
}

/** Asks each cluster; an agent that does not answer within the time has not answered. */
export async function askDryRuns(
  pool: pg.Pool,
  preview: string,
  fleet: string,
  questions: readonly { readonly cluster: string; readonly question: DryRunQuestion }[],
): Promise<void> {
  await inTransaction(pool, async (client) => {
    for (const part of inBatches(questions, batchRowsMax)) {
      const ids = part.map(() => randomUUID());
      const clusters = part.map(({ cluster }) => cluster);
      await client.query({
        name: "ask-dry-runs",
        text: `INSERT INTO commands (id, cluster, kind, fleet, expires_at, question)
               SELECT k.id, k.cluster, 'dry-run', $3, p.until, k.question FROM unnest($1::text[], $2::text[], $4::jsonb[]) AS k (id, cluster, question), previews p WHERE p.id = $5`,
        values: [ids, clusters, fleet, part.map(({ question }) => JSON.stringify(question)), preview],
      });
      await client.query(
        "INSERT INTO preview_answers (preview, cluster, command) SELECT $1, k.cluster, k.id FROM unnest($2::text[], $3::text[]) AS k (cluster, id)",
        [preview, clusters, ids],
      );
      await notify(client, "flotilla_commands", { clusters });
    }
  });
}

/** What a cluster answered; nothing when the preview has ended. Part of the transaction that takes the answer. */
export async function answerDryRun(client: pg.ClientBase, command: string, cluster: string, answer: DryRunAnswer): Promise<void> {
  await client.query("UPDATE preview_answers SET answer = $3 WHERE command = $1 AND cluster = $2", [command, cluster, JSON.stringify(answer)]);
}

export async function countOpenAnswers(pool: pg.Pool, preview: string): Promise<number> {
  const { rows } = await pool.query<{ count: number }>({
    name: "count-open-answers",
    text: "SELECT count(*)::integer AS count FROM preview_answers WHERE preview = $1 AND answer IS NULL",
    values: [preview],
  });
  return rows[0]?.count ?? 0;
}

/** Answers by cluster; undefined: none yet. */
export async function readAnswers(pool: pg.Pool, preview: string): Promise<ReadonlyMap<string, DryRunAnswer | undefined>> {
  const { rows } = await pool.query<{ cluster: string; answer: DryRunAnswer | null }>("SELECT cluster, answer FROM preview_answers WHERE preview = $1", [
    preview,
  ]);
  return new Map(rows.map(({ cluster, answer }) => [cluster, answer ?? undefined]));
}
