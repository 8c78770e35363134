import { readDirectives } from "@flotilla/proto/directives";
import { fleetLabel } from "@flotilla/proto/names";
import { liveGuardOf } from "../domain/guard.ts";
import { isIgnoredIn } from "../domain/ignore.ts";
import { assessHook } from "../domain/hook-run.ts";
import { assessHealth } from "../domain/health.ts";
import { hashOwned, isHeldByOthers } from "../domain/owned-fields.ts";
import { ClusterClock } from "../cluster/cluster-clock.ts";
import { collectionPath, type Discovery, type KubeResource } from "../cluster/discovery.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import { isStatus, tellError, type KubeError } from "../cluster/kube-error.ts";
import type { LiveObject } from "../cluster/live-object.ts";
import { Reflector, type ReflectorHandler } from "../cluster/reflector.ts";
import type { Observation } from "../domain/plan.ts";
import { engineLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { see, type Sight, type TrackedObject } from "./tracked-object.ts";

/** Called after what is known of an object changed; `isSightChanged` when it can be seen now and could not before, or the other way round. */
export type OnSeen = (object: TrackedObject, before: Sight | undefined, isSightChanged?: boolean) => void;

interface Watched {
  readonly resource: KubeResource;
  /** By the namespace they watch: one for all ("") as long as that is allowed, then one for each namespace in use. */
  readonly reflectors: Map<string, Reflector>;
  isByNamespace: boolean;
  /** Since when all namespaces at once are refused, after they were not (epoch ms). */
  refusedSince: number | undefined;
  /** Times that all namespaces at once were asked for again, and the next one. */
  asked: number;
  askTimer: NodeJS.Timeout | undefined;
  /** Tracked objects of this resource by "namespace/name" as the API server has it. */
  readonly objects: Map<string, TrackedObject>;
}

/**
 * What the cluster shows of the objects that are tracked: one reflector for each resource in use, selecting by our label,
 * and of each object only UID, version, hash of owned fields and health. A resource that RBAC does not let us see in all
 * namespaces is watched in each namespace where an object of ours lies.
 */
export class ClusterView implements ReflectorHandler {
  readonly #client: KubeClient;
  readonly #discovery: Discovery;
  readonly #log: Log;
  readonly #onSeen: OnSeen;
  readonly #onGoneBack: () => void;
  readonly #clock: ClusterClock;
  readonly #watched = new Map<string, Watched>();
  readonly #askAgainMs: readonly number[];
  #stopped = false;

  constructor(
    client: KubeClient,
    discovery: Discovery,
    log: Log,
    onSeen: OnSeen,
    onGoneBack: () => void,
    askAgainMs: readonly number[] = engineLimits.askAgainMs,
  ) {
    this.#askAgainMs = askAgainMs;
    this.#client = client;
    this.#discovery = discovery;
    this.#log = log;
    this.#onSeen = onSeen;
    this.#onGoneBack = onGoneBack;
    this.#clock = new ClusterClock(client);
  }

  /** Look at these objects, and wait until the collections they lie in were listed, or observeDeadlineMs. Kinds that are not served stay unseen. */
  async look(objects: Iterable<TrackedObject>, signal: AbortSignal): Promise<void> {
    const unknown: TrackedObject[] = [];
    for (const object of objects) if (!this.#attachKnown(object)) unknown.push(object);
    if (unknown.length > 0) {
      await this.#discovery.refresh();
      for (const object of unknown) this.#attachKnown(object);
    }
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const deadline = setTimeout(resolve, engineLimits.observeDeadlineMs);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([late, this.#allListed()]);
    clearTimeout(deadline);
  }

  /** Look at one object from now on. */
  attach(object: TrackedObject, resource: KubeResource): void {
    if (this.#stopped) return;
    const watched = this.#watch(resource);
    watched.objects.set(nameIn(object, resource), object);
    if (!resource.canWatch) object.blindness = `${resource.plural} cannot be watched`;
    else object.isVisible = this.#reflectorFor(watched, object)?.isListed ?? false;
  }

  /** Stop looking at one object; a collection nobody looks at is no longer watched. */
  detach(object: TrackedObject): void {
    for (const [key, watched] of this.#watched) {
      const { resource, reflectors, objects } = watched;
      if (resource.kind !== object.id.kind || resource.group !== object.id.group) continue;
      const name = nameIn(object, resource);
      if (objects.get(name) === object) objects.delete(name);
      if (objects.size === 0) {
        clearTimeout(watched.askTimer);
        for (const reflector of reflectors.values()) reflector.stop();
        this.#watched.delete(key);
      } else if (watched.isByNamespace) stopUnused(watched, namespaceOf(name));
    }
  }

  /** What is known of an object, for a plan. */
  observe(object: TrackedObject | undefined): Observation {
    if (object?.live)
      return {
        state: "present",
        uid: object.live.uid,
        owned: object.live.owned,
        guard: object.live.guard,
        isGoing: object.live.verdict.health === "Terminating",
      };
    return object?.isVisible ? { state: "absent" } : { state: "unseen" };
  }

  /** Whether something of Flotilla's lies under this name, seen or only listed. */
  isTaken(object: TrackedObject, resource: KubeResource): boolean {
    const watched = this.#watched.get(keyOf(resource));
    return object.live !== undefined || (watched !== undefined && this.#reflectorFor(watched, object)?.uidOf(nameIn(object, resource)) !== undefined);
  }

  /** Take in an object that was read or given back by an apply. */
  take(object: TrackedObject, sight: Sight | undefined): void {
    const before = object.live;
    see(object, sight, Date.now());
    this.#onSeen(object, before);
  }

  /** End every watch. */
  stop(): void {
    this.#stopped = true;
    for (const reflector of this.#reflectors()) reflector.stop();
    for (const { askTimer } of this.#watched.values()) clearTimeout(askTimer);
    this.#watched.clear();
  }

  onPresent(resource: KubeResource, live: LiveObject): void {
    const object = this.#find(resource, live.metadata.namespace ?? "", live.metadata.name);
    if (!object) return;
    const sight = sightOf(object, live);
    if (object.busy) object.seenWhileBusy = sight.owned;
    object.isVisible = true;
    this.take(object, sight);
  }

  isKnown(resource: KubeResource, namespace: string, name: string, uid: string, resourceVersion: string): boolean {
    const object = this.#find(resource, namespace, name);
    return object?.live?.uid === uid && object.live.resourceVersion === resourceVersion && !object.isUnjudged && object.live.ignored === object.ignored;
  }

  onGone(resource: KubeResource, namespace: string, name: string, uid: string): void {
    const object = this.#find(resource, namespace, name);
    if (object?.live?.uid !== uid) return;
    if (object.busy) object.seenWhileBusy = "";
    this.take(object, undefined);
  }

  onListed(resource: KubeResource, namespace: string): void {
    const watched = this.#watched.get(keyOf(resource));
    const reflector = watched?.reflectors.get(namespace);
    if (watched) watched.refusedSince = undefined;
    for (const [name, object] of inNamespace(watched, namespace)) {
      const wasBlind = object.blindness !== "";
      object.isVisible = true;
      object.blindness = "";
      // Known from an apply, not told by this list: one of the two is older than the other.
      if (object.live && reflector?.uidOf(name) !== object.live.uid) object.isSuspect = true;
      this.#onSeen(object, object.live, wasBlind);
    }
  }

  onBlind(resource: KubeResource, namespace: string, error: KubeError): void {
    const watched = this.#watched.get(keyOf(resource));
    if (watched && namespace === "" && resource.isNamespaced && isStatus(error, 403) && isLasting(watched)) return this.#splitByNamespace(watched);
    this.#blind(watched, namespace, `cannot be watched: ${tellError(error, "")}`);
  }

  #blind(watched: Watched | undefined, namespace: string, why: string): void {
    for (const [, object] of inNamespace(watched, namespace)) {
      const isNew = object.blindness !== why;
      object.isVisible = false;
      object.blindness = why;
      this.#onSeen(object, object.live, isNew);
    }
  }

  /** All namespaces at once are not allowed: look into each one that is in use. */
  #splitByNamespace(watched: Watched): void {
    watched.isByNamespace = true;
    watched.reflectors.get("")?.stop();
    watched.reflectors.delete("");
    for (const name of watched.objects.keys()) this.#openReflector(watched, namespaceOf(name));
    this.#askAgainLater(watched);
  }

  #askAgainLater(watched: Watched): void {
    const delayMs = this.#askAgainMs[watched.asked];
    if (delayMs === undefined) return;
    watched.asked += 1;
    watched.askTimer = setTimeout(() => void this.#askAgain(watched), delayMs);
    watched.askTimer.unref();
  }

  /** Whether all namespaces at once may be watched by now; then one watch takes the place of many. */
  async #askAgain(watched: Watched): Promise<void> {
    const { resource, reflectors } = watched;
    const query = { limit: "1", labelSelector: fleetLabel };
    const isAllowed = await this.#client.json({ method: "GET", path: collectionPath(resource), query }).then(
      () => true,
      () => false,
    );
    if (this.#watched.get(keyOf(resource)) !== watched || !watched.isByNamespace) return;
    if (!isAllowed) return this.#askAgainLater(watched);
    for (const reflector of reflectors.values()) reflector.stop();
    reflectors.clear();
    watched.isByNamespace = false;
    this.#openReflector(watched, "");
  }

  /** Until every collection was listed or refused, also those that take the place of a refused one. */
  async #allListed(): Promise<void> {
    const waited = new Set<Reflector>();
    for (;;) {
      const more = [...this.#reflectors()].filter((reflector) => !waited.has(reflector));
      if (more.length === 0) return;
      for (const reflector of more) waited.add(reflector);
      await Promise.all(more.map((reflector) => reflector.firstListed));
    }
  }

  *#reflectors(): Generator<Reflector> {
    for (const { reflectors } of this.#watched.values()) yield* reflectors.values();
  }

  onGoneBack(): void {
    // A version may come again with another content.
    for (const { objects } of this.#watched.values())
      for (const object of objects.values()) if (object.live) object.live = { ...object.live, resourceVersion: "" };
    this.#onGoneBack();
  }

  #attachKnown(object: TrackedObject): boolean {
    const resource = this.#discovery.known(object.apiVersion, object.id.kind);
    if (resource) this.attach(object, resource);
    return resource !== undefined;
  }

  #find(resource: KubeResource, namespace: string, name: string): TrackedObject | undefined {
    return this.#watched.get(keyOf(resource))?.objects.get(`${namespace}/${name}`);
  }

  #watch(resource: KubeResource): Watched {
    const known = this.#watched.get(keyOf(resource));
    if (known) return known;
    const watched: Watched = {
      resource,
      reflectors: new Map(),
      isByNamespace: false,
      refusedSince: undefined,
      asked: 0,
      askTimer: undefined,
      objects: new Map(),
    };
    this.#watched.set(keyOf(resource), watched);
    if (resource.canWatch) this.#openReflector(watched, "");
    return watched;
  }

  /** The one that sees an object; opened when it is the first of its namespace. */
  #reflectorFor(watched: Watched, object: TrackedObject): Reflector | undefined {
    const namespace = watched.isByNamespace ? namespaceOf(nameIn(object, watched.resource)) : "";
    return watched.reflectors.get(namespace) ?? this.#openReflector(watched, namespace);
  }

  #openReflector(watched: Watched, namespace: string): Reflector | undefined {
    const { resource, reflectors } = watched;
    const known = reflectors.get(namespace);
    if (known) return known;
    if (namespace !== "" && this.#namespaceWatches() >= engineLimits.maxNamespaceWatches) {
      const rule = `{ apiGroups: ["${resource.group}"], resources: ["${resource.plural}"], verbs: ["list", "watch"] }`;
      this.#blind(
        watched,
        namespace,
        `more than ${engineLimits.maxNamespaceWatches} watches of single namespaces would be needed: grant ${rule} in a ClusterRole`,
      );
      return undefined;
    }
    const reflector = new Reflector({
      client: this.#client,
      clock: this.#clock,
      resource,
      namespace,
      labelSelector: fleetLabel,
      handler: this,
      log: this.#log,
    });
    reflectors.set(namespace, reflector);
    void reflector.run();
    return reflector;
  }

  #namespaceWatches(): number {
    let count = 0;
    for (const { namespace } of this.#reflectors()) if (namespace !== "") count += 1;
    return count;
  }
}

