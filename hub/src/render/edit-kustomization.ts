import type { Json } from "@flotilla/proto/digest";
import { placeOfField, pointerOf, type FieldName } from "../domain/field-place.ts";
import { editManifest, objectsInFile, type ManifestEdit } from "./edit-manifest.ts";

/** A field that an entry of a kustomization (`images`, `replicas`) sets. */
export type EntryEdit =
  | ManifestEdit
  /** No entry of this kustomization sets it. */
  | { readonly kind: "not set" };

interface ImageEntry {
  readonly name?: unknown;
  readonly newName?: unknown;
  readonly newTag?: unknown;
  readonly digest?: unknown;
}

/**
 * Have the entry of a kustomization's own `images` or `replicas` that sets a field say another value, in place. A patch would not do: both are
 * applied after patches.
 *
 * @param object as it is rendered now; `name` as the kustomization's own resources have it, before its prefix and suffix.
 */
export function editEntry(source: string, object: unknown, name: string, field: FieldName, value: Json | undefined): EntryEdit {
  const kustomization = objectsInFile(source)[0]?.content as { images?: unknown; replicas?: unknown } | undefined;
  const place = placeOfField(object, field);
  if (kustomization === undefined || place === undefined || value === undefined) return { kind: "not set" };
  const before = place.reduce<unknown>((at, step) => (at as never)?.[step], object);
  if (pointerOf(place) === "/spec/replicas" && typeof value === "number") return editReplicas(source, kustomization.replicas, name, value);
  if (place.at(-1) === "image" && typeof before === "string" && typeof value === "string") return editImage(source, kustomization.images, before, value);
  return { kind: "not set" };
}

function editReplicas(source: string, entries: unknown, name: string, count: number): EntryEdit {
  const index = listOf(entries).findIndex((entry) => (entry as { name?: unknown }).name === name);
  return index < 0 ? { kind: "not set" } : setIn(source, ["replicas", index], { count });
}

function editImage(source: string, entries: unknown, before: string, after: string): EntryEdit {
  const [was, wanted] = [partsOf(before), partsOf(after)];
  const index = listOf(entries).findIndex((entry) => isSetBy(entry as ImageEntry, was));
  if (index < 0) return { kind: "not set" };
  const entry = listOf(entries)[index] as ImageEntry;
  return setIn(source, ["images", index], {
    ...(wanted.repository === was.repository ? {} : { newName: wanted.repository === entry.name ? undefined : wanted.repository }),
    ...(wanted.tag === was.tag ? {} : { newTag: wanted.tag }),
    ...(wanted.digest === was.digest ? {} : { digest: wanted.digest }),
  });
}

/** Whether an image is what the entry makes of it. */
function isSetBy(entry: ImageEntry, image: ImageParts): boolean {
  if ((entry.newName ?? entry.name) !== image.repository) return false;
  return (entry.newTag === undefined || entry.newTag === image.tag) && (entry.digest === undefined || entry.digest === image.digest);
}

interface ImageParts {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/** "host:5000/name:tag@digest": a colon before the last slash is a port's. */
function partsOf(image: string): ImageParts {
  const [named = "", digest] = image.split("@", 2);
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  return colon < 0 ? { repository: named, tag: undefined, digest } : { repository: named.slice(0, colon), tag: named.slice(colon + 1), digest };
}

function setIn(source: string, entry: readonly [string, number], values: Readonly<Record<string, Json | undefined>>): ManifestEdit {
  let edited = source;
  for (const [key, value] of Object.entries(values)) {
    const place = [...entry, key];
    const content = objectsInFile(edited)[0]?.content as never;
    if (value === undefined && (content?.[entry[0]] as never)?.[entry[1]]?.[key] === undefined) continue;
    const outcome = editManifest(edited, { document: 0, item: [] }, { path: pointerOf(place), members: [] }, value, false);
    if (outcome.kind !== "edited") return outcome;
    edited = outcome.source;
  }
  return { kind: "edited", source: edited };
}

function listOf(entries: unknown): readonly unknown[] {
  return Array.isArray(entries) ? entries : [];
}

/** Made by Kustomize's generators, with a hash of their content at the end of the name. */
const generators = { ConfigMap: "configMapGenerator", Secret: "secretGenerator" } as const;

/** The generator of a kustomization that makes an object, as "configMapGenerator 'settings'"; undefined when none of its own does. */
export function generatorOf(source: string, object: { readonly kind: string; readonly name: string }): string | undefined {
  if (object.kind !== "ConfigMap" && object.kind !== "Secret") return undefined;
  const field = generators[object.kind];
  const entries = listOf((objectsInFile(source)[0]?.content as Record<string, unknown> | undefined)?.[field]);
  const hashless = object.name.replace(/-[a-z0-9]{10}$/, "");
  const entry = entries.find((candidate) => {
    const { name } = candidate as { name?: unknown };
    return typeof name === "string" && name !== "" && hashless.includes(name);
  });
  return entry === undefined ? undefined : `${field} '${String((entry as { name: string }).name)}'`;
}
