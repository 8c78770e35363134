import type { Field, Schema } from "./schema.ts";
import { type Fields, isFields } from "./typed-value.ts";

/**
 * Built-in kinds are Go structs in the API server: what they do not know is dropped, what is empty is left out, and structs
 * that are no pointers are written even when nothing is in them.
 */

/** Optional, and told apart from "left out" when empty, 0 or false: pointers in Go. */
const pointers = new Set(
  ["storageClassName", "replicas", "automountServiceAccountToken", "allowPrivilegeEscalation", "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup"].concat([
    "enableServiceLinks",
    "terminationGracePeriodSeconds",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "backoffLimit",
    "completions",
    "parallelism",
    "suspend",
    "manualSelector",
    "immutable",
    "optional",
    "controller",
    "blockOwnerDeletion",
    "partition",
    "tolerationSeconds",
    "priority",
    "privileged",
    "readOnlyRootFilesystem",
    "shareProcessNamespace",
    "hostUsers",
    "setHostnameAsFQDN",
    "ttlSecondsAfterFinished",
    "activeDeadlineSeconds",
    "successfulJobsHistoryLimit",
    "failedJobsHistoryLimit",
    "startingDeadlineSeconds",
    "minReplicas",
    "defaultMode",
    "mode",
    "weight",
    "allocateLoadBalancerNodePorts",
    "ingressClassName",
    "volumeMode",
    "timeZone",
    "averageUtilization",
    "collisionCount",
    "deletionGracePeriodSeconds",
    "expirationSeconds",
    "minAvailable",
    "maxUnavailable",
    "maxSurge",
    "ready",
    "served",
    "storage",
    "started",
    "restartCount",
    "allowVolumeExpansion",
  ]),
);

/** Times that are no pointers: null when nobody gave them. */
const nullTimes = new Set(["lastUpdateTime", "lastTransitionTime", "lastProbeTime"]);

export function goForm(schema: Schema, value: unknown): unknown {
  if (schema.kind === "struct" && (isFields(value) || value === undefined || value === null)) return structForm(schema, (value ?? {}) as Fields);
  if (value === null || value === undefined) return value;
  if (schema.kind === "list" && Array.isArray(value)) return value.map((item: unknown) => goForm(schema.items, item));
  if (schema.kind === "map" && isFields(value)) return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, goForm(schema.values, child)]));
  return value;
}

function structForm(schema: Schema & { kind: "struct" }, value: Fields): Fields {
  if (schema.fields.size === 0) return value;
  const form: Fields = {};
  for (const [name, field] of schema.fields) {
    const child = fieldForm(name, field, value[name]);
    if (child !== undefined) form[name] = child;
  }
  return form;
}

function fieldForm(name: string, field: Field, value: unknown): unknown {
  if (field.isAlwaysWritten) return goForm(field.schema, value);
  if (value === undefined || value === null) return nullTimes.has(name) ? null : field.isRequired ? zeroOf(field.schema) : undefined;
  if (!field.isRequired && !pointers.has(name) && isEmpty(value, field.schema)) return undefined;
  return goForm(field.schema, value);
}

function isEmpty(value: unknown, schema: Schema): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isFields(value)) return schema.kind === "map" && Object.keys(value).length === 0;
  return value === "" || value === 0 || value === false;
}

function zeroOf(schema: Schema): unknown {
  if (schema.kind !== "scalar") return null;
  return { string: "", integer: 0, number: 0, boolean: false, "int-or-string": 0 }[schema.type];
}
