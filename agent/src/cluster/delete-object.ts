import { setTimeout as delay } from "node:timers/promises";
import { ownerAnnotation, ownerOf } from "@flotilla/proto/names";
import { liveGuardOf } from "../domain/guard.ts";
import { kubeLimits } from "../limits.ts";
import { objectPath, type KubeResource } from "./discovery.ts";
import { getObject } from "./get-object.ts";
import type { KubeApi, KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/** What a delete came to. "left": it is not ours to delete; "waits": it may not be deleted now. Both with why. */
export type Deleted =
  | { readonly outcome: "deleted" }
  | { readonly outcome: "terminating"; readonly object: LiveObject }
  | { readonly outcome: "absent" }
  | { readonly outcome: "left"; readonly reason: string }
  | { readonly outcome: "waits"; readonly reason: string };

/** The object that may be deleted (G7). An empty UID stands for an apply whose answer was never seen. */
export interface DeletionWarrant {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The fleet that applied it: the owner annotation must say so. */
  readonly fleet: string;
  /** A person agreed to this very deletion. */
  readonly isApproved?: boolean;
  /** Asked last, with the object as the quorum has it: what is in the way of its deletion, or undefined. */
  readonly obstacle?: (live: LiveObject) => Promise<string | undefined>;
}

/**
 * Delete one object if it still is the one we applied: read as the quorum has it, same UID, claimed by us, guarded by nobody, and deleted with
 * both UID and resource version as preconditions, so that nothing that happened in between is lost. What is already being
 * deleted is not deleted again.
 *
 * @param account in whose name it is deleted; it is read in our own.
 * @throws KubeError
 */
export async function deleteObject(client: KubeClient, resource: KubeResource, warrant: DeletionWarrant, account = ""): Promise<Deleted> {
  for (let attempt = 1; ; attempt++) {
    const live = await getObject(client, resource, resource.isNamespaced ? warrant.namespace : "", warrant.name);
    if (!live) return { outcome: "absent" };
    const objection = objectionTo(live, warrant);
    if (objection) return { outcome: "left", reason: objection };
    if (live.metadata.deletionTimestamp) return { outcome: "terminating", object: live };
    const obstacle = await obstacleTo(live, warrant);
    if (obstacle) return { outcome: "waits", reason: obstacle };
    try {
      return await send(client.as(account), resource, live);
    } catch (error) {
      if (isStatus(error, 404)) return { outcome: "absent" };
      if (!isStatus(error, 409) || attempt >= kubeLimits.deleteAttempts) throw error;
      // Somebody wrote it between our read and our delete: look again, with time for that writer to finish.
      await delay(50 * attempt);
    }
  }
}

/** Why an object that is there is not ours to delete, or undefined when it is (G7). */
export function objectionTo(live: LiveObject, warrant: Omit<DeletionWarrant, "obstacle">): string | undefined {
  if (warrant.uid !== "" && live.metadata.uid !== warrant.uid) return "it was deleted and made again by somebody else";
  const owner = live.metadata.annotations?.[ownerAnnotation];
  const isClaimed = owner?.startsWith(ownerOf(warrant.fleet, "")) ?? false;
  if (warrant.uid === "" && !isClaimed) return "it was there before and was never applied by Flotilla";
  if (owner !== undefined && !isClaimed) return `it now belongs to ${owner}`;
  return liveGuardOf(live.metadata).prune === "disabled" ? "its annotations ask that it is not deleted" : undefined;
}

async function obstacleTo(live: LiveObject, warrant: DeletionWarrant): Promise<string | undefined> {
  if (liveGuardOf(live.metadata).prune === "confirm" && !warrant.isApproved) return "its annotations ask that a person confirms";
  return await warrant.obstacle?.(live);
}

async function send(client: KubeApi, resource: KubeResource, live: LiveObject): Promise<Deleted> {
  const { uid, resourceVersion, namespace = "", name } = live.metadata;
  const answer = await client.json<LiveObject>({
    method: "DELETE",
    path: objectPath(resource, namespace, name),
    body: JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion }, propagationPolicy: "Background" }),
    urgent: true,
  });
  // An object comes back while finalizers hold it; a Status says that it is gone.
  return answer.metadata?.deletionTimestamp && (answer.metadata.finalizers?.length ?? 0) > 0
    ? { outcome: "terminating", object: answer }
    : { outcome: "deleted" };
}
