import { agentNamespace } from "@flotilla/proto/names";
import { kubeLimits } from "../limits.ts";
import { cachedFor } from "./cached-for.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";

/**
 * Whether the cluster's database went back in time: its newest resource version is lower than one that was seen. That happens when etcd
 * is restored from a backup. A watch that is resumed from a version of the lost future would be silent until the database has grown past it.
 */
export class ClusterClock {
  readonly #readNewest: () => Promise<number>;
  #highest = 0;

  constructor(client: KubeClient) {
    this.#readNewest = cachedFor(kubeLimits.clockAgeMs, () => readNewest(client)).read;
  }

  /** A version of a kind that lies in the cluster's own database. */
  saw(resourceVersion: string): void {
    const version = Number(resourceVersion);
    if (version > this.#highest) this.#highest = version;
  }

  /**
   * Whether the cluster went back behind this version. One request, shared by all who ask at the same time.
   *
   * @throws KubeError when the API server does not say.
   */
  async isBehind(resourceVersion: string): Promise<boolean> {
    const newest = await this.#readNewest();
    return Number.isFinite(newest) && Number(resourceVersion) > newest;
  }

  /** Whether the cluster went back behind what was seen of it; told once, and what was seen is forgotten then. */
  async hasGoneBack(): Promise<boolean> {
    const newest = await this.#readNewest();
    if (!(this.#highest > newest)) return false;
    this.#highest = newest;
    return true;
  }
}

/** The version of an empty list is the database's newest: read by the quorum, of what every agent may list. */
async function readNewest(client: KubeClient): Promise<number> {
  const path = `/api/v1/namespaces/${agentNamespace}/configmaps`;
  try {
    const list = await client.json<{ metadata?: { resourceVersion?: string } }>({ method: "GET", path, query: { limit: "1" }, accept: metadataOnly });
    return Number(list.metadata?.resourceVersion);
  } catch (error) {
    // Not ours to ask: then nothing is known, and nothing is wrong.
    if (isStatus(error, 403) || isStatus(error, 404)) return Number.NaN;
    throw error;
  }
}

const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
