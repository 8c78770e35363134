import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { createInterface } from "node:readline";
import { type ProgramBuild, programArgs, testedBuild } from "./programs.ts";
import { waitFor } from "./wait-for.ts";

export type ServiceName = "hub" | "agent" | "cli";

export interface SpawnServiceOptions {
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
  build?: ProgramBuild;
  /** Name in messages when there are several of one kind. */
  label?: string;
  /** Node's own flags, for memory measurements. */
  nodeArgs?: readonly string[];
}

/** Output kept per service for messages: a noisy service must not eat the test's memory. */
const linesKept = 5_000;

/** A hub, agent or CLI as a real child process. */
export interface Service {
  readonly label: string;
  readonly pid: number;
  readonly running: boolean;
  /** stdout and stderr, the last 5,000 lines. */
  readonly lines: readonly string[];
  readonly stdout: string;
  /** Resolves with the first line, past or future, that matches. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** Resolves with the exit status; 128 + n for a signal. */
  exited: Promise<number>;
  /** SIGTERM; SIGKILL and an error when it does not end in time. */
  stop(timeoutMs?: number): Promise<void>;
  kill9(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

const spawned = new Set<Service>();

/** Starts one of the product's programs. `stop` it in the test: `expectNoServices` fails for what was forgotten. */
export function spawnService(name: ServiceName, options: SpawnServiceOptions = {}): Service {
  const label = options.label ?? name;
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), ...programArgs(name, options.build ?? testedBuild), ...(options.args ?? [])], {
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  const stdout: string[] = [];
  const keep = (list: string[]) => (line: string) => {
    list.push(line);
    if (list.length > linesKept) list.shift();
  };
  createInterface({ input: child.stdout }).on("line", (line) => (keep(lines)(line), keep(stdout)(line)));
  createInterface({ input: child.stderr }).on("line", keep(lines));
  const exited = exitStatus(child);
  const running = () => child.exitCode === null && child.signalCode === null;
  const service: Service = {
    label,
    pid: child.pid ?? -1,
    lines,
    exited,
    get running() {
      return running();
    },
    get stdout() {
      return stdout.join("\n");
    },
    waitForLine: (pattern, timeoutMs = 30_000) =>
      waitFor(
        () => {
          const found = lines.find((line) => pattern.test(line));
          if (!found && !running()) throw new Error(`${label} ended (${child.exitCode ?? child.signalCode})`);
          return found;
        },
        { what: `a line of ${label} that matches ${pattern}`, timeoutMs },
      ).catch((error: Error) => {
        throw new Error(`${error.message}\n--- ${label} said last:\n${lines.slice(-30).join("\n")}`, { cause: error });
      }),
    async stop(timeoutMs = 20_000) {
      if (running()) child.kill("SIGTERM");
      const ended = await Promise.race([exited.then(() => true), later(timeoutMs)]);
      if (ended) return;
      child.kill("SIGKILL");
      await exited;
      throw new Error(`${label} did not end within ${timeoutMs} ms of SIGTERM; it said last:\n${lines.slice(-30).join("\n")}`);
    },
    async kill9() {
      child.kill("SIGKILL");
      await exited;
    },
    signal: (signal) => void child.kill(signal),
  };
  spawned.add(service);
  void exited.then(() => spawned.delete(service));
  return service;
}

/** Runs a program to its end. */
export async function runService(
  name: ServiceName,
  options: SpawnServiceOptions & { timeoutMs?: number } = {},
): Promise<{ status: number; stdout: string; output: string }> {
  const service = spawnService(name, options);
  const status = await Promise.race([service.exited, later(options.timeoutMs ?? 60_000)]);
  if (typeof status !== "number") {
    await service.kill9();
    throw new Error(
      `${service.label} ${(options.args ?? []).join(" ")} did not end within ${options.timeoutMs ?? 60_000} ms:\n${service.lines.slice(-30).join("\n")}`,
    );
  }
  return { status, stdout: service.stdout, output: service.lines.join("\n") };
}

/** For afterAll: kills what a test forgot and fails, naming it. */
export async function expectNoServices(): Promise<void> {
  const forgotten = [...spawned].filter((service) => service.running);
  await Promise.all(forgotten.map((service) => service.kill9()));
  if (forgotten.length > 0) throw new Error(`these processes were not stopped: ${forgotten.map(({ label, pid }) => `${label} (${pid})`).join(", ")}`);
}

async function exitStatus(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + (signal ? constants.signals[signal] : 0);
}

async function later(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, ms, false).unref());
}
