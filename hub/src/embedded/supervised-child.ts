import { readFile, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { childKillGraceS, childOutputLinesKept, childRestartMaxMs, childRestartMinMs, childStableMs } from "../limits.ts";
import { endProcess } from "./end-process.ts";
import { type GuardedProcess, type ServerCommand, spawnGuarded } from "./guarded-process.ts";
import { identifyProcess } from "./process-identity.ts";

/** The part of a logger that the embedded servers use; pino's fits. */
export interface ServerLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface SuperviseOptions {
  name: string;
  /** Called before every start, so that a start can clear away what a crash left. */
  command(): Promise<ServerCommand>;
  /** Where the server's own pid is kept, for a later start that finds it still running. */
  pidFile: string;
  stopSignal: "TERM" | "INT";
  /** Resolves when the server answers; aborted when the server ends before. */
  ready(signal: AbortSignal): Promise<void>;
  log: ServerLog;
  /** Told what the server says, line by line. */
  onLine?(line: string): void;
}

/**
 * A server that runs for as long as this process does. It ends with this process however that ends, also by
 * SIGKILL; when it ends by itself it is started again, at once and then ever more slowly, for ever.
 */
export interface SupervisedChild {
  /** The server's own pid; changes with a restart. */
  readonly pid: number;
  stop(): Promise<void>;
}

interface Running {
  guard: GuardedProcess;
  ended: Promise<string>;
  lastLines: string[];
}

export async function superviseChild(options: SuperviseOptions): Promise<SupervisedChild> {
  let stopping = false;
  const stopped = new AbortController();
  let running = await startChild(options);
  let pid = await readPid(options.pidFile);
  const life = keepAlive();

  async function keepAlive(): Promise<void> {
    let waitMs = 0;
    for (;;) {
      const startedAt = Date.now();
      const reason = await running.ended;
      if (stopping) return;
      options.log.warn({ server: options.name, reason, lastLines: running.lastLines }, `${options.name} ended, starting it again`);
      waitMs = Date.now() - startedAt > childStableMs ? 0 : longer(waitMs);
      const next = await startAgain(waitMs);
      if (!next) return;
      running = next;
      pid = await readPid(options.pidFile);
      options.log.info({ server: options.name, pid }, `${options.name} runs again`);
    }
  }

  /** Undefined when stopped meanwhile. */
  async function startAgain(firstWaitMs: number): Promise<Running | undefined> {
    for (let waitMs = firstWaitMs; !stopping; waitMs = longer(waitMs)) {
      await delay(waitMs, undefined, { signal: stopped.signal }).catch(() => undefined);
      if (stopping) return undefined;
      try {
        return await startChild(options);
      } catch (error) {
        options.log.warn({ server: options.name, error: String(error) }, `${options.name} did not start, trying again`);
      }
    }
    return undefined;
  }

  return {
    get pid() {
      return pid;
    },
    async stop() {
      stopping = true;
      stopped.abort();
      running.guard.stdin.end();
      await life;
      running.guard.stdin.end();
      await running.ended;
      await rm(options.pidFile, { force: true });
    },
  };
}

function longer(waitMs: number): number {
  return Math.min(Math.max(waitMs * 2, childRestartMinMs), childRestartMaxMs);
}

async function startChild(options: SuperviseOptions): Promise<Running> {
  await endLeftover(options);
  const command = await options.command();
  const child = spawnGuarded(command, options);
  const lastLines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) collectLines(stream, lastLines, options);
  const gone = new AbortController();
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ? `signal ${signal}` : `status ${code}`));
  });
  void ended.then(() => gone.abort());
  try {
    await options.ready(gone.signal);
  } catch (error) {
    child.stdin.end();
    const reason = await ended;
    throw new Error(`${options.name} did not become ready (${reason}): ${lastLines.slice(-5).join(" | ") || String(error)}`, { cause: error });
  }
  return { guard: child, ended, lastLines };
}

/**
 * Ends a server of an earlier run, or of a guard that was killed: it must be gone before the next one starts. Called
 * before a port is chosen, it also makes the earlier one's port free.
 */
export async function endLeftover(options: Pick<SuperviseOptions, "name" | "pidFile" | "stopSignal" | "log">): Promise<void> {
  const pid = await readPid(options.pidFile);
  const leftover = pid > 0 ? await identifyProcess(pid) : undefined;
  if (leftover && (await isGuardedServer(pid, options.name))) {
    options.log.info({ server: options.name, pid }, `ending the ${options.name} that an earlier run left`);
    const graceMs = childKillGraceS * 1_000;
    await endProcess(leftover, [
      [`SIG${options.stopSignal}`, graceMs],
      ["SIGKILL", graceMs],
    ]);
  }
  await rm(options.pidFile, { force: true });
}

/** The pid may belong to a stranger by now: only a process of the same program is ours. */
async function isGuardedServer(pid: number, name: string): Promise<boolean> {
  const program = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return (program.split("\0")[0] ?? "").includes(name);
}

function collectLines(stream: NodeJS.ReadableStream, lastLines: string[], options: SuperviseOptions): void {
  createInterface({ input: stream }).on("line", (line) => {
    options.onLine?.(line);
    lastLines.push(line);
    if (lastLines.length > childOutputLinesKept) lastLines.shift();
    options.log.debug({ server: options.name }, line);
  });
}

async function readPid(file: string): Promise<number> {
  const text = await readFile(file, "utf8").catch(() => "");
  return Number.parseInt(text, 10) || 0;
}
