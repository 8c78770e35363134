import type pg from "pg";
import type { ClusterMark, MarkChange, RolloutPhase } from "../domain/rollout.ts";
import { batchRowsMax, decisionsPerRolloutMax } from "../limits.ts";
import { endRollouts, noteDecision, tellRollout } from "./begin-rollout.ts";
import { endGateJobs } from "./end-gate-jobs.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { releaseInside, type TargetRelease } from "./release-targets.ts";
import { wantCommitStatus, wantNotification } from "./tell-outside.ts";
import { inBatches } from "./unnest.ts";

/** One step of a rollout, to be written whole or not at all. */
export interface StepToSave {
  readonly fleet: string;
  readonly rollout: string;
  /** The version that it was decided for. */
  readonly version: string;
  readonly revision: string;
  readonly marks: readonly MarkChange[];
  /** Targets to release now, a revision at a time, and what becomes of their clusters' marks. */
  readonly releases: readonly {
    readonly release: TargetRelease;
    readonly mark: Extract<ClusterMark, "Updating" | "RolledBack">;
    readonly waves: ReadonlyMap<string, number>;
  }[];
  /** What is known now: where it stands and what it waits for (epoch ms). */
  readonly wave: number;
  readonly phase: RolloutPhase;
  readonly reason: string;
  readonly until: number | null;
  /** Of the history; undefined when nothing was decided that is worth a line. */
  readonly decision?: { readonly kind: string; readonly clusters: number };
  readonly failure?: { readonly cluster: string; readonly message: string };
}

/**
 * Writes a step: marks, releases, and where the rollout stands. Returns false, and writes nothing, when somebody changed the rollout meanwhile.
 *
 * @throws StoreError `fenced`.
 */
export async function saveStep(pool: pg.Pool, lease: Lease, step: StepToSave): Promise<boolean> {
  return inFencedTransaction(pool, lease, async (client) => {
    const { rows } = await client.query<{ version: string }>("SELECT version::text AS version FROM rollouts WHERE id = $1 FOR UPDATE", [step.rollout]);
    if (rows[0]?.version !== step.version) return false;
    await saveMarks(client, step);
    for (const { release, mark, waves } of step.releases) {
      await releaseInside(client, release);
      await markReleased(client, step, release, mark, waves);
    }
    await saveStand(client, step);
    return true;
  });
}

async function saveMarks(client: pg.ClientBase, { rollout, marks }: StepToSave): Promise<void> {
  for (const part of inBatches(marks, batchRowsMax)) {
    await client.query({
      name: "save-rollout-marks",
      text: `INSERT INTO rollout_clusters AS k (rollout, cluster, wave, mark, since, why)
             SELECT $1, r.cluster, r.wave, r.mark, to_timestamp(r.since / 1000), r.why FROM unnest($2::text[], $3::integer[], $4::text[], $5::float8[], $6::text[]) AS r (cluster, wave, mark, since, why)
             ON CONFLICT (rollout, cluster) DO UPDATE SET wave = EXCLUDED.wave, mark = EXCLUDED.mark, since = EXCLUDED.since, why = EXCLUDED.why`,
      values: [
        rollout,
        part.map(({ cluster }) => cluster),
        part.map(({ wave }) => wave),
        part.map(({ mark }) => mark),
        part.map(({ since }) => since),
        part.map(({ why }) => why.slice(0, 1_000)),
      ],
    });
  }
}

async function markReleased(
  client: pg.ClientBase,
  { fleet, rollout }: StepToSave,
  { placed }: TargetRelease,
  mark: ClusterMark,
  waves: ReadonlyMap<string, number>,
): Promise<void> {
  const clusters = placed.map(({ cluster }) => cluster);
  await client.query({
    name: "mark-released",
    text: `INSERT INTO rollout_clusters AS k (rollout, cluster, wave, mark, since, released_at, generation)
           SELECT $1, t.cluster, r.wave, $5, clock_timestamp(), clock_timestamp(), t.generation FROM unnest($3::text[], $4::integer[]) AS r (cluster, wave) JOIN targets t ON t.fleet = $2 AND t.cluster = r.cluster
           ON CONFLICT (rollout, cluster) DO UPDATE SET mark = EXCLUDED.mark, since = EXCLUDED.since, why = '', generation = EXCLUDED.generation, wave = EXCLUDED.wave,
             released_at = CASE WHEN EXCLUDED.mark = 'RolledBack' THEN k.released_at ELSE EXCLUDED.released_at END`,
    values: [rollout, fleet, clusters, clusters.map((cluster) => waves.get(cluster) ?? 0), mark],
  });
}

const endEvents: Partial<Record<RolloutPhase, { readonly reason: string; readonly severity: "Normal" | "Warning"; readonly verb: string }>> = {
  Done: { reason: "RolloutDone", severity: "Normal", verb: "rolled out" },
  RolledBack: { reason: "RolloutRolledBack", severity: "Warning", verb: "rolled back" },
  Failed: { reason: "RolloutFailed", severity: "Warning", verb: "stopped" },
};

