import { RemovalPolicy, type Tombstone } from "@flotilla/proto/gen/target";
import { failpoint } from "@flotilla/proto/failpoint";
import { stages } from "../domain/apply-order.ts";
import { guardOf, unguarded } from "../domain/guard.ts";
import { widen, withGuard } from "../domain/inventory.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import { planChanges, type Plan } from "../domain/plan.ts";
import { applyPlan, type ChangeCounts } from "./apply-plan.ts";
import type { EngineContext } from "./engine-context.ts";
import { isApplied, isHookHere, noteAccounts, type FleetRun } from "./fleet-run.ts";
import { holdOf } from "./hold-of.ts";
import { isDone, isRemembered, orderBundles, type Orders } from "./order-bundles.ts";
import { prunePlan } from "./prune-plan.ts";
import { readReadiness } from "./read-readiness.ts";
import { receiveTarget } from "./receive-target.ts";
import { removeFleet } from "./remove-fleet.ts";
import { settleHooks, startHooks } from "./run-hooks.ts";
import { saveInventory } from "./save-inventory.ts";
import { saveOrder } from "./save-order.ts";
import { afterDeletes, farewellWakeAt } from "./say-farewell.ts";
import { tellPhase } from "./tell-phase.ts";
import type { TrackedObject } from "./tracked-object.ts";

/**
 * Bring one fleet's objects in this cluster to what its target wants: receive, observe, plan, widen the inventory, apply,
 * prune, settle the inventory, report. Runs for a new target, after a restart, and when something a plan waited for has
 * come; drifts and retries of single objects go through reconcileObject. Superseded at once by a newer target.
 *
 * @throws KubeError when the cluster's state could not be read or written; the caller tries again.
 */
export async function reconcileTarget(run: FleetRun, engine: EngineContext, signal: AbortSignal): Promise<void> {
  if (!(await receiveTarget(run, engine)) || signal.aborted) return;
  clearTimeout(run.wakeTimer);
  if (run.target?.tombstone) return await leave(run, run.target.tombstone, engine);

  const plannedAt = Date.now();
  await engine.view.look(ours(run, engine), signal);
  if (signal.aborted) return;
  await settleHooks(run, engine, plannedAt);
  await readReadiness(run, engine, plannedAt);
  const orders = orderBundles(run, engine, plannedAt);
  const plan = planFor(run, orders, engine);
  noteOrders(run, orders, engine);
  notePlan(run, plan, engine);
  tellPhase(run, engine, "plan", plannedAt, Date.now());

  const applyAt = Date.now();
  skipToldPath(run, plan);
  await widenInventory(run, plan, engine);
  await saveOrder(run, engine);
  const hooks = [...orders.states.values()].flatMap(({ start }) => start);
  const counts = await applyPlan(run, plan, engine, signal, () => startHooks(run, hooks, engine, signal));
  failpoint("after-apply-before-inventory");
  const pruneAgainMs = signal.aborted ? undefined : await prunePlan(run, plan, plannedAt, engine, signal);
  if (!signal.aborted) await afterDeletes(run, nothing, engine, signal);
  await saveInventory(run, engine);
  if (signal.aborted) return;

  const reached = orderBundles(run, engine, Date.now());
  noteOrders(run, reached, engine);
  await saveOrder(run, engine);
  tellOutcome(run, plan, counts, applyAt, engine);
  for (const key of plan.drifted) engine.queueObject(run, key, { urgent: true });
  // The new revision may say what somebody had changed.
  for (const key of plan.kept) engine.queueObject(run, key, { urgent: true });
  // Looked at by nobody while a new target waited.
  for (const object of run.objects.values()) if (object.isSuspect) engine.queueObject(run, object.key, { urgent: true });
  if (pruneAgainMs !== undefined) engine.queueFleet(run, { delayMs: pruneAgainMs });
  if (mayGoOn(run, plan, reached)) engine.queueFleet(run);
  wakeAt(run, Math.min(reached.wakeAt, farewellWakeAt(run, Date.now())), engine);
}

/** Leave the fleet; what is suspended is not deleted before it is resumed. */
async function leave(run: FleetRun, tombstone: Tombstone, engine: EngineContext): Promise<void> {
  const suspension = run.target?.suspension;
  if (!suspension || tombstone.policy !== RemovalPolicy.DELETE) {
    await removeFleet(run, tombstone, engine);
    return wakeAt(run, farewellWakeAt(run, Date.now()), engine);
  }
  run.trouble = `this cluster leaves the fleet and its objects are to be deleted: that waits, suspended by ${suspension.by}: ${suspension.reason}`;
  engine.reporter(run).changed();
}

const nothing: ReadonlySet<string> = new Set();

/** What there is to look at: not what belongs to others. */
function ours(run: FleetRun, engine: EngineContext): TrackedObject[] {
  return [...run.objects.values()].filter(
    (object) => !run.desired.excluded.has(object.key) && (run.inventory.has(object.key) || !engine.claimedBy(run, object.key)),
  );
}

