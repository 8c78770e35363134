import type { Problem } from "../domain/problem.ts";
import type { SourceTree } from "../domain/source-tree.ts";
import { kustomizationNames, kustomizationOf } from "./detect-kind.ts";
import { readManifests, type Manifest } from "./kube-yaml.ts";
import { readBounded } from "./read-bounded.ts";
import { problemOfEnd, type RenderTools } from "./render-tools.ts";
import { withScratchFolder } from "./scratch-folder.ts";
import { cleanComplaint } from "./tool-complaint.ts";

/**
 * Build a kustomization with the official program, which sees the given files and nothing else. Problems are the
 * author's; rejects when the program cannot be run or the disk is full.
 */
export async function buildKustomization(options: {
  readonly tree: SourceTree;
  readonly folder: string;
  /** The closure, from kustomizeClosure. */
  readonly files: readonly string[];
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}): Promise<{ manifests: Manifest[]; problems: Problem[] }> {
  const { tree, folder, files, tools, signal } = options;
  const file = kustomizationOf(tree, folder) ?? folder;
  const contents = await readBounded(tree, files);
  const output = mayShare(contents) ? await tools.buildInWorker({ folder, files: contents, signal }) : undefined;
  if (output !== undefined) return readManifests(file, output, { references: true });
  return withScratchFolder(async (scratch) => {
    // A folder of its own: Kustomize's root may then be the repository's without the tool's home lying in it.
    await scratch.write(new Map([...contents].map(([path, content]) => [`repository/${path}`, content])));
    const outcome = await tools.run("kustomize", { args: ["build", `./repository/${folder}`], folder: scratch.path, signal });
    const ended = problemOfEnd("kustomize", outcome);
    if (ended !== undefined) return { manifests: [], problems: [{ ...ended, file }] };
    if (outcome.ended !== "well") {
      const scrub = (text: string): string => scratch.scrub(text).replaceAll("repository/", "");
      return { manifests: [], problems: [complaintOf("complaints" in outcome ? outcome.complaints : "", { file, files, scrub })] };
    }
    return readManifests(file, outcome.output, { references: true });
  });
}

/** Schemas of its own stay in kustomize's library when a build is over: the next one in the same program would come out otherwise. */
function mayShare(contents: ReadonlyMap<string, Uint8Array>): boolean {
  return ![...contents].some(
    ([file, content]) => kustomizationNames.some((name) => file.endsWith(name)) && /openapi|crds/i.test(Buffer.from(content).toString("utf8")),
  );
}

/** Kustomize names files by their last part, in quotes, innermost last. */
function complaintOf(text: string, options: { readonly file: string; readonly files: readonly string[]; readonly scrub: (text: string) => string }): Problem {
  const message = cleanComplaint(innermost(text), { scrub: options.scrub });
  const scrubbed = options.scrub(text);
  const named = [...scrubbed.matchAll(/['"]([^'"\s]+\.(?:ya?ml|json|env|properties|txt))['":]/g)].map((match) => match[1] ?? "").reverse();
  const restricted = scrubbed.includes("security; file");
  const found = restricted
    ? undefined
    : named.map((name) => options.files.find((path) => path === name || path.endsWith(`/${name}`))).find((path) => path !== undefined);
  const file = found ?? options.file;
  const line = /\bline (\d+)/.exec(scrubbed)?.[1];
  return { code: "kustomize-failed", message: `Kustomize: ${message}`, file, ...(line === undefined ? {} : { line: Number(line) }), ...hintFor(scrubbed) };
}

/** "accumulating resources: accumulation err='…': …" wraps the reason once per level. */
function innermost(text: string): string {
  const reason = /accumulation err='(?:accumulating resources from '[^']*': )?(.*?)': (?:must build at directory|got file|evalsymlink)/s.exec(text)?.[1];
  return reason ?? text;
}

function hintFor(text: string): { hint?: string } {
  if (/security; file .* is not in or below/s.test(text))
    return { hint: "Kustomize reads files only at or below the kustomization that names them: move the file, or make its folder a base" };
  if (/may not add resource with an already registered id/.test(text))
    return { hint: "two resources have one kind, name and namespace: rename one, or take it away" };
  if (/no matches for Id|failed to find unique target/.test(text)) return { hint: "the patch names an object that is not among the resources" };
  if (/unknown field|invalid Kustomization/.test(text)) return { hint: "see the fields of a kustomization at kubectl.docs.kubernetes.io" };
  return {};
}
