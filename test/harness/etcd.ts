import { randomUUID } from "node:crypto";
import { get } from "node:http";
import { join } from "node:path";
import { freePort } from "@flotilla/hub/embedded/free-port";
import { findTool } from "@flotilla/hub/embedded/tools";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

/** One etcd that many API servers share, each under a prefix of its own. */
export interface Etcd {
  url: string;
  server: ServerProcess;
  /** The last one who lets go stops it. */
  release(): Promise<void>;
}

/** Keys and values of all API servers of one process; 30 clusters of 2,000 objects are 1 GB. */
const quotaBytes = 4 * 1024 ** 3;

interface Started {
  url: string;
  server: ServerProcess;
  folder: string;
}

let shared: { started: Promise<Started>; users: number } | undefined;

/** The etcd of this process, started when nobody uses it yet. */
export async function shareEtcd(): Promise<Etcd> {
  const mine = (shared ??= { started: startEtcd(), users: 0 });
  mine.users += 1;
  try {
    const { url, server } = await mine.started;
    return { url, server, release: () => letGo(mine) };
  } catch (error) {
    if (shared === mine) shared = undefined;
    throw error;
  }
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
  const server = await startServerProcess({
    name: "etcd",
    file: await findTool("etcd"),
    folder,
    args: [
      `--name=${randomUUID()}`,
      `--data-dir=${join(folder, "data")}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=http://127.0.0.1:${peer}`,
      "--unsafe-no-fsync",
      `--quota-backend-bytes=${quotaBytes}`,
      "--log-level=error",
    ],
    ready: () => answersHealthy(`${url}/health`),
  });
  return { url, server, folder };
}

function answersHealthy(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).once("error", () => resolve(false));
  });
}
