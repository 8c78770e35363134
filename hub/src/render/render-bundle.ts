import { packBody, type Body } from "@flotilla/proto/body";
import { digestOf, type Json } from "@flotilla/proto/digest";
import { maxBodyBytes, maxUnpackedBodyBytes } from "@flotilla/proto/limits";
import { apiGroup } from "@flotilla/proto/names";
import type { BundleInputs } from "../domain/bundle-inputs.ts";
import type { DirectiveFinding } from "../domain/foreign-words.ts";
import { isMap } from "../domain/merge-values.ts";
import { suggestName } from "../domain/nearest-name.ts";
import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import { isClusterName, substitute, TypedReference, type BadReference, type Template } from "../domain/substitute.ts";
import { problemsPerBundleMax } from "../limits.ts";
import { applyPatches } from "./apply-patches.ts";
import { buildKustomization } from "./build-kustomization.ts";
import { readManifests, type Manifest, type Place } from "./kube-yaml.ts";
import { normaliseObjects, type PlacedObject } from "./normalise-objects.ts";
import { readBounded } from "./read-bounded.ts";
import type { RenderTools } from "./render-tools.ts";
import type { BundleSurvey } from "./survey-bundle.ts";
import { chartKubeVersion, templateChart } from "./template-chart.ts";

/** Changes whenever equal input gives another output. Old renders are then not used again. */
export const rendererVersion = 2;

/** Annotation that keeps `${…}` in one object as text. */
export const substituteAnnotation = `${apiGroup}/substitute`;

export interface RenderedBody extends Body {
  /** Object ids, sorted; the body's objects are in the same order. */
  readonly objectIds: readonly string[];
  readonly warnings: readonly Problem[];
  readonly directives: readonly DirectiveFinding[];
  /** What it was rendered from: see renderKey. */
  readonly key: string;
}

export type RenderOutcome = { readonly ok: true; readonly body: RenderedBody } | { readonly ok: false; readonly problems: readonly Problem[] };

export interface RenderRequest {
  readonly tree: SourceTree;
  readonly survey: BundleSurvey;
  readonly inputs: BundleInputs;
  /** "group/Kind" of custom resources without a namespace, from all definitions of the fleet; sorted. */
  readonly clusterKinds: readonly string[];
  /** Names that could have been used, for hints only. */
  readonly declaredNames: readonly string[];
  /** Where the n-th patch of the inputs is written, for problems only. */
  readonly placeOfPatch?: (index: number) => Place | undefined;
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}

/**
 * Digest over everything that a render depends on: the content of every file it can read, the inputs it makes use of, the tools'
 * versions and the renderer's. Equal keys, equal bodies.
 */
export function renderKey(request: Pick<RenderRequest, "survey" | "inputs" | "clusterKinds" | "tools">): string {
  const { survey, inputs, clusterKinds, tools } = request;
  const usesKustomize = inputs.kind === "kustomize" || inputs.patches.length > 0;
  return digestOf({
    renderer: rendererVersion,
    content: survey.contentId,
    inputs: { ...inputs, ...(inputs.kind === "helm" ? {} : { bundle: undefined }) },
    clusterKinds,
    helm: inputs.kind === "helm" ? [tools.versions.helm, chartKubeVersion] : undefined,
    kustomize: usesKustomize ? tools.versions.kustomize : undefined,
  });
}

/**
 * Render one bundle with one set of inputs. What is wrong with what a person wrote comes back as problems, all that
 * can be found at once, with file, line and remedy; no objects at all is a problem too. Rejects for what is wrong here: a missing
 * tool, a full disk, the signal.
 */
export async function renderBundle(request: RenderRequest): Promise<RenderOutcome> {
  const { inputs } = request;
  const fail = (problems: readonly Problem[]): RenderOutcome => ({
    ok: false,
    problems: problems.slice(0, problemsPerBundleMax).map((problem) => ({ ...problem, bundle: inputs.bundle })),
  });
  try {
    if (inputs.missing.length > 0) return fail(inputs.missing.map((name) => missingOfCluster(name)));
    const made = await makeManifests(request);
    if (made.problems.length > 0) return fail(made.problems);
    const patched =
      inputs.patches.length === 0
        ? { manifests: made.manifests, problems: [] }
        : await applyPatches({ ...request, manifests: made.manifests, patches: inputs.patches });
    if (patched.problems.length > 0) return fail(patched.problems);
    const substituted = patched.manifests.map((manifest) => substituteManifest(manifest, request));
    const normal = normaliseObjects(
      substituted.map(({ object }) => object),
      { namespace: inputs.namespace ?? "default", clusterKinds: new Set(request.clusterKinds) },
    );
    const problems = [...substituted.flatMap((outcome) => outcome.problems), ...normal.problems];
    if (problems.length > 0) return fail(problems);
    if (normal.objects.length === 0) return fail([nothingThere(inputs)]);
    const body = packBody(normal.objects);
    if (body.compressed.length > maxBodyBytes) return fail([bodyTooLarge(body.compressed.length)]);
    const warnings = [...request.survey.warnings, ...made.warnings, ...normal.warnings]
      .slice(0, problemsPerBundleMax)
      .map((warning) => ({ ...warning, bundle: inputs.bundle }));
    return { ok: true, body: { ...body, objectIds: normal.objectIds, warnings, directives: normal.directives, key: renderKey(request) } };
  } catch (error) {
    if (error instanceof RefusedPathError) return fail([error.problem]);
    if (isDiskFull(error)) throw new Error("the disk that the hub renders on is full: free some space under its temporary folder", { cause: error });
    throw error;
  }
}

