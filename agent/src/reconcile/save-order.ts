import { engineLimits } from "../limits.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";

/**
 * Write what must be remembered of hooks, syncs, farewells, spent budgets and corrections. What is the same as before is not written.
 *
 * @throws KubeError when it could not be written.
 */
export async function saveOrder(run: FleetRun, engine: EngineContext): Promise<void> {
  clearTimeout(run.orderTimer);
  run.orderTimer = undefined;
  // One after the other: plans and single objects write it, and what was newer when it was sent must be the last to arrive.
  while (run.orderSaving) await run.orderSaving.catch(() => undefined);
  const { hookRuns: hooks, syncs, farewells, spent, heals } = run;
  run.orderSaving = engine.orders.save(run.name, { hooks, syncs, farewells, spent, heals }).finally(() => {
    run.orderSaving = undefined;
  });
  await run.orderSaving;
}

/** Write it soon: one object was corrected, and more may be. A write that fails is left to the next plan. */
export function saveOrderSoon(run: FleetRun, engine: EngineContext): void {
  run.orderTimer ??= setTimeout(() => {
    saveOrder(run, engine).catch((error: unknown) => {
      engine.log.warn({ fleet: run.name, err: error }, "what was corrected could not be written; it is tried again with the next plan");
    });
  }, engineLimits.settleMs);
}
