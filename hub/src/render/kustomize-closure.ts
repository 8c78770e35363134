import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, resolveInside, type SourceTree } from "../domain/source-tree.ts";
import { bundleFilesMax, kustomizationsMax } from "../limits.ts";
import { isMap } from "../domain/merge-values.ts";
import { kustomizationOf } from "./detect-kind.ts";
import { checkBuiltinConfigs } from "./builtin-configs.ts";
import { readManifests, type Manifest } from "./kube-yaml.ts";
import { readBounded } from "./read-bounded.ts";

/** Everything that one kustomization reads, directly or through others. */
export interface KustomizeClosure {
  /** Paths from the repository's root, sorted. */
  readonly files: readonly string[];
  readonly problems: readonly Problem[];
}

/** How a field of a kustomization names files. */
type FieldShape = "file or folder" | "file" | "file or text" | "key=file" | "path of each" | "path" | "generator";

/** The fields of a kustomization that name files. Others hold values. */
const fields: Readonly<Record<string, FieldShape>> = {
  resources: "file or folder",
  bases: "file or folder",
  components: "file or folder",
  crds: "file",
  configurations: "file",
  generators: "file or text",
  transformers: "file or text",
  validators: "file or text",
  patchesStrategicMerge: "file or text",
  patches: "path of each",
  patchesJson6902: "path of each",
  replacements: "path of each",
  configMapGenerator: "generator",
  secretGenerator: "generator",
  openapi: "path",
};

/** Fields that fetch from elsewhere or run something. */
const refusedFields: Readonly<Record<string, string>> = {
  helmCharts: "make the chart a bundle of its own: put it into the repository, with its dependencies in charts/",
  helmChartInflationGenerator: "make the chart a bundle of its own: put it into the repository, with its dependencies in charts/",
  helmGlobals: "make the chart a bundle of its own",
};

interface Reference {
  readonly text: string;
  readonly shape: "file" | "file or folder";
  readonly path: readonly (string | number)[];
}

/**
 * Follow a kustomization's references through the repository: what it reads and nothing else. References to other hosts, out of
 * the repository and to nothing are problems with file and line; Kustomize itself is never asked to fetch.
 */
export async function kustomizeClosure(tree: SourceTree, folder: string): Promise<KustomizeClosure> {
  const files = new Set<string>();
  const problems: Problem[] = [];
  const visited = new Set<string>();
  const pending = [folder];
  while (pending.length > 0) {
    const next = pending.shift() ?? "";
    if (visited.has(next)) continue;
    visited.add(next);
    if (visited.size > kustomizationsMax || files.size > bundleFilesMax) {
      return {
        files: [],
        problems: [
          {
            code: "too-many-files",
            message: `the kustomization reads more than ${kustomizationsMax} others or ${bundleFilesMax} files`,
            file: folder,
            hint: "split the bundle",
          },
        ],
      };
    }
    const file = kustomizationOf(tree, next);
    if (file === undefined) {
      problems.push({ code: "missing-path", message: `the folder ${next || "."} has no kustomization.yaml`, file: next });
      continue;
    }
    files.add(file);
    await followFile({ tree, file, folder: next, files, problems, pending });
  }
  if (problems.length === 0) problems.push(...(await checkBuiltins(tree, [...files])));
  return { files: [...files].sort(), problems };
}

/** Configurations of generators lie beside the kustomization that names them, or in a folder of their own. */
async function checkBuiltins(tree: SourceTree, files: readonly string[]): Promise<Problem[]> {
  const contents = await readBounded(
    tree,
    files.filter((file) => /(\.(ya?ml|json)|\/Kustomization|^Kustomization)$/.test(file)),
  );
  return [...contents].flatMap(([file, content]) => {
    const folder = file.slice(0, Math.max(0, file.lastIndexOf("/")));
    return checkBuiltinConfigs(file, content, folder);
  });
}

interface Walk {
  readonly tree: SourceTree;
  readonly file: string;
  readonly folder: string;
  readonly files: Set<string>;
  readonly problems: Problem[];
  readonly pending: string[];
}

async function followFile(walk: Walk): Promise<void> {
  const content = (await walk.tree.read([walk.file])).get(walk.file) ?? new Uint8Array();
  const { manifests, problems } = readManifests(walk.file, content, { references: false });
  walk.problems.push(...problems);
  const [manifest] = manifests;
  if (manifest === undefined) {
    if (problems.length === 0)
      walk.problems.push({ code: "zero-documents", message: "the kustomization is empty", file: walk.file, hint: "add resources, or take the file away" });
    return;
  }
  for (const [field, remedy] of Object.entries(refusedFields)) {
    if (manifest.content[field] === undefined) continue;
    walk.problems.push({
      code: "remote-reference",
      message: `${field} is refused: charts are not fetched while rendering`,
      ...manifest.placeOf([field]),
      hint: remedy,
    });
  }
  for (const reference of referencesOf(manifest)) follow(walk, manifest, reference);
  if (["generators", "transformers", "validators"].some((field) => manifest.content[field] !== undefined)) addFolder(walk);
}

