import { maxLabelsPerCluster } from "@flotilla/proto/limits";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { inActTransaction } from "./audit-log.ts";
import { eventOf } from "./create-fleet.ts";
import { revokeCredentials } from "./enrolment-store.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";
import { leaveRollouts } from "./save-leaving.ts";
import { StoreError } from "./store-error.ts";

/**
 * Makes a cluster that waits for its agent, or brings back one that was removed.
 *
 * @throws StoreError `conflict` when there is a cluster of that name.
 */
export async function createCluster(pool: pg.Pool, actor: Actor, name: string, labels: Readonly<Record<string, string>>): Promise<void> {
  await inActTransaction(pool, actor, { act: "cluster.create", cluster: name, details: { labels } }, async (client) => {
    const { rowCount } = await client.query(
      `INSERT INTO clusters AS c (name, labels, version) VALUES ($1, $2, nextval('change_version'))
       ON CONFLICT (name) DO UPDATE SET labels = EXCLUDED.labels, created_at = now(), enrolled_at = NULL, removed_at = NULL, facts = '{}', agent_version = NULL,
         kubernetes_version = NULL, hub_id = NULL, last_seen_at = NULL, lease_until = NULL, epoch = NULL, watermark = 0, snapshot_id = NULL,
         wants_snapshot = false, wants_resend = false, version = EXCLUDED.version
       WHERE c.removed_at IS NOT NULL`,
      [name, JSON.stringify(labels)],
    );
    if (rowCount === 0) throw new StoreError("conflict", `there is a cluster '${name}' already`, { hint: `for a new token: fleet cluster token ${name}` });
    await wantPlacement(client, name);
    await saveEvents(client, [eventOf("", "ClusterAdded", "added; waits for its agent", { cluster: name })]);
  });
}

/**
 * Sets labels, and removes those whose value is null.
 *
 * @throws StoreError `not-found`; `conflict` when there would be too many.
 */
export async function changeLabels(pool: pg.Pool, actor: Actor, name: string, labels: Readonly<Record<string, string | null>>): Promise<void> {
  await inActTransaction(pool, actor, { act: "cluster.label", cluster: name, details: { labels } }, async (client) => {
    const { rows } = await client.query<{ labels: Record<string, string> }>(
      "SELECT labels FROM clusters WHERE name = $1 AND removed_at IS NULL FOR NO KEY UPDATE",
      [name],
    );
    if (rows[0] === undefined) throw new StoreError("not-found", `there is no cluster '${name}'`, { hint: "`fleet cluster list` shows those there are" });
    const next = Object.fromEntries(Object.entries({ ...rows[0].labels, ...labels }).filter(([, value]) => value !== null));
    if (Object.keys(next).length > maxLabelsPerCluster)
      throw new StoreError("conflict", `a cluster has at most ${maxLabelsPerCluster} labels`, { hint: "remove some: fleet cluster label NAME KEY-" });
    await client.query("UPDATE clusters SET labels = $2, version = nextval('change_version') WHERE name = $1", [name, JSON.stringify(next)]);
    await wantPlacement(client, name);
    await saveEvents(client, [
      eventOf(
        "",
        "ClusterLabelled",
        `labels are now ${
          Object.entries(next)
            .map(([key, value]) => `${key}=${value}`)
            .join(",") || "none"
        }`.slice(0, 1_000),
        { cluster: name },
      ),
    ]);
  });
}

/**
 * Forgets a cluster: its certificates and tokens are revoked (links end within seconds), its states and claims are dropped. What
 * runs in it stays. Generations of its targets stay, so that they never come again.
 *
 * @throws StoreError `not-found`.
 */
export async function removeCluster(pool: pg.Pool, actor: Actor, name: string): Promise<void> {
  await inActTransaction(pool, actor, { act: "cluster.remove", cluster: name }, async (client) => {
    const { rowCount } = await client.query(
      "UPDATE clusters SET removed_at = now(), lease_until = NULL, version = nextval('change_version') WHERE name = $1 AND removed_at IS NULL",
      [name],
    );
    if (rowCount === 0) throw new StoreError("not-found", `there is no cluster '${name}'`, { hint: "`fleet cluster list` shows those there are" });
    await revokeCredentials(client, name);
    await client.query(
      "UPDATE targets SET tombstone = COALESCE(tombstone, 'orphan'), generation = generation + 1, bundles = '[]', claims_digest = '', removed_at = now() WHERE cluster = $1 AND removed_at IS NULL",
      [name],
    );
    await client.query(
      "UPDATE approvals SET outcome = 'void', why = 'the cluster was removed', settled_at = now() WHERE cluster = $1 AND kind = 'prune' AND outcome IS NULL",
      [name],
    );
    await leaveRollouts(client, [name]);
    await client.query("UPDATE drifts SET healed_at = now(), healed_by = 'gone' WHERE cluster = $1 AND healed_at IS NULL", [name]);
    for (const table of [
      "enrol_tokens",
      "target_states",
      "bundle_states",
      "object_states",
      "claims",
      "contests",
      "commands",
      "gate_answers",
      "preview_answers",
      "suspensions",
      "window_overrides",
    ])
      await client.query(`DELETE FROM ${table} WHERE cluster = $1`, [name]);
    await wantPlacement(client, name);
    await saveEvents(client, [
      eventOf("", "ClusterRemoved", "removed; its credentials are revoked, what runs in it stays", { cluster: name, severity: "Warning" }),
    ]);
  });
}

/** Any fleet may select the cluster now, or no longer. */
async function wantPlacement(client: pg.ClientBase, cluster: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>("SELECT name FROM fleets");
  const fleets = rows.map(({ name }) => name);
  await notify(client, "flotilla_placement", { fleets });
  await notify(client, "flotilla_changes", { fleets, clusters: [cluster] });
}
