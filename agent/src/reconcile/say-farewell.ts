import type { HookFact, RunPhase } from "../domain/bundle-order.ts";
import { walkHooks } from "../domain/bundle-order.ts";
import { farewellPhases, type Farewell } from "../domain/farewell.ts";
import { hookRunKey } from "../domain/hook-run.ts";
import { describeId, parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import { engineLimits } from "../limits.ts";
import type { EngineContext } from "./engine-context.ts";
import { leavingFarewells, leavingHook, type FleetRun } from "./fleet-run.ts";
import { holdOf } from "./hold-of.ts";
import { deleteHook, hookFact, startHooks } from "./run-hooks.ts";
import { saveOrder } from "./save-order.ts";

/**
 * Run what bundles ask for before their objects are deleted. Nothing waits in here: what is due is started, and a plan looks again when it has
 * ended. That the deletes have begun is on record before the first of them, so that a restart goes on with the hooks that come after.
 *
 * @param bundles of which something would be deleted now.
 * @returns why the deletes of a bundle have to wait, by its name; bundles that need not wait are not in it.
 * @throws KubeError when it could not be written.
 */
export async function beforeDeletes(run: FleetRun, bundles: ReadonlySet<string>, engine: EngineContext, signal: AbortSignal): Promise<Map<string, string>> {
  const waits = new Map<string, string>();
  const due: HookFact[] = [];
  for (const farewell of leavingFarewells(run)) {
    if (!bundles.has(farewell.bundle)) continue;
    if (farewell.problem !== "") {
      waits.set(farewell.bundle, farewell.problem);
      continue;
    }
    run.farewells.set(farewell.bundle, { ...farewell, state: "begun" });
    const { isDone, start, blocker, failed } = walkHooks(factsOf(run, farewell, "pre-delete"), "pre-delete");
    if (isDone) continue;
    waits.set(farewell.bundle, failed === "" ? `waits for ${blocker}` : failed);
    due.push(...start);
  }
  await saveOrder(run, engine);
  await startHooks(run, due, engine, signal);
  return waits;
}

/**
 * Run what bundles ask for after their objects are deleted, and forget those that have come to their end: what ran is deleted then, because
 * there is no next time at which it would be.
 *
 * @param kept objects of a removal that stay: nobody waits until they are gone.
 * @returns why a farewell is not over, or undefined when none is left.
 * @throws KubeError when it could not be written.
 */
export async function afterDeletes(run: FleetRun, kept: ReadonlySet<ObjectKey>, engine: EngineContext, signal: AbortSignal): Promise<string | undefined> {
  let open: string | undefined;
  const due: HookFact[] = [];
  for (const farewell of leavingFarewells(run)) {
    const left = membersOf(run, farewell).filter((key) => !kept.has(key));
    const [first] = left;
    if (first !== undefined) {
      open ??= `bundle ${farewell.bundle}: ${describeId(parseObjectKey(first))} is to be gone before${tellNote(run, first)}`;
      continue;
    }
    if (holdOf(run, farewell.bundle, Date.now())) continue;
    if (farewell.state === "begun" && farewell.problem !== "")
      engine.reporter(run).event("HookFailed", `bundle ${farewell.bundle} is deleted, and what was to run after that did not: ${farewell.problem}`, {
        bundle: farewell.bundle,
        warning: true,
      });
    const walk = farewell.state === "begun" && farewell.problem === "" ? walkHooks(factsOf(run, farewell, "post-delete"), "post-delete") : undefined;
    if (!walk || walk.isDone) {
      if (!(await end(run, farewell, engine))) open ??= `bundle ${farewell.bundle}: its hooks are being deleted`;
      continue;
    }
    due.push(...walk.start);
    open ??= `bundle ${farewell.bundle}: ${walk.failed === "" ? `waits for ${walk.blocker}` : walk.failed}`;
  }
  await saveOrder(run, engine);
  await startHooks(run, due, engine, signal);
  return open;
}

function tellNote(run: FleetRun, key: ObjectKey): string {
  const note = run.objects.get(key)?.note ?? "";
  return note === "" ? "" : `: ${note}`;
}

/** What the inventory holds of a bundle that leaves, apart from the hooks of its removal. */
function membersOf(run: FleetRun, { bundle, state, hooks }: Farewell): ObjectKey[] {
  return [...run.inventory.values()]
    .filter((entry) => entry.bundle === bundle && !run.desired.objects.has(entry.key) && !(state === "begun" && hooks.has(entry.key)))
    .map(({ key }) => key);
}

function factsOf(run: FleetRun, farewell: Farewell, phase: RunPhase): HookFact[] {
  return [...farewell.hooks.values()]
    .filter((hook) => hook.directives.hook?.phases.includes(phase) && leavingHook(run, hook.key) === hook)
    .map((hook) => hookFact(run, hook, phase, farewell.token));
}

/** Delete what ran and forget the farewell. Returns whether it is over. */
async function end(run: FleetRun, farewell: Farewell, engine: EngineContext): Promise<boolean> {
  for (const key of farewell.hooks.keys()) if (run.inventory.has(key) && leavingHook(run, key)) await deleteHook(run, { key }, engine);
  if ([...farewell.hooks.keys()].some((key) => run.inventory.has(key) && leavingHook(run, key))) {
    engine.queueFleet(run, { delayMs: engineLimits.pruneRetryMinMs });
    return false;
  }
  forgetRuns(run, farewell.hooks.keys());
  run.farewells.delete(farewell.bundle);
  return true;
}

/** The runs of a removal count for that removal only: when the bundle is back, its next removal runs them again. */
export function forgetRuns(run: FleetRun, keys: Iterable<ObjectKey>): void {
  for (const key of keys) for (const phase of farewellPhases) run.hookRuns.delete(hookRunKey(key, phase));
}

/** When a hook of a removal is over its deadline (epoch ms), by which nothing else would wake a plan; Infinity when none runs. */
export function farewellWakeAt(run: FleetRun, now: number): number {
  const ends = leavingFarewells(run).flatMap(({ hooks, token, hookDeadlineMs }) =>
    [...run.hookRuns.values()]
      .filter((hook) => hook.state === "started" && hook.token === token && hooks.has(hook.key))
      .map((hook) => hook.startedAt + hookDeadlineMs),
  );
  return Math.min(...ends.filter((end) => end > now), Infinity);
}
