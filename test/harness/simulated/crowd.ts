import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ClusterRow, Page } from "@flotilla/proto/rest/contract";
import type { HubApi } from "../hub-api.ts";
import { waitForValue } from "../wait-for.ts";
import type { CrowdAnswers, CrowdBehaviour, CrowdLinks, CrowdMember, CrowdQuestion, CrowdUsage, Mark, Stir, Through } from "./crowd-words.ts";

export interface CrowdOptions extends CrowdBehaviour {
  readonly api: HubApi;
  readonly count: number;
  /** Labels of the i-th cluster. */
  readonly labels?: (index: number) => Record<string, string>;
  /** How the i-th is called; "sim-00001" and so on when left out. */
  readonly name?: (index: number) => string;
  /** Processes that share the clusters; one for each core when left out. */
  readonly processes?: number;
  /** Where logs go. */
  readonly folder: string;
  /** Beside this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** Told how many are connected. */
  readonly progress?: (connected: number) => void;
  /** Milliseconds until all must be connected. */
  readonly deadlineMs?: number;
}

/**
 * Many simulated clusters with a real agent each, in a few processes, joined to a hub. The agents' outboxes lie in memory where the machine has /dev/shm:
 * thousands of them do not share one disk in life.
 */
export interface Crowd {
  readonly names: readonly string[];
  readonly pids: readonly number[];
  /** The outbox of the cluster's agent lies in "outbox" in here. */
  stateDir(name: string): string;
  /** Look for objects with these words from now on. */
  mark(mark: Mark): Promise<void>;
  /** Wait until every cluster is through with what was marked. @returns when each was, epoch ms. */
  through(deadlineMs: number): Promise<number[]>;
  progress(): Promise<Through>;
  /** In every cluster somebody changes that many ConfigMaps. @returns how many in all. */
  write(objects: number, text: string): Promise<number>;
  /** Deployments change their status in every cluster. @returns how many writes that were, when they are over. */
  stir(stir: Stir): Promise<number>;
  links(): Promise<CrowdLinks>;
  usage(): Promise<CrowdUsage>;
  stop(): Promise<void>;
}

interface Part {
  readonly child: ChildProcess;
  ask<Ask extends CrowdQuestion["ask"]>(question: Extract<CrowdQuestion, { ask: Ask }>): Promise<CrowdAnswers[Ask]>;
}

/** Tokens asked of the hub at once: each is a small transaction. */
const askedAtOnce = 16;

/** And so many agents are on their way in: more only wait for one another, until requests run into their deadlines. */
const joiningMax = 150;
const joiningStep = 50;

