import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { CheckState } from "../domain/forge.ts";
import { notificationsMax } from "../limits.ts";
import { notify } from "./listen.ts";

/**
 * What the status of a fleet's commit is to say from now on; nothing where the repository has no forge. In the transaction of what it tells: it is
 * sent later, and again until the forge takes it.
 */
export async function wantCommitStatus(
  client: pg.ClientBase,
  wanted: { readonly fleet: string; readonly revision: string; readonly state: CheckState; readonly description: string },
): Promise<void> {
  const { rowCount } = await client.query({
    name: "want-commit-status",
    text: `INSERT INTO commit_statuses AS s (fleet, sha, repository_id, state, description)
           SELECT f.name, $2, g.repository_id, $3, $4 FROM fleets f JOIN forges g USING (repository_id) WHERE f.name = $1
           ON CONFLICT (fleet, sha) DO UPDATE SET state = EXCLUDED.state, description = EXCLUDED.description, version = s.version + 1, changed_at = now(), attempts = 0, next_at = now()
           WHERE (s.state, s.description) IS DISTINCT FROM (EXCLUDED.state, EXCLUDED.description)`,
    values: [wanted.fleet, wanted.revision, wanted.state, wanted.description.slice(0, 500)],
  });
  if ((rowCount ?? 0) > 0) await notify(client, "flotilla_outside", {});
}

/** How a rollout ended, for people who are not looking. */
export interface RolloutWord {
  readonly type: "dev.flotilla.rollout.done" | "dev.flotilla.rollout.failed";
  readonly fleet: string;
  readonly revision: string;
  /** What failed first; empty when nothing did, or no single one. */
  readonly cluster: string;
  readonly message: string;
}

/** Tells whoever wants to hear of the fleet, once for each word. In the transaction of what it tells. */
export async function wantNotification(client: pg.ClientBase, word: RolloutWord): Promise<void> {
  const { rows } = await client.query<{ fleet: string }>({
    name: "find-notify-hooks",
    text: "SELECT fleet FROM notify_hooks WHERE fleet IN ($1, '')",
    values: [word.fleet],
  });
  if (rows.length === 0) return;
  const { type, fleet, ...data } = word;
  for (const { fleet: hook } of rows) {
    const id = randomUUID();
    // CloudEvents 1.0, structured mode.
    const body = {
      specversion: "1.0",
      id,
      type,
      source: "flotilla",
      subject: fleet,
      time: new Date().toISOString(),
      datacontenttype: "application/json",
      data: { fleet, ...data },
    };
    await client.query("INSERT INTO notifications (id, hook, body) VALUES ($1, $2, $3)", [id, hook, JSON.stringify(body)]);
  }
  await client.query("DELETE FROM notifications WHERE id IN (SELECT id FROM notifications ORDER BY created_at DESC OFFSET $1)", [notificationsMax]);
  await notify(client, "flotilla_outside", {});
}