interface MadeManifests {
  readonly manifests: readonly Manifest[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

async function makeManifests({ tree, survey, inputs, tools, signal }: RenderRequest): Promise<MadeManifests> {
  switch (inputs.kind) {
    case "plain":
      return { ...(await readPlain(tree, [...survey.files.values()], inputs.substitution !== "off")), warnings: [] };
    case "kustomize":
      return { ...(await buildKustomization({ tree, folder: survey.path, files: [...survey.files.values()], tools, signal })), warnings: [] };
    case "helm":
      return templateChart({
        tree,
        folder: survey.path,
        files: survey.files,
        release: inputs.bundle,
        namespace: inputs.namespace ?? "default",
        values: inputs.values ?? {},
        tools,
        signal,
      });
  }
}

async function readPlain(tree: SourceTree, files: readonly string[], references: boolean): Promise<{ manifests: Manifest[]; problems: Problem[] }> {
  const contents = await readBounded(tree, files);
  const read = files.map((file) => readManifests(file, contents.get(file) ?? new Uint8Array(), { references }));
  return { manifests: read.flatMap(({ manifests }) => manifests), problems: read.flatMap(({ problems }) => problems) };
}

function substituteManifest(manifest: Manifest, { inputs, declaredNames }: RenderRequest): { object: PlacedObject; problems: Problem[] } {
  const { place, placeOf } = manifest;
  if (inputs.substitution === "off" || optedOut(manifest.content)) return { object: { content: asWritten(manifest.content), place, placeOf }, problems: [] };
  const { object, bad } = substitute(manifest.content, inputs.names, { strict: inputs.substitution === "all" });
  return { object: { content: object, place, placeOf }, problems: bad.map((reference) => problemOfReference(reference, manifest, declaredNames)) };
}

function optedOut(content: Manifest["content"]): boolean {
  const { metadata } = content;
  if (typeof metadata !== "object" || metadata === null || !("annotations" in metadata)) return false;
  const annotations = metadata["annotations"] as Json;
  return isMap(annotations) && annotations[substituteAnnotation] === "disabled";
}

/** References as the text that they were. */
function asWritten(template: Template): Json {
  if (template instanceof TypedReference) return template.text;
  if (Array.isArray(template)) return template.map(asWritten);
  if (typeof template !== "object" || template === null) return template as Json;
  return Object.fromEntries(Object.entries(template).map(([key, member]) => [key, asWritten(member as Template)]));
}

function problemOfReference({ name, path, why }: BadReference, manifest: Manifest, declaredNames: readonly string[]): Problem {
  const place = manifest.placeOf(path);
  if (why === "not a scalar")
    return {
      code: "value-not-scalar",
      message: `'${name}' is a map or a list, and stands inside text`,
      ...place,
      hint: "let the reference stand alone and without quotes, or name one value in it",
    };
  if (isClusterName(name)) return { ...missingOfCluster(name), ...place };
  const near = suggestName(name, declaredNames, "values");
  const otherwise = `if it is meant as text, write $\${${name}}, or annotate the object with ${substituteAnnotation}: disabled, or set substitute: false on the bundle`;
  return {
    code: "unknown-value",
    message: `there is no value '${name}'`,
    ...place,
    hint: near === undefined ? `give it under values in fleet.yaml; ${otherwise}` : `${near} Otherwise, ${otherwise}`,
  };
}

/** Held against the clusters that lack it, not against the fleet: see renderFleet. */
export const missingOfClusterCode = "cluster-value-missing";

function missingOfCluster(name: string): Problem {
  const label = name.startsWith("cluster.labels.") ? name.slice("cluster.labels.".length) : undefined;
  if (label === undefined) return { code: "unknown-value", message: `there is no '${name}'`, hint: "cluster.name and cluster.labels.<label> can be used" };
  return { code: missingOfClusterCode, message: `the cluster has no label '${label}'`, hint: `label it, or give a default: \${${name}:=…}` };
}

function nothingThere(inputs: BundleInputs): Problem {
  const what =
    inputs.kind === "helm"
      ? "the chart makes no objects with these values"
      : inputs.kind === "kustomize"
        ? "the kustomization makes no objects"
        : "the folder holds no manifests";
  return {
    code: "zero-documents",
    message: `${what}: zero documents, and an empty bundle is never taken for "delete everything"`,
    file: inputs.path,
    hint: "to remove a bundle, take it out of fleet.yaml",
  };
}

function bodyTooLarge(bytes: number): Problem {
  return {
    code: "bundle-too-large",
    message: `the bundle has ${bytes} bytes compressed; it may have ${maxBodyBytes}, and ${maxUnpackedBodyBytes} unpacked`,
    hint: "split the bundle",
  };
}

function isDiskFull(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "ENOSPC" || code === "EDQUOT";
}
