import { isDeepStrictEqual } from "node:util";
import type { ServedKind } from "./kinds.ts";
import type { StatusCause } from "./kube-status.ts";
import type { OpenApi } from "./schema.ts";
import { type Fields, isFields, textOf } from "./typed-value.ts";

/** What the API server refuses of an object, in its words; as much as fleets run into. */
export function validateObject(kind: ServedKind, object: Fields, before: Fields | undefined): StatusCause[] {
  const key = `${kind.group}/${kind.kind}`;
  const found = [...validateName(kind, object), ...(rules[key]?.(object) ?? [])];
  if (before) found.push(...(changeRules[key]?.(object, before) ?? []));
  if (kind.custom) found.push(...validateCustom(kind.custom.openApi, object, ""));
  return found;
}

type Rule = (object: Fields) => StatusCause[];
type ChangeRule = (object: Fields, before: Fields) => StatusCause[];

const bad = (field: string, value: unknown, message: string): StatusCause => ({
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${message}`,
  field,
});
const required = (field: string, message = ""): StatusCause => ({ reason: "FieldValueRequired", message: `Required value${message}`, field });
const forbiddenField = (field: string, message: string): StatusCause => ({ reason: "FieldValueForbidden", message: `Forbidden: ${message}`, field });

const subdomain =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const configKey =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

function validateName(kind: ServedKind, object: Fields): StatusCause[] {
  const name = textOf(at(object, "metadata", "name") ?? "");
  if (kind.group === "rbac.authorization.k8s.io") return [];
  if (kind.kind === "Namespace") return /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) ? [] : [bad("metadata.name", name, label)];
  if (kind.kind === "Service" && kind.group === "") return [];
  return /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name) ? [] : [bad("metadata.name", name, subdomain)];
}

const rules: Readonly<Record<string, Rule>> = {
  "/ConfigMap": validateKeys,
  "/Secret": (object) => [...validateKeys(object), ...validateSecretType(object)],
  "/Service": (object) => [...validatePorts(object), ...validatePortNames(object)],
  "apps/Deployment": (object) => [...validateWorkload(object), ...validateStrategy(object)],
  "apps/DaemonSet": validateWorkload,
  "apps/StatefulSet": validateWorkload,
  "apps/ReplicaSet": validateWorkload,
  "/Pod": (object) => validateContainers(at(object, "spec"), "spec"),
  "batch/Job": (object) => validateContainers(at(object, "spec", "template", "spec"), "spec.template.spec"),
};

function validateKeys(object: Fields): StatusCause[] {
  return Object.keys((object.data ?? {}) as object)
    .filter((key) => !/^[-._a-zA-Z0-9]+$/.test(key))
    .map((key) => bad(`data[${key}]`, key, configKey));
}

function validateSecretType(object: Fields): StatusCause[] {
  if (object.type !== "kubernetes.io/dockerconfigjson") return [];
  const held = at(object, "data", ".dockerconfigjson");
  return held === undefined ? [required("data[.dockerconfigjson]")] : [];
}

function validatePorts(object: Fields): StatusCause[] {
  const spec = (object.spec ?? {}) as Fields;
  const ports = list(spec.ports);
  if (ports.length === 0 && spec.type !== "ExternalName" && spec.clusterIP !== "None") return [required("spec.ports")];
  return ports.flatMap((port, index) =>
    (["port", "targetPort"] as const)
      .flatMap((name) => {
        const value = port[name];
        if (typeof value !== "number" || (value >= 1 && value <= 65_535)) return [];
        return [bad(`spec.ports[${index}].${name}`, value, "must be between 1 and 65535, inclusive")];
      })
      .concat(ports.length > 1 && !port.name ? [required(`spec.ports[${index}].name`)] : []),
  );
}

/** Each later port of a name that an earlier one has. */
function validatePortNames(object: Fields): StatusCause[] {
  const names = list(at(object, "spec", "ports")).map(({ name }) => name);
  return names.flatMap((name, index) =>
    name !== undefined && names.indexOf(name) < index
      ? [{ reason: "FieldValueDuplicate", message: `Duplicate value: ${JSON.stringify(name)}`, field: `spec.ports[${index}].name` }]
      : [],
  );
}

function validateWorkload(object: Fields): StatusCause[] {
  const labels = (at(object, "spec", "template", "metadata", "labels") ?? null) as Fields | null;
  const selector = at(object, "spec", "selector") ?? undefined;
  const wanted = Object.entries((at(selector, "matchLabels") ?? {}) as Fields);
  const isFit = selector !== undefined && wanted.every(([name, value]) => labels?.[name] === value);
  const found = isFit
    ? []
    : [
        ...(selector === undefined ? [required("spec.selector")] : []),
        bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"),
      ];
  return [...found, ...validateContainers(at(object, "spec", "template", "spec"), "spec.template.spec")];
}

function validateStrategy(object: Fields): StatusCause[] {
  const isMixed = at(object, "spec", "strategy", "type") === "Recreate" && at(object, "spec", "strategy", "rollingUpdate") !== undefined;
  return isMixed ? [forbiddenField("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")] : [];
}

function validateContainers(spec: unknown, path: string): StatusCause[] {
  const containers = list(at(spec, "containers"));
  if (containers.length === 0) return [required(`${path}.containers`)];
  return containers.flatMap((container, index) => [
    ...(container.image ? [] : [required(`${path}.containers[${index}].image`)]),
    ...list(container.ports).flatMap((port, at_) =>
      typeof port.containerPort === "number" && port.containerPort >= 1 && port.containerPort <= 65_535
        ? []
        : [bad(`${path}.containers[${index}].ports[${at_}].containerPort`, port.containerPort ?? 0, "must be between 1 and 65535, inclusive")],
    ),
  ]);
}

const changeRules: Readonly<Record<string, ChangeRule>> = {
  "/ConfigMap": immutableData,
  "/Secret": (object, before) => [...unchanged(object, before, "type"), ...immutableData(object, before)],
  "/Service": keepsAddress,
  "apps/Deployment": keepsSelector,
  "apps/DaemonSet": keepsSelector,
  "apps/ReplicaSet": keepsSelector,
  "apps/StatefulSet": onlySome,
  "batch/Job": (object, before) => [...unchanged(object, before, "spec", "template"), ...keepsSelector(object, before)],
  "rbac.authorization.k8s.io/RoleBinding": keepsRole,
  "rbac.authorization.k8s.io/ClusterRoleBinding": keepsRole,
};

function immutableData(object: Fields, before: Fields): StatusCause[] {
  if (before.immutable !== true) return [];
  const message = "field is immutable when `immutable` is set";
  return ["immutable", "data", "binaryData"].filter((name) => !isDeepStrictEqual(object[name], before[name])).map((name) => forbiddenField(name, message));
}

function unchanged(object: Fields, before: Fields, ...path: string[]): StatusCause[] {
  const [now, then] = [at(object, ...path), at(before, ...path)];
  return isDeepStrictEqual(now, then) ? [] : [bad(path.join("."), now, "field is immutable")];
}

function keepsSelector(object: Fields, before: Fields): StatusCause[] {
  return unchanged(object, before, "spec", "selector");
}

function onlySome(object: Fields, before: Fields): StatusCause[] {
  const free = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"];
  const rest = (value: Fields) => Object.fromEntries(Object.entries((value.spec ?? {}) as Fields).filter(([name]) => !free.includes(name)));
  if (isDeepStrictEqual(rest(object), rest(before))) return [];
  const named = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy"];
  return [
    forbiddenField(
      "spec",
      `updates to statefulset spec for fields other than ${named.map((name) => `'${name}'`).join(", ")} and 'minReadySeconds' are forbidden`,
    ),
  ];
}

function keepsAddress(object: Fields, before: Fields): StatusCause[] {
  const [now, then] = [at(object, "spec", "clusterIPs"), at(before, "spec", "clusterIPs")];
  const first = at(object, "spec", "clusterIP");
  if (at(object, "spec", "type") === "ExternalName") return [];
  if (first !== at(before, "spec", "clusterIP") && isDeepStrictEqual(now, then)) return [bad("spec.clusterIPs[0]", [first], "may not change once set")];
  if (isDeepStrictEqual(now, then)) return [];
  return [bad("spec.clusterIPs[0]", now, "may not change once set")];
}

function keepsRole(object: Fields, before: Fields): StatusCause[] {
  return isDeepStrictEqual(object.roleRef, before.roleRef) ? [] : [bad("roleRef", object.roleRef, "cannot change roleRef")];
}

/** Types, required fields and enums of a custom resource. */
function validateCustom(schema: OpenApi & { enum?: readonly unknown[]; nullable?: boolean }, value: unknown, path: string): StatusCause[] {
  const found = typeOf(value);
  if (schema.type !== undefined && !fits(schema, value, found)) {
    const message = `Invalid value: "${found}": ${path} in body must be of type ${schema.type}: "${found}"`;
    return [{ reason: "FieldValueTypeInvalid", message, field: path }];
  }
  if (schema.enum && !schema.enum.includes(value)) {
    const supported = schema.enum.map((one) => JSON.stringify(one)).join(", ");
    return [{ reason: "FieldValueNotSupported", message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported}`, field: path }];
  }
  if (Array.isArray(value)) return value.flatMap((item: unknown, index) => validateCustom(schema.items ?? {}, item, `${path}[${index}]`));
  if (!isFields(value)) return [];
  const missing = (schema.required ?? []).filter((name) => value[name] === undefined).map((name) => required(path === "" ? name : `${path}.${name}`));
  const below = Object.entries(schema.properties ?? {})
    .filter(([name]) => value[name] !== undefined && !(path === "" && ["apiVersion", "kind", "metadata"].includes(name)))
    .flatMap(([name, property]) => validateCustom(property, value[name], path === "" ? name : `${path}.${name}`));
  return [...missing, ...below];
}

function fits(schema: OpenApi & { nullable?: boolean }, value: unknown, found: string): boolean {
  if (value === null) return schema.nullable ?? false;
  return found === schema.type || (schema.type === "number" && found === "integer");
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function at(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((found, name) => (isFields(found) ? found[name] : undefined), value);
}

function list(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}
