import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Which build of a program is started: the source by Node's type stripping, or the bundle that ships. */
export type ProgramBuild = "source" | "bundle";

/**
 * What tests start when they do not say: the bundles under `npm test`, which has just built them (what ships is tested, and starts in a third of the processor
 * time); the source elsewhere, so that one test by hand needs no build.
 */
export const testedBuild: ProgramBuild = process.env.FLOTILLA_TEST_PROGRAMS === "bundle" ? "bundle" : "source";

const root = fileURLToPath(new URL("../../", import.meta.url));

const files = {
  hub: { source: "hub/src/main.ts", bundle: "hub/dist/hub.mjs" },
  agent: { source: "agent/src/main.ts", bundle: "agent/dist/agent.mjs" },
  cli: { source: "cli/src/main.ts", bundle: "cli/dist/fleet.mjs" },
} as const;

/** Arguments that make Node run a program. Throws when the bundle is wanted and was not built. */
export function programArgs(name: keyof typeof files, build: ProgramBuild): string[] {
  const file = root + files[name][build];
  if (!existsSync(file)) throw new Error(`${files[name][build]} is missing; run 'npm run build'`);
  // What ships sets these in its image and its bin script: a small young generation, and for the agent no optimizing compilers, keep the resident set small.
  const flags = {
    agent: ["--max-semi-space-size=1", "--optimize-for-size", "--no-opt", "--no-maglev"],
    hub: ["--max-semi-space-size=8", "--heap-growing-percent=30"],
    cli: [],
  };
  return [...(build === "bundle" ? flags[name] : ["--disable-warning=ExperimentalWarning"]), file];
}

export const repositoryRoot = root;
