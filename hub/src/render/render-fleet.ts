import { bundleInputs, declaredNames, inputsKey, overlaysFor, pathFor, pathsOf, type BundleInputs } from "../domain/bundle-inputs.ts";
import type { BundleSpec, FleetSpec, OverlaySpec } from "../domain/fleet-spec.ts";
import type { DirectiveFinding } from "../domain/foreign-words.ts";
import { fleetFileName } from "../domain/parse-fleet.ts";
import type { Problem } from "../domain/problem.ts";
import { selectClusters } from "../domain/select-clusters.ts";
import { resolveInside, type SourceTree } from "../domain/source-tree.ts";
import { isClusterName } from "../domain/substitute.ts";
import type { PlacedCluster } from "../domain/target.ts";
import { rendersAtOnce } from "../limits.ts";
import { missingOfClusterCode, renderBundle, renderKey, type RenderedBody, type RenderRequest } from "./render-bundle.ts";
import { inFolder } from "./detect-kind.ts";
import { readManifests, type Manifest, type Place } from "./kube-yaml.ts";
import { limitAtOnce, type RenderTools } from "./render-tools.ts";
import { surveyBundle, type BundleSurvey, type SurveyMemory } from "./survey-bundle.ts";

/** A body that exists, without its content. */
export interface KnownBody {
  readonly digest: string;
  readonly objectCount: number;
  readonly bodyBytes: number;
  readonly objectIds: readonly string[];
  readonly warnings: readonly Problem[];
  /** What its objects' annotations ask; not kept in caches. */
  readonly directives?: readonly DirectiveFinding[];
}

/** Renders that were made before, by key: Postgres for the hub, nothing for `fleet lint`. */
export interface RenderCache {
  /** All that is there of what these keys rendered to: one question, whatever their number. */
  find(keys: readonly string[]): Promise<ReadonlyMap<string, KnownBody>>;
  save(key: string, body: RenderedBody): Promise<void>;
}

/** One bundle with one set of inputs. */
export interface RenderedInputs extends KnownBody {
  readonly bundle: string;
  /** Digest of the inputs (inputsKey). */
  readonly inputs: string;
}

export interface RenderedFleet {
  /** Every distinct (bundle, inputs) that rendered. */
  readonly rendered: readonly RenderedInputs[];
  /** The inputs key of a bundle for a cluster; what `rendered` is looked up by. */
  inputsOf(cluster: string, bundle: string): string | undefined;
  /** Those of all bundles; clusters that get the same share one map. */
  inputsIn(cluster: string): ReadonlyMap<string, string> | undefined;
  /** Not empty: the revision must not be placed, the last good one stays. */
  readonly problems: readonly Problem[];
  /** Clusters for which something could not be rendered although the fleet is well (a label is missing): they keep the target they have. */
  readonly held: ReadonlyMap<string, readonly Problem[]>;
  readonly warnings: readonly Problem[];
  /** What annotations ask, of the renders that were made now. */
  readonly directives: readonly DirectiveFinding[];
  /** How many renders were made, as against found. */
  readonly made: number;
}

