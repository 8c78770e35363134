import type { KubeObject } from "@flotilla/proto/digest";

/** One Kubernetes object by name. Version is not part of it: apps/v1 and apps/v2 of one name are one object. */
export interface ObjectId {
  readonly group: string;
  readonly kind: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
}

/** An object id as one string: "group/kind/namespace/name". None of the four can hold a slash. */
export type ObjectKey = string;

/** The id as a key, for maps and inventories. */
export function objectKey(id: ObjectId): ObjectKey {
  return `${id.group}/${id.kind}/${id.namespace}/${id.name}`;
}

/**
 * The id that a key stands for.
 *
 * @throws Error when the key has not exactly four parts, or no kind or name.
 */
export function parseObjectKey(key: ObjectKey): ObjectId {
  const [group, kind, namespace, name, ...more] = key.split("/");
  if (group === undefined || !kind || namespace === undefined || !name || more.length > 0) {
    throw new Error(`"${key}" is not an object id of the form group/kind/namespace/name`);
  }
  return { group, kind, namespace, name };
}

/** API group of an apiVersion: "apps/v1" → "apps", "v1" → "". */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

/** Version of an apiVersion: "apps/v1" → "v1". */
export function versionOf(apiVersion: string): string {
  return apiVersion.slice(apiVersion.indexOf("/") + 1);
}

/** The id of an object as Git or an API server gives it. */
export function idOf(object: KubeObject): ObjectId {
  return { group: groupOf(object.apiVersion), kind: object.kind, namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

/** For people: "Deployment shop/web", "Namespace shop". */
export function describeId(id: ObjectId): string {
  return id.namespace === "" ? `${id.kind} ${id.name}` : `${id.kind} ${id.namespace}/${id.name}`;
}

/** Whether values of this kind must never leave the cluster: Secret, SealedSecret, ExternalSecret and their like (G13). */
export function isSecretLike(kind: string): boolean {
  return /secret/i.test(kind);
}
