import { parseArgs } from "node:util";
import { readConfig, UsageError } from "./config.ts";
import type { PlacedCluster } from "./domain/target.ts";
import { findTool, tools } from "./embedded/tools.ts";
import { openRenderTools, type RenderTools } from "./render/render-tools.ts";
import { readFolder } from "./sync/read-folder.ts";

const usage = `usage: hub start [flags] | hub lint DIR | hub render DIR [--cluster NAME] [--cluster-labels K=V,…]`;

/** Exit codes: 0 done, 1 failed, 2 wrong use. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === "lint" || command === "render") return printFolder(rest, command === "render");
  if (command !== "start") throw new UsageError(command === undefined ? usage : `unknown command '${command}'; ${usage}`);
  const config = readConfig(rest, process.env);
  const { startHub } = await import("./start-hub.ts");
  return startHub(config);
}

/** JSON on stdout: {problems, warnings, spec?, bundles?}. Problems in what was read are an answer, not a failure. */
async function printFolder(args: readonly string[], render: boolean): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { cluster: { type: "string" }, "cluster-labels": { type: "string", multiple: true }, format: { type: "string" }, strict: { type: "boolean" } },
  });
  const folder = positionals[0] ?? ".";
  const cluster = clusterOf(values.cluster ?? "cluster", values["cluster-labels"] ?? []);
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
  const read = await readFolder({ folder, ...(render ? { cluster } : {}), tools: localTools(), signal: stopped.signal });
  process.stdout.write(`${JSON.stringify(read)}\n`);
  return 0;
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

function localTools(): RenderTools {
  return openRenderTools({ tool: findTool, versions: { helm: tools.helm.version, kustomize: tools.kustomize.version } });
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
