import { failpoint } from "@flotilla/proto/failpoint";
import { deleteObject, type Deleted } from "../cluster/delete-object.ts";
import { KubeError, tellError } from "../cluster/kube-error.ts";
import { describeId, parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import type { Plan } from "../domain/plan.ts";
import { sightOf } from "./cluster-view.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOfEntry, isApplied, type FleetRun } from "./fleet-run.ts";
import { dropObject } from "./drop-object.ts";
import { exclusively } from "./tracked-object.ts";

/**
 * Do the prunes of a plan, last applied first; but only when everything the target wants is applied: a target that is
 * half there is no reason to delete the other half (fault 5). Held prunes are said, with the list's digest (G6).
 *
 * @returns how many could not be done and want another plan.
 */
export async function prunePlan(run: FleetRun, plan: Plan, engine: EngineContext, signal: AbortSignal): Promise<number> {
  for (const key of plan.letGo) letGo(run, key, engine);
  announceHeld(run, plan, engine);
  const reason = waitsFor(run, plan);
  run.prunesWait = reason !== undefined && plan.prunes.length > 0 ? { count: plan.prunes.length, reason } : undefined;
  noteWaiting(run, plan, engine);
  if (reason !== undefined) return 0;
  let failed = 0;
  for (const key of plan.prunes) {
    if (signal.aborted) return failed;
    if (!(await pruneOne(run, key, engine))) failed += 1;
  }
  return failed;
}

/** Why prunes must wait, or undefined. */
function waitsFor(run: FleetRun, plan: Plan): string | undefined {
  for (const [key, object] of run.desired.objects) {
    if (plan.claimed.has(key) || plan.kept.includes(key)) continue;
    if (isApplied(run, key)) continue;
    const failure = run.objects.get(key)?.failure;
    return failure ? `${describeId(object.id)} is not applied: ${failure.message}` : `${describeId(object.id)} is not applied yet`;
  }
  return undefined;
}

/** Delete one object and forget it when it is gone. Returns whether it came to an end. */
export async function pruneOne(run: FleetRun, key: ObjectKey, engine: EngineContext): Promise<boolean> {
  const object = run.objects.get(key);
  if (!object) return true;
  return await exclusively(object, async () => {
    try {
      const deleted = await remove(run, key, engine);
      failpoint("after-prune-object");
      if (deleted.outcome === "terminating") {
        object.note = "deleted, and held by finalizers";
        object.failure = undefined;
        engine.view.take(object, sightOf(object, deleted.object));
        engine.reporter(run).touch(key);
        return true;
      }
      const details = { bundle: object.bundle, object: object.id };
      if (deleted.outcome === "left") engine.reporter(run).event("LetGo", `${describeId(object.id)} is left alone: ${deleted.reason}`, details);
      else engine.reporter(run).event("Pruned", `${describeId(object.id)} ${deleted.outcome === "deleted" ? "deleted" : "was gone already"}`, details);
      dropObject(run, object, engine);
      return true;
    } catch (error) {
      const message = `cannot be deleted: ${tellError(error, object.id.kind)}`;
      if (object.failure?.message !== message)
        engine.reporter(run).event("ApplyFailed", `${describeId(object.id)} ${message}`, { bundle: object.bundle, object: object.id, warning: true });
      object.failure = { message, attempts: (object.failure?.attempts ?? 0) + 1, passes: false };
      object.change = "Failed";
      engine.reporter(run).touch(key);
      return false;
    }
  });
}

async function remove(run: FleetRun, key: ObjectKey, engine: EngineContext): Promise<Deleted> {
  const id = parseObjectKey(key);
  const entry = run.inventory.get(key);
  if (!entry) return { outcome: "absent" };
  try {
    const resource = await engine.discovery.resolve(entry.apiVersion, id.kind);
    return await deleteObject(engine.client, resource, { namespace: id.namespace, name: id.name, uid: entry.uid, fleet: run.name }, accountOfEntry(run, entry));
  } catch (error) {
    // Its definition is gone, and with it every object of the kind.
    if (error instanceof KubeError && error.code === "no-match") return { outcome: "absent" };
    throw error;
  }
}

/** Forget without deleting: the target says that another owns it. */
function letGo(run: FleetRun, key: ObjectKey, engine: EngineContext): void {
  const object = run.objects.get(key);
  run.inventory.delete(key);
  if (!object) return;
  engine
    .reporter(run)
    .event("LetGo", `${describeId(object.id)} now belongs to another fleet or bundle and is left alone`, { bundle: object.bundle, object: object.id });
  if (!run.desired.excluded.has(key) && !run.desired.objects.has(key)) dropObject(run, object, engine);
}

function announceHeld(run: FleetRun, plan: Plan, engine: EngineContext): void {
  const before = run.held?.digest;
  run.held = plan.held;
  if (!plan.held || plan.held.digest === before) return;
  const names = plan.held.keys.slice(0, 10).map((key) => describeId(parseObjectKey(key)));
  const more = plan.held.keys.length > names.length ? ` and ${plan.held.keys.length - names.length} more` : "";
  engine
    .reporter(run)
    .event(
      "PruneHeld",
      `${plan.held.keys.length} prunes wait for approval (${plan.held.digest.slice(0, 12)}): ${plan.held.reason}. ${names.join(", ")}${more}`,
      { warning: true },
    );
}

function noteWaiting(run: FleetRun, plan: Plan, engine: EngineContext): void {
  const wait = plan.held ? `prune waits for approval: ${plan.held.reason}` : run.prunesWait ? `prune waits: ${run.prunesWait.reason}` : "";
  for (const key of plan.held?.keys ?? plan.prunes) {
    const object = run.objects.get(key);
    if (!object || wait === "" || object.note === wait) continue;
    object.note = wait;
    object.change = "Skipped";
    engine.reporter(run).touch(key);
  }
}
