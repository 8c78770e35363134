import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** Forget an object altogether: it is gone, or no longer ours. The inventory is written by the caller. */
export function dropObject(run: FleetRun, object: TrackedObject, engine: EngineContext): void {
  run.inventory.delete(object.key);
  run.objects.delete(object.key);
  run.leftObjects.delete(object.key);
  engine.view.detach(object);
  engine.claimsChanged(run);
  engine.reporter(run).forget(object.key, object.id);
}
