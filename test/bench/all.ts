import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { FigureReport } from "./figures.ts";

/**
 * Every bench, one after the other: `npm run bench [-- --json FILE] [--write] [--only a,b] [--without c]`. Ends with status 1 when a figure missed its target or a bench failed;
 * what each took is told. Together they take several hours on two cores.
 */

const benches = [
  ...[
    "path",
    "rollout",
    "next-wave",
    "preview",
    "fan-out",
    "throughput",
    "connections",
    "recovery",
    "events",
    "storm",
    "state",
    "api",
    "tracing",
    "render",
    "strategies",
  ],
  ...["apply", "drift", "idle", "quiet"],
];

const { values } = parseArgs({
  options: { json: { type: "string" }, write: { type: "boolean" }, only: { type: "string" }, without: { type: "string", default: "" } },
});
const wanted = (values.only?.split(",") ?? benches).filter((name) => !values.without.split(",").includes(name));
const folder = await mkdtemp(join(tmpdir(), "flotilla-bench-"));
const reports: FigureReport[] = [];
const lines: string[] = [];
let status = 0;
for (const name of wanted) {
  process.stdout.write(`\n${name}\n`);
  const [began, file] = [performance.now(), join(folder, `${name}.json`)];
  const program = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const args = ["--disable-warning=ExperimentalWarning", program, "--json", file, ...(values.write ? ["--write"] : [])];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number | null];
  const text = await readFile(file, "utf8").catch(() => "");
  if (text !== "") reports.push(JSON.parse(text) as FigureReport);
  const outcome = code === 0 ? "ok" : text === "" ? "FAILED" : "a target was missed";
  if (code !== 0) status = 1;
  lines.push(`${name.padEnd(12)} ${outcome.padEnd(20)} ${((performance.now() - began) / 1_000).toFixed(0).padStart(5)} s`);
}
await rm(folder, { recursive: true, force: true });
process.stdout.write(`\n${lines.join("\n")}\n`);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(reports, undefined, 2)}\n`);
process.exitCode = status;
