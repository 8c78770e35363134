import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { exitCodes } from "../exit-codes.ts";
import type { FleetContext } from "../fleet-context.ts";
import { FleetError } from "../fleet-error.ts";
import { maxProgramOutputBytes } from "../limits.ts";
import { type ProgramName, programCommand, programVariables } from "./find-program.ts";

/** Runs the hub or the agent in the foreground: our terminal is its terminal, our signals are its signals, its status is ours. */
export async function runProgram(context: FleetContext, name: ProgramName, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [...programCommand(name), ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...programVariables[name], ...context.env },
  });
  const forwarded = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  const forward = (signal: NodeJS.Signals): void => {
    // A terminal gives Ctrl-C to both of us; a second one would tell the hub to stop at once.
    if (signal !== "SIGINT" || process.stdin.isTTY !== true) child.kill(signal);
  };
  for (const signal of forwarded) process.on(signal, forward);
  try {
    context.exitWith(await exitStatus(child));
  } finally {
    for (const signal of forwarded) process.off(signal, forward);
  }
}

/** Runs a subcommand of the hub to its end and gives the JSON that it prints; `input` is what it reads. Throws FleetError with what it said. */
export async function askProgram<T>(context: FleetContext, name: ProgramName, args: readonly string[], input = ""): Promise<T> {
  const child = spawn(process.execPath, [...programCommand(name), ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...programVariables[name], ...context.env },
  });
  const stop = (): void => void child.kill("SIGTERM");
  // A program that ends without reading says why on stderr.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  context.signal.addEventListener("abort", stop);
  let errors = "";
  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString("utf8")).slice(-16_384);
    // The first use builds helm and kustomize, which takes minutes: that is said as it happens.
    if (!/^(error|hint):/m.test(chunk.toString("utf8"))) context.process.stderr.write(chunk.toString("utf8"));
  });
  child.stdout.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxProgramOutputBytes) chunks.push(chunk);
    else child.kill("SIGKILL");
  });
  const status = await exitStatus(child);
  context.signal.removeEventListener("abort", stop);
  if (bytes > maxProgramOutputBytes) throw new FleetError(`the ${name} answered with more than ${maxProgramOutputBytes} bytes`);
  if (status !== 0) throw spoken(name, status, errors);
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as T;
}

function spoken(name: ProgramName, status: number, errors: string): FleetError {
  const message = /^error: (.*)$/m.exec(errors)?.[1] ?? errors.trim().split("\n").at(-1);
  const hint = /^hint: (.*)$/m.exec(errors)?.[1];
  return new FleetError(message || `the ${name}'s program ended with status ${status}`, status === exitCodes.wrongUse ? exitCodes.wrongUse : exitCodes.failed, {
    hint,
  });
}

async function exitStatus(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + (signal === null ? 1 : constants.signals[signal]);
}
