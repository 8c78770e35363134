import { relative, resolve } from "node:path";
import { canonicalJson, type Json, type KubeObject } from "@flotilla/proto/digest";
import { bundleInputs, overlaysFor, pathFor } from "../domain/bundle-inputs.ts";
import { placeOfField, pointerOf, valueAtPlace, type FieldName } from "../domain/field-place.ts";
import type { BundleSpec, FleetSpec } from "../domain/fleet-spec.ts";
import { describeObjectId, groupOf, objectIdOf } from "../domain/object-id.ts";
import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, resolveInside, type SourceTree } from "../domain/source-tree.ts";
import { substitute, type Template } from "../domain/substitute.ts";
import type { PlacedCluster } from "../domain/target.ts";
import { kustomizationOf } from "../render/detect-kind.ts";
import { editEntry, generatorOf } from "../render/edit-kustomization.ts";
import { addPatch, editManifest, objectsInFile, type ManifestPlace } from "../render/edit-manifest.ts";
import type { RenderTools } from "../render/render-tools.ts";
import { openSurveyMemory, surveyBundle, type BundleSurvey } from "../render/survey-bundle.ts";
import { editedTree } from "../source/edited-tree.ts";
import { openLocalTree } from "../source/local-tree.ts";
import { renderTree, workTreeOf } from "./read-folder.ts";
import { readSpecOf } from "./sync-fleet.ts";

export interface AcceptRequest {
  /** The fleet's folder in somebody's clone. */
  readonly folder: string;
  readonly cluster: PlacedCluster;
  readonly drift: {
    readonly bundle: string;
    /** group/kind/namespace/name */
    readonly object: string;
    /** `live` is JSON; empty where the field is absent. */
    readonly fields: readonly (FieldName & { readonly live: string })[];
    /** The object as the hub released it to the cluster. */
    readonly released: Json;
  };
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}

/** What would have to be committed, so that the cluster's folder says what is there. Nothing is written. */
export interface Acceptance {
  readonly problems: readonly Problem[];
  /** What the change does besides. */
  readonly warnings: readonly Problem[];
  /** Paths from the work tree's root. */
  readonly changes: readonly { readonly file: string; readonly before: string; readonly after: string }[];
}

/**
 * The change of a bundle's files that makes Git say what was found on a cluster: in the document itself for plain YAML, as a patch in the
 * kustomization that the cluster gets for Kustomize. What comes out is rendered again and compared, so that no other rule of the folder
 * undoes it unseen.
 */
export async function acceptDrift(request: AcceptRequest): Promise<Acceptance> {
  const folder = resolve(request.folder);
  const top = workTreeOf(folder) ?? folder;
  const root = relative(top, folder);
  try {
    const read = await readSpecOf(openLocalTree(top), { name: "fleet", path: root, selector: {} });
    if (!("spec" in read)) return refused(read);
    return await accept({ ...request, tree: read.tree, root, spec: read.spec });
  } catch (error) {
    if (error instanceof RefusedPathError) return refused([error.problem]);
    throw error;
  }
}

type Job = AcceptRequest & { readonly tree: SourceTree; readonly root: string; readonly spec: FleetSpec };
type Edits = ReadonlyMap<string, string>;

function refused(problems: readonly Problem[]): Acceptance {
  return { problems, warnings: [], changes: [] };
}

async function accept(job: Job): Promise<Acceptance> {
  const { spec, drift } = job;
  // Without a fleet.yaml there is one bundle, whatever its name.
  const bundle = spec.bundles.find(({ name }) => name === drift.bundle) ?? (spec.bundles.length === 1 ? spec.bundles[0] : undefined);
  if (bundle === undefined) return refused([noBundle(job)]);
  const now = await renderBundleOf(job, bundle, spec, job.tree);
  if (now.problems.length > 0) return refused(now.problems);
  const object = now.objects.get(drift.object);
  if (object === undefined) return refused([noObject(job)]);
  const changed = drift.fields.flatMap((field) => changedSince(job, field, object));
  if (changed.length > 0) return refused(changed);
  const surveyed = await surveyOf(job, bundle);
  if (Array.isArray(surveyed)) return refused(surveyed);
  const foreign = await notOfFiles(job, bundle, surveyed, object);
  if (foreign.length > 0) return refused(foreign);
  const edits = surveyed.kind === "plain" ? await editFiles(job, bundle, surveyed) : await patchKustomization(job, surveyed, now.objects);
  if (Array.isArray(edits)) return refused(edits);
  return await proven(job, bundle, edits as Edits, now.objects);
}

