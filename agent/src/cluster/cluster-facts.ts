import type { KubeClient } from "./kube-client.ts";

/** What is told of the cluster as a whole. */
export interface ClusterFacts {
  /** E.g. "v1.36.3"; "" when the API server does not tell. */
  readonly kubernetesVersion: string;
  readonly facts: Readonly<Record<string, string>>;
}

/** Read version, platform, number of nodes and how much we may do here. What may not be read is left out. */
export async function readClusterFacts(client: KubeClient): Promise<ClusterFacts> {
  const version = await client.json<{ gitVersion?: string; platform?: string }>({ method: "GET", path: "/version" });
  const nodes = await client
    .json<{ items?: unknown[]; metadata?: { remainingItemCount?: number } }>({
      method: "GET",
      path: "/api/v1/nodes",
      query: { limit: "1" },
      accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    })
    .then((list) => String((list.items?.length ?? 0) + (list.metadata?.remainingItemCount ?? 0)))
    .catch(() => undefined);
  const rights = await readRights(client).catch(() => undefined);
  return {
    kubernetesVersion: version.gitVersion ?? "",
    facts: { ...(version.platform && { platform: version.platform }), ...(nodes !== undefined && { nodes }), ...(rights !== undefined && { rights }) },
  };
}

/** "cluster-admin" when the agent may do anything to anything: a choice of its installation that people should see. */
async function readRights(client: KubeClient): Promise<"cluster-admin" | "limited"> {
  const question = { verb: "*", group: "*", resource: "*" };
  const { status } = await client.json<{ status?: { allowed?: boolean } }>({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: JSON.stringify({ apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes: question } }),
  });
  return status?.allowed ? "cluster-admin" : "limited";
}
