import { isPodWell, podTrouble, tellUnready } from "./pod-trouble.ts";
import {
  because,
  conditionsOf,
  current,
  currentThough,
  failed,
  inProgress,
  inProgressPatiently,
  readConditions,
  type Condition,
  type HealthInput,
  type Rule,
  type Verdict,
} from "./verdict.ts";

/** Rules by "group/kind", with the words for a listing: when it is Current, and what else there is. A kind that is not here is judged by its conditions. */
const table: readonly (readonly [key: string, rule: Rule, words: string])[] = [
  ["apps/Deployment", deployment, "all replicas updated, available and ready, no old ones left, or paused and available; past its progress deadline Failed"],
  ["apps/StatefulSet", statefulSet, "all replicas ready and updated as far as the partition; with OnDelete ready"],
  ["apps/DaemonSet", daemonSet, "all pods scheduled, updated, available and ready"],
  ["apps/ReplicaSet", replicas, "all replicas exist, available and ready"],
  ["/ReplicationController", replicas, "as ReplicaSet"],
  ["/Pod", pod, "ready or succeeded; CrashLoopBackOff, ImagePullBackOff and the like Failed"],
  ["batch/Job", job, "complete or suspended; given up Failed; waits while its pods run well"],
  ["batch/CronJob", cronJob, "always; suspended and a failed last run are told"],
  ["/PersistentVolumeClaim", claim, "bound; Lost is Failed"],
  ["/PersistentVolume", volume, "available, bound or released; Failed is Failed"],
  ["/Service", service, "always; of type LoadBalancer with an address"],
  ["/Namespace", namespace, "not being deleted"],
  ["apiextensions.k8s.io/CustomResourceDefinition", definition, "established; names that are taken Failed"],
  ["apiregistration.k8s.io/APIService", wantsCondition("Available"), "Available=True"],
  ["policy/PodDisruptionBudget", disruptionBudget, "enough pods healthy"],
  ["autoscaling/HorizontalPodAutoscaler", autoscaler, "can scale and reads its metrics; invalid selector or metric Failed"],
  ["/Node", wantsCondition("Ready"), "Ready=True"],
  ["networking.k8s.io/Ingress", ingress, "has an address"],
  ["networking.k8s.io/ServiceCIDR", wantsCondition("Ready"), "Ready=True"],
  ["certificates.k8s.io/CertificateSigningRequest", signingRequest, "signed; denied Failed; waits for approval"],
  ["storagemigration.k8s.io/StorageVersionMigration", migration, "Succeeded=True; Failed=True is Failed"],
  ["storage.k8s.io/VolumeAttachment", attachment, "attached"],
  ["flowcontrol.apiserver.k8s.io/FlowSchema", flowSchema, "not Dangling"],
  ["admissionregistration.k8s.io/MutatingWebhookConfiguration", webhooks, "always; where cert-manager injects, with a caBundle"],
  ["admissionregistration.k8s.io/ValidatingWebhookConfiguration", webhooks, "always; where cert-manager injects, with a caBundle"],
  ["admissionregistration.k8s.io/ValidatingAdmissionPolicy", admissionPolicy, "always; warnings are told"],
];

const rules: ReadonlyMap<string, Rule> = new Map(table.map(([key, rule]) => [key, rule]));

/** Groups of Kubernetes itself: their kinds without a rule have no notion of health, whatever stands in their status. */
const silentGroups: ReadonlySet<string> = new Set([
  "",
  "admissionregistration.k8s.io",
  "apps",
  "authentication.k8s.io",
  "coordination.k8s.io",
  "discovery.k8s.io",
  "events.k8s.io",
  "flowcontrol.apiserver.k8s.io",
  "networking.k8s.io",
  "node.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "resource.k8s.io",
  "scheduling.k8s.io",
  "storage.k8s.io",
]);

/** The rule of a kind that Kubernetes itself serves; undefined for all others. */
export function builtInRule(group: string, kind: string): Rule | undefined {
  return rules.get(`${group}/${kind}`) ?? (silentGroups.has(group) ? () => current : undefined);
}

