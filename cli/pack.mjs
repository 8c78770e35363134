// Around `npm pack`. Before: builds the three bundles and puts the hub's and the agent's beside the CLI's, where it looks for
// them first. After (--undo): takes them away, because a clone's CLI starts the clone's sources.
import { spawnSync } from "node:child_process";
import { copyFile, cp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const programs = ["hub", "agent"];

if (process.argv.includes("--undo")) {
  for (const added of [...programs.map((program) => `${program}.mjs`), "tools"]) await rm(`${root}cli/dist/${added}`, { recursive: true, force: true });
} else {
  for (const workspace of [...programs, "cli"]) buildWorkspace(workspace);
  for (const program of programs) await copyFile(`${root}${program}/dist/${program}.mjs`, `${root}cli/dist/${program}.mjs`);
  // The sums by which the hub builds its broker and renderers where they are not installed.
  for (const tool of ["nats-server", "helm", "kustomize"]) await cp(`${root}hub/tools/${tool}`, `${root}cli/dist/tools/${tool}`, { recursive: true });
}

function buildWorkspace(workspace) {
  const { status } = spawnSync(process.execPath, ["build.mjs"], { cwd: `${root}${workspace}`, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${workspace}/build.mjs ended with status ${status}`);
}