interface BundleRender {
  readonly problems: readonly Problem[];
  readonly objects: ReadonlyMap<string, KubeObject>;
}

/** Only this bundle: what is wrong elsewhere in the fleet is not asked here. */
async function renderBundleOf({ cluster, tools, signal, root }: Job, bundle: BundleSpec, spec: FleetSpec, tree: SourceTree): Promise<BundleRender> {
  const rendered = await renderTree({ tree, root, spec: { ...spec, bundles: [{ ...bundle, dependsOn: [] }] }, cluster, tools, signal });
  const objects = rendered.bundles?.flatMap((one) => one.objects) ?? [];
  return { problems: rendered.problems, objects: new Map(objects.map((object) => [objectIdOf(object), object])) };
}

function valueOf(object: unknown, field: FieldName): unknown {
  const place = placeOfField(object, field);
  return place === undefined ? undefined : valueAtPlace(object, place);
}

/** JSON text; "" for nothing. */
function shown(value: unknown): string {
  return value === undefined ? "" : canonicalJson(value as Json);
}

function liveOf(live: string): Json | undefined {
  return live === "" ? undefined : (JSON.parse(live) as Json);
}

function changedSince({ drift }: Job, field: AcceptRequest["drift"]["fields"][number], object: KubeObject): Problem[] {
  const [here, released] = [shown(valueOf(object, field)), shown(valueOf(drift.released, field))];
  const what = `${field.path} of ${describeObjectId(drift.object)}`;
  if (here === released && placeOfField(object, field) !== undefined) return [];
  if (here !== "" && here === shown(liveOf(field.live)))
    return [{ code: "accepted-already", message: `${what} says ${here} in this folder already`, hint: "push it, or let the hub sync it" }];
  return [
    {
      code: "changed-since",
      message: `${what} is ${here || "absent"} in this folder, and ${released || "absent"} in what the cluster got`,
      hint: "bring the clone to the revision that the hub has released (git pull), or let the hub sync first; where the field is written by hand now, there is nothing to accept",
    },
  ];
}

async function surveyOf({ tree, root, cluster }: Job, bundle: BundleSpec): Promise<BundleSurvey | Problem[]> {
  const outcome = await surveyBundle(tree, resolveInside(root, pathFor(bundle, cluster) || ".") ?? "", openSurveyMemory());
  return outcome.ok ? outcome.survey : [...outcome.problems];
}

/** Fields whose value no manifest says: a chart's, those that fleet.yaml's patches or values set. */
async function notOfFiles(job: Job, bundle: BundleSpec, survey: BundleSurvey, object: KubeObject): Promise<Problem[]> {
  const { spec, drift, tree } = job;
  if (survey.kind === "helm") return [ofChart(bundle, survey)];
  const bare = { ...bundle, substitute: false, overlays: bundle.overlays.map((overlay) => ({ ...overlay, patches: [] })) };
  const raw = await renderBundleOf(job, bare, { ...spec, bundles: [bare] }, tree);
  if (raw.problems.length > 0) return [];
  const written = [...raw.objects.values()].find((one) => sameKindAndName(one, object)) ?? raw.objects.get(drift.object);
  return drift.fields.flatMap((field) => {
    const [before, after] = [shown(valueOf(written, field)), shown(valueOf(object, field))];
    if (before.includes("${") && before !== after) return [ofValues(field.path, before)];
    return before === after ? [] : [ofOverlay(field.path, bundle)];
  });
}

function sameKindAndName(one: KubeObject, other: KubeObject): boolean {
  return one.kind === other.kind && one.apiVersion === other.apiVersion && one.metadata.name === other.metadata.name && one.metadata.namespace === other.metadata.namespace; // prettier-ignore
}

/** Edits the documents themselves. */
async function editFiles(job: Job, bundle: BundleSpec, survey: BundleSurvey): Promise<Edits | Problem[]> {
  const { tree, drift, spec, cluster } = job;
  const inputs = bundleInputs(spec, bundle, cluster, survey.path, survey, overlaysFor(bundle, cluster));
  for (const file of survey.files.values()) {
    const source = Buffer.from((await tree.read([file])).get(file) ?? new Uint8Array()).toString("utf8");
    const found = objectsInFile(source).find(({ content }) => isObject(content, drift.object, inputs.names, inputs.namespace ?? "default"));
    if (found === undefined) continue;
    return editFields(drift.fields, { file, source, place: found.place, references: inputs.substitution !== "off" });
  }
  return [{ code: "not-found", message: `no file of ${survey.path || "the folder"} holds ${describeObjectId(drift.object)} as a document of its own` }];
}

