import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../log.ts";
import { kubeLimits } from "../limits.ts";
import { collectionPath, type KubeResource } from "./discovery.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus, KubeError } from "./kube-error.ts";
import { listObjects } from "./list-objects.ts";
import type { LiveObject } from "./live-object.ts";

/** What a reflector tells. Keys are "namespace/name"; the handler must not throw, and keeps what it needs: nothing is kept here but UIDs. */
export interface ReflectorHandler {
  onPresent(resource: KubeResource, object: LiveObject): void;
  /** Whether this very version is known already (from the answer to a write): its event is then not even parsed. */
  isKnown(resource: KubeResource, namespace: string, name: string, uid: string, resourceVersion: string): boolean;
  /** The object of this UID is gone, or no longer carries the label that is watched for. */
  onGone(resource: KubeResource, namespace: string, name: string, uid: string): void;
  /** A list was read whole: what was not told as present is not there. Of one namespace, or ("") of all. */
  onListed(resource: KubeResource, namespace: string): void;
  /** The collection cannot be listed or watched (RBAC, definition gone): what is known of it is only what was. */
  onBlind(resource: KubeResource, namespace: string, error: KubeError): void;
}

interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: LiveObject & { readonly code?: number; readonly message?: string };
}

/**
 * Keeps looking at one collection: a paged list, then a watch from there with bookmarks, resumed when it ends, with a
 * watchdog against silence. On 410 Gone, as a status or inside a stream, it lists again after a random wait and tells what
 * is gone by UID, so that deleted-and-made-again is told as two things. Resource versions are compared for nothing.
 */
export class Reflector {
  readonly resource: KubeResource;
  /** The namespace that is watched; "" is all of them. */
  readonly namespace: string;
  readonly #client: KubeClient;
  readonly #selector: string;
  readonly #handler: ReflectorHandler;
  readonly #log: Log;
  readonly #stop = new AbortController();
  /** UID by "namespace/name" of everything that is there. */
  readonly #uids = new Map<string, string>();
  #resourceVersion = "";
  readonly #listed = Promise.withResolvers<void>();
  #isListed = false;

  constructor(options: { client: KubeClient; resource: KubeResource; namespace?: string; labelSelector: string; handler: ReflectorHandler; log: Log }) {
    this.namespace = options.namespace ?? "";
    this.#client = options.client;
    this.resource = options.resource;
    this.#selector = options.labelSelector;
    this.#handler = options.handler;
    this.#log = options.log;
  }

  /** Resolved when the first list was read, or could not be. */
  get firstListed(): Promise<void> {
    return this.#listed.promise;
  }

  /** Whether what it told is whole. */
  get isListed(): boolean {
    return this.#isListed;
  }

  /** UID of what is there under "namespace/name". */
  uidOf(key: string): string | undefined {
    return this.#uids.get(key);
  }

