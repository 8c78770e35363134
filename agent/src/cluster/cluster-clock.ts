import { setTimeout as delay } from "node:timers/promises";
import { agentNamespace } from "@flotilla/proto/names";
import { kubeLimits } from "../limits.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";

/** "behind": the API server's newest version is older than one that was seen; "went back": so is the cluster's own database, and nobody was told yet. */
export type History = "same" | "behind" | "went back";

interface Reading {
  /** performance.now() before it was asked for. */
  readonly at: number;
  readonly newest: Promise<number>;
  /** Nobody has answered yet. */
  isOpen: boolean;
}

/**
 * Whether the cluster's database went back in time: its newest resource version is lower than one that was seen. That happens when etcd
 * is restored from a backup. A watch that is resumed from a version of the lost future would be silent until the database has grown past it.
 */
export class ClusterClock {
  readonly #client: KubeClient;
  #reading: Reading | undefined;
  #toldAt = -Infinity;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /**
   * Compare a version with the newest. One request, shared by all who ask within clockAgeMs and have not heard anything since.
   *
   * @param heardAt performance.now() when the version was heard of: what was read before says nothing about it.
   * @param isOwn whether the version is of the cluster's own database, not of an aggregated API server's.
   * @throws KubeError when the API server does not say.
   */
  async compare(resourceVersion: string, heardAt: number, isOwn: boolean): Promise<History> {
    const newest = await this.#readSince(heardAt);
    if (!(Number(resourceVersion) > newest)) return "same";
    if (!isOwn || heardAt < this.#toldAt) return "behind";
    this.#toldAt = performance.now();
    return "went back";
  }

  #readSince(heardAt: number): Promise<number> {
    const now = performance.now();
    const known = this.#reading;
    if (known && known.at > heardAt && (known.isOpen || now - known.at < kubeLimits.clockAgeMs)) return known.newest;
    const reading: Reading = { at: now, newest: readNewest(this.#client), isOpen: true };
    this.#reading = reading;
    reading.newest.then(
      () => (reading.isOpen = false),
      () => this.#reading === reading && (this.#reading = undefined),
    );
    return reading.newest;
  }
}

/** The version of an empty list is the database's newest: read by the quorum, of what every agent may list. */
async function readNewest(client: KubeClient, tries = 1): Promise<number> {
  const path = `/api/v1/namespaces/${agentNamespace}/configmaps`;
  try {
    const list = await client.json<{ metadata?: { resourceVersion?: string } }>({
      method: "GET",
      path,
      query: { limit: "1" },
      accept: metadataOnly,
      attempts: 1,
    });
    return Number(list.metadata?.resourceVersion);
  } catch (error) {
    // Not ours to ask: then nothing is known, and nothing is wrong.
    if (isStatus(error, 403) || isStatus(error, 404)) return Number.NaN;
    // One that has just begun refuses for a while. All who want to know wait for this one answer.
    const isStarting = isStatus(error, 429) || isStatus(error, 503);
    if (!isStarting || tries >= kubeLimits.clockTries) throw error;
    await delay(kubeLimits.clockRetryMs * 2 ** (tries - 1));
    return readNewest(client, tries + 1);
  }
}

const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
