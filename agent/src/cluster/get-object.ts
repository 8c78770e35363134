import { objectPath, type KubeResource } from "./discovery.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/** Read one object as the quorum has it; undefined when it is not there. */
export async function getObject(client: KubeClient, resource: KubeResource, namespace: string, name: string): Promise<LiveObject | undefined> {
  try {
    return await client.json<LiveObject>({ method: "GET", path: objectPath(resource, namespace, name), urgent: true });
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}
