import { engineLimits } from "../limits.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";

/**
 * Write a fleet's inventory as it is now. Callers while a write runs share the one that follows it.
 *
 * @throws KubeError when it could not be written.
 */
export async function saveInventory(run: FleetRun, engine: EngineContext): Promise<void> {
  clearTimeout(run.settleTimer);
  run.settleTimer = undefined;
  while (run.saving) await run.saving.catch(() => undefined);
  run.saving = engine.inventories.save(run.name, run.inventory).finally(() => {
    run.saving = undefined;
  });
  await run.saving;
}

/** Write it soon: single objects changed, and more may. A write that fails is left to the next plan. */
export function saveInventorySoon(run: FleetRun, engine: EngineContext): void {
  run.settleTimer ??= setTimeout(() => {
    run.settleTimer = undefined;
    saveInventory(run, engine).catch((error: unknown) => {
      engine.log.warn({ fleet: run.name, err: error }, "the inventory could not be written; it is tried again with the next plan");
      engine.queueFleet(run, { delayMs: engineLimits.planRetryMaxMs });
    });
  }, engineLimits.settleMs);
}
