import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { maxDryRunBodyBytes } from "@flotilla/proto/limits";
import { wantedObjects, type Owner, type WantedObjects } from "../domain/claims.ts";
import type { LabelSelector } from "../domain/fleet-spec.ts";
import { placeBundles } from "../domain/place-bundles.ts";
import { type DryRunAnswer, type DryRunQuestion, emptyPreview, groupAnswers, type PreviewFound, type PreviewSilence, wavesOf } from "../domain/preview.ts";
import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import type { PlacedCluster, PlacedTarget, TargetBundle } from "../domain/target.ts";
import { previewClustersMax, previewGroupsMax, previewLookMs } from "../limits.ts";
import { renderFleet, type RenderCache } from "../render/render-fleet.ts";
import type { RenderTools } from "../render/render-tools.ts";
import type { SurveyMemory } from "../render/survey-bundle.ts";
import { bodiesOf, readSpecOf } from "./sync-fleet.ts";

/** What the change is: something in the fleet's repository, or files that somebody has on disk. */
export type PreviewedChange =
  | { readonly kind: "branch"; readonly branch: string }
  | { readonly kind: "revision"; readonly revision: string }
  | { readonly kind: "files"; readonly files: readonly { readonly path: string; readonly content: Uint8Array }[] };

export interface PreviewJob {
  readonly id: string;
  readonly fleet: string;
  readonly change: PreviewedChange;
  /** Only these; none: all. */
  readonly clusters: readonly string[];
  /** Epoch ms: who has not answered by then is unknown. */
  readonly until: number;
  readonly signal: AbortSignal;
}

/** A tree to render, and what to do when that is over. */
export interface OpenedChange {
  readonly tree: SourceTree;
  readonly revision: string | null;
  close(): Promise<void>;
}

/** What the story needs from Git, the store and the tools; main binds it. */
export interface PreviewPorts {
  readonly tools: RenderTools;
  readonly memory: SurveyMemory;
  readonly cache: RenderCache;
  readFleet(
    fleet: string,
  ): Promise<{ readonly name: string; readonly path: string; readonly selector: LabelSelector | null; readonly revision: string | null } | undefined>;
  openChange(fleet: string, change: PreviewedChange, signal: AbortSignal): Promise<OpenedChange | readonly Problem[]>;
  readClusters(): Promise<readonly PlacedCluster[]>;
  readOwners(clusters: readonly string[], fleet: string, wanted: WantedObjects): Promise<ReadonlyMap<string, ReadonlyMap<string, Owner>>>;
  readPresentTargets(fleet: string): Promise<readonly { readonly cluster: string; readonly digest: string; readonly bundles: readonly TargetBundle[] }[]>;
  readAway(clusters: readonly string[]): Promise<ReadonlyMap<string, Date | null>>;
  readLastRolloutMs(fleet: string): Promise<number | null>;
  askDryRuns(preview: string, fleet: string, questions: readonly { readonly cluster: string; readonly question: DryRunQuestion }[]): Promise<void>;
  countOpenAnswers(preview: string): Promise<number>;
  readAnswers(preview: string): Promise<ReadonlyMap<string, DryRunAnswer | undefined>>;
  save(preview: string, found: PreviewFound): Promise<void>;
}

/** What a change is called. */
export function describeChange(change: PreviewedChange): string {
  if (change.kind === "branch") return `branch ${change.branch}`;
  return change.kind === "revision" ? `revision ${change.revision.slice(0, 12)}` : "a working copy";
}

/**
 * What a change would do to every cluster: rendered once per distinct input and placed as a commit would be, then tried by each agent whose
 * target would be another one, as server-side dry runs. Nothing is released, claimed or written in a cluster. Never throws: what goes wrong is
 * the preview's problem.
 */
export async function previewFleet(ports: PreviewPorts, job: PreviewJob): Promise<PreviewFound> {
  const begun = emptyPreview(describeChange(job.change));
  let found: PreviewFound;
  try {
    found = await make(ports, job, begun);
  } catch (error) {
    found = fail(begun, error instanceof RefusedPathError ? [error.problem] : [{ code: "preview-failed", message: (error as Error).message }]);
  }
  await ports.save(job.id, found);
  return found;
}

