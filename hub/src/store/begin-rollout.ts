import type pg from "pg";
import type { RolloutSpec } from "../domain/fleet-spec.ts";
import { immediateRollout } from "../domain/rollout-plan.ts";
import type { RolloutPhase } from "../domain/rollout.ts";
import type { PlacedTarget } from "../domain/target.ts";
import { batchRowsMax, rolloutsKeptPerFleet } from "../limits.ts";
import { eventOf } from "./create-fleet.ts";
import { endGateJobs } from "./end-gate-jobs.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";
import { saveSpecs } from "./target-specs.ts";
import { wantCommitStatus } from "./tell-outside.ts";
import { inBatches } from "./unnest.ts";

/** A revision that is to go through its fleet. */
export interface RolloutToBegin {
  readonly fleet: string;
  readonly revision: string;
  /** Absent: to every cluster at once. */
  readonly plan: RolloutSpec | undefined;
  readonly placed: readonly PlacedTarget[];
  readonly traceparent: string | null;
}

/** The rollout that was begun; `isImmediate` when everything is to be released now, in one step, and nothing was kept for later. */
export interface BegunRollout {
  readonly id: string;
  readonly phase: Extract<RolloutPhase, "Queued" | "Running">;
  readonly isImmediate: boolean;
}

/**
 * A new revision of a fleet: it takes the place of the rollout that runs, or waits for its end, or for a person, as the running one's plan
 * and what people said have it. What waited before is skipped. Part of the transaction that makes the revision the fleet's.
 */
export async function beginRollout(client: pg.ClientBase, wanted: RolloutToBegin): Promise<BegunRollout> {
  const { fleet, revision } = wanted;
  const { rows } = await client.query<{ id: string; revision: string; phase: RolloutPhase; plan: RolloutSpec }>(
    "SELECT id::text AS id, revision, phase, plan FROM rollouts WHERE fleet = $1 AND phase IN ('Queued', 'Running', 'RollingBack') ORDER BY id FOR UPDATE",
    [fleet],
  );
  const open = rows.find(({ phase }) => phase !== "Queued");
  const waits = await waitsFor(client, fleet, open);
  await endRollouts(
    client,
    rows.filter(({ phase }) => phase === "Queued").map(({ id }) => id),
    "Skipped",
    `skipped: ${revision.slice(0, 12)} is newer`,
  );
  if (open !== undefined && waits === undefined) await endRollouts(client, [open.id], "Superseded", `superseded by ${revision.slice(0, 12)}`);
  const plan = wanted.plan ?? immediateRollout;
  const phase = waits === undefined ? "Running" : "Queued";
  const paused = waits?.isForPerson === true ? { by: "fleet.yaml", reason: waits.reason, at: Date.now() } : null;
  const inserted = await client.query<{ id: string }>(
    `INSERT INTO rollouts (fleet, revision, from_revision, plan, phase, paused, reason, traceparent)
     SELECT $1, $2, (SELECT NULLIF(settled_revision, $2) FROM fleets WHERE name = $1), $3, $4, $5, $6, $7 RETURNING id::text AS id`,
    [fleet, revision, JSON.stringify(plan), phase, paused === null ? null : JSON.stringify(paused), waits?.reason ?? "", wanted.traceparent],
  );
  const id = inserted.rows[0]?.id ?? "";
  await noteDecision(client, {
    rollout: id,
    kind: "start",
    reason: waits?.reason ?? `${revision.slice(0, 12)} begins`,
    wave: 0,
    clusters: wanted.placed.length,
  });
  const isImmediate = phase === "Running" && wanted.plan === undefined && (await hasNoPins(client, fleet));
  if (!isImmediate) await stage(client, wanted);
  await dropOldest(client, fleet);
  // One that is released at once by who began it is not looked at meanwhile: that would read all clusters to find nothing, and wait for the release.
  if (!isImmediate) await notify(client, "flotilla_rollouts", { fleets: [fleet] });
  return { id, phase, isImmediate };
}

/**
 * What a revision comes to for these clusters, for a release later; takes the place of what was kept of it.
 *
 * @throws StoreError `fenced`.
 */
export async function stagePlacements(pool: pg.Pool, lease: Lease, staged: Omit<RolloutToBegin, "plan" | "traceparent">): Promise<void> {
  await inFencedTransaction(pool, lease, async (client) => {
    await stage(client, staged);
    await notify(client, "flotilla_rollouts", { fleets: [staged.fleet] });
  });
}

async function stage(client: pg.ClientBase, { fleet, revision, placed }: Pick<RolloutToBegin, "fleet" | "revision" | "placed">): Promise<void> {
  for (const part of inBatches(placed, batchRowsMax)) {
    await saveSpecs(client, part);
    await client.query({
      name: "stage-placements",
      text: `INSERT INTO placements AS p (fleet, revision, cluster, spec, problems) SELECT $1, $2, r.* FROM unnest($3::text[], $4::text[], $5::jsonb[]) AS r (cluster, spec, problems)
             ON CONFLICT (fleet, revision, cluster) DO UPDATE SET spec = EXCLUDED.spec, problems = EXCLUDED.problems, placed_at = now()
             WHERE p.spec <> EXCLUDED.spec OR p.problems IS DISTINCT FROM EXCLUDED.problems`,
      values: [fleet, revision, part.map(({ cluster }) => cluster), part.map(({ digest }) => digest), part.map(({ problems }) => JSON.stringify(problems))],
    });
  }
  await client.query({
    name: "unstage-placements",
    text: "DELETE FROM placements WHERE fleet = $1 AND revision = $2 AND cluster <> ALL($3::text[])",
    values: [fleet, revision, placed.map(({ cluster }) => cluster)],
  });
}

