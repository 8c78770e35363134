import type { Tracer } from "@opentelemetry/api";
import { describeProblem } from "../domain/problem.ts";
import { PhaseRecorder } from "./phase-recorder.ts";
import type {
  FleetSpec,
  FollowedFleet,
  FoundRevision,
  Lease,
  PhaseRow,
  PlacedCluster,
  PlacedTarget,
  Problem,
  Removal,
  RenderedBundle,
  SourceTree,
  SyncCause,
} from "./ports.ts";

/** What the story needs from the edges; main binds it. */
export interface SyncFleetPorts {
  readonly tracer: Tracer;
  openTree(revision: string, fleet: FollowedFleet): Promise<SourceTree | readonly Problem[]>;
  /** fleet.yaml at the fleet's path, or one bundle where there is none. */
  readSpec(tree: SourceTree, fleet: FollowedFleet): Promise<{ spec: FleetSpec; warnings: readonly Problem[] } | readonly Problem[]>;
  readClusters(): Promise<readonly PlacedCluster[]>;
  renderAll(
    tree: SourceTree,
    fleet: FollowedFleet,
    spec: FleetSpec,
    clusters: readonly PlacedCluster[],
  ): Promise<{ rendered: readonly RenderedBundle[]; warnings: readonly Problem[]; problems: readonly Problem[] }>;
  place(
    fleet: FollowedFleet,
    spec: FleetSpec,
    revision: string,
    clusters: readonly PlacedCluster[],
    rendered: readonly RenderedBundle[],
  ): Promise<{ targets: readonly PlacedTarget[]; problems: readonly Problem[] }>;
  /** Clusters that hold a target of the fleet without a tombstone. */
  readTargeted(fleet: string): Promise<readonly string[]>;
  /** Root traceparent of a revision that was rendered before. */
  readTraceparent(fleet: string, revision: string): Promise<string | null>;
  saveFailure(lease: Lease, fleet: string, found: FoundRevision, problems: readonly Problem[], trace: RevisionTrace): Promise<void>;
  saveRevision(lease: Lease, saved: SavedRevision): Promise<void>;
  saveFleetProblems(lease: Lease, fleet: string, problems: readonly Problem[]): Promise<void>;
  releaseTargets(lease: Lease, release: Release): Promise<{ released: number }>;
  savePhases(fleet: string, revision: string, phases: readonly PhaseRow[]): Promise<void>;
}

export interface RevisionTrace {
  readonly traceId: string;
  readonly traceparent: string;
}

export interface SavedRevision {
  readonly fleet: string;
  readonly found: FoundRevision;
  readonly spec: FleetSpec;
  readonly rendered: readonly RenderedBundle[];
  readonly warnings: readonly Problem[];
  readonly problems: readonly Problem[];
  readonly trace: RevisionTrace;
}

export interface Release {
  readonly fleet: string;
  readonly revision: string;
  readonly placed: readonly PlacedTarget[];
  readonly removals: readonly Removal[];
  readonly traceparent: string | null;
}

export interface SyncFleetJob {
  readonly lease: Lease;
  readonly fleet: FollowedFleet;
  /** What the fleet's ref names now, or why that is not known. */
  readonly found: FoundRevision | readonly Problem[];
  readonly cause: SyncCause;
  /** Clusters joined, left or changed labels: place the last good revision again though Git did not change. */
  readonly placementWanted: boolean;
}

/**
 * Takes one fleet from a commit to released targets (steps 2 to 7 of ARCHITECTURE.md).
 *
 * A newest revision that cannot be read, parsed, rendered or placed never replaces the last good one: it is kept with
 * its problems, and targets stay as they are. Placement alone runs the last good revision again, which renders only
 * inputs that nobody had before.
 */
export async function syncFleet(ports: SyncFleetPorts, job: SyncFleetJob): Promise<void> {
  const { fleet, found, lease } = job;
  if (fleet.deleting !== null) return releaseRemovals(ports, job, fleet.deleting);
  if (isProblems(found)) {
    await ports.saveFleetProblems(lease, fleet.name, found);
  } else if (found.revision !== fleet.seenRevision) {
    if (await takeRevision(ports, job, found)) return;
  } else if (found.revision === fleet.revision && fleet.problems.some(isSourceProblem)) {
    await ports.saveFleetProblems(lease, fleet.name, []);
  }
  if (job.placementWanted && fleet.revision !== null) await placeAgain(ports, job, fleet.revision);
}