/** The plan for the world as it is known now. */
function planFor(run: FleetRun, orders: Orders, engine: EngineContext): Plan {
  const bundles = [...run.desired.bundles.values()];
  const now = Date.now();
  return planChanges({
    desired: run.desired.objects,
    excluded: new Set(run.desired.excluded.keys()),
    inventory: run.inventory,
    observe: (key) => engine.view.observe(run.objects.get(key)),
    claimedBy: (key) => engine.claimedBy(run, key),
    driftMode: (bundle) => run.desired.bundles.get(bundle)?.driftMode ?? "heal",
    blocked: (object) => orders.gate(object),
    stays: (key, bundle) => isHookHere(run, key) || holdOf(run, bundle, now) !== undefined,
    takenBy: (key) => engine.takenBy(run, key),
    namedBy: (key) => engine.namedBy(run, key),
    rests: (key, bundle) => restOf(run, key, bundle, now, engine),
    spent: run.spent.revision === run.target?.revision ? run.spent.byBundle : new Map(),
    revision: run.target?.revision ?? "",
    approval: run.target?.pruneApproval,
    budgets: new Map(bundles.flatMap(({ name, budget }) => (budget ? [[name, budget] as const] : []))),
  });
}

/** Take in where the bundles stand, and tell what is late. Syncs that begin or end are remembered. */
function noteOrders(run: FleetRun, orders: Orders, engine: EngineContext): void {
  for (const [name, order] of orders.states) {
    const policy = run.desired.bundles.get(name);
    const before = run.orders.get(name);
    if (order.late !== "" && (before?.late ?? "") === "")
      engine.reporter(run).event("DeadlineExceeded", `bundle ${name}: ${order.late}`, { bundle: name, warning: true });
    if (before?.blocker !== order.blocker || before.phase !== order.phase || before.late !== order.late) engine.reporter(run).changed();
    if (!policy || !isRemembered(run, policy) || isDone(run, policy) || !order.isOpen) continue;
    run.syncs.set(name, { token: policy.digest, state: order.phase === "done" ? "done" : "begun" });
  }
  for (const name of run.syncs.keys()) if (!run.desired.bundles.has(name)) run.syncs.delete(name);
  run.orders = orders.states;
  run.awaited = orders.awaited;
}

/** Nothing else would wake a plan at a deadline, or when a window opens. */
function wakeAt(run: FleetRun, at: number, engine: EngineContext): void {
  if (at === Infinity) return;
  run.wakeTimer = setTimeout(() => engine.queueFleet(run), Math.min(Math.max(0, at - Date.now()) + 5, maxTimerMs));
  run.wakeTimer.unref();
}

/** Node's longest timer; what is later is looked at again then. */
const maxTimerMs = 2 ** 31 - 1;

/** Write down on each object what the plan has in mind for it. */
function notePlan(run: FleetRun, plan: Plan, engine: EngineContext): void {
  run.planned.clear();
  run.leftAlone = new Set([...plan.claimed.keys(), ...plan.kept]);
  for (const { object } of stages.flatMap((stage) => plan.applies.get(stage) ?? [])) run.planned.add(object.key);
  const note = (key: string, text: string) => {
    const object = run.objects.get(key);
    if (!object || object.note === text) return;
    object.note = text;
    object.change = "Skipped";
    object.failure = undefined;
    engine.reporter(run).touch(key);
  };
  run.waitsForOthers = plan.claimed.size > 0 || plan.resting.size > 0;
  noteExempt(run, plan, engine);
  for (const [key, why] of plan.waiting) note(key, why);
  for (const key of plan.claimed.keys()) note(key, run.objects.get(key)?.foreign ?? "");
  for (const key of plan.kept) note(key, "was changed by hand: the new revision does not overwrite that (drift mode heal-unless-drifted)");
  for (const key of plan.unchanged) {
    const object = run.objects.get(key);
    const wanted = run.desired.objects.get(key);
    if (!object || !wanted) continue;
    object.ignored = wanted.ignored;
    object.note = "";
    noteUndone(run, object, engine);
    object.change ??= "Unchanged";
    engine.reporter(run).touch(key);
  }
}

/**
 * What could not be applied, and is as it was wanted before, wants nothing more when Git goes back: the failure ends with it. Where that cannot be seen
 * the apply is tried again, in case its retry came while the target changed and was passed over.
 */
function noteUndone(run: FleetRun, object: TrackedObject, engine: EngineContext): void {
  if (!object.failure) return;
  if (!object.live) return engine.queueObject(run, object.key);
  object.failure = undefined;
  object.change = "Unchanged";
}

/** What is left as it is by Git's own word is in sync, and says why. */
function noteExempt(run: FleetRun, plan: Plan, engine: EngineContext): void {
  const inventoried = (key: string) => run.inventory.has(key);
  for (const { key, directives } of run.desired.objects.values()) {
    const object = run.objects.get(key);
    if (!object) continue;
    // What is there and not ours is not in the inventory: it is looked at again, and in sync meanwhile.
    const why = plan.exempt.get(key) ?? (directives.ssa === "ifNotPresent" && plan.applies.size > 0 && !inventoried(key) ? object.exempt : "");
    // It was to be pruned, and is wanted again.
    if (object.pruneHold) {
      [object.pruneHold, object.note] = [undefined, ""];
      engine.reporter(run).touch(key);
    }
    const owner = plan.claimed.get(key);
    if (owner !== undefined) object.foreign = `belongs to fleet ${owner} in this cluster, which keeps it`;
    else if (run.inventory.get(key)?.uid) object.foreign = "";
    if (object.exempt === why) continue;
    object.exempt = why;
    if (why !== "") Object.assign(object, { change: "Skipped", failure: undefined, note: "", drift: [] });
    engine.reporter(run).touch(key);
  }
}

