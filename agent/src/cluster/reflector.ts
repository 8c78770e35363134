import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../log.ts";
import { kubeLimits } from "../limits.ts";
import type { ClusterClock } from "./cluster-clock.ts";
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
  /** The cluster's database went back in time: what is known by version, or was written lately, may never have been. Told once, by one of the reflectors. */
  onGoneBack(): void;
}

interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: LiveObject & { readonly code?: number; readonly message?: string };
}

/**
 * Keeps looking at one collection: a paged list, then a watch from there with bookmarks, resumed when it ends, with a
 * watchdog against silence. On 410 Gone, as a status or inside a stream, it lists again after a random wait and tells what
 * is gone by UID, so that deleted-and-made-again is told as two things. Resource versions order nothing; they only show that
 * a database went back in time, which is asked for after every end of a watch that was not due.
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
  /** The last watch ended before its time: what happened meanwhile may be another history. */
  #isInDoubt = false;
  /**
   * The API server ended meanwhile. A new one knows no history and would answer 410: a collection of one page is listed at once, which
   * makes two requests instead of three.
   */
  #wasAway = false;
  /** When a list or an event came last (performance.now()). */
  #heardAt = -Infinity;
  /** Since the API server is back: how often it was asked, and until when (performance.now()) that is counted. */
  #afterOutage: { asked: number; readonly since: number; readonly until: number } | undefined;
  readonly #clock: ClusterClock;
  #isProven = false;

  constructor(options: {
    client: KubeClient;
    clock: ClusterClock;
    resource: KubeResource;
    namespace?: string;
    labelSelector: string;
    handler: ReflectorHandler;
    log: Log;
  }) {
    this.namespace = options.namespace ?? "";
    this.#client = options.client;
    this.#clock = options.clock;
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

  /** Whether a watch of it has shown something before: a refusal now may be a passing one. */
  get isProven(): boolean {
    return this.#isProven;
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
      let problem: unknown;
      try {
        if (this.#isInDoubt) {
          await this.#lookForOutage();
          await this.#checkHistory();
        }
        if (this.#resourceVersion === "") await this.#list();
        if (await this.#watch()) continue;
      } catch (error) {
        problem = error;
      }
      if (this.#stop.signal.aborted) break;
      const wasGood = performance.now() - began > kubeLimits.watchStableMs;
      failures = wasGood ? 1 : failures + 1;
      this.#isInDoubt = true;
      if (problem !== undefined) this.#onFailure(problem, failures);
      // While there is no connection nobody asks; then each comes back at its own moment.
      if (problem instanceof KubeError && problem.code === "unreachable") await this.#client.reachable(this.#stop.signal);
      // So answers one that has just begun: this was the first time that it was asked.
      if (isStatus(problem, 503)) this.#afterOutage ??= { asked: 1, since: began, until: performance.now() + kubeLimits.afterOutageMs };
      await this.#pause(failures, problem);
    }
    this.#listed.resolve();
  }

  stop(): void {
    this.#stop.abort();
    this.#listed.resolve();
  }

  async #list(): Promise<void> {
    const seen = new Map<string, string>();
    await this.#mayAsk();
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
      this.#afterOutage && 1,
    );
    if (this.#stop.signal.aborted) return;
    this.#heard(resourceVersion);
    for (const [key, uid] of this.#uids) if (!seen.has(key)) this.#gone(key, uid);
    this.#isListed = true;
    this.#handler.onListed(this.resource, this.namespace);
    this.#listed.resolve();
  }

  /** An API server that was away, and not only our connection to it, begins anew. */
  async #lookForOutage(): Promise<void> {
    const since = await this.#client.reachable(this.#stop.signal);
    if (since <= Math.max(this.#heardAt, this.#afterOutage?.since ?? -Infinity)) return;
    this.#wasAway = true;
    this.#afterOutage = { asked: 0, since, until: performance.now() + kubeLimits.afterOutageMs };
  }

  /** After a break: a version of a future that never was is good for nothing, nor one that is too long ago. */
  async #checkHistory(): Promise<void> {
    if (this.#resourceVersion === "") return;
    // Kinds of aggregated API servers lie in databases of their own.
    const isOwn = !this.resource.group.includes(".");
    const history = await this.#clock.compare(this.#resourceVersion, this.#heardAt, isOwn);
    if (history !== "same") {
      this.#log.warn({ resource: this.resource.plural, version: this.#resourceVersion }, "the API server is behind what was seen: listing again");
    }
    if (history === "went back") this.#contain(() => this.#handler.onGoneBack());
    const isLongAgo = performance.now() - this.#heardAt > this.#client.timing.relistAfterMs;
    const isOnePage = this.#uids.size < kubeLimits.listPageSize;
    if (history !== "same" || isLongAgo || (this.#wasAway && isOnePage)) this.#resourceVersion = "";
    this.#wasAway = false;
    this.#isInDoubt = false;
  }

  /** @returns whether it ended when it was due. */
  async #watch(): Promise<boolean> {
    await this.#mayAsk();
    const { watchMinSeconds, watchMaxSeconds } = kubeLimits;
    const timeoutSeconds = Math.round(watchMinSeconds + Math.random() * (watchMaxSeconds - watchMinSeconds));
    const query = {
      watch: "1",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(timeoutSeconds),
      resourceVersion: this.#resourceVersion,
      labelSelector: this.#selector,
    };
    const began = performance.now();
    let failure: KubeError | undefined;
    await this.#client.watch(collectionPath(this.resource, this.namespace), query, {
      idleMs: this.#client.timing.watchIdleMs,
      signal: this.#stop.signal,
      onLine: (line) => {
        if (!failure) failure = this.#onEvent(line);
      },
    });
    if (failure) throw failure;
    return performance.now() - began > (timeoutSeconds - 1) * 1_000;
  }

  /** An API server that has just started opens its storage kind by kind and refuses meanwhile: whoever asks again and again keeps it from that. */
  async #mayAsk(): Promise<void> {
    const counted = this.#afterOutage;
    if (!counted) return;
    if (counted.asked >= kubeLimits.askedAfterOutage) await this.#sleep(Math.max(0, counted.until - performance.now()) + Math.random() * 1_000);
    if (performance.now() >= counted.until) this.#afterOutage = undefined;
    else counted.asked += 1;
  }

  #heard(resourceVersion: string): void {
    this.#heardAt = performance.now();
    this.#resourceVersion = resourceVersion;
  }

  #onEvent(line: Buffer): KubeError | undefined {
    if (this.#isOldNews(line)) {
      this.#isProven = true;
      return undefined;
    }
    let event: WatchEvent;
    try {
      event = JSON.parse(line.toString("utf8")) as WatchEvent;
    } catch (cause) {
      this.#resourceVersion = "";
      return new KubeError("unusable", `watch of ${this.resource.plural}: an event is not JSON`, { cause });
    }
    if (event.type === "ERROR") return new KubeError("status", event.object.message ?? "watch error", { status: event.object.code ?? 500 });
    this.#isProven = true;
    this.#heard(event.object.metadata.resourceVersion ?? this.#resourceVersion);
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
    this.#heard(resourceVersion);
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
    // An API server that has just started refuses what it will allow in a moment: its roles are not read yet.
    if (isRefused && (!this.#isListed || failures > 1)) {
      this.#resourceVersion = "";
      this.#isListed = false;
      this.#handler.onBlind(this.resource, this.namespace, error);
      this.#listed.resolve();
    }
    if (failures === 1 || failures % 20 === 0) this.#log.warn({ resource: this.resource.plural, failures, err: error }, "watch failed; it is tried again");
  }

  /** Full jitter, after the cap: many watches that broke together do not come back together. */
  async #pause(failures: number, problem: unknown): Promise<void> {
    const cap = Math.min(kubeLimits.watchRetryMaxMs, kubeLimits.watchRetryMinMs * 2 ** Math.min(failures - 1, 10));
    const asked = problem instanceof KubeError ? (problem.retryAfterMs ?? 0) : 0;
    await this.#sleep(asked + cap / 4 + Math.random() * cap * 0.75);
  }

  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
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
