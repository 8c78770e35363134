import type { KubeObject } from "@flotilla/proto/digest";
import { canonicalJson } from "@flotilla/proto/digest";
import { describeObjectId, objectIdOf } from "./object-id.ts";
import { parseQuantity } from "./parse-quantity.ts";

/** Something that going from one set of objects to an older one cannot do, and why. */
export interface RollbackHazard {
  /** Object id. */
  readonly object: string;
  readonly message: string;
}

/**
 * What an API server would refuse, or lose data over, when a cluster goes from `now` to `before`: definitions that lose a version, claims that
 * shrink, and fields that cannot be changed (Kubernetes API validation; PersistentVolumeClaim and CustomResourceDefinition reference).
 */
export function rollbackHazards(now: readonly KubeObject[], before: readonly KubeObject[]): readonly RollbackHazard[] {
  const present = new Map(now.map((object) => [objectIdOf(object), object]));
  return before.flatMap((object) => {
    const id = objectIdOf(object);
    const current = present.get(id);
    if (current === undefined) return [];
    return checksOf(object.kind, current, object).map((message) => ({ object: id, message: `${describeObjectId(id)}: ${message}` }));
  });
}

function checksOf(kind: string, now: KubeObject, before: KubeObject): readonly string[] {
  if (isRecreated(now) || isRecreated(before)) return [];
  if (kind === "CustomResourceDefinition") return lostVersions(now, before);
  if (kind === "PersistentVolumeClaim") return [...shrinks(now, before, ["spec", "resources", "requests", "storage"]), ...changed(kind, now, before)];
  return changed(kind, now, before);
}

/** What is deleted and made again when it cannot be changed has no such fields. */
function isRecreated({ metadata }: KubeObject): boolean {
  const annotations = (metadata as { annotations?: Record<string, string> }).annotations ?? {};
  return annotations["flotilla.dev/force"] === "recreate";
}

interface CrdVersion {
  readonly name?: string;
  readonly served?: boolean;
  readonly storage?: boolean;
}

/** Objects may be stored in a version that the older definition does not know: the API server refuses to drop it, or they become unreadable. */
function lostVersions(now: KubeObject, before: KubeObject): readonly string[] {
  const versions = (object: KubeObject): readonly CrdVersion[] => (object as { spec?: { versions?: CrdVersion[] } }).spec?.versions ?? [];
  const known = new Set(versions(before).map(({ name }) => name));
  return versions(now)
    .filter(({ name }) => !known.has(name))
    .map(({ name = "", storage }) => `version ${name}${storage === true ? ", in which its objects are stored," : ""} would be lost`);
}

function shrinks(now: KubeObject, before: KubeObject, path: readonly string[]): readonly string[] {
  const [current, older] = [valueAt(now, path), valueAt(before, path)];
  const [size, wanted] = [parseQuantity(current), parseQuantity(older)];
  return size !== undefined && wanted !== undefined && wanted < size ? [`a claim cannot shrink from ${String(current)} to ${String(older)}`] : [];
}

/** By kind: what an update may not change. */
const immutable: Readonly<Record<string, readonly (readonly string[])[]>> = {
  Deployment: [["spec", "selector"]],
  DaemonSet: [["spec", "selector"]],
  ReplicaSet: [["spec", "selector"]],
  StatefulSet: [
    ["spec", "selector"],
    ["spec", "serviceName"],
    ["spec", "volumeClaimTemplates"],
    ["spec", "podManagementPolicy"],
  ],
  Job: [
    ["spec", "template"],
    ["spec", "selector"],
    ["spec", "completionMode"],
  ],
  Service: [["spec", "clusterIP"]],
  PersistentVolumeClaim: [
    ["spec", "storageClassName"],
    ["spec", "accessModes"],
    ["spec", "volumeName"],
    ["spec", "volumeMode"],
  ],
  StorageClass: [["provisioner"], ["parameters"], ["reclaimPolicy"], ["volumeBindingMode"]],
  RoleBinding: [["roleRef"]],
  ClusterRoleBinding: [["roleRef"]],
  PriorityClass: [["value"]],
};

function changed(kind: string, now: KubeObject, before: KubeObject): readonly string[] {
  const paths = [...(immutable[kind] ?? [])];
  const isFrozen = (kind === "ConfigMap" || kind === "Secret") && (now as { immutable?: boolean }).immutable === true;
  if (isFrozen) paths.push(["data"], ["binaryData"], ["stringData"]);
  return paths
    .filter((path) => differs(valueAt(now, path), valueAt(before, path)))
    .map((path) => `/${path.join("/")} cannot be changed${isFrozen ? ": it is immutable" : ""}`);
}

/** What the older one leaves out keeps its value. */
function differs(now: unknown, before: unknown): boolean {
  return before !== undefined && now !== undefined && canonicalJson(now) !== canonicalJson(before);
}

function valueAt(object: unknown, path: readonly string[]): unknown {
  let at: unknown = object;
  for (const step of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Record<string, unknown>)[step];
  }
  return at;
}