/** Every rule for a built-in kind, in words, by group. */
export function listBuiltIn(): { group: string; kinds: string[]; rule: string }[] {
  const rows = table.map(([key, , words]) => ({ group: key.slice(0, key.indexOf("/")), kinds: [key.slice(key.indexOf("/") + 1)], rule: `current: ${words}` }));
  return rows.sort((a, b) => (a.group === b.group ? 0 : a.group < b.group ? -1 : 1));
}

function deployment(object: HealthInput): Verdict {
  const status = object.status ?? {};
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const conditions = conditionsOf(object);
  const progressing = conditions.find((c) => c.type === "Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded") return failed(because(progressing));
  const wanted = count(object.spec?.replicas, 1);
  if (object.spec?.paused === true && count(status.availableReplicas, 0) >= wanted) return currentThough("paused");
  const steps = replicaSteps(status, wanted);
  // Why no pods are made (quota, admission) is said here and nowhere else.
  const refusal = conditions.find((c) => c.type === "ReplicaFailure" && c.status === "True");
  if (steps) return refusal ? inProgress(`${steps.message}: ${because(refusal)}`) : steps;
  const available = conditions.find((c) => c.type === "Available");
  if (available && available.status !== "True") return inProgress(because(available));
  return current;
}

/** The counts in the order in which a rollout passes them. */
function replicaSteps(status: Readonly<Record<string, unknown>>, wanted: number): Verdict | undefined {
  const [total, updated, available, ready] = ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"].map((name) => count(status[name], 0)) as [
    number,
    number,
    number,
    number,
  ];
  if (total < wanted) return inProgress(`${total} of ${wanted} replicas exist`);
  if (updated < wanted) return inProgress(`${updated} of ${wanted} replicas updated`);
  if (total > wanted) return inProgress(`${total - wanted} old replicas still run`);
  if (available < wanted) return inProgress(`${available} of ${wanted} replicas available`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} replicas ready`);
  return undefined;
}

function statefulSet(object: HealthInput): Verdict {
  const status = object.status ?? {};
  const strategy = object.spec?.updateStrategy as { type?: string; rollingUpdate?: { partition?: number } } | undefined;
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const wanted = count(object.spec?.replicas, 1);
  const [total, ready, updated] = [count(status.replicas, 0), count(status.readyReplicas, 0), count(status.updatedReplicas, 0)];
  if (total < wanted) return inProgress(`${total} of ${wanted} replicas exist`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} replicas ready`);
  if (count(object.spec?.minReadySeconds, 0) > 0 && count(status.availableReplicas, 0) < wanted)
    return inProgress(`${count(status.availableReplicas, 0)} of ${wanted} replicas available`);
  if (total > wanted) return inProgress(`${total - wanted} replicas too many still run`);
  // With OnDelete a person decides when pods are replaced: nothing here is in progress.
  if (strategy?.type === "OnDelete") return updated < wanted ? currentThough(`${wanted - updated} replicas wait to be deleted (OnDelete)`) : current;
  const partition = count(strategy?.rollingUpdate?.partition, 0);
  if (partition > 0)
    return updated < wanted - partition ? inProgress(`${updated} of ${wanted - partition} replicas updated (partition ${partition})`) : current;
  if (count(status.currentReplicas, 0) < wanted && status.currentRevision !== status.updateRevision)
    return inProgress(`${updated} of ${wanted} replicas updated`);
  return status.currentRevision === status.updateRevision ? current : inProgress("revision is being rolled out");
}

function daemonSet(object: HealthInput): Verdict {
  const status = object.status ?? {};
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const wanted = count(status.desiredNumberScheduled, -1);
  if (wanted < 0) return inProgress("not scheduled yet");
  const onDelete = (object.spec?.updateStrategy as { type?: string } | undefined)?.type === "OnDelete";
  const steps: readonly (readonly [string, number])[] = [
    ["scheduled", count(status.currentNumberScheduled, 0)],
    ["updated", onDelete ? wanted : count(status.updatedNumberScheduled, 0)],
    ["available", count(status.numberAvailable, 0)],
    ["ready", count(status.numberReady, 0)],
  ];
  const behind = steps.find(([, number]) => number < wanted);
  return behind ? inProgress(`${behind[1]} of ${wanted} pods ${behind[0]}`) : current;
}

