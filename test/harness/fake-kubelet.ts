import { setTimeout as delay } from "node:timers/promises";
import { type KubeClient, KubeError, type KubeObject } from "./kube-client.ts";

/** Scheduler, kubelet, volume binder and cloud of a cluster that has none: only what their absence would leave waiting. */
export interface FakeKubelet {
  /** Pods whose image matches fail from now on, and those of it that run fail too: as if the registry lost it. */
  failImages(pattern: RegExp): void;
  stop(): Promise<void>;
}

interface Role {
  path: string;
  act(object: KubeObject): Promise<void>;
}

const nodeName = "harness";
const nodeLabels: Readonly<Record<string, string>> = { "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": nodeName };

/**
 * An image with `fail` in its name cannot be pulled, one with `crash` crashes (where it never restarts: ends with exit code 1), one with `oom` runs out of memory again and again; a pod
 * whose nodeSelector asks for another node is unschedulable; pods of Jobs succeed; others run and are ready. PersistentVolumeClaims are bound, Services of type LoadBalancer get an address, CronJobs are left alone.
 */
export async function startFakeKubelet(client: KubeClient): Promise<FakeKubelet> {
  const ending = new AbortController();
  let extraFailures: RegExp | undefined;
  await createNode(client);
  const roles: Role[] = [
    { path: "/api/v1/pods", act: (pod) => playPod(client, pod, extraFailures) },
    { path: "/api/v1/persistentvolumeclaims", act: (claim) => bindClaim(client, claim) },
    { path: "/api/v1/services", act: (service) => giveAddress(client, service) },
  ];
  const running = roles.map((role) => followObjects(client, role, ending.signal));
  return {
    failImages(pattern) {
      extraFailures = pattern;
      void client.list("/api/v1/pods").then((pods) => Promise.allSettled(pods.map((pod) => playPod(client, pod, pattern))));
    },
    async stop() {
      ending.abort();
      await Promise.all(running);
    },
  };
}

/** Lists and watches for ever; an object that another changed meanwhile comes again with the next event. */
async function followObjects(client: KubeClient, role: Role, signal: AbortSignal): Promise<void> {
  const act = (object: KubeObject) => {
    role.act(object).catch((error: unknown) => {
      if (signal.aborted || (error instanceof KubeError && (error.status === 404 || error.status === 409))) return;
      process.stderr.write(`fake kubelet: ${object.metadata.namespace}/${object.metadata.name}: ${String(error)}\n`);
    });
  };
  while (!signal.aborted) {
    try {
      const list = await client.get(role.path);
      for (const object of list.items as KubeObject[]) act(object);
      const version = (list.metadata as { resourceVersion?: string }).resourceVersion ?? "";
      await client.watch(`${role.path}?resourceVersion=${version}`, signal, (event) => {
        if (event.type === "ADDED" || event.type === "MODIFIED") act(event.object);
      });
    } catch {
      // The API server is away or restarted: look again.
    }
    await delay(200, undefined, { signal }).catch(() => undefined);
  }
}

async function createNode(client: KubeClient): Promise<void> {
  const found = await client.find(`/api/v1/nodes/${nodeName}`);
  if (!found) {
    await client.create("/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: nodeName, labels: nodeLabels },
    });
  }
  const room = { cpu: "64", memory: "256Gi", pods: "5000" };
  const ready = {
    type: "Ready",
    status: "True",
    reason: "KubeletReady",
    message: "played by the harness",
    lastTransitionTime: now(),
    lastHeartbeatTime: now(),
  };
  await client.mergePatch(`/api/v1/nodes/${nodeName}/status`, { status: { capacity: room, allocatable: room, conditions: [ready] } });
  await client.mergePatch(`/api/v1/nodes/${nodeName}`, { spec: { taints: null } });
}

async function playPod(client: KubeClient, pod: KubeObject, extraFailures: RegExp | undefined): Promise<void> {
  const { name, namespace } = pod.metadata;
  const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
  if (pod.metadata.deletionTimestamp) {
    // What a kubelet does when the containers are gone: the object goes at once.
    await client.delete(`${path}?gracePeriodSeconds=0`);
    return;
  }
  if (!pod.spec.nodeName && !fitsNode(pod)) return sayUnschedulable(client, pod);
  if (!pod.spec.nodeName) {
    await client.create(`${path}/binding`, {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name, namespace },
      target: { apiVersion: "v1", kind: "Node", name: nodeName },
    });
    return;
  }
  const status = podStatus(pod, extraFailures);
  if (status.phase === pod.status?.phase && status.state === stateOf(pod)) return;
  await client.mergePatch(`${path}/status`, { status: status.written });
}