/** Why a new revision has to wait; undefined when it begins at once. */
async function waitsFor(
  client: pg.ClientBase,
  fleet: string,
  open: { readonly revision: string; readonly phase: RolloutPhase; readonly plan: RolloutSpec } | undefined,
): Promise<{ readonly reason: string; readonly isForPerson: boolean } | undefined> {
  const { rows: pins } = await client.query<{ revision: string; by: string; reason: string }>(
    "SELECT revision, by, reason FROM pins WHERE fleet = $1 AND cluster = ''",
    [fleet],
  );
  const [pin] = pins;
  if (pin) return { reason: `waits: the fleet is pinned to ${pin.revision.slice(0, 12)} by ${pin.by}${tail(pin.reason)}`, isForPerson: false };
  const { rows: holds } = await client.query<{ fleet: string; by: string; reason: string }>(
    "SELECT fleet, by, reason FROM holds WHERE fleet IN ($1, '') AND (until IS NULL OR until > now()) ORDER BY fleet DESC",
    [fleet],
  );
  const [hold] = holds;
  if (hold)
    return { reason: `waits: ${hold.fleet === "" ? "all fleets are frozen" : "the fleet is held"} by ${hold.by}${tail(hold.reason)}`, isForPerson: false };
  if (open === undefined) return undefined;
  const running = open.revision.slice(0, 12);
  if (open.phase === "RollingBack") return { reason: `waits until ${running} is rolled back`, isForPerson: false };
  if (open.plan.onNewRevision === "queue") return { reason: `waits until the rollout of ${running} has ended`, isForPerson: false };
  if (open.plan.onNewRevision === "hold")
    return { reason: `waits for a person, because ${running} was being rolled out: fleet rollout resume`, isForPerson: true };
  return undefined;
}

function tail(reason: string): string {
  return reason === "" ? "" : `: ${reason}`;
}

async function hasNoPins(client: pg.ClientBase, fleet: string): Promise<boolean> {
  return (await client.query("SELECT 1 FROM pins WHERE fleet = $1 LIMIT 1", [fleet])).rows.length === 0;
}

/** Ends rollouts with a word. */
export async function endRollouts(client: pg.ClientBase, ids: readonly string[], phase: RolloutPhase, reason: string): Promise<void> {
  if (ids.length === 0) return;
  const { rows } = await client.query<{ fleet: string; revision: string }>(
    `UPDATE rollouts SET phase = $2, reason = $3, until = NULL, paused = NULL, ended_at = now(), version = nextval('change_version') WHERE id = ANY($1::bigint[])
     RETURNING fleet, revision`,
    [ids, phase, reason],
  );
  await endGateJobs(client, ids);
  for (const { fleet, revision } of rows) await wantCommitStatus(client, { fleet, revision, state: "error", description: `${phase.toLowerCase()}: ${reason}` });
  for (const id of ids)
    await noteDecision(client, { rollout: id, kind: phase === "Superseded" || phase === "Skipped" ? "supersede" : phase.toLowerCase(), reason });
}

/** One line of a rollout's history. */
export async function noteDecision(
  client: pg.ClientBase,
  decision: {
    readonly rollout: string;
    readonly kind: string;
    readonly reason: string;
    readonly wave?: number;
    readonly clusters?: number;
    readonly by?: string;
  },
): Promise<void> {
  const { rollout, kind, reason, wave = null, clusters = 0, by = "" } = decision;
  await client.query({
    name: "note-rollout-decision",
    text: "INSERT INTO rollout_decisions (rollout, kind, wave, clusters, reason, by) VALUES ($1, $2, $3, $4, $5, $6)",
    values: [rollout, kind, wave, clusters, reason.slice(0, 1_000), by],
  });
}

/** The newest stay as history. */
async function dropOldest(client: pg.ClientBase, fleet: string): Promise<void> {
  await client.query(
    `DELETE FROM rollouts WHERE id = ANY(ARRAY(SELECT id FROM rollouts WHERE fleet = $1 AND phase NOT IN ('Queued', 'Running', 'RollingBack') ORDER BY id DESC OFFSET ${rolloutsKeptPerFleet} LIMIT 100))`,
    [fleet],
  );
}

/** An event of a rollout, for people. */
export async function tellRollout(
  client: pg.ClientBase,
  fleet: string,
  reason: string,
  message: string,
  more: Parameters<typeof eventOf>[3] = {},
): Promise<void> {
  await saveEvents(client, [eventOf(fleet, reason, message.slice(0, 1_000), more)]);
}
