import { createHash } from "node:crypto";
import { type ApiServer, timestamp } from "./api-server.ts";
import { apiVersionOf, type ServedKind, storageKey } from "./kinds.ts";
import type { StoreEvent } from "./object-store.ts";
import { parseLabelSelector } from "./selectors.ts";
import { type Fields, isFields, textOf } from "./typed-value.ts";
import { parse } from "./write-object.ts";

/** What kube-controller-manager, scheduler and kubelet would do, as far as agents see it. Every act is a request like anybody's. */

type Act = (api: ApiServer, object: Fields) => void;

const budgets = "policy/poddisruptionbudgets";

const acts: Readonly<Record<string, Act>> = {
  "/namespaces": finishNamespace,
  "apps/deployments": runDeployment,
  "apps/replicasets": runReplicaSet,
  "apps/statefulsets": runStatefulSet,
  "apps/daemonsets": runDaemonSet,
  "batch/jobs": runJob,
  "/pods": runPod,
  "/persistentvolumeclaims": bindClaim,
  "/services": giveAddress,
  [budgets]: countDisruptions,
};

/** @returns how to stop them. */
export function startControllers(api: ApiServer): () => void {
  const waiting = new Map<string, () => void>();
  let isRunning = false;
  const run = () => {
    isRunning = false;
    const now = [...waiting.values()];
    waiting.clear();
    for (const act of now) act();
  };
  const later = (key: string, act: () => void) => {
    waiting.set(key, act);
    if (!isRunning) setImmediate(run);
    isRunning = true;
  };
  const look = (storage: string, namespace: string, name: string) => {
    const act = acts[storage];
    if (!act) return;
    later(`${storage} ${namespace}/${name}`, () => {
      const stored = api.store.get(storage, namespace, name);
      if (stored) act(api, parse(stored));
    });
  };
  const stop = api.store.listen((event) => {
    look(event.storage, event.object.namespace, event.object.name);
    // Whose pods they are is told by a selector.
    if (event.storage === "/pods") for (const { name } of api.store.list(budgets, event.object.namespace)) look(budgets, event.object.namespace, name);
    for (const [storage, name] of ownersOf(event)) look(storage, event.object.namespace, name);
    if (event.type === "DELETED") later(`collect ${event.object.version}`, () => collect(api, parse(event.object)));
    // What is in a namespace keeps it.
    if (event.type === "DELETED" && event.object.namespace !== "") look("/namespaces", "", event.object.namespace);
  });
  return () => {
    stop();
    waiting.clear();
  };
}

const ownerKinds: Readonly<Record<string, string>> = {
  Deployment: "apps/deployments",
  ReplicaSet: "apps/replicasets",
  StatefulSet: "apps/statefulsets",
  DaemonSet: "apps/daemonsets",
  Job: "batch/jobs",
};

function ownersOf({ object, storage }: StoreEvent): [string, string][] {
  if (storage !== "/pods" && storage !== "apps/replicasets") return [];
  return ownerReferences(parse(object)).flatMap(({ kind, name }): [string, string][] => {
    const owner = ownerKinds[textOf(kind)];
    return owner ? [[owner, textOf(name)]] : [];
  });
}

function ownerReferences(object: Fields): Fields[] {
  return ((object.metadata as Fields).ownerReferences ?? []) as Fields[];
}

function ask(api: ApiServer, method: string, path: string, body: object, type = "application/json"): void {
  api.handle({
    method,
    path,
    query: new URLSearchParams(),
    contentType: method === "PATCH" ? "application/merge-patch+json" : type,
    accept: "application/json",
    userAgent: "kube-controller-manager",
    body: JSON.stringify(body),
  });
}

function pathOf(kind: ServedKind, namespace: string, name = ""): string {
  const base = kind.group === "" ? `/api/${kind.version}` : `/apis/${apiVersionOf(kind)}`;
  return `${base}${kind.isNamespaced ? `/namespaces/${namespace}` : ""}/${kind.plural}${name === "" ? "" : `/${name}`}`;
}

function collectionOf(object: Fields, api: ApiServer): string {
  const kind = api.kinds().find((known) => known.kind === object.kind && apiVersionOf(known) === object.apiVersion);
  const { namespace = "" } = object.metadata as { namespace?: string };
  return kind ? pathOf(kind, namespace) : "";
}

