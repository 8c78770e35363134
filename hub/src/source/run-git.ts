import { AsyncLocalStorage } from "node:async_hooks";
import type { ChildProcess } from "node:child_process";
import { subscribe } from "node:diagnostics_channel";
import { dirname } from "node:path";
import { simpleGit, type SimpleGitOptions } from "simple-git";
import { gitKillGraceMs, gitOutputBytesMax } from "../limits.ts";

export interface GitCommand {
  /** Fixed words; whatever comes from a person stands behind `--end-of-options`. */
  readonly args: readonly string[];
  /** From gitEnvironment: the child gets nothing else. */
  readonly env: Readonly<Record<string, string>>;
  /** The script of writeGitGuard. */
  readonly guard: string;
  readonly timeoutMs: number;
  readonly stdin?: string;
  readonly signal?: AbortSignal | undefined;
  /** Asked while the command runs; a text ends it as too big. */
  readonly watch?: { readonly everyMs: number; tooBig(): Promise<string | undefined> };
}

export type GitStop = "timeout" | "aborted" | "too-big";

export type GitOutput =
  | { readonly ok: true; readonly stdout: string }
  | { readonly ok: false; readonly stderr: string; readonly exitCode: number | null; readonly stopped?: GitStop };

/** simple-git does not hand out its child processes; this tells which run started which, so that all of its helpers can be ended. */
const runs = new AsyncLocalStorage<{ child?: ChildProcess }>();
subscribe("child_process", (message) => {
  const run = runs.getStore();
  if (run !== undefined) run.child = (message as { process: ChildProcess }).process;
});

/** simple-git refuses these names and settings by default because they may come from users; here all of them are ours (git-environment.ts). */
const ourSettings: NonNullable<SimpleGitOptions["unsafe"]> = {
  allowUnsafeAskPass: true,
  allowUnsafeConfigEnvCount: true,
  allowUnsafeConfigPaths: true,
  allowUnsafeCredentialHelper: true,
  allowUnsafeCustomBinary: true,
  allowUnsafeFsMonitor: true,
  allowUnsafeHooksPath: true,
  allowUnsafeSshCommand: true,
};

/**
 * Run one Git command to its end: bounded in time and output, its whole process group ended (SIGTERM, then SIGKILL) when it
 * overruns. Failures are values; nothing is thrown.
 */
export async function runGit(command: GitCommand): Promise<GitOutput> {
  const run: { child?: ChildProcess } = {};
  let stopped: GitStop | undefined;
  let killTimer: NodeJS.Timeout | undefined;
  const stop = (why: GitStop): void => {
    if (stopped !== undefined) return;
    stopped = why;
    endGroup(run.child, "SIGTERM");
    killTimer = setTimeout(() => endGroup(run.child, "SIGKILL"), gitKillGraceMs);
  };
  if (command.signal?.aborted === true) return { ok: false, stderr: "", exitCode: null, stopped: "aborted" };
  const onAbort = (): void => stop("aborted");
  command.signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => stop("timeout"), command.timeoutMs);
  const watcher = watchSize(command, () => stop("too-big"));
  try {
    const result = await runs.run(run, () => runBySimpleGit(command, () => stop("too-big")));
    if (stopped !== undefined && !result.ok) return { ...result, stopped };
    return result;
  } finally {
    clearTimeout(timer);
    clearTimeout(killTimer);
    clearInterval(watcher);
    command.signal?.removeEventListener("abort", onAbort);
    // Helpers whose Git died under them hold the group; nothing of it may stay.
    if (stopped !== undefined) endGroup(run.child, "SIGKILL");
  }
}

async function runBySimpleGit(command: GitCommand, tooMuch: () => void): Promise<GitOutput> {
  let failure: Extract<GitOutput, { ok: false }> | undefined;
  const git = simpleGit({
    baseDir: dirname(command.guard),
    binary: ["sh", command.guard],
    allowEnvironment: Object.keys(command.env).filter((name) => name.startsWith("GIT_")),
    unsafe: ourSettings,
    completion: { onClose: true, onExit: false },
    ...(command.stdin === undefined ? {} : { input: () => command.stdin }),
    errors(error, result) {
      if (result.exitCode === 0 && error === undefined) return undefined;
      failure = { ok: false, stderr: Buffer.concat(result.stdErr).toString(), exitCode: result.exitCode };
      return error ?? new Error("git failed");
    },
  });
  let bytes = 0;
  git.outputHandler((_command, stdout, stderr) => {
    for (const stream of [stdout, stderr]) {
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > gitOutputBytesMax) tooMuch();
      });
    }
  });
  try {
    return { ok: true, stdout: await git.env({ ...command.env }).raw([...command.args]) };
  } catch (error) {
    return failure ?? { ok: false, stderr: error instanceof Error ? error.message : String(error), exitCode: null };
  }
}

/** The guard made the child the head of its own group where it could; else the child alone is ended. */
function endGroup(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  }
}

function watchSize({ watch }: GitCommand, tooBig: () => void): NodeJS.Timeout | undefined {
  if (watch === undefined) return undefined;
  let looking = false;
  return setInterval(() => {
    if (looking) return;
    looking = true;
    void watch
      .tooBig()
      .then((why) => {
        if (why !== undefined) tooBig();
      })
      .finally(() => {
        looking = false;
      });
  }, watch.everyMs);
}