async function saveStand(client: pg.ClientBase, step: StepToSave): Promise<void> {
  const { fleet, rollout, revision, wave, phase, reason, until, failure, decision } = step;
  const end = endEvents[phase];
  if (decision) await noteBounded(client, step, decision);
  const { rowCount } = await client.query({
    name: "save-rollout-stand",
    text: `UPDATE rollouts SET wave = $2, phase = $3, reason = $4, until = to_timestamp($5::float8 / 1000), failure = COALESCE($6::jsonb, failure),
             ended_at = CASE WHEN $7 THEN now() END, version = nextval('change_version')
           WHERE id = $1 AND (wave, phase, reason, until) IS DISTINCT FROM ($2, $3, $4, to_timestamp($5::float8 / 1000))`,
    values: [rollout, wave, phase, reason.slice(0, 2_000), until, failure ? JSON.stringify({ ...failure, at: Date.now() }) : null, end !== undefined],
  });
  if (phase !== "Running") await endGateJobs(client, [rollout]);
  await tellOutside(client, step);
  if (phase === "RollingBack" && decision?.kind === "rollback" && failure)
    await tellRollout(client, fleet, "RollbackBegun", `${revision.slice(0, 12)} goes back: ${reason}`, {
      severity: "Warning",
      revision,
      cluster: failure.cluster,
    });
  if (end) {
    await tellRollout(client, fleet, end.reason, `${revision.slice(0, 12)} ${end.verb}: ${reason}`, { severity: end.severity, revision });
    if (phase === "Done") await client.query("UPDATE fleets SET settled_revision = $2 WHERE name = $1", [fleet, revision]);
    // Who is selected is now another revision's to say.
    await notify(client, "flotilla_placement", { fleets: [fleet] });
    await notify(client, "flotilla_rollouts", { fleets: [fleet] });
  }
  if ((rowCount ?? 0) > 0 || step.marks.length > 0) await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
}

/** What the commit's status says, and the one notification of how it ended. */
async function tellOutside(client: pg.ClientBase, { fleet, rollout, revision, phase, reason, decision, failure }: StepToSave): Promise<void> {
  if (decision?.kind === "release") {
    // The wave, and not its clusters: one word for each wave.
    const [wave = ""] = reason.split(": ");
    await wantCommitStatus(client, { fleet, revision, state: "pending", description: `rolling out: ${wave}` });
    return;
  }
  const begins = phase === "RollingBack" && failure !== undefined;
  if (!begins && !(phase in endEvents)) return;
  const first = failure ?? (await readFailure(client, rollout));
  const who = first === undefined ? reason : `${first.cluster === "" ? "" : `${first.cluster}: `}${first.message === "" ? reason : first.message}`;
  if (phase === "Done") {
    await wantCommitStatus(client, { fleet, revision, state: "success", description: `rolled out: ${reason}` });
    await wantNotification(client, { type: "dev.flotilla.rollout.done", fleet, revision, cluster: "", message: reason });
    return;
  }
  const what = phase === "RolledBack" ? "rolled back" : phase === "RollingBack" ? "rolling back" : "stopped";
  await wantCommitStatus(client, { fleet, revision, state: "failure", description: `${what}: ${who}` });
  // Where a rollback began it was said then.
  const isTold = phase === "RolledBack" || (phase === "Failed" && decision?.kind === "fail" && first !== undefined && failure === undefined);
  if (!isTold)
    await wantNotification(client, { type: "dev.flotilla.rollout.failed", fleet, revision, cluster: first?.cluster ?? "", message: first?.message || reason });
}

async function readFailure(client: pg.ClientBase, rollout: string): Promise<{ readonly cluster: string; readonly message: string } | undefined> {
  const { rows } = await client.query<{ failure: { cluster: string; message: string } | null }>("SELECT failure FROM rollouts WHERE id = $1", [rollout]);
  return rows[0]?.failure ?? undefined;
}

async function noteBounded(
  client: pg.ClientBase,
  { rollout, wave, reason }: StepToSave,
  { kind, clusters }: NonNullable<StepToSave["decision"]>,
): Promise<void> {
  const { rows } = await client.query<{ count: number }>("SELECT count(*)::integer AS count FROM rollout_decisions WHERE rollout = $1", [rollout]);
  if ((rows[0]?.count ?? 0) < decisionsPerRolloutMax) await noteDecision(client, { rollout, kind, wave, clusters, reason });
}

/**
 * What was waiting begins. False when somebody was faster, or another one is open.
 *
 * @throws StoreError `fenced`.
 */
export async function startQueued(pool: pg.Pool, lease: Lease, fleet: string, rollout: string, version: string): Promise<boolean> {
  return inFencedTransaction(pool, lease, async (client) => {
    const { rowCount } = await client.query(
      `UPDATE rollouts r SET phase = 'Running', reason = '', until = NULL, started_at = now(), version = nextval('change_version'),
         from_revision = (SELECT NULLIF(settled_revision, r.revision) FROM fleets WHERE name = $1)
       WHERE r.id = $2 AND r.version = $3::bigint AND r.phase = 'Queued' AND NOT EXISTS (SELECT 1 FROM rollouts o WHERE o.fleet = $1 AND o.phase IN ('Running', 'RollingBack'))`,
      [fleet, rollout, version],
    );
    if (rowCount !== 1) return false;
    await noteDecision(client, { rollout, kind: "start", reason: "its turn has come", wave: 0 });
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    return true;
  });
}

/**
 * Releases outside of a rollout: what a pin, or the settled revision, gives to clusters that have something else.
 *
 * @throws StoreError `fenced`.
 */
export async function settleClusters(
  pool: pg.Pool,
  lease: Lease,
  settling: {
    readonly fleet: string;
    readonly releases: readonly TargetRelease[];
    readonly settledRevision?: string;
    readonly ends?: { readonly rollout: string; readonly reason: string };
  },
): Promise<void> {
  const { fleet, releases, settledRevision, ends } = settling;
  await inFencedTransaction(pool, lease, async (client) => {
    if (ends) await endRollouts(client, [ends.rollout], "Aborted", ends.reason);
    for (const release of releases) await releaseInside(client, release);
    if (settledRevision !== undefined)
      await client.query("UPDATE fleets SET settled_revision = $2 WHERE name = $1 AND settled_revision IS DISTINCT FROM $2", [fleet, settledRevision]);
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
  });
}
