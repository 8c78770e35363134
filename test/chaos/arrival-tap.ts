import type { ChaosRig } from "./chaos-rig.ts";

/** From then on the hub shows that a cluster runs this revision. */
export interface ShownRevision {
  readonly revision: string;
  /** Epoch ms. */
  readonly at: number;
}

/** What was seen where, and when. */
export interface Arrivals {
  /** Of each cluster with a real API server, when an object had a value there first: epoch ms. */
  readonly live: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Of each cluster, in the order of time. */
  readonly shown: ReadonlyMap<string, readonly ShownRevision[]>;
}

/** An object with a value, as a key. */
export function liveKey(object: string, value: string | undefined): string {
  return `${object} ${value}`;
}

/** Looks again and again what the API servers have, by no wire that is damaged, and what the hub shows. Who does not answer is asked the next time. */
export class ArrivalTap implements Arrivals {
  readonly live = new Map<string, Map<string, number>>();
  readonly shown = new Map<string, ShownRevision[]>();

  async look(rig: ChaosRig): Promise<void> {
    const servers = rig.members.map(({ name, kube }) => this.#lookAt(name, kube).catch(() => undefined));
    await Promise.all([...servers, this.#ask(rig).catch(() => undefined)]);
  }

  async #lookAt(cluster: string, kube: ChaosRig["members"][number]["kube"]): Promise<void> {
    const items = await kube.client.list("/api/v1/namespaces/default/configmaps");
    const seen = this.live.get(cluster) ?? new Map<string, number>();
    this.live.set(cluster, seen);
    for (const { metadata, data } of items) {
      const key = liveKey(metadata.name, data?.value);
      if (!seen.has(key)) seen.set(key, Date.now());
    }
  }

  async #ask({ api }: ChaosRig): Promise<void> {
    for (const { cluster, running } of await api.targets("chaos")) {
      const shown = this.shown.get(cluster) ?? [];
      this.shown.set(cluster, shown);
      if (running !== null && running.revision !== shown.at(-1)?.revision) shown.push({ revision: running.revision, at: Date.now() });
    }
  }
}
