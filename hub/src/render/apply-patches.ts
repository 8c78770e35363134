import { canonicalJson, type Json } from "@flotilla/proto/digest";
import type { PatchSpec } from "../domain/fleet-spec.ts";
import { groupOf, versionOf } from "../domain/object-id.ts";
import type { Problem } from "../domain/problem.ts";
import { isReference, TypedReference, type Template } from "../domain/substitute.ts";
import { readManifests, type Manifest, type Place } from "./kube-yaml.ts";
import { problemOfEnd, type RenderTools } from "./render-tools.ts";
import { withScratchFolder } from "./scratch-folder.ts";
import { cleanComplaint } from "./tool-complaint.ts";

/** Stands before a quoted "${name}" on its way through Kustomize, which drops quotes: it stays text. Private use area. */
const quoted = "\uE0F1";

/**
 * Apply an overlay's patches, strategic merge or JSON 6902, as Kustomize does (custom resources by JSON merge). A patch whose
 * target matches no object is a problem: silence would hide a renamed Deployment.
 *
 * @param options.placeOfPatch where the n-th patch is written, for problems.
 */
export async function applyPatches(options: {
  readonly manifests: readonly Manifest[];
  readonly patches: readonly PatchSpec[];
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
  readonly placeOfPatch?: (index: number) => Place | undefined;
}): Promise<{ manifests: Manifest[]; problems: Problem[] }> {
  const { manifests, patches, tools, signal } = options;
  const placeOf = (index: number): Partial<Place> => options.placeOfPatch?.(index) ?? {};
  const idle = patches.flatMap((patch, index) => (mayMatch(patch, manifests) ? [] : [{ ...nothingMatches(patch, index), ...placeOf(index) }]));
  if (idle.length > 0) return { manifests: [], problems: idle };
  const origins = new Map(manifests.map((manifest) => [identity(manifest), manifest]));
  return withScratchFolder(async (scratch) => {
    const kustomization = {
      resources: ["objects.yaml"],
      patches: patches.map(({ target, patch }) => ({ ...(target === undefined ? {} : { target }), patch })),
    };
    const objects = manifests.map((manifest) => canonicalJson(encode(manifest.content))).join("\n---\n");
    await scratch.write(
      new Map([
        ["patched/kustomization.yaml", JSON.stringify(kustomization)],
        ["patched/objects.yaml", objects],
      ]),
    );
    const outcome = await tools.run("kustomize", { args: ["build", "./patched"], folder: scratch.path, signal });
    const ended = problemOfEnd("kustomize", outcome);
    if (ended !== undefined) return { manifests: [], problems: [{ ...ended, ...placeOf(0) }] };
    if (outcome.ended !== "well") {
      const complaint = cleanComplaint("complaints" in outcome ? outcome.complaints : "", { scrub: scratch.scrub });
      return {
        manifests: [],
        problems: [
          { code: "patch-failed", message: `a patch cannot be applied: ${complaint}`, ...placeOf(0), hint: "look at the overlay's patches in fleet.yaml" },
        ],
      };
    }
    const patched = readManifests("patches", outcome.output, { references: true });
    return { manifests: patched.manifests.map((manifest) => fromOrigin(manifest, origins)), problems: patched.problems };
  });
}

/** Keep saying where an object was written; members that a patch brought have no line there. */
function fromOrigin(manifest: Manifest, origins: ReadonlyMap<string, Manifest>): Manifest {
  const content = decode(manifest.content) as Manifest["content"];
  const origin = origins.get(identity(manifest));
  return origin === undefined
    ? { content, place: manifest.place, placeOf: () => manifest.place }
    : { content, place: origin.place, placeOf: (path) => origin.placeOf(path) };
}

function identity({ content }: Manifest): string {
  const { apiVersion, kind, metadata } = content as { apiVersion?: unknown; kind?: unknown; metadata?: { name?: unknown; namespace?: unknown } };
  return JSON.stringify([groupOf(String(apiVersion)), kind, metadata?.namespace ?? "", metadata?.name]);
}

function encode(value: Template): Json {
  if (value instanceof TypedReference) return value.text;
  if (typeof value === "string") return isReference(value) ? quoted + value : value;
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object" || value === null) return value as Json;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, encode(member as Template)]));
}

function decode(value: Template): Template {
  if (value instanceof TypedReference || value === null) return value;
  if (typeof value === "string") return value.startsWith(quoted) ? value.slice(quoted.length) : value;
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, decode(member as Template)]));
}

function nothingMatches({ target }: PatchSpec, index: number): Problem {
  const named = Object.entries(target ?? {})
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");
  return {
    code: "patch-matches-nothing",
    message: `patch ${index + 1} is for ${named}, and no object is that`,
    hint: "check kind and name of the target, or take the patch out of the overlay",
  };
}

/** Whether some object can be the target. Selectors and patterns beyond alternatives and `.*` are left to Kustomize. */
function mayMatch({ target }: PatchSpec, manifests: readonly Manifest[]): boolean {
  if (target === undefined || target.labelSelector !== undefined || target.annotationSelector !== undefined) return true;
  return manifests.some(({ content }) => {
    const { apiVersion, kind, metadata } = content as { apiVersion?: unknown; kind?: unknown; metadata?: { name?: unknown; namespace?: unknown } };
    const { group, version, kind: wantedKind, name, namespace } = target;
    return (
      matchesPattern(group, groupOf(String(apiVersion))) &&
      matchesPattern(version, versionOf(String(apiVersion))) &&
      matchesPattern(wantedKind, String(kind)) &&
      matchesPattern(name, String(metadata?.name)) &&
      (typeof metadata?.namespace !== "string" || matchesPattern(namespace, metadata.namespace))
    );
  });
}

/** Anchored, as Kustomize's patterns are. Never a regular expression of the user's in this process: those can take for ever. */
function matchesPattern(pattern: string | undefined, text: string): boolean {
  if (pattern === undefined || pattern === "") return true;
  return pattern.split("|").some((choice) => {
    const parts = choice.replace(/^\^/, "").replace(/\$$/, "").split(".*");
    if (parts.some((part) => /[\\[\](){}+?*^$]/.test(part))) return true;
    const [first = "", ...rest] = parts;
    const last = rest.pop();
    if (last === undefined) return first === text;
    if (!text.startsWith(first)) return false;
    let from = first.length;
    for (const part of rest) {
      const at = text.indexOf(part, from);
      if (at < 0) return false;
      from = at + part.length;
    }
    return text.length - last.length >= from && text.endsWith(last);
  });
}
