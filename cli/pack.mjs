// Before `npm pack`: builds the three bundles and puts the hub's and the agent's beside the CLI's, where it looks for them.
import { spawnSync } from "node:child_process";
import { copyFile, cp } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
for (const workspace of ["hub", "agent", "cli"]) {
  const { status } = spawnSync(process.execPath, ["build.mjs"], { cwd: `${root}${workspace}`, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${workspace}/build.mjs ended with status ${status}`);
}
for (const program of ["hub", "agent"]) await copyFile(`${root}${program}/dist/${program}.mjs`, `${root}cli/dist/${program}.mjs`);
// The sums by which the hub builds its broker and renderers where they are not installed.
for (const tool of ["nats-server", "helm", "kustomize"]) await cp(`${root}hub/tools/${tool}`, `${root}cli/dist/tools/${tool}`, { recursive: true });
