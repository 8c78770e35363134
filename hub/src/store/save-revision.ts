import type pg from "pg";
import type { FleetSpec } from "../domain/fleet-spec.ts";
import { describeProblem, type Problem } from "../domain/problem.ts";
import type { PlacedTarget } from "../domain/target.ts";
import { beginRollout, type BegunRollout } from "./begin-rollout.ts";
import { eventOf } from "./create-fleet.ts";
import { insertPhases } from "./insert-phases.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";

export interface SeenRevision {
  /** Full commit hash. */
  readonly revision: string;
  readonly tree: string;
  readonly author: string;
  readonly subject: string;
  readonly committedAt: Date | null;
  /** The tag that a semver range came to. */
  readonly tag?: string;
}

export interface StoredTrace {
  readonly traceId: string;
  readonly traceparent: string;
}

/** Which body a bundle rendered to with certain inputs. */
export interface StoredRender {
  readonly bundle: string;
  readonly inputs: string;
  readonly digest: string;
  readonly objectCount: number;
  readonly bodyBytes: number;
}

export interface RevisionToSave {
  readonly fleet: string;
  readonly found: SeenRevision;
  readonly spec: FleetSpec;
  readonly rendered: readonly StoredRender[];
  readonly warnings: readonly Problem[];
  /** Of single clusters; the revision is good all the same. */
  readonly problems: readonly Problem[];
  readonly trace: StoredTrace;
  /** What it comes to for the clusters that the fleet selects. */
  readonly placed: readonly PlacedTarget[];
}

/**
 * A revision was rendered and placed: it becomes the fleet's, and its rollout begins or waits.
 *
 * @throws StoreError `fenced`.
 */
export async function saveRevision(pool: pg.Pool, lease: Lease, saved: RevisionToSave): Promise<BegunRollout> {
  const { fleet, found, spec, trace } = saved;
  const rendered = saved.rendered.map(({ bundle, inputs, digest, objectCount, bodyBytes }) => ({ bundle, inputs, digest, objectCount, bodyBytes }));
  return inFencedTransaction(pool, lease, async (client) => {
    await insertRevision(client, { fleet, found, outcome: "rendered", problems: saved.problems, spec, rendered, trace });
    await client.query(
      `UPDATE fleets SET revision = $2, seen_revision = $2, seen_tag = $5, seen_at = now(), problems = $3, warnings = $4, version = nextval('change_version') WHERE name = $1`,
      [fleet, found.revision, JSON.stringify(saved.problems), JSON.stringify(saved.warnings), found.tag ?? null],
    );
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    await saveEvents(client, [
      eventOf(fleet, "RevisionRendered", `${shortOf(found)} rendered: ${found.subject}`, { revision: found.revision, traceId: trace.traceId }),
    ]);
    return beginRollout(client, { fleet, revision: found.revision, plan: spec.rollout, placed: saved.placed, traceparent: trace.traceparent });
  });
}

/**
 * A newest revision that cannot be used: it is kept with its problems; the fleet's revision and targets stay.
 *
 * @throws StoreError `fenced`.
 */
export async function saveFailure(
  pool: pg.Pool,
  lease: Lease,
  failure: { readonly fleet: string; readonly found: SeenRevision; readonly problems: readonly Problem[]; readonly trace: StoredTrace },
): Promise<void> {
  const { fleet, found, problems, trace } = failure;
  await inFencedTransaction(pool, lease, async (client) => {
    await insertRevision(client, { fleet, found, outcome: "failed", problems, spec: null, rendered: [], trace });
    await client.query(
      "UPDATE fleets SET seen_revision = $2, seen_tag = $4, seen_at = now(), problems = $3, version = nextval('change_version') WHERE name = $1",
      [fleet, found.revision, JSON.stringify(problems), found.tag ?? null],
    );
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    const message = `${shortOf(found)} cannot be used: ${summaryOf(problems)}`;
    await saveEvents(client, [eventOf(fleet, "RevisionFailed", message, { severity: "Warning", revision: found.revision, traceId: trace.traceId })]);
  });
}

/**
 * Why the fleet is not followed as it should; none when all is well again. The same problems again write nothing.
 *
 * @throws StoreError `fenced`.
 */
export async function saveFleetProblems(pool: pg.Pool, lease: Lease, fleet: string, problems: readonly Problem[]): Promise<void> {
  await inFencedTransaction(pool, lease, async (client) => {
    const { rowCount } = await client.query(
      "UPDATE fleets SET problems = $2::jsonb, version = nextval('change_version') WHERE name = $1 AND problems IS DISTINCT FROM $2::jsonb",
      [fleet, JSON.stringify(problems)],
    );
    if (rowCount === 0) return;
    await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
    const event =
      problems.length > 0 ? eventOf(fleet, "SourceStalled", summaryOf(problems), { severity: "Warning" }) : eventOf(fleet, "SourceRecovered", "followed again");
    await saveEvents(client, [event]);
  });
}

/** The hub's own steps of a revision, for `fleet trace`. */
export async function savePhases(
  pool: pg.Pool,
  fleet: string,
  revision: string,
  phases: readonly { readonly phase: string; readonly startedAt: Date; readonly endedAt: Date; readonly error: string; readonly spanId: string }[],
): Promise<void> {
  const unique = new Map(phases.map((phase) => [phase.phase, phase]));
  await insertPhases(
    pool,
    [...unique.values()].map(({ phase, startedAt, endedAt, error, spanId }) => ({ fleet, revision, cluster: "", phase, startedAt, endedAt, error, spanId })),
  );
}

interface RevisionInsert {
  readonly fleet: string;
  readonly found: SeenRevision;
  readonly outcome: "rendered" | "failed";
  readonly problems: readonly Problem[];
  readonly spec: FleetSpec | null;
  readonly rendered: readonly StoredRender[];
  readonly trace: StoredTrace;
}

async function insertRevision(client: pg.ClientBase, { fleet, found, outcome, problems, spec, rendered, trace }: RevisionInsert): Promise<void> {
  await client.query(
    `INSERT INTO revisions (fleet, revision, tree, author, subject, committed_at, outcome, problems, spec, rendered, trace_id, traceparent)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     ON CONFLICT (fleet, revision) DO UPDATE SET seen_at = now(), outcome = EXCLUDED.outcome, problems = EXCLUDED.problems, spec = EXCLUDED.spec,
       rendered = EXCLUDED.rendered, trace_id = EXCLUDED.trace_id, traceparent = EXCLUDED.traceparent`,
    [
      fleet,
      found.revision,
      found.tree,
      found.author,
      found.subject,
      found.committedAt,
      outcome,
      JSON.stringify(problems),
      spec === null ? null : JSON.stringify(spec),
      JSON.stringify(rendered),
      trace.traceId,
      trace.traceparent,
    ],
  );
}

function shortOf(found: SeenRevision): string {
  return found.revision.slice(0, 12);
}

/** The first problem, and how many more. */
function summaryOf(problems: readonly Problem[]): string {
  const [first, ...others] = problems;
  if (first === undefined) return "";
  return `${describeProblem(first)}${others.length === 0 ? "" : ` (and ${others.length} more)`}`.slice(0, 1_000);
}