function writeStatus(api: ApiServer, object: Fields, status: object): void {
  const { name } = object.metadata as { name: string };
  ask(api, "PATCH", `${collectionOf(object, api)}/${name}/status`, { status });
}

/** The garbage collector: what the deleted object owned goes too, unless something else owns it. */
function collect(api: ApiServer, gone: Fields): void {
  const { uid } = gone.metadata as { uid: string };
  const kinds = new Map(api.kinds().map((kind) => [storageKey(kind), kind]));
  const owned = [...api.store.all()].filter(({ object }) => object.text.includes(uid));
  for (const { storage, object } of owned) {
    const kind = kinds.get(storage);
    const owners = ownerReferences(parse(object));
    if (kind && owners.length > 0 && owners.every((owner) => owner.uid === uid)) ask(api, "DELETE", pathOf(kind, object.namespace, object.name), {});
  }
}

/** A namespace that is being deleted loses what is in it, then itself. */
function finishNamespace(api: ApiServer, namespace: Fields): void {
  const { name, deletionTimestamp } = namespace.metadata as { name: string; deletionTimestamp?: string };
  if (deletionTimestamp === undefined) return;
  const kinds = new Map(
    api
      .kinds()
      .filter(({ isNamespaced }) => isNamespaced)
      .map((kind) => [storageKey(kind), kind]),
  );
  for (const [storage, kind] of kinds) {
    for (const object of api.store.list(storage, name)) {
      if (parse(object).metadata && !object.text.includes('"deletionTimestamp"'))
        ask(api, "DELETE", pathOf(kind, name, object.name), { gracePeriodSeconds: 0 });
    }
  }
  const isEmpty = [...kinds.keys()].every((storage) => api.store.list(storage, name).length === 0);
  const finalizers = ((namespace.spec as Fields).finalizers ?? []) as string[];
  if (isEmpty && finalizers.includes("kubernetes"))
    ask(api, "PUT", `/api/v1/namespaces/${name}/finalize`, {
      ...namespace,
      spec: { finalizers: finalizers.filter((finalizer) => finalizer !== "kubernetes") },
    });
}

function owned(api: ApiServer, storage: string, owner: Fields): Fields[] {
  const { uid, namespace = "" } = owner.metadata as { uid: string; namespace?: string };
  return api.store
    .list(storage, namespace)
    .filter(({ text }) => text.includes(uid))
    .map(parse)
    .filter((object) => ownerReferences(object).some((reference) => reference.uid === uid && reference.controller === true));
}

function ownerOf(owner: Fields): Fields {
  const { name, uid } = owner.metadata as Fields;
  return { apiVersion: owner.apiVersion, kind: owner.kind, name, uid, controller: true, blockOwnerDeletion: true };
}

function shortHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 9);
}

function isGoing(object: Fields): boolean {
  return (object.metadata as Fields).deletionTimestamp !== undefined;
}

function specOf(object: Fields): Fields {
  return (object.spec ?? {}) as Fields;
}

function isReady(pod: Fields): boolean {
  const conditions = ((pod.status as Fields | undefined)?.conditions ?? []) as Fields[];
  return conditions.some(({ type, status }) => type === "Ready" && status === "True");
}

