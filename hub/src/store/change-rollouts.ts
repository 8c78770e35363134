import type { HoldRow, PinRow, Released } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { hasRole } from "../domain/access.ts";
import type { Actor } from "../domain/actor.ts";
import type { RolloutSpec } from "../domain/fleet-spec.ts";
import type { RolloutPhase } from "../domain/rollout.ts";
import { rolesOf } from "./api-tokens.ts";
import { inActTransaction } from "./audit-log.ts";
import { endRollouts, noteDecision, tellRollout } from "./begin-rollout.ts";
import { notify } from "./listen.ts";
import { readHazards } from "./read-hazards.ts";
import { readHolds, readPins } from "./read-rollouts.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";
import { nameOfActor } from "./suspensions.ts";

export type RolloutActName = "pause" | "resume" | "approve" | "abort" | "restart";

interface OpenRollout {
  readonly id: string;
  readonly revision: string;
  readonly phase: RolloutPhase;
  readonly plan: RolloutSpec;
  readonly wave: number;
  readonly paused: unknown;
  readonly approvals: readonly { readonly wave: number }[];
}

/**
 * What a person does to a fleet's rollout.
 *
 * @throws StoreError `not-found` when there is no such fleet, rollout or wave; `conflict` when it is so already.
 */
export async function actOnRollout(
  pool: pg.Pool,
  actor: Actor,
  fleet: string,
  act: RolloutActName,
  choice: { readonly wave?: string | undefined } = {},
): Promise<void> {
  await inActTransaction(
    pool,
    actor,
    { act: `rollout.${act}`, fleet, details: { ...(choice.wave !== undefined && { wave: choice.wave }) } },
    async (client) => {
      await checkFleet(client, fleet);
      const by = await nameOf(client, actor);
      if (act === "restart") await restart(client, fleet, actor, by);
      else await change(client, fleet, act, choice.wave, actor, by);
      await news(client, [fleet]);
    },
  );
}

async function change(
  client: pg.ClientBase,
  fleet: string,
  act: Exclude<RolloutActName, "restart">,
  wave: string | undefined,
  actor: Actor,
  by: string,
): Promise<void> {
  const { rows } = await client.query<OpenRollout>(
    "SELECT id::text AS id, revision, phase, plan, wave, paused, approvals FROM rollouts WHERE fleet = $1 AND phase IN ('Queued', 'Running', 'RollingBack') ORDER BY phase = 'Queued', id DESC FOR UPDATE",
    [fleet],
  );
  // One that waits for a person is resumed when nothing else is paused.
  const rollout = act === "resume" ? (rows.find(({ paused }) => paused !== null) ?? rows[0]) : rows[0];
  if (rollout === undefined)
    throw new StoreError("not-found", `fleet ${fleet} has no rollout that runs or waits`, {
      hint: `fleet rollout list ${fleet} shows those that ended; fleet rollout restart ${fleet} begins anew`,
    });
  const word = { by, reason: actor.reason, at: Date.now() };
  const note = (kind: string, index = rollout.wave): Promise<void> =>
    noteDecision(client, { rollout: rollout.id, kind, reason: actor.reason, by, wave: index });
  switch (act) {
    case "pause":
      if (rollout.paused !== null) throw new StoreError("conflict", `the rollout of fleet ${fleet} is paused already`);
      await client.query("UPDATE rollouts SET paused = $2, version = nextval('change_version') WHERE id = $1", [rollout.id, JSON.stringify(word)]);
      return note("pause");
    case "resume":
      if (rollout.paused === null)
        throw new StoreError("conflict", `the rollout of fleet ${fleet} is not paused`, { hint: `fleet rollout status ${fleet} says what it waits for` });
      await client.query("UPDATE rollouts SET paused = NULL, version = nextval('change_version') WHERE id = $1", [rollout.id]);
      return note("resume");
    case "abort":
      await endRollouts(client, [rollout.id], "Aborted", `aborted by ${by}${actor.reason === "" ? "" : `: ${actor.reason}`}`);
      return tellRollout(
        client,
        fleet,
        "RolloutAborted",
        `${rollout.revision.slice(0, 12)} aborted by ${by}${actor.reason === "" ? "" : `: ${actor.reason}`}; what is released stays`,
        {
          severity: "Warning",
          revision: rollout.revision,
        },
      );
    case "approve": {
      const index = waveToApprove(rollout, wave, fleet);
      const role = rollout.plan.waves[index]?.after.approval;
      if (role !== undefined && !hasRole(await rolesOf(client, actor), role))
        throw new StoreError("conflict", `wave ${rollout.plan.waves[index]?.name} is approved by ${role}, which ${by} is not`, {
          hint: `somebody's token with that role approves it: fleet token create … --role ${role}`,
        });
      await client.query("UPDATE rollouts SET approvals = approvals || $2::jsonb, version = nextval('change_version') WHERE id = $1", [
        rollout.id,
        JSON.stringify([{ wave: index, ...word }]),
      ]);
      return note("approve", index);
    }
  }
}

