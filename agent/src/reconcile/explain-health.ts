import { setTimeout as delay } from "node:timers/promises";
import { getObject } from "../cluster/get-object.ts";
import { HealthEvidence } from "../cluster/health-evidence.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import type { Discovery } from "../cluster/discovery.ts";
import { tellError } from "../cluster/kube-error.ts";
import { explainLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { TrackedObject } from "./tracked-object.ts";

interface Explained {
  readonly object: TrackedObject;
  /** The verdict that is being explained. */
  verdict: string;
  /** Looks at it so far. */
  looks: number;
  lookedAt: number;
}

/** How long and how often is looked; tests look faster. */
type ExplainerLimits = Pick<
  { readonly [Name in keyof typeof explainLimits]: (typeof explainLimits)[Name] extends number ? number : readonly number[] },
  "afterMs" | "restMs" | "betweenMs" | "objects"
>;

/** What the explainer needs to know of its engine, and tells it. */
export interface ExplainerHooks {
  isTracked(object: TrackedObject): boolean;
  /** The reason of an object is another one now. */
  onExplained(object: TrackedObject): void;
}

/**
 * Says why objects are not healthy, beyond what their own status tells. Nothing is watched for it: an object that stays unhealthy for
 * some seconds is looked at, again after ever longer times, and no more when nothing changes; one that is healthy is never looked at.
 */
export class HealthExplainer {
  readonly #evidence: HealthEvidence;
  readonly #client: KubeClient;
  readonly #discovery: Discovery;
  readonly #log: Log;
  readonly #hooks: ExplainerHooks;
  readonly #explained = new Map<string, Explained>();
  /** One at a time, with a rest between them: reasons are never worth crowding the API server. */
  readonly #queue = new KeyedQueue(1, (key) => this.#look(key));
  readonly #stop = new AbortController();
  readonly #limits: ExplainerLimits;

  constructor(client: KubeClient, discovery: Discovery, log: Log, hooks: ExplainerHooks, limits: ExplainerLimits = explainLimits) {
    this.#limits = limits;
    this.#client = client;
    this.#discovery = discovery;
    this.#log = log;
    this.#evidence = new HealthEvidence(client);
    this.#hooks = hooks;
  }

  /** What is known of an object changed: explain it, or let it go. */
  notice(object: TrackedObject): void {
    const key = keyOf(object);
    const health = object.live?.verdict.health;
    if (health !== "InProgress" && health !== "Failed") return this.forget(object);
    const verdict = `${health} ${object.live?.verdict.message}`;
    const known = this.#explained.get(key);
    if (known?.verdict === verdict && known.object === object) return;
    if (!known && this.#explained.size >= this.#limits.objects) this.#makeRoom();
    if (!known && this.#explained.size >= this.#limits.objects) return;
    const lookedAt = known?.lookedAt ?? 0;
    this.#explained.set(key, { object, verdict, looks: 0, lookedAt });
    this.#queue.remove(key);
    this.#queue.add(key, { delayMs: Math.max(this.#limits.afterMs[0] ?? 0, lookedAt + this.#limits.restMs - Date.now()) });
  }

  /** It is healthy, or ours no more. */
  forget(object: TrackedObject): void {
    object.why = "";
    const key = keyOf(object);
    if (this.#explained.delete(key)) this.#queue.remove(key);
  }

  /** What was looked at for the last time keeps its reason without us; what is no longer tracked needs none. */
  #makeRoom(): void {
    for (const [key, { object, looks }] of this.#explained) {
      if (looks < this.#limits.afterMs.length && this.#hooks.isTracked(object)) continue;
      this.#explained.delete(key);
      this.#queue.remove(key);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#queue.stop();
  }

  async #look(key: string): Promise<void> {
    const explained = this.#explained.get(key);
    if (!explained) return;
    const { object } = explained;
    if (!this.#hooks.isTracked(object)) return this.forget(object);
    explained.lookedAt = Date.now();
    try {
      const why = await this.#reasonOf(object);
      if (this.#explained.get(key) !== explained) return;
      if (why !== object.why) {
        object.why = why;
        this.#hooks.onExplained(object);
      }
    } catch (error) {
      this.#log.debug({ object: object.key, problem: tellError(error, object.id.kind) }, "an unhealthy object could not be looked into");
    }
    explained.looks += 1;
    const next = this.#limits.afterMs[explained.looks];
    if (next !== undefined && this.#explained.get(key) === explained) this.#queue.add(key, { delayMs: next });
    await delay(this.#limits.betweenMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  async #reasonOf(object: TrackedObject): Promise<string> {
    const resource = await this.#discovery.resolve(object.apiVersion, object.id.kind);
    const live = await getObject(this.#client, resource, object.id.namespace, object.id.name);
    return live ? this.#evidence.reasonOf({ ...live, apiVersion: object.apiVersion, kind: object.id.kind }) : "";
  }
}

function keyOf(object: TrackedObject): string {
  return `${object.fleet}\n${object.key}`;
}