  /** Run until stopped. Never throws. */
  async run(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const began = performance.now();
      try {
        if (this.#resourceVersion === "") await this.#list();
        failures = 0;
        await this.#watch();
        // A watch that ends at once, again and again, is a failure in disguise.
        if (performance.now() - began < kubeLimits.watchRetryMinMs) await this.#pause(1);
      } catch (error) {
        if (this.#stop.signal.aborted) break;
        failures += 1;
        this.#onFailure(error, failures);
        await this.#pause(failures);
      }
    }
    this.#listed.resolve();
  }

  stop(): void {
    this.#stop.abort();
    this.#listed.resolve();
  }

  async #list(): Promise<void> {
    const seen = new Map<string, string>();
    const resourceVersion = await listObjects(
      this.#client,
      this.resource,
      this.#selector,
      (object) => {
        if (this.#stop.signal.aborted) return;
        seen.set(keyOf(object), object.metadata.uid ?? "");
        this.#present(object);
      },
      this.namespace,
    );
    if (this.#stop.signal.aborted) return;
    for (const [key, uid] of this.#uids) if (!seen.has(key)) this.#gone(key, uid);
    this.#resourceVersion = resourceVersion;
    this.#isListed = true;
    this.#handler.onListed(this.resource, this.namespace);
    this.#listed.resolve();
  }

  async #watch(): Promise<void> {
    const { watchMinSeconds, watchMaxSeconds, watchIdleMs } = kubeLimits;
    const timeoutSeconds = String(Math.round(watchMinSeconds + Math.random() * (watchMaxSeconds - watchMinSeconds)));
    const query = { watch: "1", allowWatchBookmarks: "true", timeoutSeconds, resourceVersion: this.#resourceVersion, labelSelector: this.#selector };
    let failure: KubeError | undefined;
    await this.#client.watch(collectionPath(this.resource, this.namespace), query, {
      idleMs: watchIdleMs,
      signal: this.#stop.signal,
      onLine: (line) => {
        if (!failure) failure = this.#onEvent(line);
      },
    });
    if (failure) throw failure;
  }

  #onEvent(line: Buffer): KubeError | undefined {
    if (this.#isOldNews(line)) return undefined;
    let event: WatchEvent;
    try {
      event = JSON.parse(line.toString("utf8")) as WatchEvent;
    } catch (cause) {
      this.#resourceVersion = "";
      return new KubeError("unusable", `watch of ${this.resource.plural}: an event is not JSON`, { cause });
    }
    if (event.type === "ERROR") return new KubeError("status", event.object.message ?? "watch error", { status: event.object.code ?? 500 });
    this.#resourceVersion = event.object.metadata.resourceVersion ?? this.#resourceVersion;
    if (event.type === "DELETED") this.#gone(keyOf(event.object), event.object.metadata.uid ?? "");
    else if (event.type !== "BOOKMARK") this.#present(event.object);
    return undefined;
  }

  /** Half of all events are echoes of our own writes: told from their first bytes, they cost nothing. */
  #isOldNews(line: Buffer): boolean {
    const head = eventHead.exec(line.toString("latin1", 0, eventHeadBytes));
    if (!head) return false;
    const [, name = "", namespace = "", uid = "", resourceVersion = ""] = head;
    if (!this.#handler.isKnown(this.resource, namespace, name, uid, resourceVersion)) return false;
    this.#uids.set(`${namespace}/${name}`, uid);
    this.#resourceVersion = resourceVersion;
    return true;
  }

  #present(object: LiveObject): void {
    const key = keyOf(object);
    const uid = object.metadata.uid ?? "";
    const before = this.#uids.get(key);
    if (before !== undefined && before !== uid) this.#gone(key, before);
    this.#uids.set(key, uid);
    this.#contain(() => this.#handler.onPresent(this.resource, object));
  }

  #gone(key: string, uid: string): void {
    this.#uids.delete(key);
    const slash = key.indexOf("/");
    this.#contain(() => this.#handler.onGone(this.resource, key.slice(0, slash), key.slice(slash + 1), uid));
  }

  /** One object that its handler chokes on does not end the watch of the others (G17). */
  #contain(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#log.error({ resource: this.resource.plural, err: error }, "an object of a watch could not be taken in");
    }
  }

  #onFailure(error: unknown, failures: number): void {
    if (isStatus(error, 410)) {
      this.#resourceVersion = "";
      return;
    }
    const isRefused = isStatus(error, 403) || isStatus(error, 404) || isStatus(error, 405);
    if (isRefused) {
      this.#resourceVersion = "";
      this.#isListed = false;
      this.#handler.onBlind(this.resource, this.namespace, error);
      this.#listed.resolve();
    }
    if (failures === 1 || failures % 20 === 0) this.#log.warn({ resource: this.resource.plural, failures, err: error }, "watch failed; it is tried again");
  }

  /** Full jitter, after the cap: many watches that broke together do not come back together. */
  async #pause(failures: number): Promise<void> {
    const cap = Math.min(kubeLimits.watchRetryMaxMs, kubeLimits.watchRetryMinMs * 2 ** Math.min(failures - 1, 10));
    await delay(cap / 4 + Math.random() * cap * 0.75, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

/** The beginning of an event of a built-in kind, as API servers write it. What looks otherwise is parsed. */
const eventHead =
  /^\{"type":"(?:ADDED|MODIFIED)","object":\{"kind":"[^"\\]*","apiVersion":"[^"\\]*","metadata":\{"name":"([^"\\]+)",(?:"namespace":"([^"\\]+)",)?"uid":"([^"\\]+)","resourceVersion":"(\d+)"/;
/** Names have at most 253 characters, and so on: the longest head. */
const eventHeadBytes = 1_024;

function keyOf(object: LiveObject): string {
  return `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}
