import { listDigest } from "@flotilla/proto/digest";
import type { PruneApproval } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { inActTransaction } from "./audit-log.ts";
import { eventOf } from "./create-fleet.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";
import { StoreError } from "./store-error.ts";

/** What a person saw in one cluster, and lets go. */
export interface WantedApproval {
  readonly fleet: string;
  readonly cluster: string;
  /** Full commit hash. */
  readonly revision: string;
  /** Of the held list. */
  readonly digest: string;
}

/**
 * Lets the prunes go that an agent holds: recorded with the list that was seen, and sent with a new generation of the target. It
 * counts for this revision and this list alone; the agent decides by what it holds when it comes.
 *
 * @throws StoreError `not-found`; `conflict` when the revision or the list is not the one that is held now.
 */
export async function approvePrunes(pool: pg.Pool, actor: Actor, wanted: WantedApproval): Promise<PruneApproval> {
  const { fleet, cluster, revision, digest } = wanted;
  return inActTransaction(pool, actor, { act: "prune.approve", fleet, cluster, details: { revision, digest } }, async (client) => {
    const held = await lockHeld(client, wanted);
    if (held.revision !== revision)
      throw changed(`the fleet is at revision ${held.revision.slice(0, 12)} in cluster '${cluster}', not at ${revision.slice(0, 12)}`);
    if (held.digest === "")
      throw new StoreError("conflict", `nothing is held in cluster '${cluster}'`, { hint: `fleet approve list ${fleet} tells what came of approvals` });
    if (held.digest !== digest) throw changed(`another list is held in cluster '${cluster}' than the one that was approved`);
    if (held.reportedRevision !== revision) throw changed(`what is held in cluster '${cluster}' is of an older revision; the newer one was not looked at yet`);
    if (listDigest(held.subjects) !== digest)
      throw new StoreError("conflict", `the list that is held in cluster '${cluster}' has not come in whole`, { hint: "try again in a moment" });
    const approval = await insertApproval(client, actor, wanted, held);
    await notify(client, "flotilla_targets", { clusters: [cluster] });
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [cluster] });
    const count = held.subjects.length;
    const message = `${approval.approvedBy} approved ${count} prune${count === 1 ? "" : "s"} (${digest.slice(0, 12)})${actor.reason === "" ? "" : `: ${actor.reason}`}`;
    await saveEvents(client, [eventOf(fleet, "PruneApproved", message, { cluster, revision })]);
    return approval;
  });
}

interface Held {
  readonly revision: string;
  readonly reportedRevision: string;
  readonly digest: string;
  readonly subjects: readonly string[];
}

/** The target's row stays locked: a release of another revision comes wholly before or wholly after. */
async function lockHeld(client: pg.ClientBase, { fleet, cluster }: WantedApproval): Promise<Held> {
  const { rows } = await client.query<{ revision: string }>(
    `SELECT t.revision FROM targets t JOIN clusters c ON c.name = t.cluster AND c.removed_at IS NULL
     WHERE t.fleet = $1 AND t.cluster = $2 AND t.tombstone IS NULL FOR UPDATE OF t`,
    [fleet, cluster],
  );
  if (rows[0] === undefined)
    throw new StoreError("not-found", `the fleet '${fleet}' has no target in a cluster '${cluster}'`, { hint: `fleet status ${fleet} shows its clusters` });
  const state = await client.query<{ revision: string; prunes_digest: string }>(
    "SELECT revision, prunes_digest FROM target_states WHERE fleet = $1 AND cluster = $2 FOR SHARE",
    [fleet, cluster],
  );
  const subjects = await client.query<{ object_id: string }>("SELECT object_id FROM object_states WHERE fleet = $1 AND cluster = $2 AND prune = 'held'", [
    fleet,
    cluster,
  ]);
  return {
    revision: rows[0].revision,
    reportedRevision: state.rows[0]?.revision ?? "",
    digest: state.rows[0]?.prunes_digest ?? "",
    subjects: subjects.rows.map((row) => row.object_id).sort(),
  };
}

async function insertApproval(client: pg.ClientBase, actor: Actor, { fleet, cluster, revision, digest }: WantedApproval, held: Held): Promise<PruneApproval> {
  await client.query(
    "UPDATE approvals SET outcome = 'void', why = 'approved again', settled_at = now() WHERE kind = 'prune' AND fleet = $1 AND cluster = $2 AND outcome IS NULL",
    [fleet, cluster],
  );
  const name = await client.query<{ description: string }>("SELECT description FROM api_tokens WHERE id = $1", [actor.id]);
  const approvedBy = name.rows[0]?.description || actor.id;
  const approvedAt = new Date();
  const { rows } = await client.query<{ generation: string }>(
    `UPDATE targets SET generation = generation + 1, released_at = clock_timestamp(), prune_approval = $3 WHERE fleet = $1 AND cluster = $2 RETURNING generation`,
    [fleet, cluster, JSON.stringify({ revision, digest, approvedBy, approvedAt: approvedAt.toISOString() })],
  );
  const generation = Number(rows[0]?.generation);
  const saved = await client.query<{ id: string }>(
    `INSERT INTO approvals (kind, fleet, cluster, revision, digest, subjects, generation, actor, actor_name, reason, approved_at)
     VALUES ('prune', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
    [fleet, cluster, revision, digest, held.subjects, generation, actor.id, approvedBy, actor.reason, approvedAt],
  );
  return { id: Number(saved.rows[0]?.id), fleet, cluster, revision, digest, generation, objects: held.subjects.length, approvedBy };
}

function changed(message: string): StoreError {
  return new StoreError("conflict", message, { hint: "look at the list again, and approve what it is now" });
}
