import type { SyncCommand } from "@flotilla/proto/gen/link";
import { parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import type { EngineContext } from "./engine-context.ts";
import { isHookHere, leavingFarewells, leavingHook, type FleetRun } from "./fleet-run.ts";

/**
 * Carry out a sync that a person asked for: what failed is tried at once. With `force` the chosen objects are applied also when they are unchanged,
 * and chosen hooks run again. Order, windows and suspensions hold: the plan that follows decides.
 *
 * @throws Error when a bundle or an object is not in the fleet here: a slip must not pass for a sync.
 */
export function syncObjects(run: FleetRun, { bundle, objects, force }: Pick<SyncCommand, "bundle" | "objects" | "force">, engine: EngineContext): void {
  if (bundle !== "" && !run.desired.bundles.has(bundle) && !run.farewells.has(bundle))
    throw new Error(`fleet ${run.name} has no bundle ${bundle} in this cluster`);
  const isAll = bundle === "" && objects.length === 0;
  const chosen = chooseKeys(run, bundle, objects);
  for (const key of chosen) {
    const object = run.objects.get(key);
    if (object?.failure) engine.queueObject(run, key);
    if (force) forget(run, key);
    // A hook that failed is what a person means who names it.
    else if (!isAll && isHookHere(run, key)) forgetFailedRuns(run, key);
  }
}

/** The keys that a bundle and a list of names mean; of a list every name must mean something. */
function chooseKeys(run: FleetRun, bundle: string, names: readonly string[]): readonly ObjectKey[] {
  const leaving = leavingFarewells(run).flatMap(({ hooks }) => [...hooks.values()].filter(({ key }) => leavingHook(run, key)));
  const wanted = [...run.desired.objects.values(), ...run.desired.hooks.values(), ...leaving]
    .filter((object) => bundle === "" || object.bundle === bundle)
    .map(({ key }) => key);
  if (names.length === 0) return wanted;
  return names.flatMap((name) => {
    const found = wanted.filter((key) => isNamed(key, name));
    if (found.length === 0)
      throw new Error(`${name} is not in ${bundle === "" ? `fleet ${run.name}` : `bundle ${bundle}`} in this cluster: it takes Kind/namespace/name`);
    return found;
  });
}

/** "Kind/name", "Kind/namespace/name" or "group/Kind/namespace/name". */
function isNamed(key: ObjectKey, name: string): boolean {
  const { kind, namespace, name: own } = parseObjectKey(key);
  return name === key || name === (namespace === "" ? `${kind}/${own}` : `${kind}/${namespace}/${own}`);
}

/** As if it had not been applied with this content yet, or had not run. */
function forget(run: FleetRun, key: ObjectKey): void {
  const entry = run.inventory.get(key);
  if (entry && run.desired.objects.has(key)) run.inventory.set(key, { ...entry, desired: "forced" });
  for (const [runKey, hook] of run.hookRuns) if (hook.key === key) run.hookRuns.delete(runKey);
  reopen(run, key);
}

function forgetFailedRuns(run: FleetRun, key: ObjectKey): void {
  for (const [runKey, hook] of run.hookRuns) if (hook.key === key && hook.state === "failed") run.hookRuns.delete(runKey);
  reopen(run, key);
}

/** The sync of its bundle has something to do again. */
function reopen(run: FleetRun, key: ObjectKey): void {
  const bundle = run.desired.hooks.get(key)?.bundle;
  if (bundle !== undefined) run.syncs.delete(bundle);
}