function runDeployment(api: ApiServer, deployment: Fields): void {
  if (isGoing(deployment)) return;
  const { name, namespace, generation } = deployment.metadata as { name: string; namespace: string; generation: number };
  const { replicas, template, selector } = specOf(deployment) as { replicas: number; template: Fields; selector: { matchLabels?: object } };
  const hash = shortHash(template);
  const labels = { ...((template.metadata as Fields | undefined)?.labels as object | undefined), "pod-template-hash": hash };
  const current = `${name}-${hash}`;
  const sets = owned(api, "apps/replicasets", deployment);
  const path = `/apis/apps/v1/namespaces/${namespace}/replicasets`;
  const found = sets.find((set) => (set.metadata as Fields).name === current);
  if (!found) {
    const spec = {
      replicas,
      selector: { matchLabels: { ...selector.matchLabels, "pod-template-hash": hash } },
      template: { ...template, metadata: { ...(template.metadata as object), labels } },
    };
    ask(api, "POST", path, { metadata: { name: current, labels, ownerReferences: [ownerOf(deployment)] }, spec });
  } else if (specOf(found).replicas !== replicas) ask(api, "PATCH", `${path}/${current}`, { spec: { replicas } });
  const ready = Number(((found?.status ?? {}) as Fields).readyReplicas ?? 0);
  // The old ones go when the new one stands.
  const old = sets.filter((set) => set !== found);
  if (found && ready >= replicas) for (const set of old) ask(api, "DELETE", `${path}/${textOf((set.metadata as Fields).name)}`, {});
  const made = Number(((found?.status ?? {}) as Fields).replicas ?? 0);
  const isAvailable = ready >= replicas;
  const condition = (type: string, holds: boolean, reason: string) => ({
    type,
    status: holds ? "True" : "False",
    reason,
    message: "",
    lastTransitionTime: timestamp(),
    lastUpdateTime: timestamp(),
  });
  const before = (deployment.status ?? {}) as Fields;
  const counts = {
    observedGeneration: generation,
    replicas: made + (isAvailable ? 0 : old.length > 0 ? 1 : 0),
    updatedReplicas: made,
    readyReplicas: ready,
    availableReplicas: ready,
    unavailableReplicas: Math.max(0, replicas - ready),
  };
  if (Object.entries(counts).every(([field, value]) => Number(before[field] ?? 0) === value) && Array.isArray(before.conditions)) return;
  writeStatus(api, deployment, {
    ...counts,
    conditions: [
      condition("Available", isAvailable, isAvailable ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable"),
      condition("Progressing", true, isAvailable ? "NewReplicaSetAvailable" : "ReplicaSetUpdated"),
    ],
  });
}

/** Makes and removes the pods of an owner until there are as many as wanted. @returns those that stay. */
function keepPods(api: ApiServer, owner: Fields, names: readonly string[]): Fields[] {
  const { namespace } = owner.metadata as { namespace: string };
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = owned(api, "/pods", owner).filter((pod) => !isGoing(pod));
  const has = new Set(pods.map((pod) => textOf((pod.metadata as Fields).name)));
  const template = specOf(owner).template as Fields;
  for (const name of names.filter((wanted) => !has.has(wanted)))
    ask(api, "POST", path, { metadata: { ...(template.metadata as object | undefined), name, ownerReferences: [ownerOf(owner)] }, spec: template.spec });
  for (const pod of pods)
    if (!names.includes(textOf((pod.metadata as Fields).name)))
      ask(api, "DELETE", `${path}/${textOf((pod.metadata as Fields).name)}`, { gracePeriodSeconds: 0 });
  return pods.filter((pod) => names.includes(textOf((pod.metadata as Fields).name)));
}

function writeCounts(api: ApiServer, owner: Fields, counts: Fields): void {
  const before = (owner.status ?? {}) as Fields;
  if (Object.entries(counts).some(([field, value]) => (before[field] ?? 0) !== value)) writeStatus(api, owner, counts);
}

function runReplicaSet(api: ApiServer, set: Fields): void {
  if (isGoing(set)) return;
  const { name, uid, generation } = set.metadata as { name: string; uid: string; generation: number };
  const wanted = Array.from({ length: Number(specOf(set).replicas ?? 1) }, (_, index) => `${name}-${shortHash([uid, index]).slice(0, 5)}`);
  const pods = keepPods(api, set, wanted);
  const ready = pods.filter(isReady).length;
  writeCounts(api, set, {
    observedGeneration: generation,
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
  });
}

function runStatefulSet(api: ApiServer, set: Fields): void {
  if (isGoing(set)) return;
  const { name, generation, namespace } = set.metadata as { name: string; generation: number; namespace: string };
  const spec = specOf(set) as { replicas: number; template: Fields; volumeClaimTemplates?: Fields[] };
  const names = Array.from({ length: spec.replicas }, (_, index) => `${name}-${index}`);
  for (const pod of names) {
    for (const claim of spec.volumeClaimTemplates ?? []) {
      const claimName = `${textOf((claim.metadata as Fields).name)}-${pod}`;
      if (!api.store.get("/persistentvolumeclaims", namespace, claimName))
        ask(api, "POST", `/api/v1/namespaces/${namespace}/persistentvolumeclaims`, { metadata: { name: claimName }, spec: claim.spec });
    }
  }
  const revision = `${name}-${shortHash(spec.template)}`;
  const isOld = (pod: Fields) => !sameTemplate(pod, spec.template);
  const pods = keepPods(api, set, names);
  for (const pod of pods.filter(isOld))
    ask(api, "DELETE", `/api/v1/namespaces/${namespace}/pods/${textOf((pod.metadata as Fields).name)}`, { gracePeriodSeconds: 0 });
  const now = pods.filter((pod) => !isOld(pod));
  const ready = now.filter(isReady).length;
  writeCounts(api, set, {
    observedGeneration: generation,
    replicas: now.length,
    readyReplicas: ready,
    currentReplicas: now.length,
    updatedReplicas: now.length,
    availableReplicas: ready,
    currentRevision: revision,
    updateRevision: revision,
    collisionCount: 0,
  });
}

function sameTemplate(pod: Fields, template: Fields): boolean {
  const images = (spec: unknown) => (((spec as Fields | undefined)?.containers ?? []) as Fields[]).map(({ image }) => image).join();
  return images(pod.spec) === images(template.spec);
}

function runDaemonSet(api: ApiServer, set: Fields): void {
  if (isGoing(set)) return;
  const { name, uid, generation } = set.metadata as { name: string; uid: string; generation: number };
  const pods = keepPods(api, set, [`${name}-${shortHash([uid, (specOf(set).template as Fields).spec]).slice(0, 5)}`]);
  const ready = pods.filter(isReady).length;
  writeCounts(api, set, {
    observedGeneration: generation,
    currentNumberScheduled: pods.length,
    desiredNumberScheduled: 1,
    numberMisscheduled: 0,
    numberReady: ready,
    numberAvailable: ready,
    updatedNumberScheduled: pods.length,
  });
}

function runJob(api: ApiServer, job: Fields): void {
  const status = (job.status ?? {}) as Fields;
  if (isGoing(job) || status.completionTime !== undefined || specOf(job).suspend === true) return;
  const { name } = job.metadata as { name: string };
  const wanted = Number(specOf(job).completions ?? 1);
  const pods = keepPods(
    api,
    job,
    Array.from({ length: wanted }, (_, index) => `${name}-${index}`),
  );
  const succeeded = pods.filter((pod) => (pod.status as Fields | undefined)?.phase === "Succeeded").length;
  if (succeeded < wanted) {
    writeCounts(api, job, { active: pods.length - succeeded, succeeded, ready: 0 });
    return;
  }
  const at = timestamp();
  const condition = (type: string) => ({
    type,
    status: "True",
    reason: "CompletionsReached",
    message: "Reached expected number of succeeded pods",
    lastProbeTime: at,
    lastTransitionTime: at,
  });
  writeStatus(api, job, {
    active: 0,
    succeeded,
    ready: 0,
    startTime: at,
    completionTime: at,
    conditions: [condition("SuccessCriteriaMet"), condition("Complete")],
  });
}

/** As test/harness/fake-kubelet.ts plays it: `fail`, `crash` and `oom` in an image's name do what they say. */
function runPod(api: ApiServer, pod: Fields): void {
  const { name, namespace } = pod.metadata as { name: string; namespace: string };
  const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
  if (isGoing(pod)) return ask(api, "DELETE", path, { gracePeriodSeconds: 0 });
  if (!specOf(pod).nodeName) return ask(api, "POST", `${path}/binding`, { metadata: { name }, target: { kind: "Node", name: "simulated" } });
  const played = playedStatus(pod);
  if ((pod.status as Fields | undefined)?.containerStatuses === undefined) writeStatus(api, pod, played);
}

function playedStatus(pod: Fields): Fields {
  const containers = (specOf(pod).containers ?? []) as { name: string; image: string }[];
  const images = containers.map(({ image }) => image);
  const matching = (pattern: RegExp) => images.find((image) => pattern.test(image));
  const at = timestamp();
  const missing = matching(/fail/);
  if (missing !== undefined)
    return statusOf(containers, "Pending", { waiting: { reason: "ImagePullBackOff", message: `Back-off pulling image "${missing}"` } });
  const loop = { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s restarting failed container" } };
  const ended = (exitCode: number, reason: string) => ({ terminated: { exitCode, reason, startedAt: at, finishedAt: at } });
  if (matching(/crash/)) return statusOf(containers, "Running", loop, ended(1, "Error"));
  if (matching(/oom/)) return statusOf(containers, "Running", loop, ended(137, "OOMKilled"));
  if (ownerReferences(pod).some(({ kind }) => kind === "Job")) return statusOf(containers, "Succeeded", ended(0, "Completed"));
  return statusOf(containers, "Running", { running: { startedAt: at } });
}

function statusOf(containers: readonly { name: string; image: string }[], phase: string, state: Fields, lastState: Fields = {}): Fields {
  const isRunning = state.running !== undefined;
  const condition = (type: string, holds: boolean) => ({
    type,
    status: holds ? "True" : "False",
    lastTransitionTime: timestamp(),
    ...(!holds && { reason: "ContainersNotReady" }),
  });
  return {
    phase,
    startTime: timestamp(),
    podIP: "10.1.0.1",
    conditions: [condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", isRunning), condition("Ready", isRunning)],
    containerStatuses: containers.map(({ name, image }) => ({
      name,
      image,
      imageID: image,
      ready: isRunning,
      started: isRunning,
      restartCount: isFields(lastState.terminated) ? 3 : 0,
      state,
      lastState,
    })),
  };
}

function bindClaim(api: ApiServer, claim: Fields): void {
  if (isGoing(claim)) {
    const { name, namespace, finalizers = [] } = claim.metadata as { name: string; namespace: string; finalizers?: string[] };
    const rest = finalizers.filter((finalizer) => finalizer !== "kubernetes.io/pvc-protection");
    if (rest.length < finalizers.length)
      ask(api, "PATCH", `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`, { metadata: { finalizers: rest } });
    return;
  }
  if ((claim.status as Fields | undefined)?.phase === "Bound") return;
  const { accessModes, resources } = specOf(claim) as { accessModes?: unknown; resources?: Fields };
  writeStatus(api, claim, { phase: "Bound", accessModes, capacity: resources?.requests });
}

function giveAddress(api: ApiServer, service: Fields): void {
  const loadBalancer = ((service.status ?? {}) as Fields).loadBalancer as Fields | undefined;
  if (specOf(service).type === "LoadBalancer" && loadBalancer?.ingress === undefined)
    writeStatus(api, service, { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } });
}

/** The disruption controller: how many of the pods that a budget selects may go now. */
function countDisruptions(api: ApiServer, budget: Fields): void {
  const { namespace, generation } = budget.metadata as { namespace: string; generation?: number };
  const { selector, minAvailable, maxUnavailable } = specOf(budget) as { selector?: Fields; minAvailable?: unknown; maxUnavailable?: unknown };
  const isMeant = parseLabelSelector(
    Object.entries((selector?.matchLabels ?? {}) as Record<string, string>)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
  );
  const pods = api.store.list("/pods", namespace).filter(({ labels }) => isMeant(labels));
  const expectedPods = pods.length;
  const currentHealthy = pods.filter((pod) => isReady(parse(pod))).length;
  const desiredHealthy =
    maxUnavailable === undefined ? partOf(minAvailable ?? 1, expectedPods) : Math.max(0, expectedPods - partOf(maxUnavailable, expectedPods));
  const disruptionsAllowed = Math.max(0, currentHealthy - desiredHealthy);
  const status = { observedGeneration: generation ?? 1, disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods };
  const { observedGeneration, ...before } = (budget.status ?? {}) as Fields;
  const isSame = Object.entries(status).every(([field, value]) => (field === "observedGeneration" ? observedGeneration : before[field]) === value);
  if (isSame) return;
  const isEnough = disruptionsAllowed > 0;
  const condition = {
    type: "DisruptionAllowed",
    status: isEnough ? "True" : "False",
    reason: isEnough ? "SufficientPods" : "InsufficientPods",
    message: "",
    lastTransitionTime: timestamp(),
  };
  writeStatus(api, budget, { ...status, conditions: [condition] });
}

/** A number, or a percentage, which is rounded up. */
function partOf(value: unknown, of: number): number {
  return typeof value === "string" && value.endsWith("%") ? Math.ceil((Number.parseFloat(value) / 100) * of) : Number(value);
}
