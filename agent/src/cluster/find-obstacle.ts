import { describeId, groupOf, objectKey, type ObjectKey } from "../domain/object-id.ts";
import { kubeLimits } from "../limits.ts";
import { collectionPath, type Discovery, type KubeResource } from "./discovery.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus, KubeError } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/** What does not stand in the way: objects of the fleet's inventory that are being deleted, and what was made by those that are gone. */
export interface Holdings {
  readonly has: (key: ObjectKey) => boolean;
  readonly hadUid: (uid: string) => boolean;
}

/**
 * What is in the way of deleting a Namespace: anything in it that this inventory does not hold (FAULTS 4: a prune that cascades to
 * what others put there), and anything of ours that is not being deleted itself. A kind that cannot be listed may hide something, and is
 * in the way too. What the cluster makes by itself in every namespace does not count, nor what ours made and the garbage collector takes.
 *
 * @throws KubeError when the API server is away.
 */
export async function obstacleInNamespace(client: KubeClient, discovery: Discovery, namespace: string, holdings: Holdings): Promise<string | undefined> {
  await discovery.refresh();
  const found: LiveObject[] = [];
  for (const resource of discovery.watchable()) {
    if (!resource.isNamespaced || isPassing(resource)) continue;
    try {
      await peek(client, resource, namespace, (object) => void found.push(object));
    } catch (error) {
      if (isStatus(error, 404)) continue;
      if (error instanceof KubeError && error.code === "status") return `it cannot be seen whether ${resource.plural} are in it: ${error.message}`;
      throw error;
    }
    if (found.length > kubeLimits.maxPeekedObjects) return `it holds more than ${kubeLimits.maxPeekedObjects} objects`;
  }
  const uids = new Set(found.map((object) => object.metadata.uid ?? ""));
  const inTheWay = found.filter((object) => !isMadeByTheCluster(object) && !isGoing(object, holdings) && !isDependent(object, uids, holdings));
  return inTheWay.length > 0 ? `it holds ${tell(inTheWay)}` : undefined;
}

/**
 * What is in the way of deleting a definition: any object of its kind, ours or not.
 *
 * @throws KubeError when they cannot be listed: then nobody knows.
 */
export async function obstacleToDefinition(client: KubeClient, definition: LiveObject): Promise<string | undefined> {
  const spec = definition.spec as { group?: string; names?: { plural?: string; kind?: string }; versions?: { name: string; served?: boolean }[] } | undefined;
  const version = spec?.versions?.find(({ served }) => served)?.name;
  if (!spec?.group || !spec.names?.plural || !version) return undefined;
  const resource = {
    apiVersion: `${spec.group}/${version}`,
    group: spec.group,
    kind: spec.names.kind ?? "",
    plural: spec.names.plural,
    isNamespaced: false,
    canWatch: true,
  };
  const found: LiveObject[] = [];
  try {
    await peek(client, resource, "", (object) => void found.push(object), 1);
  } catch (error) {
    // Not served: it was never established, or is going already.
    if (!isStatus(error, 404)) throw error;
  }
  return found.length > 0 ? `objects of its kind exist: ${tell(found)}` : undefined;
}

/** The objects of a collection, page by page: names and owners only. */
async function peek(
  client: KubeClient,
  resource: KubeResource,
  namespace: string,
  onObject: (object: LiveObject) => void,
  maxPages: number = kubeLimits.maxListPages,
): Promise<void> {
  let next: string | undefined;
  for (let page = 0; page < maxPages; page++) {
    const list: { items?: LiveObject[]; metadata?: { continue?: string } } = await client.json({
      method: "GET",
      path: collectionPath(resource, namespace),
      query: { limit: String(kubeLimits.peekPageSize), continue: next },
      accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    });
    for (const item of list.items ?? []) onObject({ ...item, apiVersion: resource.apiVersion, kind: resource.kind });
    next = list.metadata?.continue;
    if (!next) return;
  }
}

/** What only tells of others, and what is computed: gone by itself, and nobody's work. */
const passingKinds: ReadonlySet<string> = new Set([
  "/Event",
  "events.k8s.io/Event",
  "/Endpoints",
  "discovery.k8s.io/EndpointSlice",
  "coordination.k8s.io/Lease",
]);

function isPassing(resource: KubeResource): boolean {
  return passingKinds.has(`${resource.group}/${resource.kind}`) || resource.group === "metrics.k8s.io";
}

/** Controllers put these into every namespace. */
const everywhere: ReadonlySet<string> = new Set([
  "/ConfigMap/kube-root-ca.crt",
  "/ConfigMap/istio-ca-root-cert",
  "/ConfigMap/openshift-service-ca.crt",
  "/ServiceAccount/default",
]);

function isMadeByTheCluster(object: LiveObject): boolean {
  return everywhere.has(`${groupOf(object.apiVersion)}/${object.kind}/${object.metadata.name}`);
}

/** Ours, and being deleted already. */
function isGoing(object: LiveObject, holdings: Holdings): boolean {
  return object.metadata.deletionTimestamp !== undefined && holdings.has(keyOf(object));
}

/** Made by something that goes with the namespace, or by something of ours that is gone by now. */
function isDependent(object: LiveObject, uids: ReadonlySet<string>, holdings: Holdings): boolean {
  const owners = (object.metadata.ownerReferences as { uid?: string }[] | undefined) ?? [];
  return owners.some(({ uid = "" }) => uids.has(uid) || holdings.hadUid(uid));
}

function keyOf(object: LiveObject): ObjectKey {
  const { namespace = "", name } = object.metadata;
  return objectKey({ group: groupOf(object.apiVersion), kind: object.kind, namespace, name });
}

function tell(objects: readonly LiveObject[]): string {
  const names = objects
    .slice(0, 5)
    .map(({ apiVersion, kind, metadata: { namespace = "", name } }) => describeId({ group: groupOf(apiVersion), kind, namespace, name }));
  return `${names.join(", ")}${objects.length > names.length ? " and more" : ""}`;
}
