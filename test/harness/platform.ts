import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type AgentProcess, startAgent } from "./agent-process.ts";
import { type GitChanges, type GitServer, startGitServer } from "./git-server.ts";
import { type HubProcess, startHub } from "./hub-process.ts";
import { type KubeCluster, type KubeClusterOptions, startKubeCluster } from "./kube-cluster.ts";
import { type ProgramBuild, testedBuild } from "./programs.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { waitForValue } from "./wait-for.ts";

export interface PlatformOptions {
  clusters: readonly { name: string; labels?: Record<string, string>; kube?: Omit<KubeClusterOptions, "name">; agentEnv?: NodeJS.ProcessEnv }[];
  build?: ProgramBuild;
  hubArgs?: readonly string[];
  ownPostgres?: boolean;
  hubEnv?: NodeJS.ProcessEnv;
  agentEnv?: NodeJS.ProcessEnv;
  /** Told before each step. */
  progress?: (step: string) => void;
}

/** What a platform needs of a cluster, real or simulated. */
export type PlatformCluster = Pick<KubeCluster, "name" | "url" | "kubeconfig" | "client" | "stop">;

/** A cluster with its agent. */
export interface Member<Kube extends PlatformCluster = KubeCluster> {
  readonly name: string;
  readonly kube: Kube;
  readonly agent: AgentProcess;
}

/** The whole product on real servers: Git, hub with its Postgres and NATS, clusters, agents. */
export interface Platform<Kube extends PlatformCluster = KubeCluster> {
  readonly folder: string;
  readonly git: GitServer;
  readonly hub: HubProcess;
  readonly members: readonly Member<Kube>[];
  member(name: string): Member<Kube>;
  /** A fleet by name whose every target runs the revision, Synced and Current. */
  converged(fleet: string, revision: string, options?: { timeoutMs?: number; clusters?: number }): Promise<void>;
  stop(): Promise<void>;
}

/** Starts everything, in parallel where it can. */
export function startPlatform(options: PlatformOptions): Promise<Platform> {
  return startPlatformOn(startKubeCluster, options);
}

/** The same with clusters of another kind. */
export async function startPlatformOn<Kube extends PlatformCluster>(
  startCluster: (options: KubeClusterOptions) => Promise<Kube>,
  options: PlatformOptions,
): Promise<Platform<Kube>> {
  const folder = await scratchFolder("platform");
  const say = options.progress ?? (() => undefined);
  const started: { stop(): Promise<void> }[] = [];
  const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
    started.unshift(server);
    return server;
  };
  try {
    say("Git server, hub with embedded Postgres and NATS, and the API servers");
    const build = options.build ?? testedBuild;
    const [git, hub, kubes] = await settled([
      startGitServer().then(kept),
      startHub({
        dataDir: join(folder, "hub"),
        folder,
        build,
        args: options.hubArgs ?? [],
        env: options.hubEnv ?? {},
        ownPostgres: options.ownPostgres ?? false,
      }).then(kept),
      inTurns(options.clusters, ({ name, kube }) => startCluster({ name, ...kube }).then(kept)),
    ] as const);
    say("agents, each with a token of its own");
    const members = await settled(
      options.clusters.map(async ({ name, labels, agentEnv }, index) => {
        const kube = kubes[index] as Kube;
        const enrolment = await hub.api.addCluster(name, labels ?? {});
        const stateDir = join(folder, `agent-${name}`);
        await mkdir(stateDir, { recursive: true });
        const agent = kept(await startAgent({ api: hub.api, enrolment, cluster: kube, stateDir, folder, build, env: { ...options.agentEnv, ...agentEnv } }));
        return { name, kube, agent };
      }),
    );
    return {
      folder,
      git,
      hub,
      members,
      member: (name) => found(members, name),
      converged: (fleet, revision, wait = {}) =>
        converged(hub, fleet, revision, { clusters: wait.clusters ?? members.length, timeoutMs: wait.timeoutMs ?? 60_000 }),
      stop: () => stopAll(started, folder),
    };
  } catch (error) {
    const logs = await lastLines(folder);
    await stopAll(started, folder);
    throw new Error(`${(error as Error).message}\n${logs}`, { cause: error });
  }
}

/** A folder as changes for a commit: every file under it, by its path inside. */
export async function folderChanges(folder: string, under = ""): Promise<GitChanges> {
  const changes: GitChanges = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(folder.length + 1);
    changes[under === "" ? path : `${under}/${path}`] = await readFile(join(folder, path));
  }
  return changes;
}

async function converged(hub: HubProcess, fleet: string, revision: string, wait: { clusters: number; timeoutMs: number }): Promise<void> {
  await waitForValue(
    async () =>
      (await hub.api.targets(fleet)).map(({ cluster, running, sync, health, message }) => ({ cluster, revision: running?.revision, sync, health, message })),
    (rows) => rows.length === wait.clusters && rows.every((row) => row.revision === revision && row.sync === "Synced" && row.health === "Current"),
    { what: `fleet ${fleet} at ${revision.slice(0, 12)}, Synced and Current on ${wait.clusters} clusters`, timeoutMs: wait.timeoutMs },
  );
}

/** Like Promise.all, but waits for every one before it throws, so that what did start can be stopped. */
async function settled<T extends readonly unknown[]>(promises: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as { -readonly [K in keyof T]: Awaited<T[K]> };
}

/** An API server's start keeps a core busy for seconds: thirty at once would none of them answer in time. */
const startsAtOnce = 4;

/** Does one after the other, a few at a time; results in order. What has begun is waited for before it throws. */
async function inTurns<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const lane = async () => {
    for (const [index, item] of queue) results[index] = await act(item);
  };
  await settled(Array.from({ length: startsAtOnce }, lane));
  return results;
}

function found<Kube extends PlatformCluster>(members: readonly Member<Kube>[], name: string): Member<Kube> {
  const member = members.find((candidate) => candidate.name === name);
  if (member === undefined) throw new Error(`no cluster ${name} here`);
  return member;
}

async function stopAll(started: readonly { stop(): Promise<void> }[], folder: string): Promise<void> {
  for (const server of started) await server.stop();
  await removeFolder(folder);
}

async function lastLines(folder: string): Promise<string> {
  const logs = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const texts = await Promise.all(logs.map(async (name) => `--- ${name}\n${(await readFile(join(folder, name), "utf8")).split("\n").slice(-20).join("\n")}`));
  return texts.join("\n");
}
