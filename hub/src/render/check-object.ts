import type { Json, KubeObject } from "@flotilla/proto/digest";
import { isMap } from "../domain/merge-values.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { groupOf, versionOf } from "../domain/object-id.ts";
import type { Problem } from "../domain/problem.ts";
import { apiVersionOfKind, isBuiltInGroup, kindsByApiVersion, removalOf } from "./known-kinds.ts";

/** What is wrong with one object, and at which member. */
export interface Complaint {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly path: readonly (string | number)[];
}

/**
 * Whether a document is a Kubernetes object as far as that can be told without a cluster: apiVersion, kind and metadata have
 * their shapes, the kind exists, the name can be a name, labels and annotations are text. Empty when it is.
 */
export function checkObject(content: Json): Complaint[] {
  if (!isMap(content)) return [{ code: "not-an-object", message: "not a Kubernetes object", path: [] }];
  const shape = [...checkText(content, "apiVersion"), ...checkText(content, "kind")];
  const { apiVersion, kind, metadata } = content;
  if (shape.length > 0 || typeof apiVersion !== "string" || typeof kind !== "string") return shape;
  return [...checkKind(apiVersion, kind), ...checkMetadata(kind, metadata), ...checkTextData(apiVersion, kind, content)];
}

/** A complaint as a problem; `problem` says where. */
export function complaintToProblem(complaint: Complaint, place: Pick<Problem, "file" | "line" | "column" | "bundle" | "object">): Problem {
  const { code, message, hint } = complaint;
  return { code, message, ...place, ...(hint === undefined ? {} : { hint }) };
}

/** Checked: a document that checkObject had nothing to say about. */
export function asKubeObject(content: Json): KubeObject {
  return content as unknown as KubeObject;
}

function checkText(content: { readonly [key: string]: Json }, field: "apiVersion" | "kind"): Complaint[] {
  const value = content[field];
  if (typeof value === "string" && value !== "") return [];
  const example = field === "kind" ? "Deployment" : "apps/v1";
  if (value !== undefined && value !== null && value !== "")
    return [{ code: `wrong-${dashed(field)}`, message: `${field} is a ${typeof value}, not text`, hint: `for example ${field}: ${example}`, path: [field] }];
  const near = nearestName(
    field,
    Object.keys(content).filter((key) => key !== "kind" && key !== "metadata"),
  );
  const hint =
    near === undefined
      ? "is this file a manifest? Move other YAML files out of the bundle's folder, or into a folder whose name begins with '.'"
      : `did you mean '${field}' where '${near}' stands?`;
  return [{ code: `missing-${dashed(field)}`, message: `the document has no ${field}`, hint, path: near === undefined ? [] : [near] }];
}

function checkKind(apiVersion: string, kind: string): Complaint[] {
  const group = groupOf(apiVersion);
  const version = versionOf(apiVersion);
  const gone = removalOf(apiVersion, kind);
  if (gone !== undefined)
    return [
      {
        code: "removed-api-version",
        message: `${apiVersion} ${kind} was removed in Kubernetes ${gone.since}`,
        hint: `use ${gone.instead}`,
        path: ["apiVersion"],
      },
    ];
  if (group === "kustomize.config.k8s.io")
    return [{ code: "unknown-kind", message: `a ${kind} of Kustomize is no Kubernetes object`, hint: "call the file kustomization.yaml", path: ["kind"] }];
  if (!/^[A-Z][A-Za-z0-9]*$/.test(kind)) return [unknownKind(apiVersion, kind)];
  const home = apiVersionOfKind.get(kind);
  if (!/^v[0-9]+((alpha|beta)[0-9]+)?$/.test(version)) {
    return [
      {
        code: "wrong-api-version",
        message: `'${apiVersion}' is not an apiVersion`,
        hint: home === undefined ? "write group/version, for example apps/v1" : `${kind} is in ${home}`,
        path: ["apiVersion"],
      },
    ];
  }
  if (!isBuiltInGroup(group)) return checkCustomGroup(apiVersion, group, kind, home);
  const kinds = kindsByApiVersion.get(apiVersion);
  if (kinds?.has(kind)) return [];
  const ofGroup = home !== undefined && groupOf(home) === group;
  if (ofGroup && /(alpha|beta)/.test(version)) return [];
  if (ofGroup || home !== undefined)
    return [{ code: "wrong-api-version", message: `${apiVersion} has no ${kind}`, hint: `${kind} is in ${home}`, path: ["apiVersion"] }];
  // New alpha and beta kinds come with every release; in a stable version a name that we do not know is a slip.
  if (kinds === undefined && /(alpha|beta)/.test(version)) return [];
  return [unknownKind(apiVersion, kind)];
}