/**
 * What has left the target may be on its way to another fleet, whose target is not here yet. A single object rests only where there is another
 * fleet: elsewhere its prune waits for nothing.
 */
function restOf(run: FleetRun, key: ObjectKey, bundle: string, now: number, engine: EngineContext): string | undefined {
  const since = run.leftBundles.get(bundle) ?? (engine.hasOtherFleets(run) ? run.leftObjects.get(key) : undefined);
  const end = (since ?? 0) + engine.handOverMs;
  if (since === undefined || now >= end) return undefined;
  const what = run.leftBundles.has(bundle) ? `bundle ${bundle}` : "it";
  return `${what} has just left the target: another fleet may take it over until ${new Date(end).toISOString()}`;
}

/** After a restart with nothing to apply, apply and healthy were told by the process before. */
function skipToldPath(run: FleetRun, plan: Plan): void {
  const isRestored = run.target !== undefined && run.appliedAt === 0 && run.restored === run.target.generation;
  const hasApplies = stages.some((stage) => (plan.applies.get(stage)?.length ?? 0) > 0) || plan.waiting.size > 0;
  if (!isRestored || hasApplies || !run.target) return;
  for (const phase of ["apply", "healthy"]) run.told.set(phase, run.target.generation);
}

async function widenInventory(run: FleetRun, plan: Plan, engine: EngineContext): Promise<void> {
  const attempts = stages.flatMap((stage) => plan.applies.get(stage) ?? []).map(({ object }) => object);
  noteAccounts(run);
  const wide = widen(run.inventory, attempts);
  const isWider = wide.size !== run.inventory.size;
  for (const [key, entry] of wide) run.inventory.set(key, entry);
  noteAccounts(run);
  const isNoted = noteGuards(run, plan);
  if (!isWider && !isNoted) return;
  failpoint("before-widen-inventory");
  await saveInventory(run, engine);
  failpoint("after-widen-inventory");
}

/** Write into the inventory what only the present target knows: guards, which hold when it has gone, and what was approved. */
function noteGuards(run: FleetRun, plan: Plan): boolean {
  let changed = false;
  for (const entry of [...run.inventory.values()]) {
    const wanted = run.desired.objects.get(entry.key);
    const guard = wanted ? guardOf(wanted.directives) : (entry.guard ?? unguarded);
    const approved = plan.approved.has(entry.key) ? (run.target?.pruneApproval?.digest ?? "") : "";
    if ((entry.guard ?? unguarded) === guard && (entry.approved ?? "") === approved) continue;
    run.inventory.set(entry.key, withGuard(entry, guard, approved));
    changed = true;
  }
  return changed;
}

function tellOutcome(run: FleetRun, plan: Plan, counts: ChangeCounts, applyAt: number, engine: EngineContext): void {
  const revision = run.target?.revision.slice(0, 12) ?? "";
  if (counts.created + counts.configured > 0) {
    const { created, configured, failed } = counts;
    const unchanged = plan.unchanged.length + counts.unchanged;
    engine
      .reporter(run)
      .event("Applied", `revision ${revision}: ${created} created, ${configured} configured, ${unchanged} unchanged${failed > 0 ? `, ${failed} failed` : ""}`);
  }
  const missing = [...run.desired.objects.keys()].filter(
    (key) => !isApplied(run, key) && !plan.claimed.has(key) && !plan.kept.includes(key) && !run.objects.get(key)?.foreign,
  );
  const failed = missing.filter((key) => run.objects.get(key)?.failure && !run.objects.get(key)?.failure?.passes);
  const endedAt = Date.now();
  if (missing.length === 0) run.appliedAt = endedAt;
  if (missing.length === 0 || failed.length > 0)
    tellPhase(run, engine, "apply", applyAt, endedAt, failed.length > 0 ? `${failed.length} objects could not be applied` : "");
  run.trouble = "";
  run.troubles = 0;
  engine.reporter(run).changed();
}

/** Whether what something waited for came true by this very plan: no watch event will say so. */
function mayGoOn(run: FleetRun, plan: Plan, { states, gate }: Orders): boolean {
  const isOpened = [...plan.waiting.keys()].some((key) => {
    const object = run.desired.objects.get(key);
    return object !== undefined && gate(object) === undefined;
  });
  // A hook that could not be made is tried again by itself.
  const mayStart = (key: string) => !run.objects.get(key)?.failure && !run.objects.get(key)?.note;
  return isOpened || [...states.values()].some((order) => order.start.some(({ key }) => mayStart(key)));
}
