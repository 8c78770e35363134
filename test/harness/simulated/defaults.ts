import { createHash, randomUUID } from "node:crypto";
import type { ServedKind } from "./kinds.ts";
import { type Fields, isFields, textOf } from "./typed-value.ts";

/** What the API server adds to well-known kinds when it reads them. Each function writes into the object that it is given. */

type Fill = (object: Fields) => void;

const fills: Readonly<Record<string, Fill>> = {
  "/Namespace": (object) => {
    const metadata = under(object, "metadata");
    if (metadata.name !== undefined && metadata.name !== "") metadata.labels = { ...(metadata.labels as object), "kubernetes.io/metadata.name": metadata.name };
  },
  "/Secret": (object) => {
    set(object, { type: "Opaque" });
    const written = object.stringData as Record<string, string> | undefined;
    if (!written) return;
    const coded = Object.entries(written).map(([name, value]) => [name, Buffer.from(value).toString("base64")]);
    object.data = { ...(object.data as object | undefined), ...Object.fromEntries(coded) };
    delete object.stringData;
  },
  "/Service": fillService,
  "/Pod": (object) => {
    fillPod(under(object, "spec"));
    set(under(object, "spec"), { enableServiceLinks: true });
  },
  "/PersistentVolumeClaim": (object) => set(under(object, "spec"), { volumeMode: "Filesystem" }),
  "apps/Deployment": (object) => {
    const spec = under(object, "spec");
    set(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
    const strategy = under(spec, "strategy");
    set(strategy, { type: "RollingUpdate" });
    if (strategy.type === "RollingUpdate") set(under(strategy, "rollingUpdate"), { maxUnavailable: "25%", maxSurge: "25%" });
    fillTemplate(spec);
  },
  "apps/ReplicaSet": (object) => {
    set(under(object, "spec"), { replicas: 1 });
    fillTemplate(under(object, "spec"));
  },
  "apps/DaemonSet": (object) => {
    const spec = under(object, "spec");
    set(under(under(object, "metadata"), "annotations"), { "deprecated.daemonset.template.generation": "1" });
    set(spec, { revisionHistoryLimit: 10 });
    const strategy = under(spec, "updateStrategy");
    set(strategy, { type: "RollingUpdate" });
    if (strategy.type === "RollingUpdate") set(under(strategy, "rollingUpdate"), { maxUnavailable: 1, maxSurge: 0 });
    fillTemplate(spec);
  },
  "apps/StatefulSet": (object) => {
    const spec = under(object, "spec");
    set(spec, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: "OrderedReady" });
    set(under(spec, "persistentVolumeClaimRetentionPolicy"), { whenDeleted: "Retain", whenScaled: "Retain" });
    const strategy = under(spec, "updateStrategy");
    set(strategy, { type: "RollingUpdate" });
    if (strategy.type === "RollingUpdate") set(under(strategy, "rollingUpdate"), { partition: 0 });
    fillTemplate(spec);
    for (const claim of items(spec.volumeClaimTemplates)) {
      set(claim, { apiVersion: "v1", kind: "PersistentVolumeClaim" });
      set(under(claim, "spec"), { volumeMode: "Filesystem" });
      set(under(claim, "status"), { phase: "Pending" });
    }
  },
  "batch/Job": (object) => fillJob(under(object, "spec")),
  "batch/CronJob": (object) => {
    const spec = under(object, "spec");
    set(spec, { concurrencyPolicy: "Allow", suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
    // Of a job that is only a pattern nothing but its pods is filled in.
    fillTemplate(under(under(spec, "jobTemplate"), "spec"));
  },
  "rbac.authorization.k8s.io/RoleBinding": fillBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": fillBinding,
  "apiextensions.k8s.io/CustomResourceDefinition": (object) => {
    const spec = under(object, "spec");
    set(under(spec, "conversion"), { strategy: "None" });
    const names = under(spec, "names");
    set(names, { singular: textOf(names.kind ?? "").toLowerCase(), listKind: `${textOf(names.kind ?? "")}List` });
    // The version that is written is the one that is kept.
    const status = under(object, "status");
    const stored = items(spec.versions).find(({ storage }) => storage)?.name;
    if (!Array.isArray(status.storedVersions) || status.storedVersions.length === 0) status.storedVersions = stored === undefined ? [] : [stored];
  },
};

export function fillDefaults(kind: ServedKind, object: Fields): void {
  fills[`${kind.group}/${kind.kind}`]?.(object);
}

/** What is made up once, when an object is created: it belongs to nobody. */
export function allocate(kind: ServedKind, object: Fields): void {
  allocations[`${kind.group}/${kind.kind}`]?.(object);
}

const allocations: Readonly<Record<string, Fill>> = {
  "/Namespace": (object) => {
    const spec = under(object, "spec");
    const finalizers = (spec.finalizers ?? []) as string[];
    if (!finalizers.includes("kubernetes")) spec.finalizers = [...finalizers, "kubernetes"];
    object.status = { phase: "Active" };
  },
  "/Service": (object) => {
    const spec = under(object, "spec");
    if (spec.type === "ExternalName") return;
    set(spec, { clusterIP: addressFor(textOf(under(object, "metadata").uid)) });
    set(spec, { clusterIPs: [spec.clusterIP], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" });
    if (spec.type === "LoadBalancer" || spec.type === "NodePort")
      items(spec.ports).forEach((port, index) => set(port, { nodePort: portFor(textOf(under(object, "metadata").uid), index) }));
  },
  "/Pod": (object) => {
    const spec = under(object, "spec");
    set(spec, { tolerations: [notReady("not-ready"), notReady("unreachable")], priority: 0, preemptionPolicy: "PreemptLowerPriority" });
    object.status = {
      phase: "Pending",
      qosClass: items(spec.containers).some(({ resources }) => isFields(resources) && resources.requests) ? "Burstable" : "BestEffort",
    };
  },
  "/PersistentVolumeClaim": (object) => {
    const metadata = under(object, "metadata");
    metadata.finalizers = [...((metadata.finalizers ?? []) as string[]), "kubernetes.io/pvc-protection"];
    object.status = { phase: "Pending" };
  },
  "batch/Job": (object) => {
    const { uid, name } = under(object, "metadata");
    const spec = under(object, "spec");
    if (spec.manualSelector === true) return;
    const labels = { "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid, "job-name": name };
    spec.selector = { matchLabels: { "batch.kubernetes.io/controller-uid": uid } };
    const metadata = under(under(spec, "template"), "metadata");
    metadata.labels = { ...(metadata.labels as object | undefined), ...labels };
    const template = metadata.labels;
    const own = under(object, "metadata");
    if (own.labels === undefined) own.labels = template;
  },
};

function notReady(what: string): Fields {
  return { key: `node.kubernetes.io/${what}`, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 };
}

function numberFrom(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0);
}

function addressFor(uid: string): string {
  const number = 256 + (numberFrom(uid) % 65_000);
  return `10.0.${number >> 8}.${number & 255}`;
}

function portFor(uid: string, index: number): number {
  return 30_000 + ((numberFrom(uid) + index) % 2_768);
}

function fillService(object: Fields): void {
  const spec = under(object, "spec");
  set(spec, { sessionAffinity: "None", type: "ClusterIP" });
  if (spec.type !== "ExternalName") set(spec, { internalTrafficPolicy: "Cluster" });
  if (spec.type === "NodePort" || spec.type === "LoadBalancer") set(spec, { externalTrafficPolicy: "Cluster" });
  if (spec.type === "LoadBalancer") set(spec, { allocateLoadBalancerNodePorts: true });
  if (spec.sessionAffinity === "ClientIP") set(under(under(spec, "sessionAffinityConfig"), "clientIP"), { timeoutSeconds: 10_800 });
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  for (const port of items(spec.ports)) {
    set(port, { protocol: "TCP" });
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === "") port.targetPort = port.port;
  }
}

function fillBinding(object: Fields): void {
  set(under(object, "roleRef"), { apiGroup: "rbac.authorization.k8s.io" });
  for (const subject of items(object.subjects))
    if (subject.kind === "User" || subject.kind === "Group") set(subject, { apiGroup: "rbac.authorization.k8s.io" });
}

function fillJob(spec: Fields): void {
  if (spec.completions === undefined && spec.parallelism === undefined) set(spec, { completions: 1, parallelism: 1 });
  set(spec, { parallelism: 1, backoffLimit: 6, completionMode: "NonIndexed", suspend: false, manualSelector: false });
  set(spec, { podReplacementPolicy: spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed" });
  fillTemplate(spec);
}

function fillTemplate(spec: Fields): void {
  fillPod(under(under(spec, "template"), "spec"));
}

function fillPod(spec: Fields): void {
  set(spec, { dnsPolicy: "ClusterFirst", restartPolicy: "Always", terminationGracePeriodSeconds: 30, schedulerName: "default-scheduler", securityContext: {} });
  if (typeof spec.serviceAccountName === "string" && spec.serviceAccountName !== "") spec.serviceAccount = spec.serviceAccountName;
  else if (typeof spec.serviceAccount === "string" && spec.serviceAccount !== "") spec.serviceAccountName = spec.serviceAccount;
  for (const list of [spec.containers, spec.initContainers]) items(list).forEach(fillContainer);
  items(spec.volumes).forEach(fillVolume);
}

function fillContainer(container: Fields): void {
  const image = textOf(container.image ?? "");
  const tag = image.includes("@") ? "pinned" : /:([^/:]+)$/.exec(image)?.[1];
  if (image !== "" || container.name !== undefined) set(container, { imagePullPolicy: tag === undefined || tag === "latest" ? "Always" : "IfNotPresent" });
  set(container, { terminationMessagePath: "/dev/termination-log", terminationMessagePolicy: "File", resources: {} });
  for (const port of items(container.ports)) set(port, { protocol: "TCP" });
  for (const variable of items(container.env)) {
    const field = isFields(variable.valueFrom) ? variable.valueFrom.fieldRef : undefined;
    if (isFields(field)) set(field, { apiVersion: "v1" });
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) if (isFields(probe)) fillProbe(probe);
  const resources = under(container, "resources");
  if (isFields(resources.limits)) resources.requests = { ...resources.limits, ...(resources.requests as object | undefined) };
}

function fillProbe(probe: Fields): void {
  set(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  if (isFields(probe.httpGet)) set(probe.httpGet, { path: "/", scheme: "HTTP" });
  if (isFields(probe.grpc)) set(probe.grpc, { service: "" });
}

function fillVolume(volume: Fields): void {
  for (const name of ["configMap", "secret", "downwardAPI", "projected"]) {
    const source = volume[name];
    if (isFields(source)) set(source, { defaultMode: 420 });
  }
  if (isFields(volume.hostPath)) set(volume.hostPath, { type: "" });
  const sources = Object.keys(volume).filter((name) => name !== "name");
  if (sources.length === 0) volume.emptyDir = {};
}

/** The struct under a field, made when it is not there. */
function under(object: Fields, name: string): Fields {
  if (!isFields(object[name])) object[name] = {};
  return object[name] as Fields;
}

function set(object: Fields, values: Fields): void {
  for (const [name, value] of Object.entries(values)) if (object[name] === undefined || object[name] === null || object[name] === "") object[name] = value;
}

function items(list: unknown): Fields[] {
  return Array.isArray(list) ? list.filter(isFields) : [];
}

export const newUid = (): string => randomUUID();
