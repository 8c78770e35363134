import type { Tracer } from "@opentelemetry/api";
import { wantedObjects, type ClusterClaims, type Contest, type Owner, type WantedObjects } from "../domain/claims.ts";
import type { FleetSpec } from "../domain/fleet-spec.ts";
import { NotedTree, type TreeMemory } from "../domain/noted-tree.ts";
import { fleetFileName, fleetWithoutFile, parseFleet, type ParsedFleet } from "../domain/parse-fleet.ts";
import { defaultRemoval, type HeldRemoval, planRemovals, type RemovalPlan } from "../domain/plan-removals.ts";
import { revisionsInUse, type FleetRollout } from "../domain/fleet-rollout.ts";
import { placeBundles } from "../domain/place-bundles.ts";
import { describeProblem, type Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import type { PlacedCluster, PlacedTarget } from "../domain/target.ts";
import { warningsPerFleetMax } from "../limits.ts";
import { renderFleet, type RenderCache, type RenderedFleet, type RenderedInputs } from "../render/render-fleet.ts";
import type { RenderTools } from "../render/render-tools.ts";
import type { SurveyMemory } from "../render/survey-bundle.ts";
import { PhaseRecorder, type PhaseTime } from "./phase-recorder.ts";
import type { FollowedFleet, FoundRevision, Lease, Removal, SyncCause, Targeted } from "./ports.ts";

/** What the story needs from Git, the store and the tools; main binds it. */
export interface SyncFleetPorts {
  readonly tracer: Tracer;
  readonly tools: RenderTools;
  readonly memory: SurveyMemory;
  readonly fleetFiles: FleetFileMemory;
  readonly cache: RenderCache;
  openTree(revision: string): Promise<{ readonly ok: true; readonly tree: SourceTree } | { readonly ok: false; readonly problem: Problem }>;
  readClusters(): Promise<readonly PlacedCluster[]>;
  /** Who else than the fleet owns what it wants, by cluster; of what it wants twice, the fleet too. */
  readOwners(clusters: readonly string[], fleet: string, wanted: WantedObjects): Promise<ReadonlyMap<string, ReadonlyMap<string, Owner>>>;
  readTargeted(fleet: string): Promise<Targeted>;
  /** Root traceparent of a revision that was rendered before. */
  readTraceparent(fleet: string, revision: string): Promise<string | null>;
  saveFailure(lease: Lease, failure: { fleet: string; found: FoundRevision; problems: readonly Problem[]; trace: RevisionTrace }): Promise<void>;
  saveRevision(lease: Lease, saved: SavedRevision): Promise<BegunRollout>;
  saveFleetProblems(lease: Lease, fleet: string, problems: readonly Problem[]): Promise<void>;
  releaseTargets(lease: Lease, release: Release): Promise<void>;
  readFleetRollout(fleet: string): Promise<FleetRollout | undefined>;
  /** What a revision comes to, for a release later. */
  stagePlacements(lease: Lease, staged: { fleet: string; revision: string; placed: readonly PlacedTarget[] }): Promise<void>;
  /** Lets the fleet's rollout take its next steps now. */
  releaseWave(lease: Lease, fleet: string): Promise<void>;
  savePhases(fleet: string, revision: string, phases: readonly PhaseTime[]): Promise<void>;
}

/** The rollout that a new revision began. */
export interface BegunRollout {
  readonly id: string;
  readonly phase: "Queued" | "Running";
  /** Everything is to be released now, in one step: nothing was kept for later. */
  readonly isImmediate: boolean;
}

export interface RevisionTrace {
  readonly traceId: string;
  readonly traceparent: string;
}

export interface SavedRevision {
  readonly fleet: string;
  readonly found: FoundRevision;
  readonly spec: FleetSpec;
  readonly rendered: readonly RenderedInputs[];
  readonly warnings: readonly Problem[];
  readonly problems: readonly Problem[];
  readonly trace: RevisionTrace;
  readonly placed: readonly PlacedTarget[];
}

export interface Release {
  readonly fleet: string;
  readonly revision: string;
  readonly placed: readonly PlacedTarget[];
  /** What the fleet owns from now on in the clusters placed on. */
  readonly claims: readonly ClusterClaims[];
  /** Objects that another fleet or bundle owns, by cluster. */
  readonly contests: ReadonlyMap<string, readonly Contest[]>;
  readonly removals: readonly Removal[];
  /** Clusters that the fleet selects: whatever was said of their leaving is over. Absent: nothing is said of anybody's leaving. */
  readonly staying?: readonly string[];
  /** Clusters that it no longer selects and that keep what they have; graceMs null: until a person has spoken. */
  readonly leaving: RemovalPlan["leaving"];
  readonly heldRemoval: HeldRemoval | null;
  /** Digest of the approval that let the removals go. */
  readonly usedApproval: string | null;
  /** It is what Git says now, and not only what the store had. */
  readonly isCurrent: boolean;
  readonly traceparent: string | null;
  readonly cause?: "rollout" | "placement";
  readonly rollout?: string;
  /** That rollout is this one release. */
  readonly endsRollout?: boolean;
  /** Only clusters that are at the revision still, or have no target yet. */
  readonly onlyThere?: boolean;
}

export interface SyncFleetJob {
  readonly lease: Lease;
  readonly fleet: FollowedFleet;
  /** What the fleet's ref names now, or why that is not known. */
  readonly found: FoundRevision | readonly Problem[];
  readonly cause: SyncCause;
  /** Clusters joined, left or changed labels: place the last good revision again though Git did not change. */
  readonly placementWanted: boolean;
  /** What the fleet's ref named when Git last answered this follower; undefined until it did. */
  readonly gitRevision: string | undefined;
  /** The newest revision ended in what may have passed by now. */
  readonly tryAgain: boolean;
  readonly signal: AbortSignal;
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
  } else if (found.revision !== fleet.seenRevision || ((isStalled(fleet) || job.tryAgain) && found.revision !== fleet.revision)) {
    if (await takeRevision(ports, job, found)) return;
  } else if (isStalled(fleet)) {
    await ports.saveFleetProblems(lease, fleet.name, []);
  }
  if (job.placementWanted && fleet.revision !== null) await placeAgain(ports, job, fleet.revision);
}

