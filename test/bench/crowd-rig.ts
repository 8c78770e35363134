import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { type GitServer, type GitChanges, startGitServer } from "../harness/git-server.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { type Crowd, type CrowdOptions, profileArgs, startCrowd } from "../harness/simulated/crowd.ts";
import { cpuSeconds, cpuSecondsWithEnded, residentMiB } from "./proc-usage.ts";

export interface CrowdRigOptions extends Omit<CrowdOptions, "api" | "folder"> {
  /** What the fleet's repository begins with. */
  readonly files: GitChanges;
  readonly hubEnv?: NodeJS.ProcessEnv;
  readonly hubArgs?: readonly string[];
}

/** A hub with its own Postgres and NATS, a Git server that announces pushes, and a crowd of simulated clusters with real agents that one fleet governs. */
export interface CrowdRig {
  readonly folder: string;
  readonly hub: HubProcess;
  readonly git: GitServer;
  readonly forge: Forge;
  readonly crowd: Crowd;
  /** CPU seconds of the hub itself, of its Postgres and NATS, and of the crowd. */
  cpu(): Promise<CpuUse>;
  hubMiB(): Promise<number>;
  stop(): Promise<void>;
}

export interface CpuUse {
  readonly hub: number;
  readonly servers: number;
  readonly crowd: number;
}

export const say = (line: string): void => void process.stderr.write(`${line}\n`);

export async function startCrowdRig({ files, hubEnv, hubArgs = [], ...options }: CrowdRigOptions): Promise<CrowdRig> {
  const folder = await scratchFolder("crowd");
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
    say(`starting a Git server, the hub and ${options.count} simulated clusters with their agents on ${availableParallelism()} cores …`);
    const git = kept(await startGitServer());
    const args = ["--enrol-per-second", "500", "--log-level", "warn", ...hubArgs];
    const hub = kept(
      await startHub({
        dataDir: join(folder, "hub"),
        folder,
        build: "bundle",
        args,
        env: { ...(profileArgs().length > 0 && { NODE_OPTIONS: profileArgs().join(" ") }), ...hubEnv },
      }),
    );
    const repository = await git.createRepository("shop");
    await repository.commit(files, { message: "First" });
    const { webhook } = await hub.api.createFleet({ name: "shop", repository: repository.url, path: "deploy", ref: { branch: "main" }, selector: {} });
    const forge = forgeOf(hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    const tell = everySecond();
    const crowd = kept(await startCrowd({ ...options, api: hub.api, folder, progress: (connected) => tell(`  … ${connected} of ${options.count} connected`) }));
    return {
      folder,
      hub,
      git,
      forge,
      crowd,
      async cpu() {
        const children = await descendantsOf(hub.pid);
        const servers = await Promise.all(children.map((pid) => cpuSecondsWithEnded(pid).catch(() => 0)));
        const crowds = await Promise.all(crowd.pids.map(cpuSeconds));
        return {
          hub: await cpuSeconds(hub.pid),
          servers: servers.reduce((sum, value) => sum + value, 0),
          crowd: crowds.reduce((sum, value) => sum + value, 0),
        };
      },
      hubMiB: () => residentMiB(hub.pid),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Wait until every cluster holds what was marked, and tell how long after the push each did, in milliseconds, ascending. */
export async function pushAndFollow(rig: CrowdRig, files: GitChanges, mark: Parameters<Crowd["mark"]>[0], deadlineMs: number): Promise<number[]> {
  await rig.crowd.mark(mark);
  const { pushedAt } = await rig.forge.push(files);
  const began = performance.timeOrigin + pushedAt;
  return (await rig.crowd.through(deadlineMs)).map((at) => at - began).toSorted((a, b) => a - b);
}

function everySecond(): (line: string) => void {
  let last = -Infinity;
  return (line) => {
    if (performance.now() - last < 5_000) return;
    last = performance.now();
    say(line);
  };
}

/** Processes under one, at any depth, itself left out. */
async function descendantsOf(root: number): Promise<number[]> {
  const found: number[] = [];
  for (const waiting = [root]; ;) {
    const pid = waiting.shift();
    if (pid === undefined) return found;
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "")).split(" ").filter(Boolean).map(Number);
    found.push(...children);
    waiting.push(...children);
  }
}
