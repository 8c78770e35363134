import type { KubeObject } from "@flotilla/proto/digest";

/** API group of an apiVersion: "apps/v1" → "apps", "v1" → "". */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

/** Version of an apiVersion: "apps/v1" → "v1". */
export function versionOf(apiVersion: string): string {
  return apiVersion.slice(apiVersion.indexOf("/") + 1);
}

/** The id of an object as "group/kind/namespace/name"; none of the four can hold a slash. The version is not part of it. */
export function objectIdOf(object: KubeObject): string {
  return `${groupOf(object.apiVersion)}/${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

/** For people: "Deployment shop/web", "Namespace shop". */
export function describeObjectId(id: string): string {
  const [, kind, namespace, name] = id.split("/");
  return namespace === "" ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
