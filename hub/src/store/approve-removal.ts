import type { RemovalApproval } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import type { HeldRemoval } from "../domain/plan-removals.ts";
import { inActTransaction } from "./audit-log.ts";
import { eventOf } from "./create-fleet.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";
import { StoreError } from "./store-error.ts";

/**
 * Lets the clusters go that a fleet no longer selects and that are more than may leave without a person: exactly this list, with this
 * policy. The fleet's follower makes the tombstones.
 *
 * @throws StoreError `not-found`; `conflict` when nothing is held, or another list.
 */
export async function approveRemoval(pool: pg.Pool, actor: Actor, wanted: { readonly fleet: string; readonly digest: string }): Promise<RemovalApproval> {
  const { fleet, digest } = wanted;
  return inActTransaction(pool, actor, { act: "removal.approve", fleet, details: { digest } }, async (client) => {
    const { rows } = await client.query<{ revision: string | null; removal_held: HeldRemoval | null; repository_id: string }>(
      "SELECT revision, removal_held, repository_id FROM fleets WHERE name = $1 FOR UPDATE",
      [fleet],
    );
    const row = rows[0];
    if (row === undefined) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
    const held = row.removal_held;
    if (held === null)
      throw new StoreError("conflict", `no cluster waits to leave fleet '${fleet}'`, {
        hint: `fleet approve list --fleet ${fleet} tells what came of approvals`,
      });
    if (held.digest !== digest)
      throw new StoreError("conflict", `other clusters would leave fleet '${fleet}' now than those that were approved`, {
        hint: "look at the list again, and approve what it is now",
      });
    const name = await client.query<{ description: string }>("SELECT description FROM api_tokens WHERE id = $1", [actor.id]);
    const approvedBy = name.rows[0]?.description || actor.id;
    await client.query(
      "UPDATE approvals SET outcome = 'void', why = 'approved again', settled_at = now() WHERE kind = 'removal' AND fleet = $1 AND outcome IS NULL",
      [fleet],
    );
    const saved = await client.query<{ id: string }>(
      `INSERT INTO approvals (kind, fleet, revision, digest, subjects, actor, actor_name, reason) VALUES ('removal', $1, $2, $3, $4, $5, $6, $7) RETURNING id`,
      [fleet, row.revision ?? "", digest, held.clusters, actor.id, approvedBy, actor.reason],
    );
    await notify(client, "flotilla_placement", { fleets: [fleet] });
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    const message = `${approvedBy} lets ${held.clusters.length} cluster${held.clusters.length === 1 ? "" : "s"} leave (objects: ${held.policy})${actor.reason === "" ? "" : `: ${actor.reason}`}`;
    await saveEvents(client, [eventOf(fleet, "RemovalApproved", message, { severity: "Warning" })]);
    return { id: Number(saved.rows[0]?.id), fleet, digest, policy: held.policy, clusters: held.clusters.length, approvedBy };
  });
}
