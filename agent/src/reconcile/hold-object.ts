import { engineLimits } from "../limits.ts";
import type { EngineContext } from "./engine-context.ts";
import { isDrifted, type FleetRun } from "./fleet-run.ts";
import { exclusively, type TrackedObject } from "./tracked-object.ts";

/**
 * Do something to an object of a fleet while nothing else is done to it. What the watch tells meanwhile may be newer or older than what the
 * work reads or is answered, and is told only once: where the two do not agree, the object is looked at again.
 */
export async function holdObject<T>(run: FleetRun, object: TrackedObject, engine: EngineContext, act: () => Promise<T>): Promise<T> {
  return await exclusively(object, async () => {
    object.seenWhileBusy = undefined;
    const result = await act();
    const seen = object.seenWhileBusy as string | undefined;
    // What failed is tried again in its own time, and that looks too.
    if (seen === undefined || object.failure || !run.desired.objects.has(object.key)) return result;
    if (seen !== (object.live?.owned ?? "")) object.isSuspect = true;
    if (object.isSuspect || isDrifted(run, object)) engine.queueObject(run, object.key, { delayMs: engineLimits.suspicionMs, urgent: true });
    return result;
  });
}