/** The wave that is named, else the first from the reached one on that needs an approval and has none. */
function waveToApprove({ plan, wave: reached, approvals }: OpenRollout, name: string | undefined, fleet: string): number {
  const isApproved = (index: number): boolean => approvals.some(({ wave }) => wave === index);
  if (name !== undefined) {
    const index = plan.waves.findIndex((wave) => wave.name === name);
    if (index < 0)
      throw new StoreError("not-found", `the rollout of fleet ${fleet} has no wave '${name}'`, {
        hint: `it has ${plan.waves.map((wave) => wave.name).join(", ")}`,
      });
    if (isApproved(index)) throw new StoreError("conflict", `wave ${name} is approved already`);
    return index;
  }
  const index = plan.waves.findIndex(({ after }, at) => at >= reached && after.approval !== undefined && !isApproved(at));
  if (index < 0)
    throw new StoreError("conflict", `the rollout of fleet ${fleet} waits for no approval`, { hint: `fleet rollout status ${fleet} says what it waits for` });
  return index;
}

/** The newest good revision, from its first wave on. */
async function restart(client: pg.ClientBase, fleet: string, actor: Actor, by: string): Promise<void> {
  const open = await client.query<{ revision: string; phase: string }>(
    "SELECT revision, phase FROM rollouts WHERE fleet = $1 AND phase IN ('Queued', 'Running', 'RollingBack') LIMIT 1",
    [fleet],
  );
  if (open.rows[0])
    throw new StoreError(
      "conflict",
      `a rollout of ${open.rows[0].revision.slice(0, 12)} is ${open.rows[0].phase === "Queued" ? "waiting" : "under way"} already`,
      {
        hint: `fleet rollout abort ${fleet} ends it`,
      },
    );
  await queueNewest(client, fleet, by, actor.reason);
}

