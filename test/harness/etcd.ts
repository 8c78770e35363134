import { randomUUID } from "node:crypto";
import { cp, rm } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { findTool } from "@flotilla/hub/embedded/tools";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { type ServerProcess, startServerProcess, withoutCollections } from "./server-process.ts";

/** URL and pid of the etcd that a whole run shares (global-setup.ts). */
const runsEtcdVariable = "FLOTILLA_TEST_ETCD";

/** One etcd that many API servers share, each under a prefix of its own. */
export interface Etcd {
  url: string;
  readonly pid: number;
  /** Everything up to now in one revision: older ones cannot be watched from any more. */
  compact(): Promise<void>;
  /** What it holds now, as a folder; nobody may use it meanwhile. */
  backUp(): Promise<string>;
  /** Begins again with what a backup holds, at the same address; nobody may use it meanwhile. */
  restore(backup: string): Promise<void>;
  /** The last one who lets go stops it. */
  release(): Promise<void>;
}

/** False outside a test run, and where etcd is missing. */
export function isRunsEtcdThere(): boolean {
  return Boolean(process.env[runsEtcdVariable]);
}

/** Keys and values of all API servers of a run; 30 clusters of 2,000 objects are 1 GB. */
const quotaBytes = 4 * 1024 ** 3;

interface Started {
  url: string;
  server: ServerProcess;
  folder: string;
  start(): Promise<ServerProcess>;
}

let shared: { started: Promise<Started>; users: number } | undefined;

/** Start the etcd that all workers of a run share. */
export async function startRunsEtcd(): Promise<{ stop(): Promise<void> }> {
  const { url, server, folder } = await startEtcd();
  process.env[runsEtcdVariable] = `${url} ${server.pid}`;
  return {
    async stop() {
      delete process.env[runsEtcdVariable];
      await server.stop();
      await removeFolder(folder);
    },
  };
}

/**
 * The etcd of the run; outside a run, or where one is wanted whose history is nobody else's, that of this process, started when nobody uses it yet.
 *
 * @param options.own what a test compacts, or brings back to what it was.
 */
export async function shareEtcd(options: { readonly own: boolean }): Promise<Etcd> {
  const [runsUrl, runsPid] = (process.env[runsEtcdVariable] ?? "").split(" ");
  if (!options.own && runsUrl && runsPid) return ofOthers(runsUrl, Number(runsPid));
  const mine = (shared ??= { started: startEtcd(), users: 0 });
  mine.users += 1;
  try {
    const started = await mine.started;
    return {
      url: started.url,
      get pid() {
        return started.server.pid;
      },
      compact: () => compact(started.url),
      backUp: () => backUp(started),
      restore: (backup) => restore(started, backup),
      release: () => letGo(mine),
    };
  } catch (error) {
    if (shared === mine) shared = undefined;
    throw error;
  }
}

function ofOthers(url: string, pid: number): Etcd {
  const refuse = () => Promise.reject(new Error("this etcd is shared: start the cluster with ownEtcd: true"));
  return { url, pid, compact: refuse, backUp: refuse, restore: refuse, release: () => Promise.resolve() };
}

async function letGo(mine: NonNullable<typeof shared>): Promise<void> {
  mine.users -= 1;
  if (mine.users > 0) return;
  if (shared === mine) shared = undefined;
  const { server, folder } = await mine.started;
  await server.stop();
  await removeFolder(folder);
}

async function startEtcd(): Promise<Started> {
  const folder = await scratchFolder("etcd");
  const [client, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${client}`;
  const file = await findTool("etcd");
  const start = () => startServerProcess({ name: "etcd", file, folder, args, env: withoutCollections, ready: () => answersHealthy(`${url}/health`) });
  const args = [
    `--name=${randomUUID()}`,
    `--data-dir=${join(folder, "data")}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    "--unsafe-no-fsync",
    `--quota-backend-bytes=${quotaBytes}`,
    "--log-level=error",
  ];
  return { url, server: await start(), folder, start };
}

async function compact(url: string): Promise<void> {
  const call = async (path: string, body: object) => (await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) })).json();
  const { header } = (await call("/v3/kv/range", { key: Buffer.from("x").toString("base64") })) as { header: { revision: string } };
  await call("/v3/kv/compaction", { revision: header.revision, physical: true });
}

async function backUp(etcd: Started): Promise<string> {
  const backup = join(etcd.folder, `backup-${randomUUID()}`);
  await etcd.server.stop();
  await cp(join(etcd.folder, "data"), backup, { recursive: true });
  etcd.server = await etcd.start();
  return backup;
}

async function restore(etcd: Started, backup: string): Promise<void> {
  await etcd.server.stop();
  await rm(join(etcd.folder, "data"), { recursive: true });
  await cp(backup, join(etcd.folder, "data"), { recursive: true });
  etcd.server = await etcd.start();
}

function answersHealthy(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).once("error", () => resolve(false));
  });
}
