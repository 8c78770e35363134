import { RemovalPolicy, type Tombstone } from "@flotilla/proto/gen/target";
import { describeId, parseObjectKey } from "../domain/object-id.ts";
import { inPruneOrder } from "../domain/plan.ts";
import { isProtected } from "../domain/prune-policy.ts";
import { KubeError } from "../cluster/kube-error.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { pruneOne } from "./prune-plan.ts";
import { saveInventory } from "./save-inventory.ts";

/**
 * The cluster leaves the fleet. By default every object stays and is only forgotten; with the policy "delete" what the
 * inventory holds is deleted, by the same rules as a prune, apart from protected kinds, which stay (G6).
 *
 * @throws KubeError when something could not be deleted or written; the caller tries again, and nothing is forgotten before.
 */
export async function removeFleet(run: FleetRun, tombstone: Tombstone, engine: EngineContext): Promise<void> {
  const kept = tombstone.policy === RemovalPolicy.DELETE ? await deleteObjects(run, engine) : [...run.inventory.keys()];
  const why = tombstone.reason === "" ? "" : ` (${tombstone.reason})`;
  const stays = kept.length === 0 ? "nothing of it stays" : `${kept.length} objects stay`;
  engine.reporter(run).event("TargetRemoved", `this cluster left fleet ${run.name}${why}: ${stays}`);
  await engine.reporter(run).removed();
  await engine.inventories.remove(run.name);
  await engine.orders.remove(run.name);
  await engine.targets.remove(run.name);
  engine.forgetFleet(run);
}

async function deleteObjects(run: FleetRun, engine: EngineContext): Promise<string[]> {
  const kept: string[] = [];
  const failed: string[] = [];
  await engine.view.look(run.objects.values(), AbortSignal.timeout(10_000));
  for (const key of inPruneOrder([...run.inventory.keys()])) {
    if (isProtected(parseObjectKey(key))) kept.push(key);
    else if (!(await pruneOne(run, key, engine))) failed.push(describeId(parseObjectKey(key)));
  }
  await saveInventory(run, engine);
  if (failed.length > 0) throw new KubeError("unusable", `${failed.length} objects could not be deleted: ${failed.slice(0, 5).join(", ")}`);
  return kept;
}