function replicas(object: HealthInput): Verdict {
  const status = object.status ?? {};
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const failure = conditionsOf(object).find((c) => c.type === "ReplicaFailure" && c.status === "True");
  if (failure) return inProgress(because(failure));
  const wanted = count(object.spec?.replicas, 1);
  const total = count(status.replicas, 0);
  for (const [word, number] of [
    ["exist", total],
    ["available", count(status.availableReplicas, 0)],
    ["ready", count(status.readyReplicas, 0)],
  ] as const) {
    if (number < wanted) return inProgress(`${number} of ${wanted} replicas ${word}`);
  }
  return total > wanted ? inProgress(`${total - wanted} replicas too many still run`) : current;
}

function pod(object: HealthInput): Verdict {
  if (isPodWell(object)) return current;
  const trouble = podTrouble(object);
  if (trouble) return (trouble.isHopeless ? failed : inProgress)(trouble.words);
  return inProgress(tellUnready(object));
}

/** A Job is Current when it is done: whoever waits for it waits for its work. One that runs has a deadline of its own, if any. */
function job(object: HealthInput): Verdict {
  const status = object.status ?? {};
  const conditions = conditionsOf(object);
  const failure = conditions.find((c) => (c.type === "Failed" || c.type === "FailureTarget") && c.status === "True");
  if (failure) return failed(because(failure));
  if (conditions.some((c) => c.type === "Complete" && c.status === "True")) return current;
  if (object.spec?.suspend === true) return currentThough("suspended");
  if (status.startTime === undefined) return inProgress("job has not started");
  const [active, done, wrong] = [count(status.active, 0), count(status.succeeded, 0), count(status.failed, 0)];
  const words = `${active} pods run, ${done} of ${count(object.spec?.completions, 1)} succeeded${wrong > 0 ? `, ${wrong} failed` : ""}`;
  return wrong > 0 || count(status.ready, active) === 0 ? inProgress(words) : inProgressPatiently(words);
}

/** A schedule is what Git asks for; how its runs end is their own affair, and only told. */
function cronJob(object: HealthInput): Verdict {
  if (object.spec?.suspend === true) return currentThough("suspended");
  const { active, lastScheduleTime, lastSuccessfulTime } = object.status ?? {};
  const runs = Array.isArray(active) && active.length > 0;
  const isBehind = typeof lastScheduleTime === "string" && typeof lastSuccessfulTime === "string" && lastSuccessfulTime < lastScheduleTime;
  return isBehind && !runs ? currentThough(`the run of ${lastScheduleTime} did not succeed`) : current;
}

function claim(object: HealthInput): Verdict {
  const phase = object.status?.phase;
  if (phase === "Bound") return current;
  if (phase === "Lost") return failed("its volume is lost");
  return inProgress(`claim is ${typeof phase === "string" ? phase : "not seen by its controller yet"}`);
}

function service(object: HealthInput): Verdict {
  return object.spec?.type !== "LoadBalancer" || hasAddress(object) ? current : inProgress("load balancer has no address yet");
}

function volume(object: HealthInput): Verdict {
  const { phase, reason, message } = object.status ?? {};
  if (phase === "Failed") return failed(`volume failed${typeof reason === "string" ? ` (${reason})` : ""}${typeof message === "string" ? `: ${message}` : ""}`);
  return phase === "Pending" || phase === undefined ? inProgress("volume is not available yet") : current;
}

/** An Ingress is there when a controller gave it an address; one that never tells any wants a health check of its own. */
function ingress(object: HealthInput): Verdict {
  return hasAddress(object) ? current : inProgress("no ingress controller has given it an address yet");
}

function hasAddress(object: HealthInput): boolean {
  const addresses = (object.status?.loadBalancer as { ingress?: unknown[] } | undefined)?.ingress;
  return Array.isArray(addresses) && addresses.length > 0;
}

function namespace(object: HealthInput): Verdict {
  return object.status?.phase === "Terminating" ? { health: "Terminating", message: "being deleted" } : current;
}

function definition(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const refused = conditions.find((c) => c.type === "NamesAccepted" && c.status === "False");
  if (refused) return failed(because(refused));
  const established = conditions.find((c) => c.type === "Established");
  if (established?.status === "True") return current;
  if (established?.status === "False" && established.reason !== "Installing") return failed(because(established));
  return inProgress("not established yet");
}

