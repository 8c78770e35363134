import type { ObjectKey } from "./object-id.ts";

/** One of the fleets of a cluster, as far as the others look at it. */
export interface Neighbour {
  readonly name: string;
  readonly target: { readonly tombstone?: unknown } | undefined;
  /** Came and was not read yet. */
  readonly pending: { readonly target: { readonly tombstone?: unknown } } | undefined;
  readonly desired: {
    readonly objects: ReadonlyMap<ObjectKey, unknown>;
    readonly hooks: ReadonlyMap<ObjectKey, unknown>;
    readonly excluded: ReadonlyMap<ObjectKey, unknown>;
  };
  readonly inventory: ReadonlyMap<ObjectKey, { readonly uid: string }>;
}

type Neighbours = Iterable<Neighbour>;

/** The other fleet here that wants an object and holds it, or may do so: it keeps it. */
export function claimedBy(fleets: Neighbours, run: Neighbour, key: ObjectKey): string | undefined {
  return otherFleet(fleets, run, (other) => {
    if (!other.inventory.has(key)) return false;
    // A fleet that names it no more hands it over; one that is not read yet, or leaves, holds what it holds.
    if (!wants(other, key)) return !handsOver(other, key);
    // Both took it while the other did not want it: the first by name keeps it.
    return !(run.inventory.get(key)?.uid && wants(run, key) && run.name < other.name);
  });
}

/** The other fleet here that has taken over an object. */
export function takenBy(fleets: Neighbours, run: Neighbour, key: ObjectKey): string | undefined {
  return otherFleet(fleets, run, (other) => wants(other, key) && (other.inventory.get(key)?.uid ?? "") !== "");
}

/** The other fleet here whose target names an object, also where the hub leaves it to somebody else. */
export function namedBy(fleets: Neighbours, run: Neighbour, key: ObjectKey): string | undefined {
  return otherFleet(fleets, run, (other) => wants(other, key) || other.desired.excluded.has(key));
}

/** The other fleet here whose target came and was not read yet: it may name anything. */
export function unreadFleet(fleets: Neighbours, run: Neighbour): string | undefined {
  return otherFleet(fleets, run, (other) => other.pending !== undefined && !other.pending.target.tombstone);
}

/** Whether a fleet's target, read and to stay, names an object no more that its inventory holds: who names it may take it over. */
export function handsOver(run: Neighbour, key: ObjectKey): boolean {
  return !wants(run, key) && run.pending === undefined && run.target !== undefined && !run.target.tombstone;
}

/** Another fleet that is so. */
export function otherFleet(fleets: Neighbours, run: Neighbour, matches: (other: Neighbour) => boolean): string | undefined {
  for (const other of fleets) if (other !== run && matches(other)) return other.name;
  return undefined;
}

/** Whether a fleet's target has an object of this name, to keep or to run. */
function wants(run: Neighbour, key: ObjectKey): boolean {
  return run.desired.objects.has(key) || run.desired.hooks.has(key);
}