/** @throws StoreError `conflict` when there is nothing to roll out. */
async function queueNewest(client: pg.ClientBase, fleet: string, by: string, reason: string): Promise<void> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO rollouts (fleet, revision, from_revision, plan, phase, traceparent)
     SELECT f.name, f.revision, NULLIF(f.settled_revision, f.revision), COALESCE(v.spec -> 'rollout', o.plan), 'Queued', v.traceparent
     FROM fleets f JOIN revisions v ON v.fleet = f.name AND v.revision = f.revision
     LEFT JOIN LATERAL (SELECT plan FROM rollouts WHERE fleet = f.name AND revision = f.revision ORDER BY id DESC LIMIT 1) o ON true
     WHERE f.name = $1 AND COALESCE(v.spec -> 'rollout', o.plan) IS NOT NULL RETURNING id::text AS id`,
    [fleet],
  );
  const [row] = rows;
  if (!row) throw new StoreError("conflict", `fleet ${fleet} has no revision to roll out`, { hint: `fleet status ${fleet} says why` });
  await noteDecision(client, { rollout: row.id, kind: "restart", reason, by, wave: 0 });
  // Its placements may be gone by now.
  await notify(client, "flotilla_placement", { fleets: [fleet] });
}

export interface RollbackWanted {
  readonly revision?: string | undefined;
  readonly clusters?: readonly string[] | undefined;
  readonly force?: boolean | undefined;
}

/**
 * Keeps a fleet, or clusters of it, at an older revision from now on. Needs nothing but the database.
 *
 * @throws StoreError `not-found` when there is no such fleet, cluster or revision; `ambiguous`; `conflict` when an API server would refuse it.
 */
export async function rollBack(pool: pg.Pool, sealing: Sealing, actor: Actor, fleet: string, wanted: RollbackWanted): Promise<readonly PinRow[]> {
  const { clusters, force = false } = wanted;
  const details = { ...(wanted.revision !== undefined && { revision: wanted.revision }), ...(clusters && { clusters }), force };
  return inActTransaction(
    pool,
    actor,
    { act: "fleet.rollback", fleet, ...(clusters?.length === 1 && { cluster: clusters[0] ?? "" }), details },
    async (client) => {
      await checkFleet(client, fleet);
      const by = await nameOf(client, actor);
      const pins = await pinsOf(client, fleet, wanted);
      if (!force) await refuseHazards(client, pool, sealing, fleet, pins);
      for (const [cluster, revision] of pins) {
        await client.query(
          `INSERT INTO pins (fleet, cluster, revision, by, reason) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (fleet, cluster) DO UPDATE SET revision = EXCLUDED.revision, by = EXCLUDED.by, reason = EXCLUDED.reason, at = now()`,
          [fleet, cluster, revision, by, actor.reason],
        );
      }
      const [[, revision] = ["", ""]] = pins;
      const where = clusters ? `${clusters.length} cluster${clusters.length === 1 ? "" : "s"}` : "the fleet";
      const message = `${where} pinned to ${revision.slice(0, 12)} by ${by}${actor.reason === "" ? "" : `: ${actor.reason}`}`;
      await tellRollout(client, fleet, "RolledBack", message, { severity: "Warning", revision, ...(clusters?.length === 1 && { cluster: clusters[0] ?? "" }) });
      await news(client, [fleet]);
      return (await readPins(client, fleet)).filter(({ cluster }) => pins.has(cluster ?? ""));
    },
  );
}

/** By cluster ("" is the fleet): the revision to go to. */
async function pinsOf(client: pg.ClientBase, fleet: string, { revision, clusters }: RollbackWanted): Promise<ReadonlyMap<string, string>> {
  const given = revision === undefined ? undefined : await fullRevision(client, fleet, revision);
  if (clusters === undefined) return new Map([["", given ?? (await fleetBefore(client, fleet))]]);
  const pins = new Map<string, string>();
  for (const cluster of clusters) pins.set(cluster, given ?? (await clusterBefore(client, fleet, cluster)));
  for (const [cluster] of pins) await checkTarget(client, fleet, cluster);
  return pins;
}

async function fullRevision(client: pg.ClientBase, fleet: string, prefix: string): Promise<string> {
  const { rows } = await client.query<{ revision: string }>(
    `SELECT DISTINCT revision FROM (SELECT revision FROM releases WHERE fleet = $1 UNION SELECT revision FROM revisions WHERE fleet = $1 AND outcome = 'rendered') r
     WHERE starts_with(revision, $2) LIMIT 2`,
    [fleet, prefix.toLowerCase()],
  );
  const [row, other] = rows;
  if (row === undefined)
    throw new StoreError("not-found", `fleet ${fleet} has had no good revision '${prefix}' that is still kept`, { hint: `fleet history ${fleet} lists them` });
  if (other !== undefined)
    throw new StoreError("ambiguous", `'${prefix}' begins more than one revision of fleet ${fleet}`, {
      hint: `${row.revision.slice(0, 12)} and ${other.revision.slice(0, 12)}`,
    });
  return row.revision;
}

/** What the fleet had as a whole before what it has, or is about to get, now. */
async function fleetBefore(client: pg.ClientBase, fleet: string): Promise<string> {
  const { rows } = await client.query<{ revision: string | null }>(
    `SELECT CASE WHEN EXISTS (SELECT 1 FROM targets t WHERE t.fleet = f.name AND t.tombstone IS NULL AND t.revision <> f.settled_revision) THEN f.settled_revision
       ELSE (SELECT r.revision FROM rollouts r WHERE r.fleet = f.name AND r.phase = 'Done' AND r.revision <> f.settled_revision ORDER BY r.id DESC LIMIT 1) END AS revision
     FROM fleets f WHERE f.name = $1`,
    [fleet],
  );
  const revision = rows[0]?.revision ?? undefined;
  if (revision === undefined)
    throw new StoreError("not-found", `fleet ${fleet} has had no other revision as a whole`, { hint: `name one with --to: fleet history ${fleet} lists them` });
  return revision;
}

async function clusterBefore(client: pg.ClientBase, fleet: string, cluster: string): Promise<string> {
  const { rows } = await client.query<{ revision: string }>(
    `SELECT r.revision FROM releases r WHERE r.fleet = $1 AND r.cluster = $2 AND r.healthy_at IS NOT NULL
       AND r.revision <> COALESCE((SELECT revision FROM targets WHERE fleet = $1 AND cluster = $2), '') ORDER BY r.generation DESC LIMIT 1`,
    [fleet, cluster],
  );
  if (rows[0] === undefined)
    throw new StoreError("not-found", `no other revision of fleet ${fleet} was ever healthy on cluster ${cluster}`, {
      hint: `name one with --to: fleet history ${fleet} --cluster ${cluster} lists them`,
    });
  return rows[0].revision;
}

/**
 * Refuses what an API server would refuse, before anything begins.
 *
 * @throws StoreError `conflict`.
 */
async function refuseHazards(client: pg.ClientBase, pool: pg.Pool, sealing: Sealing, fleet: string, pins: ReadonlyMap<string, string>): Promise<void> {
  const hazards = await readHazards(client, pool, sealing, fleet, pins);
  const [message] = hazards.values();
  if (message === undefined) return;
  const clusters = [...hazards].filter(([, said]) => said === message).map(([cluster]) => cluster);
  const more = clusters.length > 3 ? ` and ${clusters.length - 3} more` : "";
  throw new StoreError("conflict", `going back would be refused on ${clusters.slice(0, 3).join(", ")}${more}: ${message}`, {
    hint: "mend it with a new commit, or let everything else go back with --force",
  });
}

/**
 * Nothing new is released to a fleet, or (without a name) to any, until somebody ends it or the time is over.
 *
 * @throws StoreError `not-found`.
 */
export async function hold(pool: pg.Pool, actor: Actor, fleet: string | undefined, until: Date | undefined): Promise<HoldRow> {
  const act = fleet === undefined ? "fleets.freeze" : "fleet.hold";
  await inActTransaction(pool, actor, { act, ...(fleet !== undefined && { fleet }), details: { until: until?.toISOString() ?? null } }, async (client) => {
    if (fleet !== undefined) await checkFleet(client, fleet);
    const by = await nameOf(client, actor);
    await client.query(
      `INSERT INTO holds (fleet, by, reason, until) VALUES ($1, $2, $3, $4)
       ON CONFLICT (fleet) DO UPDATE SET by = EXCLUDED.by, reason = EXCLUDED.reason, until = EXCLUDED.until, at = now()`,
      [fleet ?? "", by, actor.reason, until ?? null],
    );
    const what = fleet === undefined ? "all fleets frozen" : "held";
    await tellRollout(
      client,
      fleet ?? "",
      fleet === undefined ? "Frozen" : "Held",
      `${what}${until ? ` until ${until.toISOString()}` : ""} by ${by}: ${actor.reason}`,
      { severity: "Warning" },
    );
    await newsOfMany(client, fleet);
  });
  const row = (await readHolds(pool, fleet)).find((held) => held.fleet === (fleet ?? null));
  if (!row) throw new StoreError("conflict", "the time is over already", { hint: "give one to come" });
  return row;
}

/** @throws StoreError `not-found` when nothing is frozen. */
export async function unfreeze(pool: pg.Pool, actor: Actor): Promise<void> {
  await inActTransaction(pool, actor, { act: "fleets.unfreeze" }, async (client) => {
    const { rowCount } = await client.query("DELETE FROM holds WHERE fleet = '' AND (until IS NULL OR until > now())");
    if (rowCount === 0) throw new StoreError("not-found", "nothing is frozen");
    await tellRollout(client, "", "Unfrozen", `fleets go on, says ${await nameOf(client, actor)}`);
    await newsOfMany(client, undefined);
  });
}

/**
 * Ends what keeps a fleet, or one cluster of it, from following Git: its hold, its pins, and a rollout that is paused. The newest good revision
 * begins when nothing waits.
 *
 * @throws StoreError `not-found` when nothing keeps it.
 */
export async function letGo(pool: pg.Pool, actor: Actor, fleet: string, cluster: string | undefined): Promise<Released> {
  return inActTransaction(pool, actor, { act: "fleet.resume", fleet, ...(cluster !== undefined && { cluster }) }, async (client) => {
    await checkFleet(client, fleet);
    const by = await nameOf(client, actor);
    const released = cluster === undefined ? await letFleetGo(client, fleet, by, actor) : await letClusterGo(client, fleet, cluster);
    if (released.holds + released.pins + released.rollouts === 0)
      throw new StoreError("not-found", `nothing keeps ${cluster === undefined ? `fleet ${fleet}` : `cluster ${cluster} of fleet ${fleet}`}`, {
        hint: `fleet rollout status ${fleet} says what it waits for`,
      });
    await tellRollout(client, fleet, "LetGo", `${cluster ?? "the fleet"} follows Git again, says ${by}${actor.reason === "" ? "" : `: ${actor.reason}`}`, {
      ...(cluster !== undefined && { cluster }),
    });
    await news(client, [fleet]);
    return released;
  });
}

async function letFleetGo(client: pg.ClientBase, fleet: string, by: string, actor: Actor): Promise<Released> {
  const holds = await client.query("DELETE FROM holds WHERE fleet = $1 AND (until IS NULL OR until > now())", [fleet]);
  const pins = await client.query("DELETE FROM pins WHERE fleet = $1 AND cluster = ''", [fleet]);
  const paused = await client.query(
    "UPDATE rollouts SET paused = NULL, version = nextval('change_version') WHERE fleet = $1 AND paused IS NOT NULL AND ended_at IS NULL",
    [fleet],
  );
  const released = { holds: holds.rowCount ?? 0, pins: pins.rowCount ?? 0, rollouts: paused.rowCount ?? 0 };
  if (released.pins === 0) return released;
  const behind = await client.query(
    `SELECT 1 FROM fleets f WHERE f.name = $1 AND f.revision IS DISTINCT FROM f.settled_revision
       AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.fleet = f.name AND r.phase IN ('Queued', 'Running', 'RollingBack'))`,
    [fleet],
  );
  // What Git says was rolled out before the pin, and did not come again: it begins anew.
  if (behind.rows.length > 0) await queueNewest(client, fleet, by, actor.reason);
  return released;
}

async function letClusterGo(client: pg.ClientBase, fleet: string, cluster: string): Promise<Released> {
  const { rowCount } = await client.query("DELETE FROM pins WHERE fleet = $1 AND cluster = $2", [fleet, cluster]);
  return { holds: 0, pins: rowCount ?? 0, rollouts: 0 };
}

/** @throws StoreError `not-found`. */
async function checkFleet(client: pg.ClientBase, fleet: string): Promise<void> {
  const { rows } = await client.query("SELECT 1 FROM fleets WHERE name = $1 FOR UPDATE", [fleet]);
  if (rows.length === 0) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
}

async function checkTarget(client: pg.ClientBase, fleet: string, cluster: string): Promise<void> {
  const { rows } = await client.query("SELECT 1 FROM targets WHERE fleet = $1 AND cluster = $2 AND tombstone IS NULL", [fleet, cluster]);
  if (rows.length === 0)
    throw new StoreError("not-found", `cluster '${cluster}' is not in fleet ${fleet}`, { hint: `fleet status ${fleet} shows those that are` });
}

async function nameOf(client: pg.ClientBase, actor: Actor): Promise<string> {
  const { rows } = await client.query<{ name: string }>(`SELECT ${nameOfActor("$1")} AS name`, [actor.id]);
  return rows[0]?.name ?? actor.id;
}

async function news(client: pg.ClientBase, fleets: readonly string[]): Promise<void> {
  await client.query("UPDATE fleets SET version = nextval('change_version') WHERE name = ANY($1::text[])", [fleets]);
  await notify(client, "flotilla_rollouts", { fleets });
  await notify(client, "flotilla_changes", { fleets, clusters: [] });
}

async function newsOfMany(client: pg.ClientBase, fleet: string | undefined): Promise<void> {
  if (fleet !== undefined) return news(client, [fleet]);
  const { rows } = await client.query<{ fleet: string }>("SELECT DISTINCT fleet FROM rollouts WHERE phase IN ('Queued', 'Running', 'RollingBack')");
  await news(
    client,
    rows.map((row) => row.fleet),
  );
}
