import { canonicalJson, type Json, type KubeObject } from "@flotilla/proto/digest";
import { maxObjectBytes, maxObjectsPerBundle } from "@flotilla/proto/limits";
import { type DirectiveFinding, findDirectives, warnOfDeliverer, warnOfDirectives } from "../domain/foreign-words.ts";
import { isMap } from "../domain/merge-values.ts";
import { describeObjectId, groupOf, objectIdOf } from "../domain/object-id.ts";
import type { Problem } from "../domain/problem.ts";
import { directivesPerBundleMax } from "../limits.ts";
import { checkObject, asKubeObject, complaintToProblem } from "./check-object.ts";
import { isClusterScoped } from "./known-kinds.ts";
import type { Place } from "./kube-yaml.ts";
import { nameHook } from "./name-hook.ts";

/** An object after substitution, and where it was written. */
export interface PlacedObject {
  readonly content: Json;
  readonly place: Place;
  placeOf(path: readonly (string | number)[]): Place;
}

export interface NormalOptions {
  /** For objects that name none and may have one. */
  readonly namespace: string;
  /** "group/Kind" of custom resources without a namespace, as far as the fleet's definitions say. */
  readonly clusterKinds: ReadonlySet<string>;
}

export interface NormalObjects {
  /** Sorted by id. */
  readonly objects: readonly KubeObject[];
  readonly objectIds: readonly string[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** What the objects' annotations ask, by object and place; bounded. */
  readonly directives: readonly DirectiveFinding[];
}

/**
 * Objects in the one form that is applied: checked, with their namespace, without what only a server may set, each id once,
 * sorted. Equal content gives equal objects whatever files it came from.
 */
export function normaliseObjects(placed: readonly PlacedObject[], options: NormalOptions): NormalObjects {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const directives: DirectiveFinding[] = [];
  const clusterKinds = new Set([...options.clusterKinds, ...placed.flatMap(({ content }) => clusterKindOf(content))]);
  const byId = new Map<string, { object: KubeObject; place: Place }>();
  for (const { content: written, place, placeOf } of placed) {
    const content = nameHook(written);
    const complaints = checkObject(content);
    if (complaints.length > 0) {
      problems.push(...complaints.map((complaint) => complaintToProblem(complaint, placeOf(complaint.path))));
      continue;
    }
    const object = normalise(asKubeObject(content), options.namespace, clusterKinds);
    const id = objectIdOf(object);
    const first = byId.get(id);
    if (first !== undefined) problems.push(duplicate(id, first.place, place));
    else byId.set(id, { object, place });
    warnings.push(...warningsOf(content, object, id, place));
    directives.push(...placedDirectives(object, placeOf));
    problems.push(...tooLarge(object, id, place));
  }
  if (byId.size > maxObjectsPerBundle)
    problems.push({ code: "too-many-objects", message: `the bundle has ${byId.size} objects; it may have ${maxObjectsPerBundle}`, hint: "split the bundle" });
  const objectIds = [...byId.keys()].sort();
  const objects = objectIds.flatMap((id) => byId.get(id)?.object ?? []);
  return { objects, objectIds, problems, warnings: [...warnings, ...warnOfDirectives(directives)], directives: directives.slice(0, directivesPerBundleMax) };
}

function placedDirectives(object: KubeObject, placeOf: PlacedObject["placeOf"]): DirectiveFinding[] {
  return findDirectives(object).map((finding) => {
    const { file, line } = placeOf(["metadata", "annotations", finding.annotation]);
    return { ...finding, file, ...(line !== undefined && { line }) };
  });
}

/** "group/Kind" that a CustomResourceDefinition makes, when its objects have no namespace. */
export function clusterKindOf(content: Json): string[] {
  if (!isMap(content) || content["kind"] !== "CustomResourceDefinition" || !isMap(content["spec"])) return [];
  const { group, scope, names } = content["spec"];
  return scope === "Cluster" && typeof group === "string" && isMap(names) && typeof names["kind"] === "string" ? [`${group}/${names["kind"]}`] : [];
}

/** Members of metadata that only a server sets. With server-side apply they make conflicts. */
const serverMetadata = new Set([
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "managedFields",
  "selfLink",
  "generateName",
]);
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

function normalise(object: KubeObject, namespace: string, clusterKinds: ReadonlySet<string>): KubeObject {
  const scoped = isClusterScoped(groupOf(object.apiVersion), object.kind, clusterKinds);
  const { namespace: written, annotations, ...metadata } = object.metadata;
  const kept = Object.fromEntries(Object.entries(metadata).filter(([key, value]) => !serverMetadata.has(key) && value !== null));
  const texts = Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => key !== lastApplied));
  const rest = Object.fromEntries(Object.entries(object).filter(([key]) => key !== "metadata" && key !== "status"));
  return withoutEmptyTimes({
    ...rest,
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      ...kept,
      name: object.metadata.name,
      ...(Object.keys(texts).length === 0 ? {} : { annotations: texts }),
      ...(scoped ? {} : { namespace: written || namespace }),
    },
  });
}

/** Go programs print `creationTimestamp: null` into every template's metadata. */
function withoutEmptyTimes<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutEmptyTimes) as T;
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([key, member]) => key !== "creationTimestamp" || member !== null);
  return Object.fromEntries(members.map(([key, member]) => [key, withoutEmptyTimes(member)])) as T;
}

function duplicate(id: string, first: Place, second: Place): Problem {
  return {
    code: "duplicate-object",
    message: `${describeObjectId(id)} is already in ${first.file}:${first.line}`,
    ...second,
    hint: "keep one of them, or give one another name or namespace",
    object: id,
  };
}

function tooLarge(object: KubeObject, id: string, place: Place): Problem[] {
  const bytes = Buffer.byteLength(canonicalJson(object));
  if (bytes <= maxObjectBytes) return [];
  return [
    {
      code: "object-too-large",
      message: `${describeObjectId(id)} has ${bytes} bytes; Kubernetes stores at most ${maxObjectBytes}`,
      ...place,
      hint: "split it, or keep the content elsewhere",
      object: id,
    },
  ];
}

function warningsOf(written: Json, object: KubeObject, id: string, place: Place): Problem[] {
  const warnings: Problem[] = [];
  const deliverer = warnOfDeliverer(object);
  if (deliverer !== undefined) warnings.push({ ...deliverer, ...place });
  if (isMap(written) && isMap(written["metadata"])) {
    const server = ["uid", "resourceVersion", "managedFields"].filter((key) => isMap(written["metadata"]) && (written["metadata"][key] ?? null) !== null);
    if (server.length > 0)
      warnings.push({
        code: "server-fields",
        message: `${describeObjectId(id)} carries ${server.join(", ")}, which only a server sets: left out`,
        ...place,
        hint: "take them out of the file",
        object: id,
      });
  }
  if (object.kind !== "Secret" || groupOf(object.apiVersion) !== "") return warnings;
  if ("sops" in object)
    return [
      ...warnings,
      {
        code: "sops-secret",
        message: `${describeObjectId(id)} is encrypted with SOPS, which this release does not decrypt`,
        ...place,
        hint: "leave it out of the bundle for now",
        object: id,
      },
    ];
  const holdsValues = [object["data"], object["stringData"]].some((map) => typeof map === "object" && map !== null && Object.keys(map).length > 0);
  if (holdsValues)
    warnings.push({
      code: "plain-secret",
      message: `${describeObjectId(id)} is a Secret in plain text: whoever reads the repository reads it`,
      ...place,
      hint: "encrypt it, or let the cluster fetch it (External Secrets)",
      object: id,
    });
  return warnings;
}
