import { once } from "node:events";
import { appendFileSync, existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type GuardedProcess, spawnGuarded } from "@flotilla/hub/embedded/guarded-process";
import { waitFor } from "./wait-for.ts";

export interface ServerProcessOptions {
  name: string;
  file: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** Its output goes to `<name>.log` here, its pid to `<name>.pid`. */
  folder: string;
  /** Resolves to true once it answers. */
  ready(): Promise<boolean>;
  readyMs?: number;
  /** How often that is asked: each time is a connection, and the server's time too. */
  askEveryMs?: number;
}

/** A real server of a test. It ends with the test's process, however that ends. */
export interface ServerProcess {
  readonly pid: number;
  readonly logFile: string;
  readonly running: boolean;
  /** SIGTERM, SIGKILL when that takes too long; done when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL, without asking. */
  kill9(): Promise<void>;
}

/**
 * For servers written in Go, which live for a minute: a quarter of the processor time of an API server's start goes into collecting garbage that there is
 * room for. Past this much it is collected as ever.
 */
export const withoutCollections: NodeJS.ProcessEnv = { ...process.env, GOGC: "off", GOMEMLIMIT: "700MiB" };

/** Starts a server and waits until it answers. Throws with its last lines when it does not. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { name, folder } = options;
  const logFile = join(folder, `${name}.log`);
  const pidFile = join(folder, `${name}.pid`);
  // One that is started again must not be taken for the one before.
  await rm(pidFile, { force: true });
  const guard = spawnGuarded({ file: options.file, args: options.args, ...(options.env && { env: options.env }) }, { name, pidFile, stopSignal: "TERM" });
  for (const stream of [guard.stdout, guard.stderr]) stream.on("data", (bytes: Buffer) => appendFileSync(logFile, bytes));
  const gone = once(guard, "exit");
  const running = () => guard.exitCode === null && guard.signalCode === null;
  try {
    await waitFor(
      async () => {
        if (!running()) throw new Error("it ended");
        return existsSync(pidFile) && options.ready();
      },
      { what: `${name}'s answer`, timeoutMs: options.readyMs ?? 60_000, everyMs: options.askEveryMs ?? 50 },
    );
  } catch (error) {
    await endGuard(guard, gone);
    const lines = (await readFile(logFile, "utf8").catch(() => "")).trim().split("\n").slice(-15).join("\n");
    throw new Error(`${name} did not start: ${(error as Error).message}\n${lines}`, { cause: error });
  }
  const pid = Number.parseInt(await readFile(pidFile, "utf8"), 10);
  return {
    pid,
    logFile,
    get running() {
      return running();
    },
    stop: () => endGuard(guard, gone),
    async kill9() {
      if (running()) process.kill(pid, "SIGKILL");
      await endGuard(guard, gone);
    },
  };
}

async function endGuard(guard: GuardedProcess, gone: Promise<unknown>): Promise<void> {
  guard.stdin.end();
  if (guard.exitCode === null && guard.signalCode === null) await gone;
}
