import { spentMark } from "../domain/prune-policy.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { saveOrder } from "./save-order.ts";

/**
 * Write down which objects are about to be deleted without approval, before the first of them is: a budget is not had twice, also not by an
 * agent that restarts. One that turns out not to be deleted is given back.
 *
 * @throws KubeError when it could not be written; nothing may be deleted then.
 */
export async function reserveBudget(run: FleetRun, keys: readonly ObjectKey[], engine: EngineContext): Promise<void> {
  const revision = run.target?.revision ?? "";
  if (keys.length === 0) return;
  if (run.spent.revision !== revision) run.spent = { revision, byBundle: new Map() };
  for (const key of keys) {
    const entry = run.inventory.get(key);
    if (!entry) continue;
    const marks = run.spent.byBundle.get(entry.bundle) ?? new Set();
    run.spent.byBundle.set(entry.bundle, marks.add(spentMark(entry)));
  }
  await saveOrder(run, engine);
}

/** It was not ours to delete, or gone already: nobody's budget. */
export function giveBack(run: FleetRun, key: ObjectKey): void {
  const entry = run.inventory.get(key);
  if (entry) run.spent.byBundle.get(entry.bundle)?.delete(spentMark(entry));
}
