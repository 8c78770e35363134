import { RemovalPolicy, type Tombstone } from "@flotilla/proto/gen/target";
import { strictest, unguarded } from "../domain/guard.ts";
import type { InventoryEntry } from "../domain/inventory.ts";
import { describeId, parseObjectKey } from "../domain/object-id.ts";
import { inPruneOrder } from "../domain/plan.ts";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import { KubeError } from "../cluster/kube-error.ts";
import { releaseObject } from "../cluster/release-object.ts";
import { engineLimits } from "../limits.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOfEntry, leavingHook, type FleetRun } from "./fleet-run.ts";
import { pruneOne } from "./prune-object.ts";
import { settleHooks } from "./run-hooks.ts";
import { saveInventory } from "./save-inventory.ts";
import { afterDeletes, beforeDeletes } from "./say-farewell.ts";

/**
 * The cluster leaves the fleet. By default every object stays and is only forgotten; with the policy "delete" what the
 * inventory holds is deleted, by the same rules as a prune, apart from what stays: protected kinds (G6), what is guarded, and what
 * another fleet names. What stays is free for others: our marks are taken off. A newer target ends a removal at once, with the inventory as
 * far as it came: the fleet is back.
 *
 * @throws KubeError when something could not be deleted or written; the caller tries again, and nothing is forgotten before.
 */
export async function removeFleet(run: FleetRun, tombstone: Tombstone, engine: EngineContext): Promise<void> {
  const kept = tombstone.policy === RemovalPolicy.DELETE ? await deleteWithHooks(run, engine) : [...run.inventory.keys()];
  if (!kept || run.superseded.signal.aborted) return;
  await release(run, engine);
  const why = tombstone.reason === "" ? "" : ` (${tombstone.reason})`;
  const stays = kept.length === 0 ? "nothing of it stays" : `${kept.length} objects stay`;
  engine.reporter(run).event("TargetRemoved", `this cluster left fleet ${run.name}${why}: ${stays}`);
  await engine.reporter(run).removed();
  await engine.inventories.remove(run.name);
  await engine.orders.remove(run.name);
  await engine.targets.remove(run.name);
  engine.forgetFleet(run);
}

/**
 * Delete what may be deleted, with the hooks that bundles ask for before and after. One hook that fails keeps the whole fleet as it is: what it
 * was to save may lie in any of it. Returns what stays, or undefined while it is not over; the plan that follows a hook's end goes on.
 */
async function deleteWithHooks(run: FleetRun, engine: EngineContext): Promise<string[] | undefined> {
  const { signal } = run.superseded;
  await settleHooks(run, engine, Date.now());
  const going = [...run.inventory.values()].filter((entry) => !staysOnRemoval(run, entry, engine));
  const waits = await beforeDeletes(run, new Set(going.map(({ bundle }) => bundle)), engine, signal);
  const [wait] = waits;
  if (wait) return pause(run, `this cluster leaves the fleet, and its objects are not deleted yet: bundle ${wait[0]}: ${wait[1]}`, engine);
  const kept = await deleteObjects(run, engine);
  if (signal.aborted) return undefined;
  const open = await afterDeletes(run, new Set(kept), engine, signal);
  await saveInventory(run, engine);
  if (open === undefined) return kept;
  // What finalizers hold is not watched for a fleet that leaves.
  engine.queueFleet(run, { delayMs: engineLimits.pruneRetryMinMs });
  return pause(run, `this cluster leaves the fleet: ${open}`, engine);
}

function pause(run: FleetRun, why: string, engine: EngineContext): undefined {
  run.trouble = why;
  engine.reporter(run).changed();
  return undefined;
}

async function deleteObjects(run: FleetRun, engine: EngineContext): Promise<string[]> {
  const kept: string[] = [];
  const failed: string[] = [];
  await engine.view.look(run.objects.values(), AbortSignal.timeout(10_000));
  for (const key of inPruneOrder([...run.inventory.keys()])) {
    if (run.superseded.signal.aborted) break;
    // It may have come since the removal began.
    const unread = engine.unreadFleet(run);
    if (unread !== undefined) {
      await saveInventory(run, engine);
      throw new KubeError("unusable", `nothing is deleted before the target of fleet ${unread} was read: it may name what this fleet leaves`);
    }
    if (leavingHook(run, key)) continue;
    const entry = run.inventory.get(key);
    if (!entry || staysOnRemoval(run, entry, engine)) kept.push(key);
    else if (!(await pruneOne(run, key, engine, { isApproved: false }))) failed.push(describeId(parseObjectKey(key)));
  }
  await saveInventory(run, engine);
  if (failed.length > 0 && !run.superseded.signal.aborted)
    throw new KubeError("unusable", `${failed.length} objects could not be deleted: ${failed.slice(0, 5).join(", ")}`);
  return kept;
}

/** A removal asks nobody: what only a person may let go stays. */
function staysOnRemoval(run: FleetRun, entry: InventoryEntry, engine: EngineContext): boolean {
  const live = run.objects.get(entry.key)?.live;
  const guard = strictest(entry.guard ?? unguarded, live?.guard ?? unguarded);
  const isGuarded = guard.keep || guard.prune === "disabled" || guard.prune === "confirm";
  return isGuarded || whyProtected(parseObjectKey(entry.key)) !== undefined || engine.namedBy(run, entry.key) !== undefined;
}

/** Give up every claim. One that cannot be given up (no right to write, gone, changed by others) holds up nothing. */
async function release(run: FleetRun, engine: EngineContext): Promise<void> {
  const entries = [...run.inventory.values()].filter(({ uid }) => uid !== "").values();
  const worker = async () => {
    for (const entry of entries)
      await releaseOne(run, entry, engine).catch((error: unknown) => engine.log.debug({ object: entry.key, err: error }, "a claim stays on an object"));
  };
  await Promise.all(Array.from({ length: engineLimits.releaseWorkers }, worker));
}

async function releaseOne(run: FleetRun, entry: InventoryEntry, engine: EngineContext): Promise<void> {
  const { kind, namespace, name } = parseObjectKey(entry.key);
  const resource = await engine.discovery.resolve(entry.apiVersion, kind);
  await releaseObject(engine.client.as(accountOfEntry(run, entry)), resource, { fleet: run.name, bundle: entry.bundle, namespace, name, uid: entry.uid });
}
