import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { mkdir } from "node:fs/promises";
import type { KubeEndpoint } from "@flotilla/agent/cluster/kube-endpoint";
import type { Log } from "@flotilla/agent/log";
import { runAgent } from "@flotilla/agent/run-agent";
import { ApiServer } from "./api-server.ts";
import {
  type CrowdAnswers,
  type CrowdBehaviour,
  type CrowdLinks,
  type CrowdMember,
  type CrowdQuestion,
  type CrowdUsage,
  epochNow,
  type Mark,
  type Through,
} from "./crowd-words.ts";
import { faultsOf } from "./faults.ts";
import { memorySession } from "./memory-session.ts";
import type { HostedCluster } from "./simulated-host.ts";

/**
 * One process of a crowd: simulated clusters, and beside each the real agent, whole: its client, engine, outbox, link with mutual TLS and publisher.
 * `node crowd-process.ts STATE-FOLDER BEHAVIOUR`, forked with IPC by crowd.ts.
 */

const [stateFolder = "", behaviourText = "{}"] = process.argv.slice(2);
const behaviour = JSON.parse(behaviourText) as CrowdBehaviour;
const log = logOf("");
const clusters = new Map<string, ApiServer>();
const agents: { readonly stop: AbortController; readonly done: Promise<void> }[] = [];
let requests = 0;
let links: CrowdLinks = { connected: 0, lastAt: 0, targets: 0, targetAt: 0 };
let mark: Mark | undefined;
/** Names of the objects that hold the mark, by cluster; and when a cluster had them all. */
let held = new Map<string, Set<string>>();
let through = new Map<string, number>();

async function addMember(member: CrowdMember, index: number): Promise<void> {
  const { name } = member;
  const api = new ApiServer(behaviour.maxEvents ?? 100);
  const cluster: HostedCluster = {
    api,
    token: "crowd",
    faults: faultsOf({ ...(behaviour.writeLatency !== undefined && { writeLatency: behaviour.writeLatency }), seed: (behaviour.seed ?? 1) + index }),
    onRequest: () => void (requests += 1),
  };
  api.store.listen(({ type, storage, object }) => {
    if (mark === undefined || type === "DELETED" || storage !== "/configmaps" || !object.text.includes(mark.text)) return;
    const names = held.get(name) ?? new Set();
    held.set(name, names.add(`${object.namespace}/${object.name}`));
    if (names.size >= mark.perCluster && !through.has(name)) through.set(name, epochNow());
  });
  clusters.set(name, api);
  const stateDir = join(stateFolder, name);
  await mkdir(stateDir, { recursive: true });
  const stop = new AbortController();
  const options = { hub: member.hub, token: member.token, caHash: member.caHash, cluster: name, stateDir, identity: "secret", onLink: noteLink } as const;
  const done = runAgent({ ...options, endpoint: endpointOf(cluster, name), log: logOf(name), stopping: stop.signal }).catch((error: unknown) => {
    if (!stop.signal.aborted) log.error({ err: error, cluster: name }, "an agent ended");
  });
  agents.push({ stop, done });
}

