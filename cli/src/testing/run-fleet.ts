import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runFleet } from "../app.ts";
import type { Environment } from "../fleet-context.ts";
import { type FakeHub, token } from "./fake-hub.ts";

/** The clock that tests see: ages are counted from here. */
export const now = Date.parse("2026-11-24T01:00:00Z");

export interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly hub?: FakeHub | undefined;
  readonly env?: Environment;
  readonly stdin?: string;
  /** stdout is a terminal of this many rows. */
  readonly terminalRows?: number;
  readonly signal?: AbortSignal;
  readonly onOutput?: (stdout: string, stderr: string) => void;
  readonly realClock?: boolean;
}

/** A home without logins, unless a test writes one. */
export async function scratchHome(): Promise<{ readonly env: Record<string, string>; readonly folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "flotilla-cli-"));
  return {
    folder,
    env: { HOME: folder, XDG_CONFIG_HOME: join(folder, "config"), XDG_STATE_HOME: join(folder, "state"), PATH: process.env.PATH ?? "" },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** One command line in this process, with its output in hand. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  let stdout = "";
  let stderr = "";
  const told = (_text: string): void => options.onOutput?.(stdout, stderr);
  const status = await runFleet(args, {
    process: {
      stdout: { write: (text) => told((stdout += text)), ...(options.terminalRows !== undefined && { isTTY: true, rows: options.terminalRows }) },
      stderr: { write: (text) => told((stderr += text)) },
    },
    env: { HOME: "/nonexistent", ...(options.hub && { FLOTILLA_HUB: options.hub.url, FLOTILLA_TOKEN: token }), ...options.env },
    stdin: {
      async *[Symbol.asyncIterator]() {
        yield options.stdin ?? "";
      },
    },
    now: options.realClock === true ? Date.now : () => now,
    signal: options.signal ?? new AbortController().signal,
  });
  return { status, stdout, stderr };
}