function fitsNode(pod: KubeObject): boolean {
  return Object.entries((pod.spec.nodeSelector as Record<string, string> | undefined) ?? {}).every(([key, value]) => nodeLabels[key] === value);
}

/** As the scheduler says it. */
async function sayUnschedulable(client: KubeClient, pod: KubeObject): Promise<void> {
  if (pod.status?.conditions) return;
  const message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
  const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message, lastTransitionTime: now() };
  await client.mergePatch(`/api/v1/namespaces/${pod.metadata.namespace}/pods/${pod.metadata.name}/status`, { status: { conditions: [condition] } });
}

type PodState = "waiting" | "running" | "terminated" | "none";

interface PlayedStatus {
  phase: string;
  state: PodState;
  written: object;
}

function podStatus(pod: KubeObject, extraFailures: RegExp | undefined): PlayedStatus {
  const images: string[] = pod.spec.containers.map((container: { image: string }) => container.image);
  const matches = (pattern: RegExp) => images.find((image) => pattern.test(image));
  const missing = matches(/fail/) ?? (extraFailures && matches(extraFailures));
  if (missing) return written(pod, "Pending", "waiting", { waiting: { reason: "ImagePullBackOff", message: `Back-off pulling image "${missing}"` } });
  const loop = { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s restarting failed container" } };
  const ended = (exitCode: number, reason: string) => ({ terminated: { exitCode, reason, startedAt: now(), finishedAt: now() } });
  if (matches(/crash/) && pod.spec.restartPolicy === "Never") return written(pod, "Failed", "terminated", ended(1, "Error"));
  if (matches(/crash/)) return written(pod, "Running", "waiting", loop, ended(1, "Error"));
  if (matches(/oom/)) return written(pod, "Running", "waiting", loop, ended(137, "OOMKilled"));
  const ofJob = (pod.metadata.ownerReferences as { kind: string }[] | undefined)?.some((owner) => owner.kind === "Job");
  if (ofJob) return written(pod, "Succeeded", "terminated", { terminated: { exitCode: 0, reason: "Completed", startedAt: now(), finishedAt: now() } });
  return written(pod, "Running", "running", { running: { startedAt: now() } });
}

function written(pod: KubeObject, phase: string, state: PodState, containerState: object, lastState: object = {}): PlayedStatus {
  const ready = state === "running";
  const condition = (type: string, holds: boolean) => ({
    type,
    status: holds ? "True" : "False",
    lastTransitionTime: now(),
    ...(holds ? {} : { reason: state === "terminated" ? "PodCompleted" : "ContainersNotReady" }),
  });
  const container = ({ name, image }: { name: string; image: string }) => ({
    name,
    image,
    imageID: image,
    ready,
    started: ready,
    restartCount: Object.keys(lastState).length > 0 ? 3 : 0,
    state: containerState,
    lastState,
  });
  return {
    phase,
    state,
    written: {
      phase,
      startTime: now(),
      hostIP: "127.0.0.1",
      podIP: "10.1.0.1",
      podIPs: [{ ip: "10.1.0.1" }],
      conditions: [condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", ready), condition("Ready", ready)],
      containerStatuses: pod.spec.containers.map(container),
    },
  };
}

function stateOf(pod: KubeObject): PodState {
  const state = (pod.status?.containerStatuses as { state?: object }[] | undefined)?.[0]?.state;
  return ((state && Object.keys(state)[0]) as PodState | undefined) ?? "none";
}

async function bindClaim(client: KubeClient, claim: KubeObject): Promise<void> {
  if (claim.status?.phase === "Bound") return;
  const { name, namespace } = claim.metadata;
  const status = { phase: "Bound", accessModes: claim.spec.accessModes, capacity: claim.spec.resources?.requests };
  await client.mergePatch(`/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}/status`, { status });
}

async function giveAddress(client: KubeClient, service: KubeObject): Promise<void> {
  if (service.spec.type !== "LoadBalancer" || service.status?.loadBalancer?.ingress) return;
  const { name, namespace } = service.metadata;
  await client.mergePatch(`/api/v1/namespaces/${namespace}/services/${name}/status`, { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } });
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
