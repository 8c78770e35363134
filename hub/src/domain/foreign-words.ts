import type { KubeObject } from "@flotilla/proto/digest";
import { isDirective, readDirectives } from "@flotilla/proto/directives";
import { apiGroup } from "@flotilla/proto/names";
import { describeObjectId, groupOf, objectIdOf } from "./object-id.ts";
import type { Problem } from "./problem.ts";

/** One word of one annotation of one object: what it does here, or why it does nothing. */
export interface DirectiveFinding {
  readonly annotation: string;
  readonly word: string;
  readonly honoured: boolean;
  readonly meaning: string;
  readonly hint?: string;
  /** Object id. */
  readonly object: string;
  readonly bundle?: string;
  readonly file?: string;
  readonly line?: number;
}

/** Annotations of the other programs that are notes of theirs and ask for nothing. */
const notesOnly: ReadonlySet<string> = new Set([
  "argocd.argoproj.io/tracking-id",
  "argocd.argoproj.io/manifest-generate-paths",
  "argocd.argoproj.io/refresh",
  "kustomize.toolkit.fluxcd.io/checksum",
  "helm.sh/chart",
]);

/** What an object's annotations ask, word by word: in the words of Flotilla, Flux, Argo CD and Helm. */
export function findDirectives(object: KubeObject): DirectiveFinding[] {
  const { honoured, notHonoured } = readDirectives(object);
  const id = objectIdOf(object);
  const read = new Set([...honoured, ...notHonoured].map(({ annotation }) => annotation));
  const unread = Object.entries(object.metadata.annotations ?? {}).filter(([name]) => isForeign(name) && !read.has(name) && !notesOnly.has(name));
  return [
    ...honoured.map((note) => ({ ...note, honoured: true, object: id })),
    ...notHonoured.map((note) => ({ ...note, honoured: false, object: id })),
    ...unread.map(([annotation, word]) => ({ annotation, word, honoured: false, meaning: "is an annotation that means nothing here", object: id })),
  ];
}

/** Whether the annotation is one of Flux, Argo CD or Helm. */
export function isForeign(annotation: string): boolean {
  return isDirective(annotation) && !annotation.startsWith(`${apiGroup}/`);
}

/** Longest part of a word that is shown: whole JSON documents stand in annotations. */
const wordCharsShown = 60;

/** What is not honoured, each word once, with the first object that says it. */
export function warnOfDirectives(findings: readonly DirectiveFinding[]): Problem[] {
  const words = Map.groupBy(
    findings.filter(({ honoured }) => !honoured),
    ({ annotation, word }) => `${annotation}\n${word}`,
  );
  return [...words.values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined) return [];
    const { annotation, word, meaning, hint, object, file, line } = first;
    const shown = word.length > wordCharsShown ? `${word.slice(0, wordCharsShown)}…` : word;
    const others = same.length === 1 ? "" : `; ${same.length - 1} more object${same.length === 2 ? "" : "s"} say so`;
    return [
      {
        code: "directive-not-honoured",
        message: `${annotation}: '${shown}' is not honoured: ${meaning}${others}`,
        ...(file !== undefined && { file }),
        ...(line !== undefined && { line }),
        ...(hint !== undefined && { hint }),
        object,
      },
    ];
  });
}

/** Objects by which other programs deliver: what they say of syncing is not for this fleet. */
const deliverers: Readonly<Record<string, string>> = {
  "argoproj.io/Application": "Argo CD",
  "argoproj.io/ApplicationSet": "Argo CD",
  "argoproj.io/AppProject": "Argo CD",
  "kustomize.toolkit.fluxcd.io/Kustomization": "Flux",
  "helm.toolkit.fluxcd.io/HelmRelease": "Flux",
  "source.toolkit.fluxcd.io/GitRepository": "Flux",
  "source.toolkit.fluxcd.io/HelmRepository": "Flux",
  "source.toolkit.fluxcd.io/HelmChart": "Flux",
  "source.toolkit.fluxcd.io/OCIRepository": "Flux",
  "source.toolkit.fluxcd.io/Bucket": "Flux",
};

/** A warning for an object that makes another program deliver; undefined for all others. */
export function warnOfDeliverer(object: KubeObject): Problem | undefined {
  const program = deliverers[`${groupOf(object.apiVersion)}/${object.kind}`];
  if (program === undefined) return undefined;
  return {
    code: "foreign-delivery",
    message: `${describeObjectId(objectIdOf(object))} is applied like any object: what it says of syncing is for ${program}, where that runs, and not for this fleet`,
    hint: `leave it out where ${program} does not run; for this fleet the same is said in fleet.yaml: prune, apply, drift.ignore, dependsOn, syncWindows`,
    object: objectIdOf(object),
  };
}

/** What nobody can see in the objects, told where their annotations come from the program. */
export function remarksOfForeignWords(findings: readonly DirectiveFinding[]): string[] {
  const has = (prefix: string): boolean => findings.some(({ annotation }) => annotation.startsWith(prefix));
  return [
    ...(has("argocd.argoproj.io/")
      ? [
          "what an Argo CD Application says (syncPolicy, syncOptions, ignoreDifferences, sync windows of its project) is not in these objects: write it in fleet.yaml (prune.mode, apply, drift.ignore, syncWindows)",
        ]
      : []),
    ...(has("kustomize.toolkit.fluxcd.io/")
      ? [
          "what a Flux Kustomization says (spec.prune, force, wait, timeout, dependsOn, postBuild) is not in these objects: write it in fleet.yaml (prune.mode, apply, health, dependsOn, values)",
        ]
      : []),
  ];
}
