import { KubeError } from "../cluster/kube-error.ts";
import type { InventoryEntry } from "../domain/inventory.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { track } from "./receive-target.ts";
import { saveInventory } from "./save-inventory.ts";
import { saveOrder } from "./save-order.ts";

/** Inventories by fleet, as the cluster keeps them now. */
export type KeptInventories = ReadonlyMap<string, ReadonlyMap<ObjectKey, InventoryEntry> | KubeError>;

/** Read again what the cluster keeps, bodies and inventories, instead of believing what was written to it once. */
export async function readKept(engine: EngineContext): Promise<KeptInventories> {
  await engine.bodies.load();
  return await engine.inventories.load();
}

/**
 * The cluster's database was restored from a backup: what this agent wrote since then is gone, and what it deleted is back. It holds the
 * later target and inventory in memory; both are written anew. The inventory takes in what the restored one names besides: those objects
 * are there again, and the next plan prunes them by the same rules as ever.
 *
 * @returns whether every body of the target is held; the hub must be asked for those that are not.
 * @throws KubeError when it could not be written; the caller tries again.
 */
export async function recoverFleet(run: FleetRun, kept: KeptInventories, engine: EngineContext): Promise<boolean> {
  const restored = kept.get(run.name);
  if (restored && !(restored instanceof KubeError)) {
    for (const [key, entry] of restored) if (!run.inventory.has(key)) run.inventory.set(key, entry);
  }
  track(run, run.desired, engine);
  if (run.target && !run.pending) await engine.targets.save(run.target);
  await saveInventory(run, engine);
  engine.orders.forgetWritten(run.name);
  await saveOrder(run, engine);
  engine
    .reporter(run)
    .event("WentBack", "the cluster's database was restored to an earlier time: everything is looked at and planned again", { warning: true });
  const digests = run.target?.bundles.map((bundle) => bundle.digest) ?? [];
  await engine.bodies.writeAgain([...digests, ...[...run.farewells.values()].map(({ token }) => token)]);
  return digests.every((digest) => engine.bodies.has(digest));
}
