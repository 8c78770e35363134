import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { HubApi } from "./hub-api.ts";
import { createTestDatabase, isSharedPostgresThere } from "./postgres.ts";
import { type ProgramBuild, programArgs, testedBuild } from "./programs.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

export interface HubProcessOptions {
  /** The hub's data folder; a restart uses it again. */
  dataDir: string;
  /** Where logs go. */
  folder: string;
  name?: string;
  build?: ProgramBuild;
  /** Flags besides the listeners'. */
  args?: readonly string[];
  /** Its embedded Postgres, for tests that strike or copy it; else a database on the run's server, which takes half the time to start. */
  ownPostgres?: boolean;
  env?: NodeJS.ProcessEnv;
}

/** A hub as a process of its own, on free ports of loopback that stay the same over restarts. */
export interface HubProcess {
  readonly api: HubApi;
  readonly url: string;
  /** Where it listens on 127.0.0.1. */
  readonly ports: { readonly api: number; readonly link: number; readonly enrol: number; readonly nats: number };
  readonly dataDir: string;
  readonly pid: number;
  readonly logFile: string;
  readonly running: boolean;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Starts it again after stop or kill9, with other variables where given. */
  restart(env?: NodeJS.ProcessEnv): Promise<void>;
}

/** Somebody may take a port between our look and the hub's own: then it is started on others. */
export async function startHub(options: HubProcessOptions): Promise<HubProcess> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (attempt === 3 || !/EADDRINUSE|address already in use/.test((error as Error).message)) throw error;
    }
  }
}

async function startOnce(options: HubProcessOptions): Promise<HubProcess> {
  const { dataDir, folder, name = "hub", build = testedBuild, args = [] } = options;
  const ports = { api: await freePort(), link: await freePort(), enrol: await freePort(), nats: await freePort() };
  const url = `http://127.0.0.1:${ports.api}`;
  const flags = [
    "start",
    ...["--data-dir", dataDir, "--listen", `127.0.0.1:${ports.api}`, "--link-listen", `127.0.0.1:${ports.link}`],
    ...["--enrol-listen", `127.0.0.1:${ports.enrol}`, "--nats-listen", `127.0.0.1:${ports.nats}`, "--public-address", "localhost"],
    ...args,
  ];
  // It goes with the run's server.
  const databaseUrl = options.ownPostgres || !isSharedPostgresThere() ? "" : (await createTestDatabase()).url;
  const start = (env: NodeJS.ProcessEnv): Promise<ServerProcess> =>
    startServerProcess({
      name,
      file: process.execPath,
      args: [...programArgs("hub", build), ...flags],
      env: { ...process.env, MALLOC_ARENA_MAX: "2", DATABASE_URL: databaseUrl, NATS_URL: "", ...env },
      folder,
      ready: async () => (await fetch(`${url}/readyz`)).ok,
    });
  let server = await start(options.env ?? {});
  const token = (await readFile(join(dataDir, "admin-token"), "utf8")).trim();
  return {
    api: new HubApi(url, token),
    url,
    ports,
    dataDir,
    get pid() {
      return server.pid;
    },
    get logFile() {
      return server.logFile;
    },
    get running() {
      return server.running;
    },
    stop: () => server.stop(),
    kill9: () => server.kill9(),
    async restart(env = options.env ?? {}) {
      server = await start(env);
    },
  };
}
