import { existsSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { unpackBody } from "@flotilla/proto/body";
import type { KubeObject } from "@flotilla/proto/digest";
import { isName } from "@flotilla/proto/names";
import { type DirectiveFinding, remarksOfForeignWords } from "../domain/foreign-words.ts";
import type { FleetSpec } from "../domain/fleet-spec.ts";
import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import type { PlacedCluster } from "../domain/target.ts";
import type { RenderedBody } from "../render/render-bundle.ts";
import { renderFleet } from "../render/render-fleet.ts";
import type { RenderTools } from "../render/render-tools.ts";
import { openSurveyMemory } from "../render/survey-bundle.ts";
import { openLocalTree } from "../source/local-tree.ts";
import { readSpecOf } from "./sync-fleet.ts";

/** What a folder on disk would be as a fleet. */
export interface ReadFolder {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** What the annotations of the rendered objects ask, and whether it is honoured. */
  readonly directives?: readonly DirectiveFinding[];
  /** What cannot be seen in the objects. */
  readonly remarks?: readonly string[];
  readonly spec?: FleetSpec;
  /** Per bundle, in fleet.yaml's order; only when a cluster was given and nothing is wrong. */
  readonly bundles?: readonly { readonly name: string; readonly digest: string; readonly objects: readonly KubeObject[] }[];
}

export interface ReadFolderOptions {
  readonly folder: string;
  /** Render for this cluster only; without it every bundle with every overlay is tried. */
  readonly cluster?: PlacedCluster;
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}

/**
 * Reads a folder as the hub reads a commit: the same parser, renderer and refusals. Paths in problems are relative to the
 * enclosing Git work tree, or to the folder where there is none.
 */
export async function readFolder(options: ReadFolderOptions): Promise<ReadFolder> {
  const folder = resolve(options.folder);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    return failed([{ code: "missing-path", message: `${options.folder} is not a folder`, hint: "name the folder that holds fleet.yaml or the manifests" }]);
  }
  const root = workTreeOf(folder) ?? folder;
  const path = relative(root, folder);
  const name = basename(folder).toLowerCase();
  try {
    const read = await readSpecOf(openLocalTree(root), { name: isName(name) ? name : "fleet", path, selector: {} });
    if (!("spec" in read)) return failed(read);
    const { tree, spec, warnings } = read;
    const { cluster, tools, signal } = options;
    const rendered = await renderTree({ tree, root: path, spec, ...(cluster && { cluster }), tools, signal });
    return { ...rendered, warnings: [...warnings, ...rendered.warnings], spec };
  } catch (error) {
    if (error instanceof RefusedPathError) return failed([error.problem]);
    throw error;
  }
}

/** Renders a tree for one cluster, or, without one, every overlay of every bundle. */
export async function renderTree(request: {
  readonly tree: SourceTree;
  /** The fleet's folder in the tree. */
  readonly root: string;
  readonly spec: FleetSpec;
  readonly cluster?: PlacedCluster;
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}): Promise<Omit<ReadFolder, "spec">> {
  const { spec, cluster } = request;
  const bodies = new Map<string, RenderedBody>();
  const rendered = await renderFleet({
    ...request,
    // The question is what this cluster would get, so it is taken to be one of the fleet's.
    spec: cluster === undefined ? spec : { ...spec, clusters: {} },
    clusters: cluster === undefined ? [] : [cluster],
    memory: openSurveyMemory(),
    cache: { find: async () => new Map(), save: async (_key, body) => void bodies.set(body.digest, body) },
    everyOverlay: cluster === undefined,
  });
  const problems = [...rendered.problems, ...[...rendered.held.values()].flat()];
  const { warnings, directives } = rendered;
  const found = { problems, warnings, directives, remarks: remarksOfForeignWords(directives) };
  return cluster === undefined || problems.length > 0 ? found : { ...found, bundles: unpackFor(cluster.name, spec, rendered, bodies) };
}

function failed(problems: readonly Problem[]): ReadFolder {
  return { problems, warnings: [] };
}

function unpackFor(
  cluster: string,
  spec: FleetSpec,
  rendered: Awaited<ReturnType<typeof renderFleet>>,
  bodies: ReadonlyMap<string, RenderedBody>,
): NonNullable<ReadFolder["bundles"]> {
  return spec.bundles.flatMap(({ name }) => {
    const inputs = rendered.inputsOf(cluster, name);
    const body = bodies.get(rendered.rendered.find((made) => made.bundle === name && made.inputs === inputs)?.digest ?? "");
    return body === undefined ? [] : [{ name, digest: body.digest, objects: unpackBody(body.digest, body.compressed) }];
  });
}

/** The nearest folder above that holds `.git`. */
export function workTreeOf(folder: string): string | undefined {
  for (let above = folder; ; above = dirname(above)) {
    if (existsSync(join(above, ".git"))) return above;
    if (dirname(above) === above) return undefined;
  }
}
