import { ownerAnnotation, ownerOf } from "@flotilla/proto/names";
import type { Correction } from "@flotilla/agent/domain/heal-budget";
import type { Target } from "@flotilla/proto/gen/target";

/** An object as it is in the cluster. */
export interface LiveThing {
  readonly key: string;
  readonly uid: string;
  readonly version: number;
  readonly content: string;
  /** "fleet/bundle" of whoever applied it; undefined when nobody of ours did. */
  readonly owner: string | undefined;
}

/** What an agent keeps of a fleet in its cluster, and finds again after a restart. */
export interface KeptFleet {
  target: Target | undefined;
  /** Encoded, as it lies in ConfigMaps. */
  inventory: string;
  heals: ReadonlyMap<string, readonly Correction[]>;
  spent: { readonly revision: string; readonly byBundle: ReadonlyMap<string, ReadonlySet<string>> };
}

/** The API server did not answer. */
export class ClusterAway extends Error {
  override readonly name = "ClusterAway";
}

/** One cluster: its objects, what its agent keeps in it, and people who write it by hand. */
export class LiveCluster {
  readonly name: string;
  readonly objects = new Map<string, LiveThing>();
  readonly kept = new Map<string, KeptFleet>();
  /** UIDs of objects by the fleets whose agents applied them. */
  readonly appliedBy = new Map<string, Set<string>>();
  /** Told the key of whatever changed. */
  onChange: (key: string) => void = () => undefined;
  /** Told when an agent deleted something. */
  onDelete: () => void = () => undefined;
  isAway = false;
  #uids = 0;
  #versions = 0;

  constructor(name: string) {
    this.name = name;
  }

  read(key: string): LiveThing | undefined {
    this.mustAnswer();
    return this.objects.get(key);
  }

  /** Server-side apply by an agent. */
  apply(key: string, content: string, fleet: string, bundle: string): LiveThing {
    this.mustAnswer();
    const before = this.objects.get(key);
    const owner = ownerOf(fleet, bundle);
    const uid = before?.uid ?? `${this.name}-${(this.#uids += 1)}`;
    this.appliedBy.set(uid, (this.appliedBy.get(uid) ?? new Set()).add(fleet));
    if (before && before.content === content && before.owner === owner) return before;
    return this.#put({ key, uid, version: (this.#versions += 1), content, owner });
  }

  /** An agent's delete, with its preconditions. Returns what went; undefined when the object is another by now. */
  delete(key: string, uid: string, version: number): LiveThing | undefined {
    this.mustAnswer();
    const live = this.objects.get(key);
    if (live?.uid !== uid || live.version !== version) return undefined;
    this.#drop(key);
    this.onDelete();
    return live;
  }

  /** Our mark is taken off: the object is free for others. */
  release(key: string, uid: string, fleet: string): void {
    this.mustAnswer();
    const live = this.objects.get(key);
    if (live?.uid === uid && live.owner?.startsWith(ownerOf(fleet, ""))) this.#put({ ...live, owner: undefined, version: (this.#versions += 1) });
  }

  /** Somebody writes an object by hand; one that is not there is made, and is nobody's. */
  edit(key: string, content: string): void {
    const before = this.objects.get(key);
    const uid = before?.uid ?? `${this.name}-${(this.#uids += 1)}`;
    this.#put({ key, uid, version: (this.#versions += 1), content, owner: before?.owner });
  }

  /** Somebody deletes an object by hand. */
  remove(key: string): void {
    if (this.objects.has(key)) this.#drop(key);
  }

  mustAnswer(): void {
    if (this.isAway) throw new ClusterAway(`the API server of ${this.name} does not answer`);
  }

  #put(thing: LiveThing): LiveThing {
    this.objects.set(thing.key, thing);
    this.onChange(thing.key);
    return thing;
  }

  #drop(key: string): void {
    this.objects.delete(key);
    this.onChange(key);
  }
}

/** The part of an object's metadata that a delete looks at. */
export function metadataOf({ uid, owner, version }: LiveThing) {
  return { name: "", uid, resourceVersion: String(version), annotations: owner === undefined ? {} : { [ownerAnnotation]: owner } };
}