export interface RenderFleetRequest {
  readonly tree: SourceTree;
  /** The fleet's folder in the repository; "" is the root. */
  readonly root: string;
  readonly spec: FleetSpec;
  /** All clusters there are; the fleet's selector chooses. */
  readonly clusters: readonly PlacedCluster[];
  readonly tools: RenderTools;
  readonly memory: SurveyMemory;
  readonly cache?: RenderCache;
  /** Render every overlay, whether a cluster gets it or not: `fleet lint`. */
  readonly everyOverlay?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Render everything that the fleet's clusters need, each distinct (content, inputs) once: 1,000 clusters in three environments are three
 * renders. All problems of all bundles come at once.
 */
export async function renderFleet(request: RenderFleetRequest): Promise<RenderedFleet> {
  const surveyed = await surveyAll(request);
  const jobs = planRenders(request, surveyed.surveys);
  const fleetFile = await readFleetFile(request);
  const clusterKinds = [...new Set([...surveyed.surveys.values()].flatMap((survey) => survey.clusterKinds))].sort();
  const outcomes = await renderJobs(request, [...jobs.byKey.values()], { clusterKinds, fleetFile });
  const rendered: RenderedInputs[] = [];
  const problems = [...surveyed.problems];
  const missing = new Map<string, readonly Problem[]>();
  for (const { job, body, problems: found } of outcomes) {
    if (body !== undefined)
      rendered.push({
        ...withoutDirectives(body),
        bundle: job.bundle.name,
        inputs: job.key,
        warnings: body.warnings.map((warning) => ({ ...warning, bundle: job.bundle.name })),
      });
    else if (job.tentative && found.every((problem) => givenByOverlay.has(problem.code))) continue;
    else if (found.every((problem) => problem.code === missingOfClusterCode)) missing.set(jobId(job.bundle.name, job.key), found);
    else problems.push(...found);
  }
  const made = outcomes.filter((outcome) => outcome.made).length;
  return {
    rendered,
    inputsOf: (cluster, bundle) => jobs.byCluster.get(cluster)?.get(bundle),
    inputsIn: (cluster) => jobs.byCluster.get(cluster),
    problems: distinctProblems(problems),
    held: heldClusters(jobs.byCluster, missing),
    warnings: distinctProblems(rendered.flatMap((body) => body.warnings)),
    directives: distinct(outcomes.flatMap(({ job, body }) => (body?.directives ?? []).map((finding) => ({ ...finding, bundle: job.bundle.name })))),
    made,
  };
}

function withoutDirectives({ directives: _directives, ...body }: KnownBody): KnownBody {
  return body;
}

/** What an overlay's values, path or patches may mend. */
const givenByOverlay = new Set(["unknown-value", "value-not-scalar", "zero-documents", "helm-template-failed", missingOfClusterCode]);

interface RenderJob {
  readonly bundle: BundleSpec;
  readonly survey: BundleSurvey;
  readonly inputs: BundleInputs;
  readonly key: string;
  readonly names: readonly string[];
  readonly overlays: readonly OverlaySpec[];
  /** A bundle without the overlays that it may need: what only they give is not missed. */
  readonly tentative: boolean;
}

interface RenderPlan {
  readonly byKey: ReadonlyMap<string, RenderJob>;
  readonly byCluster: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

async function surveyAll({ tree, root, spec, memory }: RenderFleetRequest): Promise<{ surveys: Map<string, BundleSurvey>; problems: Problem[] }> {
  const surveys = new Map<string, BundleSurvey>();
  const problems: Problem[] = [];
  for (const bundle of spec.bundles) {
    for (const path of pathsOf(bundle)) {
      const inRepository = resolveInside(root, path === "" ? "." : path);
      if (inRepository === undefined) {
        problems.push({
          code: "path-outside-repository",
          message: `the path '${path}' leads out of the repository`,
          bundle: bundle.name,
          hint: "name a folder inside the repository",
        });
        continue;
      }
      if (surveys.has(path)) continue;
      const outcome = await surveyBundle(tree, inRepository, memory);
      if (outcome.ok) surveys.set(path, outcome.survey);
      else problems.push(...outcome.problems.map((problem) => ({ ...problem, bundle: bundle.name })));
    }
  }
  return { surveys, problems };
}

/** Stands for a cluster that may come: labels that are asked of it are not held against the fleet. */
const someCluster: PlacedCluster = { name: "cluster", labels: {} };

/** Clusters of one shape get the same of every bundle: that is found out once, and they share the map that says it. */
function planRenders({ spec, clusters, everyOverlay }: RenderFleetRequest, surveys: ReadonlyMap<string, BundleSurvey>): RenderPlan {
  const selected = selectClusters(spec.clusters, clusters);
  const byKey = new Map<string, RenderJob>();
  const byCluster = new Map<string, ReadonlyMap<string, string>>();
  const asking = new Set(spec.bundles.filter((bundle) => asksOfCluster(spec, bundle, surveys)));
  const shapes = new Map<string, ReadonlyMap<string, string>>();
  const known = new Map<string, RenderJob>();
  const jobOf = (bundle: BundleSpec, cluster: PlacedCluster): RenderJob | undefined => {
    const survey = surveys.get(pathFor(bundle, cluster));
    if (survey === undefined) return undefined;
    const alike = likeness(bundle, cluster, asking.has(bundle));
    const make = (): RenderJob => makeJob(spec, bundle, cluster, survey, overlaysFor(bundle, cluster));
    const id = jobId(bundle.name, alike);
    const job = known.get(id) ?? (asking.has(bundle) ? make() : rememberedJob(spec, bundle, survey, alike, make));
    known.set(id, job);
    return job;
  };
  const varying = spec.bundles.filter((bundle) => bundle.overlays.length > 0 || asking.has(bundle));
  for (const cluster of selected) {
    const shape = varying.map((bundle) => likeness(bundle, cluster, asking.has(bundle))).join(" ");
    const inputs =
      shapes.get(shape) ??
      new Map(spec.bundles.flatMap((bundle) => [jobOf(bundle, cluster)].flatMap((job) => (job ? [[bundle.name, addJob(job)] as const] : []))));
    shapes.set(shape, inputs);
    byCluster.set(cluster.name, inputs);
  }
  for (const bundle of spec.bundles)
    for (const job of jobsForNobody(spec, bundle, surveys, { selected: selected.length, everyOverlay: everyOverlay === true })) addJob(job);
  return { byKey, byCluster };

  function addJob(job: RenderJob): string {
    byKey.set(jobId(job.bundle.name, job.key), job);
    return job.key;
  }
}

/** Whether what a bundle comes to depends on more of a cluster than the overlays that it gets. */
function asksOfCluster(spec: FleetSpec, bundle: BundleSpec, surveys: ReadonlyMap<string, BundleSurvey>): boolean {
  if (JSON.stringify([spec.values, bundle.values, bundle.overlays]).includes("${cluster.")) return true;
  return pathsOf(bundle).some((path) => surveys.get(path)?.names.some(isClusterName) === true);
}

/** Of surveys and fleet files that were remembered whole: what the one came to with the other. */
const rememberedJobs = new WeakMap<BundleSurvey, WeakMap<FleetSpec, Map<string, RenderJob>>>();

function rememberedJob(spec: FleetSpec, bundle: BundleSpec, survey: BundleSurvey, alike: string, make: () => RenderJob): RenderJob {
  const ofSurvey = rememberedJobs.get(survey) ?? new WeakMap<FleetSpec, Map<string, RenderJob>>();
  rememberedJobs.set(survey, ofSurvey);
  const jobs = ofSurvey.get(spec) ?? new Map<string, RenderJob>();
  ofSurvey.set(spec, jobs);
  const key = `${bundle.name} ${alike}`;
  const job = jobs.get(key) ?? make();
  jobs.set(key, job);
  return job;
}

/** Clusters of equal likeness have equal inputs, which need not be computed again: the overlays that count, and what is asked of the cluster. */
function likeness(bundle: BundleSpec, cluster: PlacedCluster, asksOfCluster: boolean): string {
  const indexes = overlaysFor(bundle, cluster).map((overlay) => bundle.overlays.indexOf(overlay));
  return JSON.stringify([indexes, asksOfCluster ? [cluster.name, cluster.labels] : null]);
}

/** What to render though no cluster asks for it: everything for `fleet lint`; a new fleet's bundles, so that an error is told before the first cluster joins. */
function jobsForNobody(
  spec: FleetSpec,
  bundle: BundleSpec,
  surveys: ReadonlyMap<string, BundleSurvey>,
  options: { selected: number; everyOverlay: boolean },
): RenderJob[] {
  if (!options.everyOverlay && options.selected > 0) return [];
  const choices: (readonly OverlaySpec[])[] = options.everyOverlay ? [[], ...bundle.overlays.map((overlay) => [overlay])] : [[]];
  return choices.flatMap((overlays) => {
    const survey = surveys.get(overlays[0]?.path ?? bundle.path);
    return survey === undefined
      ? []
      : [{ ...makeJob(spec, bundle, someCluster, survey, overlays), tentative: overlays.length === 0 && bundle.overlays.length > 0 }];
  });
}

function makeJob(spec: FleetSpec, bundle: BundleSpec, cluster: PlacedCluster, survey: BundleSurvey, overlays: readonly OverlaySpec[]): RenderJob {
  const inputs = bundleInputs(spec, bundle, cluster, survey.path, survey, overlays);
  return { bundle, survey, inputs, key: inputsKey(inputs), names: declaredNames(spec, bundle, cluster, overlays), overlays, tentative: false };
}

interface JobOutcome {
  readonly job: RenderJob;
  readonly body?: KnownBody;
  readonly problems: readonly Problem[];
  readonly made: boolean;
}

interface OfFleet {
  readonly clusterKinds: readonly string[];
  readonly fleetFile: Manifest | undefined;
}

/** fleet.yaml as it is written, to say where a patch stands. Read only where there are patches. */
async function readFleetFile({ tree, root, spec }: RenderFleetRequest): Promise<Manifest | undefined> {
  const file = inFolder(root, fleetFileName);
  const hasPatches = spec.bundles.some((bundle) => bundle.overlays.some((overlay) => overlay.patches.length > 0));
  if (!hasPatches || tree.kindOf(file) !== "file") return undefined;
  const content = (await tree.read([file])).get(file) ?? new Uint8Array();
  return readManifests(file, content, { references: false }).manifests[0];
}

/** Where the n-th patch of a job's overlays is written. */
function placeOfPatch({ spec }: RenderFleetRequest, job: RenderJob, fleetFile: Manifest | undefined, index: number): Place | undefined {
  let left = index;
  for (const overlay of job.overlays) {
    if (left < overlay.patches.length)
      return fleetFile?.placeOf(["spec", "bundles", spec.bundles.indexOf(job.bundle), "overlays", job.bundle.overlays.indexOf(overlay), "patches", left]);
    left -= overlay.patches.length;
  }
  return undefined;
}

/** Finds what was rendered before, and renders the rest. In the jobs' order. */
async function renderJobs(fleet: RenderFleetRequest, jobs: readonly RenderJob[], ofFleet: OfFleet): Promise<JobOutcome[]> {
  const wanted = jobs.map((job) => ({ job, request: renderRequest(fleet, job, ofFleet) }));
  const keyed = wanted.map(({ job, request }) => ({ job, request, key: rememberedKey(job, request) }));
  const found = await fleet.cache?.find(keyed.map(({ key }) => key));
  const atOnce = limitAtOnce(rendersAtOnce * 2);
  return Promise.all(
    keyed.map(async ({ job, request, key }) => {
      const body = found?.get(key);
      return body === undefined ? atOnce(() => makeBody(fleet.cache, job, request, key)) : { job, body, problems: [], made: false };
    }),
  );
}

const rememberedKeys = new WeakMap<RenderJob, { readonly of: string; readonly key: string }>();

function rememberedKey(job: RenderJob, request: RenderRequest): string {
  const of = JSON.stringify([request.clusterKinds, request.tools.versions]);
  const known = rememberedKeys.get(job);
  if (known?.of === of) return known.key;
  const key = renderKey(request);
  rememberedKeys.set(job, { of, key });
  return key;
}

function renderRequest(fleet: RenderFleetRequest, job: RenderJob, { clusterKinds, fleetFile }: OfFleet): RenderRequest {
  const { tree, tools, signal } = fleet;
  return {
    tree,
    survey: job.survey,
    inputs: job.inputs,
    clusterKinds,
    declaredNames: job.names,
    placeOfPatch: (index: number) => placeOfPatch(fleet, job, fleetFile, index),
    tools,
    signal,
  };
}

async function makeBody(cache: RenderCache | undefined, job: RenderJob, request: RenderRequest, key: string): Promise<JobOutcome> {
  const outcome = await renderBundle(request);
  if (!outcome.ok) return { job, problems: outcome.problems, made: true };
  const { body } = outcome;
  await cache?.save(key, body);
  const known = {
    digest: body.digest,
    objectCount: body.objectCount,
    bodyBytes: body.compressed.length,
    objectIds: body.objectIds,
    warnings: body.warnings,
    directives: body.directives,
  };
  return { job, body: known, problems: [], made: true };
}

function heldClusters(byCluster: RenderPlan["byCluster"], missing: ReadonlyMap<string, readonly Problem[]>): Map<string, readonly Problem[]> {
  const held = new Map<string, readonly Problem[]>();
  if (missing.size === 0) return held;
  for (const [cluster, keys] of byCluster) {
    const problems = [...keys].flatMap(([bundle, key]) => missing.get(jobId(bundle, key)) ?? []);
    if (problems.length > 0) held.set(cluster, problems);
  }
  return held;
}

function jobId(bundle: string, key: string): string {
  return `${bundle} ${key}`;
}

/** The same mistake in a file that three environments read is told once. */
function distinctProblems(problems: readonly Problem[]): Problem[] {
  return distinct(problems);
}

function distinct<T>(rows: readonly T[]): T[] {
  return [...new Map(rows.map((row) => [JSON.stringify(row), row])).values()];
}
