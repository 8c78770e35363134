import { podSelectorOf, tellReason, tellWarning, worstPod, type PodSeen, type WarningEvent, type WorstPod } from "../domain/health-reason.ts";
import { explainLimits } from "../limits.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/**
 * Reads what a cluster knows about an object that is not healthy: its pods, and the newest warnings about the worst of them or
 * about the object itself. At most three requests; nothing is watched.
 */
export class HealthEvidence {
  readonly #client: KubeClient;
  /** Until when "pods"/"events" of a namespace are not asked for again (epoch ms): they were refused. */
  readonly #refused = new Map<string, number>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /**
   * The reason in one line; "" when nothing is known.
   *
   * @throws KubeError for anything but a refusal, which is part of the reason.
   */
  async reasonOf(object: LiveObject): Promise<string> {
    const namespace = object.metadata.namespace ?? "";
    const unread = new Set<string>();
    const selector = namespace === "" ? undefined : podSelectorOf(object);
    const worst = selector === undefined ? undefined : await this.#worst(object, namespace, selector, unread);
    const podWarning = worst ? tellWarning(await this.#warnings(namespace, worst.pod.metadata?.uid ?? "", "Pod", unread), "Pod") : "";
    // Events of what has no namespace lie in "default".
    const place = namespace === "" ? "default" : namespace;
    const warning = worst ? "" : tellWarning(await this.#warnings(place, object.metadata.uid ?? "", object.kind, unread), object.kind);
    return tellReason({ worst, podWarning, warning, unread: [...unread] });
  }

  async #worst(object: LiveObject, namespace: string, labelSelector: string, unread: Set<string>): Promise<WorstPod | undefined> {
    const pods = await this.#list<PodSeen>("pods", namespace, { labelSelector, limit: String(explainLimits.pods) }, unread);
    return worstPod(pods, object);
  }

  #warnings(namespace: string, uid: string, kind: string, unread: Set<string>): Promise<readonly WarningEvent[]> {
    const fieldSelector = `involvedObject.uid=${uid}${kind === "PersistentVolumeClaim" ? "" : ",type=Warning"}`;
    return this.#list<WarningEvent>("events", namespace, { fieldSelector, limit: String(explainLimits.events) }, unread);
  }

  async #list<T>(plural: "pods" | "events", namespace: string, query: Record<string, string>, unread: Set<string>): Promise<readonly T[]> {
    const place = `${plural} ${namespace}`;
    if ((this.#refused.get(place) ?? 0) > Date.now()) {
      unread.add(plural);
      return [];
    }
    try {
      const list = await this.#client.json<{ items?: readonly T[] }>({ method: "GET", path: `/api/v1/namespaces/${namespace}/${plural}`, query });
      return list.items ?? [];
    } catch (error) {
      if (!isStatus(error, 403)) throw error;
      if (this.#refused.size >= explainLimits.refusalsKept) this.#refused.clear();
      this.#refused.set(place, Date.now() + explainLimits.refusalMs);
      unread.add(plural);
      return [];
    }
  }
}