function follow(walk: Walk, manifest: Manifest, reference: Reference): void {
  const { tree, folder } = walk;
  const resolved = resolveInside(folder, reference.text);
  const kind = resolved === undefined ? undefined : tree.kindOf(resolved);
  if (resolved !== undefined && kind === "file") walk.files.add(resolved);
  else if (resolved !== undefined && kind === "folder" && reference.shape === "file or folder") followFolder(walk, manifest, reference, resolved);
  else walk.problems.push(problemOfReference(walk, manifest, reference, resolved));
}

function followFolder({ tree, pending, problems }: Walk, manifest: Manifest, reference: Reference, folder: string): void {
  if (kustomizationOf(tree, folder) !== undefined) {
    pending.push(folder);
    return;
  }
  const hint = "name its files one by one, or give it a kustomization.yaml";
  problems.push(
    tree.refused(folder) ?? {
      code: "missing-path",
      message: `the folder '${reference.text}' has no kustomization.yaml`,
      ...manifest.placeOf(reference.path),
      hint,
    },
  );
}

function problemOfReference({ tree, folder }: Walk, manifest: Manifest, reference: Reference, resolved: string | undefined): Problem {
  const place = manifest.placeOf(reference.path);
  const shown = reference.text.length > 120 ? `${reference.text.slice(0, 120)}…` : reference.text;
  if (isRemote(reference.text)) {
    const hint = "copy what it names into the repository, or add that repository as a fleet of its own";
    return { code: "remote-reference", message: `'${withoutCredentials(shown)}' is remote: nothing is fetched while rendering`, ...place, hint };
  }
  if (resolved === undefined)
    return {
      code: "path-outside-repository",
      message: `'${shown}' leads out of the repository`,
      ...place,
      hint: "name something inside the repository, relative to this file",
    };
  const refused = tree.refused(resolved);
  if (refused !== undefined) return { ...refused, hint: refused.hint ?? `named by ${place.file}:${place.line}` };
  if (tree.kindOf(resolved) === "folder") return { code: "missing-path", message: `'${shown}' is a folder, and a file is wanted here`, ...place };
  return {
    code: "missing-path",
    message: `there is nothing at '${shown}'`,
    ...place,
    hint: `looked for ${resolved || "."}, from ${folder || "the repository's root"}`,
  };
}

/** Files that configurations of generators and transformers name in turn: the folder whole, which Kustomize may read anyway. */
function addFolder({ tree, folder, files, problems }: Walk): void {
  try {
    for (const file of tree.files(folder)) files.add(file.path);
  } catch (error) {
    if (!(error instanceof RefusedPathError)) throw error;
    problems.push(error.problem);
  }
}

function referencesOf(manifest: Manifest): Reference[] {
  return Object.entries(fields).flatMap(([field, shape]) => {
    const value = manifest.content[field];
    if (value === undefined || value === null) return [];
    if (shape === "path") return isMap(value as never) ? pathMember(value, "path", [field]) : [];
    return Array.isArray(value) ? (value as readonly unknown[]).flatMap((item, index) => referencesOfItem(shape, item, [field, index])) : [];
  });
}

function referencesOfItem(shape: FieldShape, item: unknown, path: readonly (string | number)[]): Reference[] {
  switch (shape) {
    case "file or folder":
      return typeof item === "string" ? [{ text: item, shape, path }] : [];
    case "file":
    case "key=file":
      return typeof item === "string" ? [{ text: shape === "file" ? item : afterKey(item), shape: "file", path }] : [];
    case "file or text":
      return typeof item === "string" && !/[\n{]|: /.test(item) ? [{ text: item, shape: "file or folder", path }] : [];
    case "path of each":
    case "path":
      return pathMember(item, "path", path);
    case "generator":
      return ["files", "envs"].flatMap((key) => members(item, key, path)).concat(pathMember(item, "env", path));
  }
}

function members(item: unknown, key: string, path: readonly (string | number)[]): Reference[] {
  const list = isMap(item as never) ? (item as Record<string, unknown>)[key] : undefined;
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown, index) => referencesOfItem(key === "files" ? "key=file" : "file", entry, [...path, key, index]));
}

function pathMember(item: unknown, key: string, path: readonly (string | number)[]): Reference[] {
  const value = isMap(item as never) ? (item as Record<string, unknown>)[key] : undefined;
  return typeof value === "string" && value !== "" ? [{ text: value, shape: "file", path: [...path, key] }] : [];
}

/** "application.properties=config/app.properties" → the file. */
function afterKey(text: string): string {
  return text.slice(text.indexOf("=") + 1);
}

/** What Kustomize would take for a URL or a Git repository. */
function isRemote(text: string): boolean {
  return (
    /^[a-z][a-z0-9+.-]*:/i.test(text) ||
    /^[^/\s]+@[^/\s]+:/.test(text) ||
    /^(github\.com|gitlab\.com|bitbucket\.org|gh:|git::)/i.test(text) ||
    /[?&](ref|version)=/.test(text) ||
    /^[\w.-]+\.[a-z]{2,}\/[^/]+\/[^/]+/i.test(text)
  );
}

function withoutCredentials(url: string): string {
  return url.replace(/\/\/[^/@\s]*@/, "//…@");
}