/** A problem of reaching Git, which the next good fetch mends, as against one of the revision's content. */
export const sourceProblemPrefix = "source-";

function isSourceProblem(problem: Problem): boolean {
  return problem.code.startsWith(sourceProblemPrefix);
}

/** Whether the revision became the fleet's. */
async function takeRevision(ports: SyncFleetPorts, job: SyncFleetJob, found: FoundRevision): Promise<boolean> {
  const { fleet, lease, cause } = job;
  const phases = new PhaseRecorder(ports.tracer, { fleet: fleet.name, revision: found.revision, parent: cause.traceparent, startedAt: cause.startedAt });
  const trace = { traceId: phases.traceId, traceparent: phases.traceparent };
  phases.add(cause.kind, cause.startedAt, cause.fetchedFrom);
  phases.add("fetch", cause.fetchedFrom, cause.fetchedAt);
  let failure = "";
  try {
    const prepared = await prepare(ports, fleet, found.revision, phases);
    if (isProblems(prepared)) {
      failure = prepared.map(describeProblem).join("\n");
      await ports.saveFailure(lease, fleet.name, found, prepared, trace);
      return false;
    }
    const { spec, rendered, warnings, placed, removals, problems } = prepared;
    await ports.saveRevision(lease, { fleet: fleet.name, found, spec, rendered, warnings, problems, trace });
    await phases.run("release", (traceparent) => ports.releaseTargets(lease, { fleet: fleet.name, revision: found.revision, placed, removals, traceparent }));
    return true;
  } finally {
    phases.end(failure);
    await ports.savePhases(fleet.name, found.revision, phases.phases);
  }
}

async function placeAgain(ports: SyncFleetPorts, job: SyncFleetJob, revision: string): Promise<void> {
  const { fleet, lease } = job;
  const prepared = await prepare(ports, fleet, revision, undefined);
  if (isProblems(prepared)) return ports.saveFleetProblems(lease, fleet.name, prepared);
  const traceparent = await ports.readTraceparent(fleet.name, revision);
  await ports.releaseTargets(lease, { fleet: fleet.name, revision, placed: prepared.placed, removals: prepared.removals, traceparent });
}

async function releaseRemovals(ports: SyncFleetPorts, job: SyncFleetJob, policy: "orphan" | "delete"): Promise<void> {
  const { fleet, lease } = job;
  const removals = (await ports.readTargeted(fleet.name)).map((cluster) => ({ cluster, policy }));
  await ports.releaseTargets(lease, { fleet: fleet.name, revision: fleet.revision ?? "", placed: [], removals, traceparent: null });
}

interface Prepared {
  readonly spec: FleetSpec;
  readonly rendered: readonly RenderedBundle[];
  readonly warnings: readonly Problem[];
  readonly placed: readonly PlacedTarget[];
  readonly removals: readonly Removal[];
  readonly problems: readonly Problem[];
}

async function prepare(ports: SyncFleetPorts, fleet: FollowedFleet, revision: string, phases: PhaseRecorder | undefined): Promise<Prepared | readonly Problem[]> {
  const step = <T>(name: string, run: () => Promise<T>): Promise<T> => (phases === undefined ? run() : phases.run(name, run, errorOf));
  const read = await step("read", async () => {
    const tree = await ports.openTree(revision, fleet);
    if (isProblems(tree)) return tree;
    const parsed = await ports.readSpec(tree, fleet);
    return isProblems(parsed) ? parsed : { tree, ...parsed };
  });
  if (isProblems(read)) return read;
  const { tree, spec } = read;
  const clusters = await ports.readClusters();
  const render = await step("render", () => ports.renderAll(tree, fleet, spec, clusters));
  if (render.problems.length > 0) return render.problems;
  const placement = await step("place", () => ports.place(fleet, spec, revision, clusters, render.rendered));
  const placedOn = new Set(placement.targets.map((target) => target.cluster));
  const left = (await ports.readTargeted(fleet.name)).filter((cluster) => !placedOn.has(cluster));
  return {
    spec,
    rendered: render.rendered,
    warnings: [...read.warnings, ...render.warnings],
    placed: placement.targets,
    removals: left.map((cluster) => ({ cluster, policy: "orphan" })),
    problems: placement.problems,
  };
}

function isProblems(value: unknown): value is readonly Problem[] {
  return Array.isArray(value);
}

function errorOf(result: unknown): string {
  const problems = isProblems(result) ? result : ((result as { problems?: readonly Problem[] }).problems ?? []);
  return problems.map(describeProblem).join("\n");
}
