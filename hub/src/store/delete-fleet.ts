import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { inActTransaction } from "./audit-log.ts";
import { eventOf } from "./create-fleet.ts";
import { notify } from "./listen.ts";
import { inTransaction } from "./pool.ts";
import { saveEvents } from "./save-events.ts";
import { StoreError } from "./store-error.ts";

/**
 * Marks a fleet for deletion: its follower releases tombstones, and the row goes when no cluster holds the fleet any more. The first
 * call's policy stays: what was told to agents is not changed under way.
 *
 * @throws StoreError `not-found`.
 */
export async function deleteFleet(pool: pg.Pool, actor: Actor, fleet: string, policy: "orphan" | "delete"): Promise<void> {
  await inActTransaction(pool, actor, { act: "fleet.delete", fleet, details: { objects: policy } }, async (client) => {
    const { rows } = await client.query<{ repository_id: string; was: string | null }>(
      `UPDATE fleets f SET deleting = COALESCE(f.deleting, $2), version = nextval('change_version') FROM (SELECT name, deleting AS was FROM fleets WHERE name = $1 FOR UPDATE) o
       WHERE f.name = o.name RETURNING f.repository_id, o.was`,
      [fleet, policy],
    );
    const row = rows[0];
    if (row === undefined) throw new StoreError("not-found", `there is no fleet '${fleet}'`);
    if (row.was !== null) return;
    await notify(client, "flotilla_repositories", { ids: [row.repository_id] });
    await notify(client, "flotilla_placement", { fleets: [fleet] });
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    await saveEvents(client, [
      eventOf(
        fleet,
        "FleetDeleting",
        policy === "orphan" ? "being deleted; its objects stay in the clusters" : "being deleted; its objects are deleted from the clusters",
        { severity: "Warning" },
      ),
    ]);
  });
}

/** Deletes fleets whose last cluster let go, and a repository without fleets. Returns the fleets' names. */
export async function dropDeletedFleets(pool: pg.Pool, repositoryId: string): Promise<readonly string[]> {
  return inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      `DELETE FROM fleets f WHERE f.repository_id = $1 AND f.deleting IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM targets t JOIN clusters c ON c.name = t.cluster WHERE t.fleet = f.name AND t.removed_at IS NULL AND c.removed_at IS NULL)
       RETURNING name`,
      [repositoryId],
    );
    const names = rows.map(({ name }) => name);
    if (names.length === 0) return names;
    for (const table of ["target_states", "bundle_states", "object_states", "claims", "suspensions", "window_overrides"])
      await client.query(`DELETE FROM ${table} WHERE fleet = ANY($1::text[])`, [names]);
    await client.query("UPDATE targets SET claims_digest = '' WHERE fleet = ANY($1::text[])", [names]);
    await client.query("DELETE FROM contests WHERE claimant_fleet = ANY($1::text[]) OR owner_fleet = ANY($1::text[])", [names]);
    await client.query("DELETE FROM repositories r WHERE r.id = $1 AND NOT EXISTS (SELECT 1 FROM fleets f WHERE f.repository_id = r.id)", [repositoryId]);
    await notify(client, "flotilla_changes", { fleets: names, clusters: [] });
    await saveEvents(
      client,
      names.map((name) => eventOf(name, "FleetDeleted", "deleted; no cluster holds it any more")),
    );
    return names;
  });
}
