import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { timestamp } from "./report-words.ts";

/** Steps of the path inside the cluster, as traces name them. */
export type PhaseName = "receive" | "plan" | "apply" | "healthy";

/** Tell how long a step of the newest generation took, once per generation; one that failed is told again when it succeeds. */
export function tellPhase(run: FleetRun, engine: EngineContext, phase: PhaseName, startedAt: number, endedAt: number, error = ""): void {
  const { target } = run;
  if (!target || run.told.get(phase) === target.generation) return;
  const failedBefore = run.told.get(`${phase}-failed`) === target.generation;
  if (error !== "" && failedBefore) return;
  run.told.set(error === "" ? phase : `${phase}-failed`, target.generation);
  const attributes = {
    "flotilla.fleet": run.name,
    "flotilla.cluster": engine.cluster,
    "flotilla.revision": target.revision,
    "flotilla.generation": Number(target.generation),
  };
  const span = engine.tracer.start(phase, target.traceparent, attributes, startedAt);
  span.end(error === "" ? undefined : error, endedAt);
  engine.reporter(run).phase({ phase, startedAt: timestamp(startedAt), endedAt: timestamp(endedAt), error, spanId: span.spanId });
}