const fail = (found: PreviewFound, problems: readonly Problem[]): PreviewFound => ({ ...found, phase: "Failed", problems });

async function make(ports: PreviewPorts, job: PreviewJob, begun: PreviewFound): Promise<PreviewFound> {
  const fleet = await ports.readFleet(job.fleet);
  if (!fleet) return fail(begun, [{ code: "not-found", message: `there is no fleet '${job.fleet}'` }]);
  const opened = await ports.openChange(job.fleet, job.change, job.signal);
  if (!("tree" in opened)) return fail(begun, opened);
  const known = { ...begun, revision: opened.revision, current: fleet.revision };
  try {
    const placed = await place(ports, job, fleet, opened.tree);
    if (!("targets" in placed)) return fail(known, placed);
    return await ask(ports, job, known, placed);
  } finally {
    await opened.close();
  }
}

interface Placed {
  readonly targets: readonly PlacedTarget[];
  readonly warnings: readonly Problem[];
  /** Of single clusters: they would keep what they have. */
  readonly problems: readonly Problem[];
  readonly held: ReadonlySet<string>;
  readonly clusters: readonly PlacedCluster[];
  readonly plan: Parameters<typeof wavesOf>[0];
}

async function place(
  ports: PreviewPorts,
  job: PreviewJob,
  fleet: NonNullable<Awaited<ReturnType<PreviewPorts["readFleet"]>>>,
  tree: SourceTree,
): Promise<Placed | readonly Problem[]> {
  const read = await readSpecOf(tree, fleet);
  if (!("spec" in read)) return read;
  const { spec } = read;
  const clusters = await ports.readClusters();
  const { tools, memory, cache } = ports;
  const render = await renderFleet({ tree, root: fleet.path, spec, clusters, tools, memory, cache, signal: job.signal });
  if (render.problems.length > 0) return render.problems;
  const names = clusters.map(({ name }) => name);
  const owners = await ports.readOwners(names, fleet.name, wantedObjects(render.rendered));
  const placement = placeBundles({
    fleet: fleet.name,
    revision: tree.revision,
    spec,
    clusters,
    bodyOf: bodiesOf(render),
    shapeOf: (cluster) => render.inputsIn(cluster),
    ownersIn: (cluster) => owners.get(cluster),
  });
  const problems = [...render.held].flatMap(([cluster, held]) => held.map((problem) => ({ ...problem, message: `cluster ${cluster}: ${problem.message}` })));
  return {
    targets: placement.targets,
    warnings: [...read.warnings, ...render.warnings],
    problems,
    held: new Set(placement.held),
    clusters,
    plan: spec.rollout,
  };
}

