import type { Problem } from "../domain/problem.ts";
import { rendersAtOnce } from "../limits.ts";
import { type KustomizeBuild, KustomizeWorkers } from "./kustomize-workers.ts";
import { runSandboxed, type ToolOutcome, type ToolRun } from "./sandbox.ts";

export type RenderToolName = "helm" | "kustomize";

/** The programs that render, and how many run at once. */
export interface RenderTools {
  /** Pinned versions: they are part of every render key. */
  readonly versions: Readonly<Record<RenderToolName, string>>;
  /** Wait for a free slot and run a tool. Rejects when it cannot be found or started, or the signal fires. */
  run(name: RenderToolName, run: Omit<ToolRun, "file">): Promise<ToolOutcome>;
  /** What kustomize would print, from a program that runs already; undefined when only running it can tell. */
  buildInWorker(build: KustomizeBuild): Promise<string | undefined>;
  /** Ends programs that wait for work. */
  close(): void;
}

/**
 * Tools for a whole replica: make one and share it.
 *
 * @param options.tool where a program is; asked when it is first needed.
 * @param options.worker the program that builds many kustomizations; undefined while there is none.
 * @param options.atOnce runs at once; default rendersAtOnce.
 */
export function openRenderTools(options: {
  readonly tool: (name: RenderToolName) => Promise<string>;
  readonly versions: Readonly<Record<RenderToolName, string>>;
  readonly worker?: () => string | undefined;
  readonly atOnce?: number;
}): RenderTools {
  const workers = new KustomizeWorkers(options.worker ?? (() => undefined));
  const slot = limitAtOnce(options.atOnce ?? rendersAtOnce);
  return {
    versions: options.versions,
    run: async (name, run) => {
      const file = await options.tool(name);
      return slot(async () => runSandboxed({ ...run, file }));
    },
    buildInWorker: async (build) => slot(async () => workers.build(build)),
    close: () => workers.close(),
  };
}

/** What a run that ended early means for the bundle's author. Undefined for a run that came to its end. */
export function problemOfEnd(tool: RenderToolName, outcome: ToolOutcome): Problem | undefined {
  const hint = "split the bundle; Kustomize's time grows with the square of the documents";
  switch (outcome.ended) {
    case "too late":
      return { code: "render-timeout", message: `${tool} did not end in time`, hint };
    case "too large":
      return { code: "render-too-large", message: `${tool} wrote more than it may`, hint };
    case "out of memory":
      return { code: "render-too-large", message: `${tool} needed more memory than it may have`, hint };
    case "well":
    case "badly":
      return undefined;
  }
}

/** At most so many of the given works at once; the rest wait in order. Who waits is bounded by the bundles of the fleets being synced. */
export function limitAtOnce(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      // A waiting work takes over the slot, so that nobody slips in between.
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
