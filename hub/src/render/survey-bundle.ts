import { sha256, type Json } from "@flotilla/proto/digest";
import type { BundleKind, BundleUses } from "../domain/bundle-inputs.ts";
import { NotedTree, TreeMemory } from "../domain/noted-tree.ts";
import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import { namesIn } from "../domain/substitute.ts";
import { bundleFilesMax, surveyAnswersMax, surveyedBlobsMax } from "../limits.ts";
import { detectKind } from "./detect-kind.ts";
import { kustomizeClosure } from "./kustomize-closure.ts";
import { readManifests } from "./kube-yaml.ts";
import { readBounded } from "./read-bounded.ts";
import { clusterKindOf } from "./normalise-objects.ts";
import { chartFiles, clusterNamesInTemplate, outsideReferencesInSchema, unsteadyTemplates } from "./template-chart.ts";

/** What a folder of manifests is made of, and makes use of: everything that must be known before inputs can be. */
export interface BundleSurvey extends BundleUses {
  readonly kind: BundleKind;
  readonly path: string;
  /** Everything that rendering can read, sorted. For charts: path inside the chart → path in the repository. */
  readonly files: ReadonlyMap<string, string>;
  /** Digest over paths and content of these files. */
  readonly contentId: string;
  /** "group/Kind" of custom resources without a namespace that definitions among the files make. */
  readonly clusterKinds: readonly string[];
  readonly warnings: readonly Problem[];
}

export type SurveyOutcome = { readonly ok: true; readonly survey: BundleSurvey } | { readonly ok: false; readonly problems: readonly Problem[] };

/** What is remembered of a blob, whatever its path. */
interface BlobFacts {
  readonly names: readonly string[];
  readonly clusterKinds: readonly string[];
}

/** Facts by blob id, for a replica: an unchanged file is read once. Bounded; the oldest goes first. Surveys whole, too: an unchanged bundle is not looked at again. */
export interface SurveyMemory {
  get(blob: string): BlobFacts | undefined;
  set(blob: string, facts: BlobFacts): void;
  readonly surveys: TreeMemory<BundleSurvey>;
}

export function openSurveyMemory(limit = surveyedBlobsMax): SurveyMemory {
  const facts = new Map<string, BlobFacts>();
  return {
    surveys: new TreeMemory(surveyAnswersMax),
    get: (blob) => facts.get(blob),
    set: (blob, found) => {
      const [oldest] = facts.keys();
      if (facts.size >= limit && oldest !== undefined) facts.delete(oldest);
      facts.set(blob, found);
    },
  };
}

/**
 * Look at a bundle's folder: its kind, the files that rendering can read, the names in them. Renders nothing. A bundle of which nothing has changed
 * that was looked at the last time, in its folder or where it leads, costs some lookups in the tree.
 *
 * @param path from the repository's root.
 */
export async function surveyBundle(tree: SourceTree, path: string, memory: SurveyMemory): Promise<SurveyOutcome> {
  // By content too: bundles of several repositories may lie at one path.
  const key = `${tree.idOf(path)} ${path}`;
  const known = memory.surveys.recall(key, tree);
  if (known !== undefined) return { ok: true, survey: known };
  const noted = new NotedTree(tree);
  try {
    const outcome = await survey(noted, path, memory);
    if (outcome.ok) memory.surveys.remember(key, noted, outcome.survey);
    return outcome;
  } catch (error) {
    if (error instanceof RefusedPathError) return { ok: false, problems: [error.problem] };
    throw error;
  }
}

async function survey(tree: SourceTree, path: string, memory: SurveyMemory): Promise<SurveyOutcome> {
  const kind = detectKind(tree, path);
  if (typeof kind !== "string") return { ok: false, problems: [kind] };
  const listed = await listFiles(tree, path, kind);
  if (listed.problems.length > 0) return { ok: false, problems: listed.problems };
  const sources = [...new Set(listed.files.values())].sort();
  if (sources.length > bundleFilesMax)
    return {
      ok: false,
      problems: [
        { code: "too-many-files", message: `the bundle has ${sources.length} files; it may have ${bundleFilesMax}`, file: path, hint: "split the bundle" },
      ],
    };
  const blobs = new Map(sources.map((source) => [source, tree.idOf(source) ?? ""]));
  const { problems, ...facts } = await factsOf(tree, blobs, kind, memory);
  if (problems.length > 0) return { ok: false, problems };
  const contentId = sha256(
    [...listed.files]
      .map(([name, source]) => `${name}\0${blobs.get(source)}\n`)
      .sort()
      .join(""),
  );
  return { ok: true, survey: { kind, path, files: listed.files, contentId, ...facts } };
}

