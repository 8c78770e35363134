import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool, type ToolName, tools } from "@flotilla/hub/embedded/tools";
import { startRunsEtcd } from "./etcd.ts";
import { scratchInMemory } from "./memory-scratch.ts";
import { sharedPostgresVariable, startPostgresForTest } from "./postgres.ts";
import { findRunProcesses, runVariable } from "./run-processes.ts";
import { skippedSuitesVariable } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

/** What every server needs to end by itself after the last test. */
const leakGraceMs = 25_000;

/** Every hub of every test file that runs at once has a pool. */
const connectionsMax = 400;

/** Once per run, whatever the number of projects: programs, scratch folders in memory, one Postgres and one etcd for all workers; afterwards nothing may be left running. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[runVariable]) return undefined;
  const run = randomUUID();
  // Workers, and what they start, inherit it.
  process.env[runVariable] = run;
  const scratch = await scratchInMemory();
  const skippedFile = join(tmpdir(), `flotilla-skipped-${run}`);
  process.env[skippedSuitesVariable] = skippedFile;
  await prepareTools();
  const postgres = process.env.DATABASE_URL || process.env[sharedPostgresVariable] ? undefined : await startPostgresForTest({ connectionsMax });
  if (postgres) process.env[sharedPostgresVariable] = postgres.url;
  // Suites that need it are skipped, aloud, where it is missing.
  const etcd = await startRunsEtcd().catch(() => undefined);
  return async () => {
    await Promise.all([postgres?.stop(), etcd?.stop()]);
    await tellSkipped(skippedFile);
    await expectNothingLeft(run).finally(() => scratch?.remove());
  };
}

async function prepareTools(): Promise<void> {
  for (const name of Object.keys(tools) as ToolName[]) {
    await findTool(name).catch((error: unknown) => process.stderr.write(`\n!!! ${(error as Error).message}\n!!! Tests that need ${name} are skipped.\n\n`));
  }
}

async function tellSkipped(file: string): Promise<void> {
  if (!existsSync(file)) return;
  const lines = readFileSync(file, "utf8").trim().split("\n");
  await rm(file);
  process.stderr.write(
    `\n!!! ${lines.length} suite${lines.length === 1 ? "" : "s"} skipped for want of programs:\n${lines.map((line) => `!!!   ${line}\n`).join("")}\n`,
  );
}

/** A leak fails the run: what is still there is named and killed. */
async function expectNothingLeft(run: string): Promise<void> {
  const noneLeft = async () => (await findRunProcesses(run)).length === 0;
  if (await waitFor(noneLeft, { timeoutMs: leakGraceMs, everyMs: 200 }).catch(() => false)) return;
  const left = await findRunProcesses(run);
  for (const { pid } of left) process.kill(pid, "SIGKILL");
  process.exitCode = 1;
  throw new Error(
    `the tests left ${left.length} process${left.length === 1 ? "" : "es"} behind:\n${left.map(({ pid, command }) => `  ${pid} ${command}`).join("\n")}`,
  );
}