function isObject(content: unknown, id: string, names: Parameters<typeof substitute>[1], namespace: string): boolean {
  const { apiVersion, kind, metadata } = (content ?? {}) as { apiVersion?: unknown; kind?: unknown; metadata?: { name?: unknown; namespace?: unknown } };
  const written = { name: metadata?.name ?? "", namespace: metadata?.namespace ?? "" } as unknown as Template;
  const own = substitute(written, names, { strict: false }).object as { name: unknown; namespace: unknown };
  const [group, wantedKind, wantedNamespace, name] = id.split("/");
  const isThere = wantedNamespace === "" || (own.namespace || namespace) === wantedNamespace;
  return groupOf(String(apiVersion)) === group && kind === wantedKind && own.name === name && isThere;
}

function editFields(
  fields: AcceptRequest["drift"]["fields"],
  { file, source, place, references }: { file: string; source: string; place: ManifestPlace; references: boolean },
): Edits | Problem[] {
  let edited = source;
  const problems: Problem[] = [];
  for (const field of fields) {
    const outcome = editManifest(edited, place, field, liveOf(field.live), references);
    if (outcome.kind === "edited") edited = outcome.source;
    else if (outcome.kind === "reference") problems.push({ ...ofValues(field.path, outcome.text), file });
    else
      problems.push({
        code: "not-in-place",
        message: `${field.path} cannot be edited in ${file}: an anchor, an alias or a merge key stands there, or nothing leads to it`,
        file,
        hint: "edit the file by hand",
      });
  }
  return problems.length > 0 ? problems : new Map([[file, edited]]);
}

/** Edits what the kustomization of the folder that the cluster gets sets itself, and adds a patch to it for the rest. */
async function patchKustomization({ tree, drift }: Job, survey: BundleSurvey, objects: BundleRender["objects"]): Promise<Edits | Problem[]> {
  const file = kustomizationOf(tree, survey.path);
  const object = objects.get(drift.object);
  if (file === undefined || object === undefined) return [{ code: "not-found", message: `${survey.path} has no kustomization` }];
  const source = Buffer.from((await tree.read([file])).get(file) ?? new Uint8Array()).toString("utf8");
  const generated = await generatedBy(tree, survey, object);
  if (generated) return [generated];
  const target = targetOf(source, object, objects);
  let edited = source;
  const patched: (typeof drift.fields)[number][] = [];
  for (const field of drift.fields) {
    const outcome = editEntry(edited, object, target["name"] ?? "", field, liveOf(field.live));
    if (outcome.kind === "edited") edited = outcome.source;
    else patched.push(field);
  }
  const operations = patched.map((field) => operationOf(object, field));
  return new Map([[file, operations.length === 0 ? edited : addPatch(edited, target, operations)]]);
}

/** A generated object's name holds a hash of its content: with another content it would be another object, and no patch finds it. */
async function generatedBy(tree: SourceTree, survey: BundleSurvey, { kind, metadata: { name } }: KubeObject): Promise<Problem | undefined> {
  const files = [...survey.files.values()].filter((file) => /(^|\/)(kustomization\.ya?ml|Kustomization)$/.test(file)).sort();
  const contents = await tree.read(files);
  for (const file of files) {
    const generator = generatorOf(Buffer.from(contents.get(file) ?? new Uint8Array()).toString("utf8"), { kind, name });
    if (generator === undefined) continue;
    return {
      code: "from-generator",
      message: `${kind} ${name} is made by ${generator} of ${file}: its name holds a hash of its content, so that another content makes another object`,
      file,
      hint: "change the literals or files that the generator names; what uses the object then gets the new name",
    };
  }
  return undefined;
}

function operationOf(object: KubeObject, field: AcceptRequest["drift"]["fields"][number]): object {
  const place = placeOfField(object, field) ?? [];
  const [path, value] = [pointerOf(place), liveOf(field.live)];
  if (value === undefined) return { op: "remove", path };
  return { op: valueAtPlace(object, place) === undefined ? "add" : "replace", path, value };
}

