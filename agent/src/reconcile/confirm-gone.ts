import { KubeError } from "../cluster/kube-error.ts";
import { getObject } from "../cluster/get-object.ts";
import { parseObjectKey } from "../domain/object-id.ts";
import { sightOf } from "./cluster-view.ts";
import { dropObject } from "./drop-object.ts";
import type { EngineContext } from "./engine-context.ts";
import type { FleetRun } from "./fleet-run.ts";
import { saveInventorySoon } from "./save-inventory.ts";
import type { TrackedObject } from "./tracked-object.ts";

/**
 * An object that the target no longer names has vanished from the watch: forget it when it really is gone. One that only lost the label is
 * still ours to prune.
 *
 * @throws KubeError
 */
export async function confirmGone(run: FleetRun, object: TrackedObject, engine: EngineContext): Promise<void> {
  const entry = run.inventory.get(object.key);
  if (!entry || object.live) return;
  const { namespace, name, kind } = parseObjectKey(object.key);
  try {
    const resource = await engine.discovery.resolve(entry.apiVersion, kind);
    const live = await getObject(engine.client, resource, namespace, name);
    if (live) return engine.view.take(object, sightOf(object, live));
  } catch (error) {
    if (!(error instanceof KubeError) || error.code !== "no-match") throw error;
  }
  dropObject(run, object, engine);
  saveInventorySoon(run, engine);
  const isLeaving = run.farewells.get(entry.bundle)?.state === "begun";
  if (run.held || run.prunesWait || isLeaving) engine.queueFleet(run);
}
