import { type ChildProcess, fork } from "node:child_process";
import { open } from "node:fs/promises";
import { profileArgs } from "../harness/simulated/crowd.ts";

/** A process of a bench that answers questions over Node's IPC, one JSON message each. */
export interface AskedProcess<Question extends { readonly ask: string }, Answers> {
  readonly pid: number;
  ask<Ask extends Question["ask"] & keyof Answers>(question: Extract<Question, { ask: Ask }>): Promise<Answers[Ask]>;
  /** In order where it answers; one that does not is ended. */
  stop(): Promise<void>;
}

export interface AskedProcessOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly logFile: string;
}

export async function startAskedProcess<Question extends { readonly ask: string }, Answers>(
  options: AskedProcessOptions,
): Promise<AskedProcess<Question, Answers>> {
  const log = await open(options.logFile, "a");
  const execArgv = ["--disable-warning=ExperimentalWarning", ...profileArgs()];
  const child = fork(options.program, [...options.args], { execArgv, stdio: ["ignore", log.fd, log.fd, "ipc"] });
  await log.close();
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const ready = new Promise<unknown>((resolve, reject) => waiting.set(0, { resolve, reject }));
  child.on("message", ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
    if (error === undefined) waiting.get(id)?.resolve(value);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`a process of the bench ended (${signal ?? code}), see ${options.logFile}`));
    waiting.clear();
  });
  await ready;
  let asked = 0;
  const askIt = (question: { readonly ask: string }): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (!child.connected) return reject(new Error("this process of the bench has ended"));
      const id = (asked += 1);
      waiting.set(id, { resolve, reject });
      child.send({ id, question });
    });
  return {
    pid: child.pid ?? 0,
    ask: askIt as AskedProcess<Question, Answers>["ask"],
    stop: () => endChild(child, () => askIt({ ask: "stop" })),
  };
}

async function endChild(child: ChildProcess, askToStop: () => Promise<unknown>): Promise<void> {
  if (!child.connected) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  await askToStop().catch(() => undefined);
  await gone;
  clearTimeout(timer);
}