/** Git could not be reached or read when it was last asked. */
function isStalled(fleet: FollowedFleet): boolean {
  return fleet.problems.some((problem) => problem.ofSource === true);
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
    const prepared = await prepare(ports, job, found.revision, phases);
    if (isProblems(prepared)) {
      failure = prepared.map(describeProblem).join("\n");
      await ports.saveFailure(lease, { fleet: fleet.name, found, problems: prepared, trace });
      return false;
    }
    const { spec, rendered } = prepared;
    const warnings = found.rewound ? [rewoundWarning(fleet, found), ...prepared.warnings] : prepared.warnings;
    const { placed } = prepared.release;
    const begun = await ports.saveRevision(lease, { fleet: fleet.name, found, spec, rendered, warnings, problems: prepared.problems, trace, placed });
    await phases.run("release", (traceparent) =>
      begun.isImmediate
        ? ports.releaseTargets(lease, { ...prepared.release, traceparent, cause: "rollout", rollout: begun.id, endsRollout: true })
        : ports.releaseWave(lease, fleet.name),
    );
    return true;
  } finally {
    phases.end(failure);
    await ports.savePhases(fleet.name, found.revision, phases.phases);
  }
}

function rewoundWarning({ ref, seenRevision, seenTag }: FollowedFleet, { revision, tag }: FoundRevision): Problem {
  const was = seenRevision?.slice(0, 12) ?? "";
  if ("semver" in ref && tag !== undefined && seenTag !== null) {
    const message =
      tag === seenTag
        ? `tag ${tag}, the newest of '${ref.semver}', was moved from ${was} to ${revision.slice(0, 12)}`
        : `'${ref.semver}' went back from tag ${seenTag} to ${tag}: the newer tag is gone`;
    return { code: "source-rewound", message, hint: "expected after a release was withdrawn; otherwise find out who deleted or moved the tag" };
  }
  return {
    code: "source-rewound",
    message: `the ref was moved to a commit that does not descend from ${was}`,
    hint: "expected after a force push or a moved tag; otherwise find out who did it",
  };
}

