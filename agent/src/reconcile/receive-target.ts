import { healthChecksFor } from "../domain/health-checks.ts";
import { judgeBy, trackObject, type TrackedObject } from "./tracked-object.ts";
import type { EngineContext } from "./engine-context.ts";
import { leavingHook, type FleetRun } from "./fleet-run.ts";
import { parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import { readDesired, RefusedTarget, type Desired } from "./read-desired.ts";
import { noteFarewells, readFarewells } from "./read-farewells.ts";
import { tellPhase } from "./tell-phase.ts";

/**
 * Make the newest target the one that is followed: read it whole, keep it in the cluster, and track its objects. A target
 * that cannot be read as what it says is refused, and the one before stays (G5).
 *
 * @returns whether there is a target to follow.
 * @throws KubeError when the cluster could not be read or written: nothing has changed then.
 */
export async function receiveTarget(run: FleetRun, engine: EngineContext): Promise<boolean> {
  const pending = run.pending;
  if (!pending) return run.target !== undefined;
  const { target, arrivedAt, isRestored } = pending;
  try {
    const open = (digest: string) => engine.bodies.open(digest);
    const desired = await readDesired(target, open);
    const farewells = await readFarewells(run, desired, open);
    if (!isRestored) await engine.targets.save(target);
    // A newer one may have come while this one was read: it is the newer one's turn then, with the same rules.
    if (run.pending !== pending) return await receiveTarget(run, engine);
    run.pending = undefined;
    run.target = target;
    run.refusal = "";
    noteFarewells(run, desired, farewells);
    track(run, desired, engine);
    noteLeft(run);
    engine.claimsChanged(run);
    // What a target's arrival took was told by the process to which it arrived.
    if (isRestored) run.restored = target.generation;
    if (isRestored) for (const phase of ["receive", "plan"]) run.told.set(phase, target.generation);
    tellPhase(run, engine, "receive", arrivedAt, Date.now());
  } catch (error) {
    if (!(error instanceof RefusedTarget)) throw error;
    if (run.pending === pending) run.pending = undefined;
    refuse(run, target.generation, error.message, engine);
    return run.target !== undefined;
  }
  return true;
}

/** Since when bundles and single objects of the inventory have been gone from the target: once for each time that they leave it. */
function noteLeft(run: FleetRun): void {
  const entries = [...run.inventory.values()];
  noteSince(run.leftBundles, new Set(entries.map(({ bundle }) => bundle).filter((bundle) => !run.desired.bundles.has(bundle))));
  // What was run, and never kept, is nothing that another fleet would take over.
  const isLeft = (key: ObjectKey) => !run.desired.objects.has(key) && !run.desired.hooks.has(key) && run.inventory.get(key)?.desired !== "";
  noteSince(run.leftObjects, new Set(entries.filter(({ key, bundle }) => run.desired.bundles.has(bundle) && isLeft(key)).map(({ key }) => key)));
}

function noteSince(since: Map<string, number>, left: ReadonlySet<string>): void {
  for (const name of since.keys()) if (!left.has(name)) since.delete(name);
  for (const name of left) if (!since.has(name)) since.set(name, Date.now());
}

/** Say that a target is not followed. */
export function refuse(run: FleetRun, generation: bigint, reason: string, engine: EngineContext): void {
  run.refusal = `generation ${generation}: ${reason}`;
  engine.log.warn({ fleet: run.name, generation: String(generation), reason }, "target refused");
  engine.reporter(run).event("TargetRefused", run.refusal, { warning: true });
}

/** Whether an object is run or kept; what was seen of it before was judged by the other rules. */
function markHook(run: FleetRun, object: TrackedObject): void {
  const hook = run.desired.hooks.get(object.key) ?? leavingHook(run, object.key);
  if (object.isHook !== (hook !== undefined) && object.live) object.isUnjudged = true;
  object.isHook = hook !== undefined;
  const owner = hook && (run.desired.bundles.get(hook.bundle) ?? run.farewells.get(hook.bundle));
  if (hook) judgeBy(object, healthChecksFor(owner?.healthChecks ?? [], hook.id));
}

/** Have an object for everything that the target wants, leaves to others, or the inventory holds. */
export function track(run: FleetRun, desired: Desired, engine: EngineContext): void {
  run.desired = desired;
  for (const wanted of desired.objects.values()) {
    const object = run.objects.get(wanted.key) ?? trackObject(run.name, wanted.key, wanted.id, wanted.apiVersion, wanted.bundle);
    run.objects.set(wanted.key, object);
    object.bundle = wanted.bundle;
    object.apiVersion = wanted.apiVersion;
    judgeBy(object, healthChecksFor(desired.bundles.get(wanted.bundle)?.healthChecks ?? [], wanted.id));
    if (object.isUnjudged) engine.queueObject(run, wanted.key);
  }
  for (const [key, bundle] of desired.excluded) {
    const object = run.objects.get(key) ?? trackObject(run.name, key, parseObjectKey(key), "v1", bundle);
    run.objects.set(key, object);
    object.change = "Skipped";
    object.failure = undefined;
    object.note = `owned by ${engine.claimedBy(run, key) ?? "another fleet or bundle"}, skipped here`;
    engine.reporter(run).touch(key);
  }
  for (const entry of run.inventory.values()) {
    if (!run.objects.has(entry.key)) run.objects.set(entry.key, trackObject(run.name, entry.key, parseObjectKey(entry.key), entry.apiVersion, entry.bundle));
  }
  for (const object of run.objects.values()) markHook(run, object);
  for (const object of run.objects.values()) {
    if (desired.objects.has(object.key) || desired.excluded.has(object.key) || run.inventory.has(object.key)) continue;
    run.objects.delete(object.key);
    engine.view.detach(object);
    engine.reporter(run).forget(object.key, object.id);
  }
}
