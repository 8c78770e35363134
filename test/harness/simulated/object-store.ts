import { type Fields } from "./typed-value.ts";

/** One version of one object. Kept as text: it is sent far more often than it is looked into, and takes a fifth of the memory. */
export interface StoredObject {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface StoreEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly storage: string;
  readonly object: StoredObject;
  /** What it was before; undefined for a new one. */
  readonly before: StoredObject | undefined;
}

/** One cluster's objects, and what happened to them lately. */
export class ObjectStore {
  readonly #objects = new Map<string, Map<string, StoredObject>>();
  readonly #events: StoreEvent[] = [];
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  readonly #maxEvents: number;
  /** The newest version. Real servers start somewhere too. */
  #version = 1;
  #compacted = 0;

  /** @param maxEvents versions that a watch may go back. */
  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents;
  }

  get version(): number {
    return this.#version;
  }

  /** Watches from before this version are answered 410. */
  get compacted(): number {
    return this.#compacted;
  }

  get(storage: string, namespace: string, name: string): StoredObject | undefined {
    return this.#objects.get(storage)?.get(keyOf(namespace, name));
  }

  /** In etcd's order. */
  list(storage: string, namespace: string): StoredObject[] {
    const all = [...(this.#objects.get(storage)?.values() ?? [])];
    const found = namespace === "" ? all : all.filter((object) => object.namespace === namespace);
    return found.toSorted((a, b) => (keyOf(a.namespace, a.name) < keyOf(b.namespace, b.name) ? -1 : 1));
  }

  /** Every object of every kind. */
  *all(): Generator<{ readonly storage: string; readonly object: StoredObject }> {
    for (const [storage, objects] of this.#objects) for (const object of objects.values()) yield { storage, object };
  }

  /** Write an object under the next version, which is put into it. */
  put(storage: string, object: Fields): StoredObject {
    const { namespace, name } = idOf(object);
    const objects = this.#objects.get(storage) ?? new Map<string, StoredObject>();
    this.#objects.set(storage, objects);
    const before = objects.get(keyOf(namespace, name));
    const stored = this.#version_(object);
    objects.set(keyOf(namespace, name), stored);
    this.#tell({ type: before ? "MODIFIED" : "ADDED", storage, object: stored, before });
    return stored;
  }

  /** @returns the object as it was last, under the version of its end. */
  remove(storage: string, object: Fields): StoredObject {
    const { namespace, name } = idOf(object);
    const before = this.get(storage, namespace, name);
    this.#objects.get(storage)?.delete(keyOf(namespace, name));
    const last = this.#version_(object);
    this.#tell({ type: "DELETED", storage, object: last, before });
    return last;
  }

  /** What happened after a version, oldest first. */
  since(version: number): readonly StoreEvent[] {
    return this.#events.filter(({ object }) => object.version > version);
  }

  /** @returns how to stop listening. */
  listen(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forget what happened: watches that go on are not touched, those that come back are answered 410. */
  compact(): void {
    this.#events.length = 0;
    this.#compacted = this.#version;
  }

  #version_(object: Fields): StoredObject {
    this.#version += 1;
    const metadata = object.metadata as Fields;
    const { namespace, name } = idOf(object);
    const text = JSON.stringify(ordered({ ...object, metadata: { ...metadata, resourceVersion: String(this.#version) } }));
    return { namespace, name, version: this.#version, labels: (metadata.labels ?? noLabels) as Record<string, string>, text };
  }

  #tell(event: StoreEvent): void {
    this.#events.push(event);
    // Half at once: shifting one by one would cost every write.
    if (this.#events.length > this.#maxEvents) {
      const [last] = this.#events.splice(0, this.#events.length >> 1).slice(-1);
      this.#compacted = last?.object.version ?? this.#compacted;
    }
    for (const listener of this.#listeners) listener(event);
  }
}

const noLabels: Readonly<Record<string, string>> = Object.freeze({});

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function idOf(object: Fields): { namespace: string; name: string } {
  const { namespace, name } = object.metadata as { namespace?: string; name: string };
  return { namespace: namespace ?? "", name };
}

const metadataOrder = ["name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];
const metadataLast = ["deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields"];

/** Fields in the order in which Go writes them: readers of watches look at the beginning only. */
function ordered({ kind, apiVersion, metadata, ...rest }: Fields): Fields {
  const fields = metadata as Fields;
  const names = [...metadataOrder, ...metadataLast].filter((name) => fields[name] !== undefined);
  return { kind, apiVersion, metadata: Object.fromEntries(names.map((name) => [name, fields[name]])), ...rest };
}
