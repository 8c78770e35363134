import { agentNamespace, stateLabel } from "@flotilla/proto/names";
import type { KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";

/** What kind of state an object holds: the value of stateLabel. */
export type StateKind = "target" | "body" | "inventory" | "identity" | "order";

/** A Secret or ConfigMap of the agent's own. */
export interface StateObject {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>>; readonly creationTimestamp?: string };
  readonly data?: Readonly<Record<string, string>>;
}

/** Own state is written under a manager of its own, so that it is never mistaken for something that a fleet applied. */
const stateManager = "flotilla-agent";
const plurals = { Secret: "secrets", ConfigMap: "configmaps" } as const;
type Holder = keyof typeof plurals;

/**
 * The objects in the agent's own namespace in which it keeps what it must not forget. One write is one request and whole or
 * not at all. Every method throws KubeError.
 */
export class StateObjects {
  readonly #client: KubeClient;
  readonly #namespace: string;

  constructor(client: KubeClient, namespace: string = agentNamespace) {
    this.#client = client;
    this.#namespace = namespace;
  }

  /** Make the agent's namespace if it is not there. An agent that may not look at it, or may not make it but has it, goes on: its first write will tell. */
  async ensureNamespace(): Promise<void> {
    try {
      await this.#client.request({ method: "GET", path: `/api/v1/namespaces/${this.#namespace}` });
    } catch (error) {
      if (isStatus(error, 403)) return;
      if (!isStatus(error, 404)) throw error;
      const body = JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: this.#namespace } });
      await this.#client.request({ method: "POST", path: "/api/v1/namespaces", body }).catch((refusal: unknown) => {
        if (!isStatus(refusal, 409)) throw refusal;
      });
    }
  }

  /** Write one object whole. Values of a Secret are base64. */
  async put(
    holder: Holder,
    kind: StateKind,
    name: string,
    annotations: Readonly<Record<string, string>>,
    data: Readonly<Record<string, string>>,
  ): Promise<void> {
    const metadata = { name, namespace: this.#namespace, labels: { [stateLabel]: kind }, annotations };
    await this.#client.request({
      method: "PATCH",
      path: this.#path(holder, name),
      query: { fieldManager: stateManager, force: "true" },
      contentType: "application/apply-patch+yaml",
      body: JSON.stringify({ apiVersion: "v1", kind: holder, metadata, data, ...(holder === "Secret" && { type: "Opaque" }) }),
      urgent: true,
    });
  }

  /** Read one object; undefined when it is not there. */
  async get(holder: Holder, name: string): Promise<StateObject | undefined> {
    try {
      return await this.#client.json<StateObject>({ method: "GET", path: this.#path(holder, name), urgent: true });
    } catch (error) {
      if (isStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Every object of one kind of state, page by page; without data when only names and annotations are asked for. */
  async list(holder: Holder, kind: StateKind, options: { readonly metadataOnly: boolean }): Promise<StateObject[]> {
    const found: StateObject[] = [];
    const accept = options.metadataOnly ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json" : "application/json";
    let next: string | undefined;
    do {
      const query: Record<string, string | undefined> = { labelSelector: `${stateLabel}=${kind}`, limit: options.metadataOnly ? "500" : "20", continue: next };
      const page: { items?: StateObject[]; metadata?: { continue?: string } } = await this.#client.json({
        method: "GET",
        path: this.#path(holder),
        query,
        accept,
      });
      found.push(...(page.items ?? []));
      next = page.metadata?.continue;
    } while (next);
    return found;
  }

  /** Remove one object; it is fine when it is gone already. */
  async remove(holder: Holder, name: string): Promise<void> {
    await this.#client.request({ method: "DELETE", path: this.#path(holder, name) }).catch((error: unknown) => {
      if (!isStatus(error, 404)) throw error;
    });
  }

  #path(holder: Holder, name?: string): string {
    return `/api/v1/namespaces/${this.#namespace}/${plurals[holder]}${name === undefined ? "" : `/${name}`}`;
  }
}
