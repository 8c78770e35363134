import { because, conditionsOf, current, failed, inProgress, type Condition, type HealthInput, type Verdict } from "./verdict.ts";

type Rule = (object: HealthInput) => Verdict;

/** Rules by "group/kind". A kind that is not here is judged by its conditions. */
const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ["apps/Deployment", deployment],
  ["apps/StatefulSet", statefulSet],
  ["apps/DaemonSet", daemonSet],
  ["apps/ReplicaSet", replicas],
  ["/ReplicationController", replicas],
  ["/Pod", pod],
  ["batch/Job", job],
  ["batch/CronJob", () => current],
  ["/PersistentVolumeClaim", claim],
  ["/Service", service],
  ["/Namespace", namespace],
  ["apiextensions.k8s.io/CustomResourceDefinition", definition],
  ["apiregistration.k8s.io/APIService", wantsCondition("Available")],
  ["policy/PodDisruptionBudget", disruptionBudget],
  ["autoscaling/HorizontalPodAutoscaler", autoscaler],
  ["/Node", wantsCondition("Ready")],
]);

/** The verdict of the kind's own rule, or undefined when it has none. */
export function judgeByKind(object: HealthInput): Verdict | undefined {
  const apiVersion = object.apiVersion ?? "";
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  return rules.get(`${group}/${object.kind ?? ""}`)?.(object);
}

function deployment(object: HealthInput): Verdict {
  const status = object.status ?? {};
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const conditions = conditionsOf(object);
  const progressing = conditions.find((c) => c.type === "Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded") return failed(because(progressing));
  const wanted = count(object.spec?.replicas, 1);
  const steps = replicaSteps(status, wanted);
  if (steps) return steps;
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
  // With OnDelete a person decides when pods are replaced: nothing here is in progress.
  if (strategy?.type === "OnDelete") return current;
  if (status.observedGeneration === undefined) return inProgress("not seen by its controller yet");
  const wanted = count(object.spec?.replicas, 1);
  const [total, ready] = [count(status.replicas, 0), count(status.readyReplicas, 0)];
  if (total < wanted) return inProgress(`${total} of ${wanted} replicas exist`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} replicas ready`);
  if (total > wanted) return inProgress(`${total - wanted} replicas too many still run`);
  const partition = count(strategy?.rollingUpdate?.partition, 0);
  const updated = count(status.updatedReplicas, 0);
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

interface ContainerStatus {
  readonly name?: string;
  readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string }; readonly terminated?: { readonly reason?: string } };
}

/** Waiting reasons out of which a container does not come by itself. */
const hopeless: ReadonlySet<string> = new Set([
  "CrashLoopBackOff",
  "ImagePullBackOff",
  "ErrImagePull",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
]);

function pod(object: HealthInput): Verdict {
  const status = object.status ?? {};
  const phase = status.phase;
  if (phase === "Succeeded") return current;
  if (phase === "Failed") return failed(`pod failed${typeof status.reason === "string" ? `: ${status.reason}` : ""}`);
  const containers = [status.initContainerStatuses, status.containerStatuses].flatMap((list) => (Array.isArray(list) ? (list as ContainerStatus[]) : []));
  const stuck = containers.find((c) => hopeless.has(c.state?.waiting?.reason ?? ""));
  if (stuck) return failed(`container ${stuck.name}: ${stuck.state?.waiting?.reason}`);
  const conditions = conditionsOf(object);
  const scheduled = conditions.find((c) => c.type === "PodScheduled");
  if (scheduled?.status === "False" && scheduled.reason === "Unschedulable") return failed(because(scheduled));
  const ready = conditions.find((c) => c.type === "Ready");
  return ready?.status === "True" ? current : inProgress(ready ? because(ready) : `pod is ${typeof phase === "string" ? phase : "not started"}`);
}

/** kstatus: a Job that runs is Current; only its start, its failure and its suspension are told apart. Ours waits for completion's failure only. */
function job(object: HealthInput): Verdict {
  const status = object.status ?? {};
  const conditions = conditionsOf(object);
  const failure = conditions.find((c) => c.type === "Failed" && c.status === "True");
  if (failure) return failed(because(failure));
  if (conditions.some((c) => c.type === "Complete" && c.status === "True")) return current;
  if (object.spec?.suspend === true) return current;
  return status.startTime === undefined ? inProgress("job has not started") : current;
}

function claim(object: HealthInput): Verdict {
  const phase = object.status?.phase;
  if (phase === "Bound") return current;
  if (phase === "Lost") return failed("its volume is lost");
  return inProgress(`claim is ${typeof phase === "string" ? phase : "not seen by its controller yet"}`);
}

function service(object: HealthInput): Verdict {
  if (object.spec?.type !== "LoadBalancer") return current;
  const ingress = (object.status?.loadBalancer as { ingress?: unknown[] } | undefined)?.ingress;
  return Array.isArray(ingress) && ingress.length > 0 ? current : inProgress("load balancer has no address yet");
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
  const [healthy, wanted] = [count(status.currentHealthy, 0), count(status.desiredHealthy, 0)];
  return healthy < wanted ? inProgress(`${healthy} of ${wanted} pods healthy`) : current;
}

/** An autoscaler that cannot read its metrics or its target does not scale: that is worth a Failed; "limited" is not. */
function autoscaler(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const broken = conditions.find((c) => c.status === "False" && (c.type === "AbleToScale" || (c.type === "ScalingActive" && c.reason !== "ScalingDisabled")));
  if (broken) return /^(FailedGet|Invalid|Failed)/.test(broken.reason ?? "") ? failed(because(broken)) : inProgress(because(broken));
  return conditions.length === 0 ? inProgress("not seen by its controller yet") : current;
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
