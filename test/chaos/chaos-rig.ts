import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AgentProcess, startAgent } from "../harness/agent-process.ts";
import { type GitRepository, type GitServer, startGitServer } from "../harness/git-server.ts";
import type { HubProcess } from "../harness/hub-process.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { mountSmallDisk, type SmallDisk } from "../harness/small-disk.ts";
import { type Crowd, startCrowd } from "../harness/simulated/crowd.ts";
import { startTcpProxy, type TcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";
import { buildWrongClock } from "../harness/wrong-clock.ts";
import { filesOf, type Contents } from "./chaos-fleet.ts";
import { OutboxTap } from "./outbox-tap.ts";
import { type Hubs, startHubs } from "./start-hubs.ts";

export interface ChaosRigOptions {
  readonly seed: number;
  /** 1, or 2 that share their servers. */
  readonly hubs: number;
  /** Clusters with a real API server and an agent process each. */
  readonly real: number;
  /** Simulated ones with the real agent in a crowd's process. */
  readonly simulated: number;
  readonly contents: Contents;
}

/** A cluster with a real API server, and the wire between it and its agent. */
export interface RealMember {
  readonly name: string;
  readonly kube: KubeCluster;
  readonly wire: TcpProxy;
  readonly agent: AgentProcess;
  /** Seconds by which its agent's clock is wrong. */
  readonly clockOff: number;
}

/** A whole system whose every wire can be damaged. */
export interface ChaosRig extends Hubs {
  readonly folder: string;
  readonly git: GitServer;
  readonly repository: GitRepository;
  readonly members: readonly RealMember[];
  readonly crowd: Crowd;
  readonly tap: OutboxTap;
  /** Small disks of their own for the hub's data and each real agent's state; undefined where none can be mounted. */
  readonly disks: { readonly hub: SmallDisk; readonly agents: ReadonlyMap<string, SmallDisk> } | undefined;
  stop(): Promise<void>;
}

/** Seconds by which clocks of real agents are wrong. Further behind, an API server's own certificate is not valid yet: it begins an hour before it is made. */
const clocksOff = [600, -600, 26 * 3_600, -50 * 60];

/** Postgres keeps up to 512 MiB of its log; an outbox is kept under 100 MiB, and is empty most of the time. */
const [hubDiskMiB, agentDiskMiB] = [768, 16];

export async function startChaosRig(options: ChaosRigOptions): Promise<ChaosRig> {
  const { seed, real, simulated, contents } = options;
  const folder = await scratchFolder("chaos");
  const started: { stop(): Promise<void> }[] = [];
  const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
    started.unshift(server);
    return server;
  };
  const stop = async (): Promise<void> => {
    for (const server of started) await server.stop();
    await removeFolder(folder);
  };
  try {
    const git = kept(await startGitServer());
    const disk = async (name: string, sizeMiB: number): Promise<SmallDisk | undefined> => {
      const mounted = await mountSmallDisk(join(folder, `disk-${name}`), sizeMiB);
      // Who writes there has ended by then: what began later is stopped before.
      if (mounted) kept({ stop: () => mounted.unmount() });
      return mounted;
    };
    const hubDisk = await disk("hub", hubDiskMiB);
    const agentDisks = new Map<string, SmallDisk>();
    const hubs = await startHubs({ count: options.hubs, folder, storeFolder: hubDisk?.folder ?? folder, seed, kept });
    const { api } = hubs;
    const repository = await git.createRepository("chaos");
    await repository.commit(filesOf(contents));
    await api.createFleet({ name: "chaos", repository: repository.url, path: "deploy", ref: { branch: "main" }, selector: {}, pollIntervalMs: 2_000 });
    const tap = new OutboxTap();
    const members: RealMember[] = [];
    const wrongClock = await buildWrongClock(folder);
    for (let index = 0; index < real; index += 1) {
      // The first has the right time.
      const clockOff = wrongClock === undefined || index === 0 ? 0 : (clocksOff[(seed + index) % clocksOff.length] ?? 0);
      const agentEnv = clockOff === 0 ? {} : (wrongClock?.(clockOff) ?? {});
      const name = `real-${index}`;
      const agentDisk = hubDisk && (await disk(name, agentDiskMiB));
      if (agentDisk) agentDisks.set(name, agentDisk);
      const stateDir = join(agentDisk?.folder ?? folder, `agent-${name}`);
      members.push(
        await startMember(name, {
          hub: hubs.hubs[index % hubs.hubs.length] as HubProcess,
          folder,
          stateDir,
          tap,
          kept,
          seed: seed + index,
          clockOff,
          agentEnv,
        }),
      );
    }
    const labels = (index: number) => ({ env: index % 2 === 0 ? "dev" : "prod" });
    const crowd = kept(await startCrowd({ api, count: simulated, folder, labels, processes: 1, seed }));
    for (const name of crowd.names) tap.watch(name, join(crowd.stateDir(name), "outbox"));
    return {
      folder,
      git,
      repository,
      members,
      crowd,
      tap,
      ...hubs,
      disks: hubDisk && { hub: hubDisk, agents: agentDisks },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What an agent's clock said, by a clock that is right: epoch ms. */
export function rightTime({ members }: Pick<ChaosRig, "members">, cluster: string, said: string): number {
  return Date.parse(said) - (members.find(({ name }) => name === cluster)?.clockOff ?? 0) * 1_000;
}

interface MemberSurroundings {
  readonly hub: HubProcess;
  readonly folder: string;
  readonly stateDir: string;
  readonly tap: OutboxTap;
  readonly kept: <T extends { stop(): Promise<void> }>(server: T) => T;
  readonly seed: number;
  readonly clockOff: number;
  readonly agentEnv: NodeJS.ProcessEnv;
}

async function startMember(name: string, surroundings: MemberSurroundings): Promise<RealMember> {
  const { hub, folder, stateDir, tap, kept, seed, clockOff, agentEnv } = surroundings;
  const kube = kept(await startKubeCluster({ name, auditLog: true }));
  const { hostname, port } = new URL(kube.url);
  const wire = kept(await startTcpProxy({ target: { host: hostname, port: Number(port) }, seed }));
  const kubeconfig = `${kube.kubeconfig}-proxied`;
  await writeFile(kubeconfig, (await readFile(kube.kubeconfig, "utf8")).replace(kube.url, `https://127.0.0.1:${wire.port}`), { mode: 0o600 });
  await mkdir(stateDir, { recursive: true });
  const enrolment = await hub.api.addCluster(name, { env: "dev" });
  const agent = kept(await startAgent({ api: hub.api, enrolment, cluster: { kubeconfig }, stateDir, folder, build: "bundle", env: agentEnv }));
  await waitFor(async () => agent.running, { what: `the agent of ${name}` });
  tap.watch(name, join(stateDir, "outbox"));
  return { name, kube, wire, agent, clockOff };
}
