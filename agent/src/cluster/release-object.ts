import { fleetLabel, ownerAnnotation, ownerOf } from "@flotilla/proto/names";
import { objectPath, type KubeResource } from "./discovery.ts";
import type { KubeApi } from "./kube-client.ts";

/** The object whose claim is given up. */
export interface Released {
  readonly fleet: string;
  readonly bundle: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/**
 * Take our marks off an object that stays when its fleet leaves: others may adopt it then. A JSON patch whose tests fail when it is not the
 * same object, or not ours any more.
 *
 * @throws KubeError; status 404 or 422 when there is nothing of ours to give up.
 */
export async function releaseObject(client: KubeApi, resource: KubeResource, { fleet, bundle, namespace, name, uid }: Released): Promise<void> {
  const [label, owner] = [`/metadata/labels/${escape(fleetLabel)}`, `/metadata/annotations/${escape(ownerAnnotation)}`];
  const patch = [
    { op: "test", path: "/metadata/uid", value: uid },
    { op: "test", path: owner, value: ownerOf(fleet, bundle) },
    { op: "test", path: label, value: fleet },
    { op: "remove", path: owner },
    { op: "remove", path: label },
  ];
  await client.request({
    method: "PATCH",
    path: objectPath(resource, resource.isNamespaced ? namespace : "", name),
    contentType: "application/json-patch+json",
    body: JSON.stringify(patch),
  });
}

function escape(step: string): string {
  return step.replaceAll("~", "~0").replaceAll("/", "~1");
}