async function listFiles(tree: SourceTree, path: string, kind: BundleKind): Promise<{ files: ReadonlyMap<string, string>; problems: readonly Problem[] }> {
  if (kind === "helm") return chartFiles(tree, path);
  if (kind === "kustomize") {
    const { files, problems } = await kustomizeClosure(tree, path);
    return { files: new Map(files.map((file) => [file, file])), problems };
  }
  return plainFiles(tree, path);
}

/** Manifests of a folder and the folders in it. What begins with a dot is not looked at; nor is the fleet's own file. */
function plainFiles(tree: SourceTree, path: string): { files: ReadonlyMap<string, string>; problems: readonly Problem[] } {
  if (tree.kindOf(path) === "file") return { files: new Map([[path, path]]), problems: [] };
  const inside = tree.files(path).map((file) => file.path);
  const relative = (file: string): string => (path === "" ? file : file.slice(path.length + 1));
  const shown = inside.filter(
    (file) =>
      !relative(file)
        .split("/")
        .some((part) => part.startsWith(".")),
  );
  const nested = shown.filter((file) => /\/(kustomization\.ya?ml|Kustomization|Chart\.yaml)$/.test(`/${relative(file)}`));
  const manifests = shown.filter((file) => /\.(ya?ml|json)$/.test(file) && !/^fleet\.ya?ml$/.test(relative(file)));
  const problems = nested.map((file): Problem => ({
    code: "nested-bundle",
    message: `${file.endsWith("Chart.yaml") ? "a Helm chart" : "a kustomization"} lies inside a folder of plain manifests`,
    file,
    hint: "make its folder a bundle of its own in fleet.yaml, and keep it out of this one's folder",
  }));
  return { files: new Map(manifests.map((file) => [file, file])), problems };
}

type UsesOfFiles = Pick<BundleSurvey, "names" | "clusterKinds" | "warnings"> & { readonly problems: readonly Problem[] };

async function factsOf(tree: SourceTree, blobs: ReadonlyMap<string, string>, kind: BundleKind, memory: SurveyMemory): Promise<UsesOfFiles> {
  const texts = [...blobs.keys()].filter((file) => kind !== "helm" || /\.(ya?ml|tpl|txt|json)$/.test(file));
  // Charts and manifests read the same blob differently.
  const keyOf = (file: string): string => `${kind === "helm" ? "chart" : "manifest"} ${blobs.get(file)}`;
  const unknown = texts.filter((file) => memory.get(keyOf(file)) === undefined || kind === "helm");
  const contents = await readBounded(tree, unknown);
  const warnings: Problem[] = [];
  const problems: Problem[] = [];
  for (const file of unknown) {
    const text = Buffer.from(contents.get(file) ?? new Uint8Array()).toString("utf8");
    const isTemplate = kind === "helm" && /(^|\/)templates\//.test(file);
    if (isTemplate) warnings.push(...unsteadyTemplates(file, text));
    if (kind === "helm" && /(^|\/)values\.schema\.json$/.test(file)) problems.push(...outsideReferencesInSchema(file, text));
    memory.set(keyOf(file), {
      names: kind === "helm" ? clusterNamesInTemplate(text) : namesIn(text),
      clusterKinds: isTemplate ? [] : clusterKindsIn(file, text),
    });
  }
  const facts = texts.flatMap((file) => memory.get(keyOf(file)) ?? []);
  return { names: distinct(facts.flatMap((fact) => fact.names)), clusterKinds: distinct(facts.flatMap((fact) => fact.clusterKinds)), warnings, problems };
}

/** Only definitions of cluster-scoped resources are parsed: they are few. */
function clusterKindsIn(file: string, text: string): string[] {
  if (!/kind"?: "?CustomResourceDefinition/.test(text) || !/scope"?: "?Cluster\b/.test(text)) return [];
  return readManifests(file, text, { references: false }).manifests.flatMap(({ content }) => clusterKindOf(content as Json));
}

function distinct(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}
