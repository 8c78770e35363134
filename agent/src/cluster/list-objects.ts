import { kubeLimits } from "../limits.ts";
import { collectionPath, type KubeResource } from "./discovery.ts";
import type { KubeClient } from "./kube-client.ts";
import { KubeError } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

interface ListPage {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly LiveObject[];
}

/**
 * List a collection, in one namespace or in all, page by page, as the quorum has it, handing each object over and keeping none.
 *
 * @param attempts how often each page is asked for at most; see KubeRequest.
 * @returns the resource version to watch from.
 * @throws KubeError; status 410 when the list took so long that its pages ran out.
 */
export async function listObjects(
  client: KubeClient,
  resource: KubeResource,
  labelSelector: string,
  onObject: (object: LiveObject) => void,
  namespace = "",
  attempts?: number,
): Promise<string> {
  let next: string | undefined;
  for (let page = 0; page < kubeLimits.maxListPages; page++) {
    const list: ListPage = await client.json<ListPage>({
      method: "GET",
      path: collectionPath(resource, namespace),
      query: { labelSelector, limit: String(kubeLimits.listPageSize), continue: next },
      ...(attempts !== undefined && { attempts }),
    });
    // Items of a list carry neither apiVersion nor kind.
    for (const item of list.items ?? []) onObject({ ...item, apiVersion: resource.apiVersion, kind: resource.kind });
    next = list.metadata?.continue;
    if (!next) return list.metadata?.resourceVersion ?? "";
  }
  throw new KubeError("unusable", `the list of ${resource.plural} has more than ${kubeLimits.maxListPages} pages`);
}