function checkCustomGroup(apiVersion: string, group: string, kind: string, home: string | undefined): Complaint[] {
  // Groups of custom resources have a dot.
  if (group.includes(".")) return [];
  const near = home ?? nearestName(apiVersion, kindsByApiVersion.keys());
  const hint = home !== undefined ? `${kind} is in ${home}` : near === undefined ? "groups of custom resources have a dot" : `did you mean '${near}'?`;
  return [{ code: "wrong-api-version", message: `there is no API group '${group}'`, hint, path: ["apiVersion"] }];
}

function unknownKind(apiVersion: string, kind: string): Complaint {
  const near = nearestName(kind, kindsByApiVersion.get(apiVersion) ?? []) ?? nearestName(kind, apiVersionOfKind.keys());
  const nearHome = near === undefined || kindsByApiVersion.get(apiVersion)?.has(near) ? undefined : apiVersionOfKind.get(near);
  const hint =
    near === undefined
      ? "a custom resource needs the apiVersion of its definition"
      : `did you mean '${near}'${nearHome === undefined ? "" : ` of ${nearHome}`}?`;
  return { code: "unknown-kind", message: `${apiVersion} has no kind '${kind}'`, hint, path: ["kind"] };
}

function checkMetadata(kind: string, metadata: Json | undefined): Complaint[] {
  if (!isMap(metadata))
    return [
      { code: "missing-name", message: `the ${kind} has no metadata`, hint: "add metadata with a name", path: metadata === undefined ? [] : ["metadata"] },
    ];
  const texts = [...checkTexts(metadata, "labels", ["metadata"]), ...checkTexts(metadata, "annotations", ["metadata"])];
  return [...checkName(kind, metadata), ...checkNamespace(kind, metadata["namespace"]), ...texts];
}

function checkName(kind: string, metadata: { readonly [key: string]: Json }): Complaint[] {
  const { name } = metadata;
  const path = name === undefined ? ["metadata"] : ["metadata", "name"];
  if (name === undefined || name === null || name === "") {
    const generated = metadata["generateName"] !== undefined;
    const message = generated ? `the ${kind} has a generateName and no name: every sync would make another one` : `the ${kind} has no name`;
    const hint = generated ? "give it a metadata.name; only hooks, which are run and not kept, may do with a generateName" : "give it a metadata.name";
    return [{ code: generated ? "generate-name" : "missing-name", message, hint, path }];
  }
  if (typeof name !== "string")
    return [{ code: "wrong-name", message: `the name of the ${kind} is a ${typeof name}, not text`, hint: "put it in quotes", path }];
  if (name.includes("${")) return [];
  if (name.length > 253 || name === "." || name === ".." || /[/%\s\u0000-\u001f]/.test(name)) {
    return [{ code: "wrong-name", message: `'${name.slice(0, 80)}' cannot name a ${kind}`, hint: "at most 253 characters, without '/', '%' and spaces", path }];
  }
  return [];
}

function checkNamespace(kind: string, namespace: Json | undefined): Complaint[] {
  if (namespace === undefined || namespace === null || namespace === "") return [];
  if (typeof namespace === "string" && /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return [];
  return [
    {
      code: "wrong-namespace",
      message: `the namespace of the ${kind} is not a name`,
      hint: "lower-case letters, digits and '-', at most 63 characters",
      path: ["metadata", "namespace"],
    },
  ];
}

/** ConfigMaps and Secrets hold text only; `replicas: 3` and `enabled: yes` are the usual slips. */
function checkTextData(apiVersion: string, kind: string, content: { readonly [key: string]: Json }): Complaint[] {
  if (apiVersion !== "v1" || (kind !== "ConfigMap" && kind !== "Secret")) return [];
  return ["data", "stringData", "binaryData"].flatMap((field) => checkTexts(content, field, []));
}

function checkTexts(parent: { readonly [key: string]: Json }, field: string, path: readonly string[]): Complaint[] {
  const texts = parent[field];
  if (texts === undefined || texts === null) return [];
  if (!isMap(texts)) return [{ code: "text-wanted", message: `${field} is not a map`, hint: "write key: value pairs", path: [...path, field] }];
  return Object.entries(texts)
    .filter(([, value]) => typeof value !== "string" && value !== null)
    .map(([key, value]) => ({
      code: "text-wanted",
      message: `${field} holds text only, and '${key}' is a ${shapeOf(value)}`,
      hint: "put the value in quotes",
      path: [...path, field, key],
    }));
}

function shapeOf(value: Json): string {
  return Array.isArray(value) ? "list" : isMap(value) ? "map" : typeof value;
}

function dashed(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
