import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { exitCodes } from "../exit-codes.ts";
import { FleetError } from "../fleet-error.ts";

export type ProgramName = "hub" | "agent";

/**
 * Node's own flags per program. A small young generation, and no optimizing compilers (their code, and what they make, are 12 MiB), keep an
 * agent's resident set small; it costs a quarter of its CPU, which is a small part of what an apply costs the API server.
 * A hub's heap grows by what a placement of many clusters leaves behind, and V8 does not give it back by itself: told to grow in small steps, it takes
 * half (198 instead of 399 MiB while 100 clusters of 100 bundles each joined), for about a tenth more CPU.
 */
const nodeFlags: Readonly<Record<ProgramName, readonly string[]>> = {
  hub: ["--max-semi-space-size=8", "--heap-growing-percent=30"],
  agent: ["--max-semi-space-size=1", "--optimize-for-size", "--no-opt", "--no-maglev"],
};

/** Variables per program, as the images set them: without them glibc keeps an arena per thread. */
export const programVariables: Readonly<Record<ProgramName, Readonly<Record<string, string>>>> = {
  hub: { MALLOC_ARENA_MAX: "2" },
  agent: { MALLOC_ARENA_MAX: "1" },
};

/**
 * What Node runs for the hub or the agent: the bundle beside the packed CLI; in a clone the sources, which are always as
 * new as the CLI's own. Throws FleetError when neither is there.
 */
export function programCommand(name: ProgramName, from: string = import.meta.url): string[] {
  const packed = fileURLToPath(new URL(`./${name}.mjs`, from));
  // Sources lie two folders deep (src/program), the CLI's bundle one (dist).
  const sources = ["../../../", "../../"].map((up) => fileURLToPath(new URL(`${up}${name}/src/main.ts`, from)));
  if (existsSync(packed)) return [...nodeFlags[name], packed];
  const source = sources.find((file) => existsSync(file));
  if (source !== undefined) return ["--disable-warning=ExperimentalWarning", ...nodeFlags[name], source];
  throw new FleetError(`the ${name}'s program is not part of this installation`, exitCodes.failed, {
    hint: "install the packed CLI again, or run 'npx fleet' in a clone",
  });
}