/** As the patch sees it: before this kustomization's own prefix and suffix. */
function targetOf(source: string, object: KubeObject, objects: BundleRender["objects"]): Record<string, string> {
  const { namePrefix = "", nameSuffix = "" } = (objectsInFile(source)[0]?.content ?? {}) as { namePrefix?: string; nameSuffix?: string };
  const { name, namespace } = object.metadata;
  const group = groupOf(object.apiVersion);
  const alike = [...objects.values()].filter((one) => one.kind === object.kind && one.metadata.name === name && groupOf(one.apiVersion) === group);
  return {
    ...(group === "" ? {} : { group }),
    kind: object.kind,
    name: name.slice(name.startsWith(namePrefix) ? namePrefix.length : 0, name.endsWith(nameSuffix) ? name.length - nameSuffix.length : name.length),
    ...(alike.length > 1 && typeof namespace === "string" ? { namespace } : {}),
  };
}

/** Renders the edited files: what was asked for must come out, and what else does is told. */
async function proven(job: Job, bundle: BundleSpec, edits: Edits, before: BundleRender["objects"]): Promise<Acceptance> {
  const { drift, tree, spec } = job;
  const after = await renderBundleOf(job, bundle, spec, editedTree(tree, edits));
  if (after.problems.length > 0) return refused(after.problems);
  const object = after.objects.get(drift.object);
  const missed = drift.fields.filter((field) => shown(valueOf(object, field)) !== shown(liveOf(field.live)));
  const [file = ""] = edits.keys();
  if (missed.length > 0) return refused(missed.map(({ path }) => ineffective(path, file)));
  const others = [...after.objects].filter(([id, one]) => id !== drift.object && canonicalJson(one) !== shown(before.get(id))).map(([id]) => id);
  const changes = [];
  for (const [path, text] of edits)
    changes.push({ file: path, before: Buffer.from((await tree.read([path])).get(path) ?? new Uint8Array()).toString("utf8"), after: text });
  return { problems: [], warnings: others.length === 0 ? [] : [alsoChanges(others, file)], changes };
}

function noBundle({ drift, root }: Job): Problem {
  return {
    code: "unknown-bundle",
    message: `${root || "this folder"} has no bundle '${drift.bundle}' any more`,
    hint: "is the clone at the revision that the hub has released?",
  };
}

function noObject({ drift, cluster }: Job): Problem {
  return {
    code: "changed-since",
    message: `in this folder the bundle '${drift.bundle}' has no ${describeObjectId(drift.object)} for cluster ${cluster.name} any more`,
    hint: "bring the clone to the revision that the hub has released (git pull), or let the hub sync first",
  };
}

function ofChart(bundle: BundleSpec, survey: BundleSurvey): Problem {
  return {
    code: "from-chart",
    message: `bundle '${bundle.name}' is a Helm chart: which of its values gives this field cannot be known`,
    file: survey.path,
    hint: `set it by hand: by 'values' of the bundle in fleet.yaml, or by a patch of one of its overlays; 'fleet render' shows what comes of it`,
  };
}

function ofValues(path: string, text: string): Problem {
  return {
    code: "from-values",
    message: `${path} is not written in the manifest: it says ${text}, and its value comes from values or from the cluster`,
    hint: "change the value in fleet.yaml (values of the fleet, the bundle or an overlay), or the cluster's label",
  };
}

function ofOverlay(path: string, bundle: BundleSpec): Problem {
  return {
    code: "from-overlay",
    message: `${path} is set by a patch of an overlay of bundle '${bundle.name}' in fleet.yaml: what a manifest says there does not count`,
    file: "fleet.yaml",
    hint: "change the patch in fleet.yaml",
  };
}

function ineffective(path: string, file: string): Problem {
  return {
    code: "not-effective",
    message: `a change of ${path} in ${file} does not reach the cluster: something that comes later sets or renames it (images, replicas, a generator's name, another patch)`,
    file,
    hint: "change that by hand",
  };
}

const othersShown = 5;

function alsoChanges(ids: readonly string[], file: string): Problem {
  const more = ids.length > othersShown ? ` and ${ids.length - othersShown} more` : "";
  return { code: "also-changes", message: `this changes ${ids.slice(0, othersShown).map(describeObjectId).join(", ")}${more} too`, file };
}