/** Whether a refusal of all namespaces is to be believed: at once when they were never seen, else when it lasts. */
function isLasting(watched: Watched): boolean {
  if (!watched.reflectors.get("")?.isProven) return true;
  watched.refusedSince ??= Date.now();
  return Date.now() - watched.refusedSince >= engineLimits.refusalLastsMs;
}

/** Objects that a reflector of this namespace ("" is all) is about. */
function* inNamespace(watched: Watched | undefined, namespace: string): Generator<[string, TrackedObject]> {
  for (const entry of watched?.objects ?? []) if (namespace === "" || namespaceOf(entry[0]) === namespace) yield entry;
}

function stopUnused(watched: Watched, namespace: string): void {
  for (const name of watched.objects.keys()) if (namespaceOf(name) === namespace) return;
  watched.reflectors.get(namespace)?.stop();
  watched.reflectors.delete(namespace);
}

/** Of a name as nameIn gives it. */
function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}

/** What is kept of a live object. */
export function sightOf(object: TrackedObject, live: LiveObject): Sight {
  const { uid = "", resourceVersion = "" } = live.metadata;
  const { live: before, ignored, checks, isUnjudged } = object;
  // The watch and the answer to an apply show the same version one after the other.
  if (before && !isUnjudged && before.uid === uid && before.resourceVersion === resourceVersion && before.ignored === ignored && resourceVersion !== "")
    return before;
  const verdict = object.isHook ? assessHook(live, checks) : assessHealth(live, checks);
  const { stage } = readDirectives(live).directives;
  const isShared = isHeldByOthers(live.metadata.managedFields);
  return { uid, resourceVersion, ignored, owned: hashOwned(live, isIgnoredIn(ignored, live)), isShared, stage, guard: liveGuardOf(live.metadata), verdict };
}

function keyOf(resource: KubeResource): string {
  return `${resource.apiVersion}/${resource.kind}`;
}

/** As the API server names it: a renderer may have given a namespace to a cluster-scoped object, or none to a namespaced one. */
function nameIn(object: TrackedObject, resource: KubeResource): string {
  return `${resource.isNamespaced ? object.id.namespace || "default" : ""}/${object.id.name}`;
}