/** Asks whom it concerns, and waits for the answers. */
async function ask(ports: PreviewPorts, job: PreviewJob, known: PreviewFound, placed: Placed): Promise<PreviewFound> {
  const isMeant = (cluster: string): boolean => job.clusters.length === 0 || job.clusters.includes(cluster);
  const present = new Map((await ports.readPresentTargets(job.fleet)).map((target) => [target.cluster, target]));
  const targets = placed.targets.filter(({ cluster }) => isMeant(cluster));
  const isSelected = new Set(placed.targets.map(({ cluster }) => cluster));
  const strangers = job.clusters.filter((cluster) => !isSelected.has(cluster) && !present.has(cluster) && !placed.held.has(cluster));
  if (strangers.length > 0)
    return fail(known, [
      { code: "not-found", message: `the fleet has no cluster ${strangers.join(", ")}, and would not have it`, hint: "fleet status shows its clusters" },
    ]);
  const differing = targets.filter(({ cluster, digest }) => present.get(cluster)?.digest !== digest);
  if (differing.length > previewClustersMax)
    return fail(known, [
      {
        code: "too-many",
        message: `${differing.length} clusters would change; a preview asks at most ${previewClustersMax}`,
        hint: "name some of them with --cluster",
      },
    ]);
  const away = await ports.readAway(differing.map(({ cluster }) => cluster));
  const { questions, unknown } = questionsOf(differing, present, away, job);
  const labels = new Map(placed.clusters.map((cluster) => [cluster.name, cluster.labels]));
  const found: PreviewFound = {
    ...known,
    phase: "Asking",
    warnings: placed.warnings,
    problems: placed.problems,
    clusters: { total: targets.length, asked: questions.length, answered: 0 },
    joining: targets.filter(({ cluster }) => !present.has(cluster)).map(({ cluster }) => cluster),
    leaving: [...present.keys()].filter((cluster) => isMeant(cluster) && !isSelected.has(cluster) && !placed.held.has(cluster)).sort(),
    waves: wavesOf(
      placed.plan,
      differing.map(({ cluster }) => ({ name: cluster, labels: labels.get(cluster) ?? {} })),
    ),
    lastRolloutMs: await ports.readLastRolloutMs(job.fleet),
  };
  await ports.askDryRuns(job.id, job.fleet, questions);
  await ports.save(job.id, found);
  while (Date.now() < job.until && !job.signal.aborted && (await ports.countOpenAnswers(job.id)) > 0)
    await delay(previewLookMs, undefined, { signal: job.signal }).catch(() => undefined);
  if (job.signal.aborted) return fail(found, [{ code: "preview-broke-off", message: "the hub that made it is ending", hint: "ask again" }]);
  const grouped = groupAnswers(await ports.readAnswers(job.id));
  const unconcerned = targets.filter(({ cluster, digest }) => present.get(cluster)?.digest === digest).map(({ cluster }) => cluster);
  return {
    ...found,
    phase: "Done",
    clusters: { ...found.clusters, answered: questions.length - grouped.unknown.reduce((sum, { clusters }) => sum + clusters.length, 0) },
    ...boundGroups(grouped.groups),
    same: [...grouped.same, ...unconcerned].sort(),
    unknown: [...grouped.unknown, ...unknown],
  };
}

/** So many different effects are shown whole; of the others which clusters, and how much. */
function boundGroups(groups: PreviewFound["groups"]): Pick<PreviewFound, "groups"> {
  return {
    groups: groups.map((group, index) => (index < previewGroupsMax ? group : { ...group, objects: [], leftOut: group.leftOut + group.objects.length })),
  };
}

function questionsOf(
  differing: readonly PlacedTarget[],
  present: ReadonlyMap<string, { readonly digest: string; readonly bundles: readonly TargetBundle[] }>,
  away: ReadonlyMap<string, Date | null>,
  { change }: PreviewJob,
): { readonly questions: readonly { readonly cluster: string; readonly question: DryRunQuestion }[]; readonly unknown: readonly PreviewSilence[] } {
  const hashKey = randomBytes(32).toString("hex");
  const questions: { cluster: string; question: DryRunQuestion }[] = [];
  const unknown: PreviewSilence[] = [];
  for (const { cluster, revision, digest, bundles } of differing) {
    const held = new Set(present.get(cluster)?.bundles.map((bundle) => bundle.digest));
    const lacking = bundles.filter((bundle) => !held.has(bundle.digest));
    const bytes = lacking.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    const since = away.get(cluster);
    if (since !== undefined)
      unknown.push({ clusters: [cluster], reason: since === null ? "its agent never joined" : `it is away since ${since.toISOString()}` });
    else if (bytes > maxDryRunBodyBytes)
      unknown.push({ clusters: [cluster], reason: `its changed bundles have ${bytes} bytes; ${maxDryRunBodyBytes} fit into a preview` });
    else
      questions.push({
        cluster,
        question: {
          revision: change.kind === "files" ? "0".repeat(40) : revision,
          baseDigest: present.get(cluster)?.digest ?? "",
          digest,
          bundles,
          bodies: [...new Set(lacking.map((bundle) => bundle.digest))],
          hashKey,
        },
      });
  }
  return { questions, unknown: byReason(unknown) };
}

function byReason(silences: readonly PreviewSilence[]): readonly PreviewSilence[] {
  return [...Map.groupBy(silences, ({ reason }) => reason)].map(([reason, same]) => ({ reason, clusters: same.flatMap(({ clusters }) => clusters) }));
}
