import { stages } from "../domain/apply-order.ts";
import type { ApplyStep, Plan } from "../domain/plan.ts";
import { concurrencyMax } from "../domain/concurrency.ts";
import { applyTracked } from "./apply-tracked.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { holdObject } from "./hold-object.ts";

/** What applying a plan came to, counted. */
export interface ChangeCounts {
  readonly created: number;
  readonly configured: number;
  readonly unchanged: number;
  readonly failed: number;
}

/**
 * Apply a plan stage by stage; `beforeRest` comes when definitions and namespaces were tried. A stage ends when each of its objects was tried: one that fails is tried again by itself and
 * holds up nothing. Ends early, with what was done, when the plan is superseded.
 */
export async function applyPlan(run: FleetRun, plan: Plan, engine: EngineContext, signal: AbortSignal, beforeRest: () => Promise<void>): Promise<ChangeCounts> {
  const counts = { created: 0, configured: 0, unchanged: 0, failed: 0 };
  for (const stage of stages) {
    if (stage === "rest" && !signal.aborted) await beforeRest();
    const steps = plan.applies.get(stage) ?? [];
    const queue = steps.values();
    const workers = Math.min(concurrencyMax, steps.length);
    await Promise.all(Array.from({ length: workers }, () => applySteps(run, queue, counts, engine, signal)));
  }
  return counts;
}

/** One worker: takes steps until there are none. How many requests really are in flight is the client's to limit. */
async function applySteps(
  run: FleetRun,
  queue: Iterator<ApplyStep>,
  counts: { -readonly [K in keyof ChangeCounts]: number },
  engine: EngineContext,
  signal: AbortSignal,
): Promise<void> {
  for (let next = queue.next(); !next.done && !signal.aborted; next = queue.next()) {
    const wanted = next.value.object;
    const object = run.objects.get(wanted.key);
    run.planned.delete(wanted.key);
    if (!object) continue;
    const outcome = await holdObject(run, object, engine, () => applyTracked(run, object, wanted, engine));
    if (outcome === "failed") counts.failed += 1;
    else if (object.change === "Created") counts.created += 1;
    else if (object.change === "Configured") counts.configured += 1;
    else counts.unchanged += 1;
  }
}
