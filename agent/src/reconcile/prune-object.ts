import { failpoint } from "@flotilla/proto/failpoint";
import { deleteObject, type Deleted } from "../cluster/delete-object.ts";
import { obstacleInNamespace, obstacleToDefinition } from "../cluster/find-obstacle.ts";
import { KubeError, tellError } from "../cluster/kube-error.ts";
import type { LiveObject } from "../cluster/live-object.ts";
import { describeId, parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import { isOwnHouse } from "../domain/protected-kinds.ts";
import { engineLimits } from "../limits.ts";
import { sightOf } from "./cluster-view.ts";
import { dropObject } from "./drop-object.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOfEntry, type FleetRun } from "./fleet-run.ts";
import { giveBack } from "./spend-budget.ts";
import { exclusively, type TrackedObject } from "./tracked-object.ts";

/** Delete one object and forget it when it is gone. Returns whether it came to an end: if not, another plan tries again. */
export async function pruneOne(run: FleetRun, key: ObjectKey, engine: EngineContext, options: { readonly isApproved: boolean }): Promise<boolean> {
  const object = run.objects.get(key);
  if (!object) return true;
  return await exclusively(object, async () => {
    try {
      const deleted = await remove(run, key, engine, options.isApproved);
      failpoint("after-prune-object");
      return settle(run, object, deleted, engine);
    } catch (error) {
      const message = `cannot be deleted: ${tellError(error, object.id.kind)}`;
      if (object.failure?.message !== message)
        engine.reporter(run).event("ApplyFailed", `${describeId(object.id)} ${message}`, { bundle: object.bundle, object: object.id, warning: true });
      object.failure = { message, attempts: (object.failure?.attempts ?? 0) + 1, passes: false };
      object.change = "Failed";
      object.pruneHold = "Waits";
      engine.reporter(run).touch(key);
      return false;
    }
  });
}

/** Take in what a delete came to. Returns whether that is the end of it. */
function settle(run: FleetRun, object: TrackedObject, deleted: Deleted, engine: EngineContext): boolean {
  const details = { bundle: object.bundle, object: object.id };
  const name = describeId(object.id);
  switch (deleted.outcome) {
    case "terminating": {
      const finalizers = deleted.object.metadata.finalizers ?? [];
      stay(run, object, "Terminating", `deleted, and held by finalizers: ${finalizers.join(", ") || "none named"}`, engine);
      engine.view.take(object, sightOf(object, deleted.object));
      return true;
    }
    case "waits":
      if (object.note !== `prune waits: ${deleted.reason}`)
        engine.reporter(run).event("PruneBlocked", `${name} is not deleted: ${deleted.reason}`, { ...details, warning: true });
      stay(run, object, "Waits", `prune waits: ${deleted.reason}`, engine);
      return false;
    case "left":
      engine.reporter(run).event("LetGo", `${name} is left alone: ${deleted.reason}`, details);
      break;
    case "deleted":
    case "absent":
      engine.reporter(run).event("Pruned", `${name} ${deleted.outcome === "deleted" ? "deleted" : "was gone already"}`, details);
  }
  if (deleted.outcome !== "deleted") giveBack(run, object.key);
  dropObject(run, object, engine);
  return true;
}

function stay(run: FleetRun, object: TrackedObject, pruneHold: "Waits" | "Terminating", note: string, engine: EngineContext): void {
  Object.assign(object, { pruneHold, note, failure: undefined });
  engine.reporter(run).touch(object.key);
}

async function remove(run: FleetRun, key: ObjectKey, engine: EngineContext, isApproved: boolean): Promise<Deleted> {
  const id = parseObjectKey(key);
  const entry = run.inventory.get(key);
  if (!entry) return { outcome: "absent" };
  if (isOwnHouse(id)) return { outcome: "left", reason: "it is the agent's own and never deleted" };
  try {
    const resource = await engine.discovery.resolve(entry.apiVersion, id.kind);
    const { namespace, name } = id;
    const obstacle = (live: LiveObject) => obstacleTo(run, key, live, engine);
    const warrant = { namespace, name, uid: entry.uid, fleet: run.name, isApproved, obstacle };
    const deleted = await deleteObject(engine.client, resource, warrant, accountOfEntry(run, entry));
    if (deleted.outcome === "deleted" && entry.uid !== "") rememberUid(run, entry.uid);
    return deleted;
  } catch (error) {
    // Its definition is gone, and with it every object of the kind.
    if (error instanceof KubeError && error.code === "no-match") return { outcome: "absent" };
    throw error;
  }
}

/** What would go with an object that is not this inventory's to delete: approved or not, it stays until that is gone (FAULTS 4). */
async function obstacleTo(run: FleetRun, key: ObjectKey, live: LiveObject, engine: EngineContext): Promise<string | undefined> {
  const { group, kind, name } = parseObjectKey(key);
  if (group === "apiextensions.k8s.io" && kind === "CustomResourceDefinition") return await obstacleToDefinition(engine.client, live);
  if (group !== "" || kind !== "Namespace") return undefined;
  return await obstacleInNamespace(engine.client, engine.discovery, name, {
    has: (of) => run.inventory.has(of),
    hadUid: (uid) => run.prunedUids.has(uid),
  });
}

function rememberUid(run: FleetRun, uid: string): void {
  run.prunedUids.add(uid);
  const [oldest] = run.prunedUids;
  if (run.prunedUids.size > engineLimits.prunedUidsKept && oldest !== undefined) run.prunedUids.delete(oldest);
}