/**
 * Clusters joined, left or changed labels. Each keeps its revision, whatever the fleet's newest is: a rollout, or a person, moves it on. What may
 * be released to it later is kept placed.
 */
async function placeAgain(ports: SyncFleetPorts, job: SyncFleetJob, newest: string): Promise<void> {
  const { fleet, lease } = job;
  const state = await ports.readFleetRollout(fleet.name);
  const { revisions, isPlain } = state === undefined ? { revisions: [], isPlain: true } : revisionsInUse(state, newest);
  if (state === undefined || isPlain) {
    const prepared = await prepare(ports, job, newest, undefined);
    if (isProblems(prepared)) return ports.saveFleetProblems(lease, fleet.name, prepared);
    const traceparent = await ports.readTraceparent(fleet.name, newest);
    return ports.releaseTargets(lease, { ...prepared.release, traceparent, onlyThere: true });
  }
  await placeRevisions(ports, job, state, revisions);
  await ports.releaseWave(lease, fleet.name);
}

async function placeRevisions(ports: SyncFleetPorts, job: SyncFleetJob, state: FleetRollout, revisions: readonly string[]): Promise<void> {
  const { fleet, lease } = job;
  const assigned = new Map(state.clusters.map(({ name, assigned: revision }) => [name, revision]));
  const staying = new Set<string>();
  const problems: Problem[] = [];
  let governing: Prepared | undefined;
  for (const revision of revisions) {
    if (job.signal.aborted) return;
    const prepared = await prepare(ports, job, revision, undefined);
    if (isProblems(prepared)) {
      problems.push(...prepared.map((problem) => ({ ...problem, message: `revision ${revision.slice(0, 12)}: ${problem.message}` })));
      continue;
    }
    const { release } = prepared;
    for (const cluster of release.staying ?? []) staying.add(cluster);
    if (governing === undefined || revision === state.settled) governing = prepared;
    await ports.stagePlacements(lease, { fleet: fleet.name, revision, placed: release.placed });
    const isThere = (cluster: string): boolean => assigned.get(cluster) === revision;
    const traceparent = await ports.readTraceparent(fleet.name, revision);
    const { staying: _staying, ...unsaid } = release;
    await ports.releaseTargets(lease, {
      ...unsaid,
      placed: release.placed.filter(({ cluster }) => isThere(cluster)),
      claims: release.claims.filter(({ cluster }) => isThere(cluster)),
      contests: new Map([...release.contests].filter(([cluster]) => isThere(cluster))),
      removals: [],
      traceparent,
      onlyThere: true,
    });
  }
  // While one of the revisions in use cannot be placed nobody knows whom it selects: nobody leaves.
  if (problems.length > 0) return ports.saveFleetProblems(lease, fleet.name, problems);
  if (governing) await releaseLeavers(ports, job, governing, staying);
}

/** A cluster leaves when none of the revisions in use selects it. */
async function releaseLeavers(ports: SyncFleetPorts, job: SyncFleetJob, governing: Prepared, staying: ReadonlySet<string>): Promise<void> {
  const clusters = await ports.readClusters();
  const leaving = await planLeaving(ports, job.fleet.name, governing.spec, clusters, staying);
  await ports.releaseTargets(job.lease, { ...governing.release, ...leaving, placed: [], claims: [], contests: new Map(), traceparent: null });
}