export async function startCrowd(options: CrowdOptions): Promise<Crowd> {
  const { api, count, labels = () => ({}), name = defaultName, folder, progress = () => undefined, deadlineMs = 120_000 + count * 60 } = options;
  const state = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : folder, "flotilla-crowd-"));
  const behaviour: CrowdBehaviour = {
    ...(options.writeLatency !== undefined && { writeLatency: options.writeLatency }),
    ...(options.maxEvents !== undefined && { maxEvents: options.maxEvents }),
    ...(options.seed !== undefined && { seed: options.seed }),
  };
  const parts: Part[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(parts.map(endPart));
    await rm(state, { recursive: true, force: true });
  };
  try {
    const size = options.processes ?? cpus().length;
    for (let index = 0; index < size; index += 1) parts.push(await startPart(state, options, behaviour, index));
    const names = Array.from({ length: count }, (_, index) => name(index));
    await joinAll(names);
    return {
      names,
      pids: parts.map(({ child }) => child.pid ?? 0),
      stateDir: (name) => join(state, name),
      mark: async (mark) => void (await Promise.all(parts.map((part) => part.ask({ ask: "mark", mark })))),
      through: async (withinMs) => {
        // Each tells its own time: asking more often than this would only keep thousands from their work.
        const everyMs = Math.max(50, count / 20);
        const seen = await waitForValue(progressOf, ({ missing }) => missing.length === 0, { what: "every cluster through", timeoutMs: withinMs, everyMs });
        return [...seen.at];
      },
      progress: progressOf,
      write: async (objects, text) => sum(await Promise.all(parts.map((part) => part.ask({ ask: "write", objects, text })))),
      stir: async (stir) => sum(await Promise.all(parts.map((part) => part.ask({ ask: "stir", ...stir })))),
      links: async () => {
        const all = await Promise.all(parts.map((part) => part.ask({ ask: "links" })));
        return {
          connected: sum(all.map(({ connected }) => connected)),
          lastAt: Math.max(...all.map(({ lastAt }) => lastAt)),
          targets: sum(all.map(({ targets }) => targets)),
          targetAt: Math.max(...all.map(({ targetAt }) => targetAt)),
        };
      },
      usage: async () => {
        const all = await Promise.all(parts.map((part) => part.ask({ ask: "usage" })));
        const total = (of: (usage: CrowdUsage) => number) => sum(all.map(of));
        return {
          residentMiB: total(({ residentMiB }) => residentMiB),
          heapMiB: total(({ heapMiB }) => heapMiB),
          cpuSeconds: total(({ cpuSeconds }) => cpuSeconds),
          requests: total(({ requests }) => requests),
        };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }

  async function progressOf(): Promise<Through> {
    const all = await Promise.all(parts.map((part) => part.ask({ ask: "through" })));
    const missing = all.flatMap((part) => part.missing);
    // A failed wait prints what it saw last: a few names tell as much as thousands.
    return {
      at: all.flatMap(({ at }) => at),
      missing: missing.length > 20 ? [...missing.slice(0, 20), `and ${missing.length - 20} more`] : missing,
      objects: sum(all.map(({ objects }) => objects)),
    };
  }

  /** Tokens are asked for a few at a time, and no more agents join at once than the hub's limits let through. */
  async function joinAll(names: readonly string[]): Promise<void> {
    const waiting = names.entries();
    const worker = async (): Promise<void> => {
      for (const [index, member] of waiting) {
        const { enrolAddress, token, caHash } = await api.addCluster(member, labels(index));
        const joining: CrowdMember = { name: member, hub: enrolAddress, token, caHash };
        await parts[index % parts.length]?.ask({ ask: "join", members: [joining] });
        if ((index + 1) % joiningStep === 0) await connectedOf(index + 1 - joiningMax);
      }
    };
    await Promise.all(Array.from({ length: askedAtOnce }, worker));
    await connectedOf(names.length);
  }

  async function connectedOf(least: number): Promise<void> {
    if (least <= 0) return;
    await waitForValue(
      async () => {
        const { total } = await api.request<Page<ClusterRow>>("GET", "/api/v1/clusters?phase=Connected&limit=1");
        progress(total);
        return total;
      },
      (connected) => connected >= least,
      { what: `${least} agents connected`, timeoutMs: deadlineMs, everyMs: 500 },
    );
  }
}

function defaultName(index: number): string {
  return `sim-${String(index).padStart(5, "0")}`;
}

async function startPart(state: string, { folder, env }: CrowdOptions, behaviour: CrowdBehaviour, index: number): Promise<Part> {
  const logFile = await open(join(folder, `crowd-${index}.log`), "a");
  const program = fileURLToPath(new URL("crowd-process.ts", import.meta.url));
  const child = fork(program, [state, JSON.stringify(behaviour)], {
    execArgv: ["--disable-warning=ExperimentalWarning", "--max-old-space-size=12000", "--max-semi-space-size=64", ...profileArgs()],
    env: { ...process.env, MALLOC_ARENA_MAX: "2", ...env },
    stdio: ["ignore", logFile.fd, logFile.fd, "ipc"],
  });
  await logFile.close();
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const ready = new Promise<unknown>((resolve, reject) => waiting.set(0, { resolve, reject }));
  child.on("message", ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
    if (error === undefined) waiting.get(id)?.resolve(value);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`a process of the crowd ended (${signal ?? code}), see ${join(folder, `crowd-${index}.log`)}`));
    waiting.clear();
  });
  await ready;
  let asked = 0;
  return {
    child,
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (!child.connected) return reject(new Error("this process of the crowd has ended"));
        const id = (asked += 1);
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
        child.send({ id, question });
      }),
  };
}

/** FLOTILLA_BENCH_PROFILE names a folder for CPU profiles; `node test/bench/read-profile.ts FILE` reads one. */
export function profileArgs(): string[] {
  const folder = process.env.FLOTILLA_BENCH_PROFILE;
  return folder ? ["--cpu-prof", `--cpu-prof-dir=${folder}`, "--cpu-prof-interval=2000"] : [];
}

/** In order where it answers; a process that does not is ended. */
async function endPart({ child, ask }: Part): Promise<void> {
  if (!child.connected) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  await ask({ ask: "stop" }).catch(() => undefined);
  await gone;
  clearTimeout(timer);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
