import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { programArgs, testedBuild } from "./programs.ts";
import { waitFor } from "./wait-for.ts";

const scriptProgram = "/usr/bin/script";

/** Whether this machine can give a program a terminal. */
export const hasTerminal = existsSync(scriptProgram);

/**
 * Runs the CLI on a terminal of its own, as a person does, and types an answer when a question has come.
 *
 * @returns the exit status, and all that the terminal showed, with line feeds alone.
 */
export async function runOnTerminal(
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly question: RegExp; readonly answer: string; readonly timeoutMs?: number },
): Promise<{ status: number; shown: string }> {
  const command = [process.execPath, ...programArgs("cli", testedBuild), ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const child = spawn(scriptProgram, ["--quiet", "--return", "--command", command, "/dev/null"], {
    env: { ...process.env, NO_COLOR: "1", TERM: "xterm", ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let shown = "";
  child.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString("utf8").replaceAll("\r\n", "\n")));
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  const timeoutMs = options.timeoutMs ?? 60_000;
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  try {
    await waitFor(() => options.question.test(shown) || child.exitCode !== null, { what: `the question ${options.question}`, timeoutMs });
    child.stdin.write(`${options.answer}\n`);
    const [status] = await ended;
    return { status: status ?? -1, shown };
  } finally {
    clearTimeout(timer);
    child.stdin.destroy();
  }
}