async function releaseRemovals(ports: SyncFleetPorts, { fleet, lease }: SyncFleetJob, policy: "orphan" | "delete"): Promise<void> {
  const removals = (await ports.readTargeted(fleet.name)).clusters.map(({ cluster }) => ({ cluster, policy }));
  await ports.releaseTargets(lease, {
    fleet: fleet.name,
    revision: fleet.revision ?? "",
    placed: [],
    claims: [],
    contests: new Map(),
    removals,
    staying: [],
    leaving: [],
    heldRemoval: null,
    usedApproval: null,
    isCurrent: false,
    traceparent: null,
  });
}

interface Prepared {
  readonly spec: FleetSpec;
  readonly rendered: readonly RenderedInputs[];
  readonly warnings: readonly Problem[];
  /** Of single clusters: they keep what they have. */
  readonly problems: readonly Problem[];
  readonly release: Omit<Release, "traceparent">;
}

async function prepare(ports: SyncFleetPorts, job: SyncFleetJob, revision: string, phases: PhaseRecorder | undefined): Promise<Prepared | readonly Problem[]> {
  const { fleet, signal } = job;
  const step = <T>(name: string, run: () => Promise<T>, failed?: (result: T) => string): Promise<T> =>
    phases === undefined ? run() : phases.run(name, run, failed);
  try {
    const read = await step("read", () => readSpec(ports, fleet, revision), errorOf);
    if (isProblems(read)) return read;
    const { tree, spec } = read;
    const clusters = await ports.readClusters();
    const request = { tree, root: fleet.path, spec, clusters, tools: ports.tools, memory: ports.memory, cache: ports.cache, signal };
    const render = await step(
      "render",
      () => renderFleet(request),
      ({ problems }) => errorOf(problems),
    );
    if (render.problems.length > 0) return render.problems;
    const release = await step("place", () => place(ports, job, revision, spec, clusters, render));
    const problems = [...render.held].flatMap(([cluster, found]) =>
      found.map((problem) => ({ ...problem, message: `cluster ${cluster}: ${problem.message}` })),
    );
    return { spec, rendered: render.rendered, warnings: boundedWarnings([...read.warnings, ...render.warnings]), problems, release };
  } catch (error) {
    if (error instanceof RefusedPathError) return [error.problem];
    throw error;
  }
}

function boundedWarnings(warnings: readonly Problem[]): readonly Problem[] {
  if (warnings.length <= warningsPerFleetMax) return warnings;
  const left = warnings.length - warningsPerFleetMax;
  return [...warnings.slice(0, warningsPerFleetMax), { code: "more-warnings", message: `${left} more warnings: fleet lint shows all` }];
}

async function readSpec(
  ports: SyncFleetPorts,
  fleet: FollowedFleet,
  revision: string,
): Promise<{ tree: SourceTree; spec: FleetSpec; warnings: readonly Problem[] } | readonly Problem[]> {
  const opened = await ports.openTree(revision);
  if (!opened.ok) return [opened.problem];
  return readSpecOf(opened.tree, fleet, ports.fleetFiles);
}

/** Fleet files that were read, for a replica: one that has not changed, and whose folders are there as before, is not parsed again. */
export type FleetFileMemory = TreeMemory<ParsedFleet>;

/** fleet.yaml in the fleet's folder, or one bundle over the folder where there is none. */
export async function readSpecOf(
  tree: SourceTree,
  fleet: Pick<FollowedFleet, "name" | "path" | "selector">,
  memory?: FleetFileMemory,
): Promise<{ tree: SourceTree; spec: FleetSpec; warnings: readonly Problem[] } | readonly Problem[]> {
  if (tree.kindOf(fleet.path) !== "folder") {
    return [
      {
        code: "missing-path",
        message: `the repository has no folder '${fleet.path}' at this revision`,
        file: fleet.path,
        hint: "give the fleet's folder with --path",
      },
    ];
  }
  const file = fleet.path === "" ? fleetFileName : `${fleet.path}/${fleetFileName}`;
  // A fleet.yaml that is a symlink or too large is not the same as none.
  const refused = tree.kindOf(file) === undefined ? tree.refused(file) : undefined;
  if (refused !== undefined) return [refused];
  if (tree.kindOf(file) !== "file") return { tree, spec: fleetWithoutFile(fleet.name, fleet.selector), warnings: [] };
  const key = JSON.stringify([fleet.name, fleet.selector, file, tree.idOf(file)]);
  const parsed = memory?.recall(key, tree) ?? (await parseFleetFile(tree, fleet, file, key, memory));
  return parsed.ok ? { tree, spec: parsed.spec, warnings: parsed.warnings } : parsed.problems;
}

