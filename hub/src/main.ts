import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { readConfig, UsageError } from "./config.ts";
import type { PlacedCluster } from "./domain/target.ts";
import { openPrograms } from "./open-programs.ts";
import { neededRights, type RightsBundle } from "./render/needed-rights.ts";
import { acceptDrift, type AcceptRequest } from "./sync/accept-drift.ts";
import { readFolder, type ReadFolder } from "./sync/read-folder.ts";

const usage = `usage: hub start [flags] | hub lint DIR | hub render DIR [--cluster NAME] [--cluster-labels K=V,…] | hub rights DIR… [--cluster NAME] [--cluster-labels K=V,…] | hub accept DIR --cluster NAME [--cluster-labels K=V,…] < DRIFT`;

/** Exit codes: 0 done, 1 failed, 2 wrong use. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === "lint" || command === "render") return printFolder(rest, command === "render");
  if (command === "rights") return printRights(rest);
  if (command === "accept") return printAcceptance(rest);
  if (command !== "start") throw new UsageError(command === undefined ? usage : `unknown command '${command}'; ${usage}`);
  const config = readConfig(rest, process.env);
  const { startHub } = await import("./start-hub.ts");
  return startHub(config);
}

/** JSON on stdout: {problems, warnings, spec?, bundles?}. Problems in what was read are an answer, not a failure. */
async function printFolder(args: readonly string[], render: boolean): Promise<number> {
  const { folders, cluster } = readFolderArgs(args);
  const read = await readFolder({ folder: folders[0] ?? ".", ...(render ? { cluster } : {}), tools: openPrograms({ builds: false }), signal: stopSignal() });
  process.stdout.write(`${JSON.stringify(read)}\n`);
  return 0;
}

/** JSON on stdout: {problems, warnings, rights?}: what an agent needs for these folders together. */
async function printRights(args: readonly string[]): Promise<number> {
  const { folders, cluster } = readFolderArgs(args);
  const [tools, signal] = [openPrograms({ builds: false }), stopSignal()];
  const read = [];
  for (const folder of folders.length === 0 ? ["."] : folders) read.push(await readFolder({ folder, cluster, tools, signal }));
  const problems = read.flatMap((one) => one.problems);
  const answer = {
    problems,
    warnings: read.flatMap((one) => one.warnings),
    ...(problems.length === 0 && { rights: neededRights(read.flatMap(rightsBundles)) }),
  };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  return 0;
}

/** Takes an AcceptRequest's drift as JSON on stdin; JSON on stdout: an Acceptance. */
async function printAcceptance(args: readonly string[]): Promise<number> {
  const { folders, cluster } = readFolderArgs(args);
  const drift = JSON.parse(await text(process.stdin)) as AcceptRequest["drift"];
  const acceptance = await acceptDrift({ folder: folders[0] ?? ".", cluster, drift, tools: openPrograms({ builds: false }), signal: stopSignal() });
  process.stdout.write(`${JSON.stringify(acceptance)}\n`);
  return 0;
}

function rightsBundles({ spec, bundles = [] }: ReadFolder): RightsBundle[] {
  const accounts = new Map(spec?.bundles.map(({ name, policy }) => [name, policy.serviceAccount]));
  return bundles.map(({ name, objects }) => {
    const serviceAccount = accounts.get(name);
    return { objects, ...(serviceAccount !== undefined && { serviceAccount }) };
  });
}

function readFolderArgs(args: readonly string[]): { folders: readonly string[]; cluster: PlacedCluster } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { cluster: { type: "string" }, "cluster-labels": { type: "string", multiple: true }, format: { type: "string" }, strict: { type: "boolean" } },
  });
  return { folders: positionals, cluster: clusterOf(values.cluster ?? "cluster", values["cluster-labels"] ?? []) };
}

function stopSignal(): AbortSignal {
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
  return stopped.signal;
}

function clusterOf(name: string, lists: readonly string[]): PlacedCluster {
  const labels: Record<string, string> = { "flotilla.dev/cluster": name };
  for (const pair of lists.flatMap((list) => list.split(",")).filter((part) => part !== "")) {
    const [key = "", value] = pair.split("=", 2);
    if (key === "" || value === undefined) throw new UsageError(`--cluster-labels has '${pair}'; it takes KEY=VALUE,…`);
    labels[key] = value;
  }
  return { name, labels };
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const wrongUse = error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS") === true;
  const hint = (error as { hint?: string }).hint;
  process.stderr.write(`error: ${(error as Error).message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
  if (!wrongUse && process.env.FLOTILLA_LOG_LEVEL === "debug") process.stderr.write(`${(error as Error).stack ?? ""}\n`);
  process.exitCode = wrongUse ? 2 : 1;
}