function disruptionBudget(object: HealthInput): Verdict {
  const status = object.status ?? {};
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const unable = conditionsOf(object).find((c) => c.type === "DisruptionAllowed" && c.reason === "SyncFailed");
  if (unable) return inProgress(because(unable));
  const [healthy, wanted] = [count(status.currentHealthy, 0), count(status.desiredHealthy, 0)];
  return healthy < wanted ? inProgress(`${healthy} of ${wanted} pods healthy`) : current;
}

/**
 * An autoscaler that cannot read its metrics or its target does not scale. While a workload starts that is so for every one, and
 * passes: only what is wrong in the autoscaler itself fails at once. "Limited" is no trouble. autoscaling/v1 keeps conditions in an annotation.
 */
function autoscaler(object: HealthInput): Verdict {
  const conditions = object.apiVersion === "autoscaling/v1" ? annotatedConditions(object) : conditionsOf(object);
  const broken = conditions.find((c) => c.status === "False" && (c.type === "AbleToScale" || (c.type === "ScalingActive" && c.reason !== "ScalingDisabled")));
  if (broken) return broken.reason?.startsWith("Invalid") ? failed(because(broken)) : inProgress(because(broken));
  return conditions.length === 0 ? inProgress("not seen by its controller yet") : current;
}

function annotatedConditions(object: HealthInput): Condition[] {
  try {
    return readConditions(JSON.parse(object.metadata?.annotations?.["autoscaling.alpha.kubernetes.io/conditions"] ?? "[]"));
  } catch {
    return [];
  }
}

function signingRequest(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const refused = conditions.find((c) => (c.type === "Denied" || c.type === "Failed") && c.status === "True");
  if (refused) return failed(because(refused));
  if (!conditions.some((c) => c.type === "Approved" && c.status === "True")) return inProgressPatiently("waits for approval");
  return object.status?.certificate === undefined ? inProgress("approved, and no certificate yet") : current;
}

function migration(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const failure = conditions.find((c) => c.type === "Failed" && c.status === "True");
  if (failure) return failed(because(failure));
  return conditions.some((c) => c.type === "Succeeded" && c.status === "True") ? current : inProgress("objects are being migrated");
}

/** A flow schema whose priority level is not there lets everything fall to the catch-all. */
function flowSchema(object: HealthInput): Verdict {
  const dangling = conditionsOf(object).find((c) => c.type === "Dangling" && c.status === "True");
  return dangling ? inProgress(because(dangling)) : current;
}

/** A webhook whose authority somebody is to write in (cert-manager, a job) is called by nobody before. */
function webhooks(object: HealthInput): Verdict {
  const annotations = Object.keys(object.metadata?.annotations ?? {});
  const injector = annotations.find((name) => name.startsWith("cert-manager.io/inject-"));
  const hooks = Array.isArray(object.webhooks) ? (object.webhooks as { clientConfig?: { caBundle?: string } }[]) : [];
  const isBare = hooks.some(({ clientConfig }) => !clientConfig?.caBundle);
  return injector !== undefined && isBare ? inProgress(`its caBundle is not written in yet (${injector})`) : current;
}

function admissionPolicy(object: HealthInput): Verdict {
  const checking = object.status?.typeChecking as { expressionWarnings?: { fieldRef?: string; warning?: string }[] } | undefined;
  const warning = checking?.expressionWarnings?.[0];
  return warning ? currentThough(`${warning.fieldRef ?? "expression"}: ${warning.warning ?? "warning"}`) : current;
}

function attachment(object: HealthInput): Verdict {
  if (object.status?.attached === true) return current;
  const error = object.status?.attachError as { message?: string } | undefined;
  return inProgress(error?.message === undefined ? "not attached yet" : `cannot be attached: ${error.message}`);
}

function wantsCondition(type: string): Rule {
  return (object) => {
    const condition: Condition | undefined = conditionsOf(object).find((c) => c.type === type);
    if (condition?.status === "True") return current;
    return inProgress(condition ? because(condition) : `${type} is not reported yet`);
  };
}

function count(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}