async function parseFleetFile(
  tree: SourceTree,
  { name, path, selector }: Pick<FollowedFleet, "name" | "path" | "selector">,
  file: string,
  key: string,
  memory: FleetFileMemory | undefined,
): Promise<ParsedFleet> {
  const noted = new NotedTree(tree);
  const content = (await noted.read([file])).get(file) ?? new Uint8Array();
  const parsed = parseFleet(new TextDecoder().decode(content), { file, fleetName: name, selector, tree: noted, root: path });
  if (parsed.ok) memory?.remember(key, noted, parsed);
  return parsed;
}

async function place(
  ports: SyncFleetPorts,
  { fleet, gitRevision }: SyncFleetJob,
  revision: string,
  spec: FleetSpec,
  clusters: readonly PlacedCluster[],
  render: Awaited<ReturnType<typeof renderFleet>>,
): Promise<Omit<Release, "traceparent">> {
  const bodyOf = bodiesOf(render);
  const names = clusters.map(({ name }) => name);
  const owners = await ports.readOwners(names, fleet.name, wantedObjects(render.rendered));
  const placement = placeBundles({
    fleet: fleet.name,
    revision,
    spec,
    clusters,
    bodyOf,
    shapeOf: (cluster) => render.inputsIn(cluster),
    ownersIn: (cluster) => owners.get(cluster),
  });
  const staying = new Set([...placement.targets.map(({ cluster }) => cluster), ...placement.held]);
  return {
    fleet: fleet.name,
    revision,
    placed: placement.targets,
    claims: placement.claims,
    contests: placement.contests,
    ...(await planLeaving(ports, fleet.name, spec, clusters, staying)),
    isCurrent: revision === gitRevision,
  };
}

/** What a bundle rendered to for a cluster. */
export function bodiesOf(render: Pick<RenderedFleet, "rendered" | "inputsOf">): (cluster: string, bundle: string) => RenderedInputs | undefined {
  const byBundle = new Map<string, Map<string, RenderedInputs>>();
  for (const body of render.rendered) {
    const bodies = byBundle.get(body.bundle) ?? new Map<string, RenderedInputs>();
    byBundle.set(body.bundle, bodies.set(body.inputs, body));
  }
  return (cluster, bundle) => byBundle.get(bundle)?.get(render.inputsOf(cluster, bundle) ?? "");
}

/** What becomes of clusters that hold a target of the fleet and are not selected any more. */
async function planLeaving(
  ports: SyncFleetPorts,
  fleet: string,
  spec: FleetSpec,
  clusters: readonly PlacedCluster[],
  staying: ReadonlySet<string>,
): Promise<Pick<Release, "removals" | "staying" | "leaving" | "heldRemoval" | "usedApproval">> {
  const targeted = await ports.readTargeted(fleet);
  const plan = planRemovals({
    targeted: targeted.clusters,
    staying,
    leftLately: targeted.leftLately,
    approved: targeted.approved,
    removal: spec.removal ?? defaultRemoval,
  });
  const labels = new Map(clusters.map((cluster) => [cluster.name, cluster.labels]));
  return {
    removals: plan.removals.map((removal) => ({ ...removal, labels: labels.get(removal.cluster) ?? {} })),
    staying: [...staying],
    leaving: plan.leaving,
    heldRemoval: plan.held ?? null,
    usedApproval: plan.approval ?? null,
  };
}

function isProblems(value: unknown): value is readonly Problem[] {
  return Array.isArray(value);
}

function errorOf(result: unknown): string {
  return isProblems(result) ? result.map(describeProblem).join("\n") : "";
}
