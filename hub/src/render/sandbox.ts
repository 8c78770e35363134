import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import {
  renderAddressBytesMax,
  renderCpuSeconds,
  renderErrorBytesMax,
  renderFileBytesMax,
  renderMs,
  renderOutputBytesMax,
  renderSoftBytesMax,
  renderWorkerCpuSeconds,
} from "../limits.ts";

/** Where the confining programs lie. Neither tool starts programs unless a plugin or a flag says so, and there is neither. */
const systemPath = "/usr/bin:/bin:/usr/sbin";

/** How one run of a tool ended. */
export type ToolOutcome =
  | { readonly ended: "well"; readonly output: string; readonly complaints: string }
  | { readonly ended: "badly"; readonly complaints: string }
  | { readonly ended: "too late" | "too large" | "out of memory" };

export interface ToolRun {
  readonly file: string;
  readonly args: readonly string[];
  /** The only folder that the tool needs; also its HOME. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly timeMs?: number;
  readonly outputBytesMax?: number;
}

/**
 * Run helm or kustomize on hostile input: no shell, no inherited environment, no network (where the system lets us take it away),
 * limits of time, memory, output and file size, in a process group of its own that ends with this process.
 * Rejects when the tool cannot be started or the signal fired.
 */
export async function runSandboxed(run: ToolRun): Promise<ToolOutcome> {
  run.signal.throwIfAborted();
  const [file = run.file, ...args] = [...confinement(), run.file, ...run.args];
  const child = spawn(file, args, { cwd: run.folder, env: environment(run.folder), stdio: ["ignore", "pipe", "pipe"], detached: true });
  const outputMax = run.outputBytesMax ?? renderOutputBytesMax;
  const output: Buffer[] = [];
  const complaints: Buffer[] = [];
  let outputBytes = 0;
  let complaintBytes = 0;
  let killed: "too late" | "too large" | "aborted" | undefined;
  const kill = (why: NonNullable<typeof killed>): void => {
    killed ??= why;
    if (child.pid !== undefined) killGroup(child.pid);
  };
  const deadline = setTimeout(() => kill("too late"), run.timeMs ?? renderMs);
  const onAbort = (): void => kill("aborted");
  run.signal.addEventListener("abort", onAbort, { once: true });
  child.stdout.on("data", (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (outputBytes > outputMax) kill("too large");
    else output.push(chunk);
  });
  child.stderr.on("data", (chunk: Buffer) => {
    if (complaintBytes < renderErrorBytesMax) complaints.push(chunk.subarray(0, renderErrorBytesMax - complaintBytes));
    complaintBytes += chunk.length;
  });
  try {
    const { status, endSignal } = await new Promise<{ status: number | null; endSignal: string | null }>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, name) => resolve({ status: code, endSignal: name }));
    });
    if (killed === "aborted") run.signal.throwIfAborted();
    if (killed === "too late" || killed === "too large") return { ended: killed };
    const said = Buffer.concat(complaints).toString("utf8");
    if (endSignal === "SIGXCPU") return { ended: "too late" };
    if (endSignal === "SIGXFSZ") return { ended: "too large" };
    if (endSignal === "SIGKILL" || /out of memory|cannot allocate memory/i.test(said.slice(0, 4_096))) return { ended: "out of memory" };
    return status === 0 ? { ended: "well", output: Buffer.concat(output).toString("utf8"), complaints: said } : { ended: "badly", complaints: said };
  } finally {
    clearTimeout(deadline);
    run.signal.removeEventListener("abort", onAbort);
  }
}

/** A program that is asked many things: confined like one that is run for a single one, with time for all of them. It has no folder; nobody hears what it complains of. */
export function spawnWorker(file: string): ChildProcessByStdio<Writable, Readable, null> {
  const prefix = confinement().map((part) => (part === cpuLimit(renderCpuSeconds) ? cpuLimit(renderWorkerCpuSeconds) : part));
  const command = [...prefix, file];
  const [program, args] = [command[0] ?? file, command.slice(1)];
  const nowhere = join(tmpdir(), "flotilla-nowhere");
  return spawn(program, args, { cwd: "/", env: environment(nowhere), stdio: ["pipe", "pipe", "ignore"] });
}

function cpuLimit(seconds: number): string {
  return `--cpu=${seconds}`;
}

/** Nothing of the hub's environment: it holds credentials. Proxies, plugins and configuration folders are not there either. */
function environment(folder: string): Record<string, string> {
  const home = join(folder, ".home");
  return {
    HOME: home,
    XDG_CONFIG_HOME: home,
    XDG_CACHE_HOME: home,
    XDG_DATA_HOME: home,
    HELM_CONFIG_HOME: home,
    HELM_CACHE_HOME: home,
    HELM_DATA_HOME: home,
    HELM_PLUGINS: join(home, "plugins"),
    KUBECONFIG: join(home, "kubeconfig"),
    KUSTOMIZE_PLUGIN_HOME: join(home, "plugins"),
    TMPDIR: folder,
    PATH: systemPath,
    LC_ALL: "C",
    TZ: "UTC",
    GOMAXPROCS: "2",
    GOMEMLIMIT: String(renderSoftBytesMax),
    GOTRACEBACK: "none",
  };
}

let known: readonly string[] | undefined;

/**
 * The programs that a tool is started through, as far as this system has them and lets us (Linux; util-linux): a network namespace
 * without devices, death with the parent, no new privileges, resource limits. Each replaces itself by the next, so the process
 * stays one. Tried once.
 */
export function confinement(): readonly string[] {
  known ??=
    process.platform === "linux"
      ? wrappers().reduce<string[]>((prefix, choices) => [...prefix, ...(choices.find((choice) => works([...prefix, ...choice])) ?? [])], [])
      : [];
  return known;
}

/** Whether tools run without a network here; `fleet doctor` tells. */
export function hasNetworkTakenAway(): boolean {
  return confinement().some((part) => part === "--net");
}

/** One entry per confinement, best choice first. */
function wrappers(): string[][][] {
  return [
    // Root may; others need a user namespace, which some systems forbid.
    [
      ["unshare", "--net", "--"],
      ["unshare", "--user", "--map-current-user", "--net", "--"],
    ],
    // Root without capabilities is nobody special, except to files that are root's.
    [
      ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"],
      ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--"],
    ],
    [["prlimit", `--as=${renderAddressBytesMax}`, cpuLimit(renderCpuSeconds), `--fsize=${renderFileBytesMax}`, "--core=0", "--"]],
  ];
}

function works(prefix: readonly string[]): boolean {
  const [file = "", ...args] = prefix;
  return spawnSync(file, [...args, "true"], { stdio: "ignore", timeout: 5_000, env: { PATH: systemPath } }).status === 0;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}