/** Errors alone, unless FLOTILLA_LOG_LEVEL=debug: what thousands of agents say in a normal day is nothing to keep. */
function logOf(cluster: string): Log {
  const write = (level: string) => (fields: object, message: string) => {
    const { err } = fields as { err?: unknown };
    process.stderr.write(`${JSON.stringify({ level, cluster, message, ...fields, ...(err instanceof Error && { err: err.stack }) }, plain)}\n`);
  };
  const all = process.env.FLOTILLA_LOG_LEVEL === "debug";
  const silent = () => undefined;
  return { error: write("error"), warn: all ? write("warn") : silent, info: all ? write("info") : silent, debug: all ? write("debug") : silent };
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

function noteLink(what: "connected" | "disconnected" | "target"): void {
  const { connected, targets } = links;
  if (what === "target") links = { ...links, targets: targets + 1, targetAt: epochNow() };
  else if (what === "connected") links = { ...links, connected: connected + 1, lastAt: epochNow() };
  else links = { ...links, connected: connected - 1 };
}

function endpointOf(cluster: HostedCluster, name: string): KubeEndpoint {
  return {
    url: new URL(`http://${name}.invalid`),
    open: () => memorySession(cluster),
    source: "crowd",
    serverName: undefined,
    insecureSkipVerify: false,
    tls: async () => ({}),
    token: async () => "crowd",
    renew: () => undefined,
  };
}

const answers: { [Ask in keyof CrowdAnswers]: (question: Extract<CrowdQuestion, { ask: Ask }>) => Promise<CrowdAnswers[Ask]> } = {
  async join({ members }) {
    await Promise.all(members.map((member) => addMember(member, clusters.size + members.indexOf(member))));
    return clusters.size;
  },
  async mark({ mark: next }) {
    [mark, held, through] = [next, new Map(), new Map()];
    return undefined;
  },
  async through() {
    const missing = [...clusters.keys()].filter((name) => !through.has(name));
    const objects = [...held.values()].reduce((sum, names) => sum + names.size, 0);
    return { at: [...through.values()], missing, objects } satisfies Through;
  },
  /** A controller of each cluster changes its first so many ConfigMaps, as nobody asked for. */
  async write({ objects, text }) {
    let written = 0;
    for (const api of clusters.values()) {
      for (const { namespace, name } of api.store.list("/configmaps", "").slice(0, objects)) {
        patch(api, `/api/v1/namespaces/${namespace}/configmaps/${name}`, { data: { value: text } }, "somebody");
        written += 1;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return written;
  },
  async stir({ objects, steps, everyMs }) {
    let written = 0;
    for (let step = steps - 1; step >= 0; step -= 1) {
      const began = performance.now();
      for (const api of clusters.values()) {
        for (const { namespace, name, text } of api.store.list("apps/deployments", "").slice(0, objects)) {
          const { generation } = (JSON.parse(text) as { metadata: { generation?: number } }).metadata;
          const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}/status`;
          patch(api, path, { status: deploymentStatus(generation ?? 1, step) }, "kube-controller-manager");
          written += 1;
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (step > 0) await delay(Math.max(0, everyMs - (performance.now() - began)));
    }
    return written;
  },
  async links() {
    return links;
  },
  async usage() {
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    return { residentMiB: rss / 2 ** 20, heapMiB: heapUsed / 2 ** 20, cpuSeconds: (user + system) / 1e6, requests } satisfies CrowdUsage;
  },
  async stop() {
    for (const { stop } of agents) stop.abort();
    await Promise.all(agents.map(({ done }) => done));
    return undefined;
  },
};

const desiredReplicas = 4;

/** Of a Deployment of four replicas that has so many steps before it until all are there; one step of four has a pod less. */
function deploymentStatus(generation: number, stepsLeft: number): object {
  const available = stepsLeft === 0 ? desiredReplicas : desiredReplicas - 1 - (stepsLeft % desiredReplicas);
  const isThere = available === desiredReplicas;
  return {
    observedGeneration: generation,
    replicas: desiredReplicas,
    updatedReplicas: desiredReplicas,
    readyReplicas: available,
    availableReplicas: available,
    unavailableReplicas: isThere ? null : desiredReplicas - available,
    conditions: [
      { type: "Available", status: isThere ? "True" : "False", reason: isThere ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable" },
      { type: "Progressing", status: "True", reason: isThere ? "NewReplicaSetAvailable" : "ReplicaSetUpdated" },
    ],
  };
}

function patch(api: ApiServer, path: string, body: object, manager: string): void {
  const query = new URLSearchParams({ fieldManager: manager });
  api.handle({
    method: "PATCH",
    path,
    query,
    contentType: "application/merge-patch+json",
    accept: "application/json",
    userAgent: manager,
    body: JSON.stringify(body),
  });
}

process.on("unhandledRejection", (error) => log.error({ err: error }, "an error nobody waited for"));
process.on("uncaughtException", (error) => log.error({ err: error }, "an error nobody caught"));
process.on("disconnect", () => process.exit(1));
process.on("message", ({ id, question }: { id: number; question: CrowdQuestion }) => {
  const answer = answers[question.ask] as (question: CrowdQuestion) => Promise<unknown>;
  answer(question).then(
    (value) => process.send?.({ id, value }, () => question.ask === "stop" && process.exit(0)),
    (error: unknown) => process.send?.({ id, error: String((error as Error).stack) }),
  );
});
process.send?.({ id: 0 });
