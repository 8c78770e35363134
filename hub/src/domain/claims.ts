/** Who owns an object in a cluster. */
export interface Owner {
  readonly fleet: string;
  readonly bundle: string;
}

/** A bundle and the objects that it wants, or has. */
export interface Claimant {
  readonly bundle: string;
  readonly objectIds: readonly string[];
}

/** What a fleet's bundles own in one cluster. */
export interface ClusterClaims {
  readonly cluster: string;
  /** Only bundles that own something. Clusters that get the same share one array. */
  readonly owned: readonly Claimant[];
}

/** What a fleet asks for anywhere: of other objects it does not matter who has them. */
export interface WantedObjects {
  readonly ids: readonly string[];
  /** That two bundles of the fleet ask for: only of these it matters which of the two has them now. */
  readonly twice: readonly string[];
}

export function wantedObjects(claimants: Iterable<Claimant>): WantedObjects {
  const first = new Map<string, string>();
  const twice = new Set<string>();
  const seen = new Set<readonly string[]>();
  for (const { bundle, objectIds } of claimants) {
    if (seen.has(objectIds)) continue;
    seen.add(objectIds);
    for (const objectId of objectIds) {
      const other = first.get(objectId);
      if (other === undefined) first.set(objectId, bundle);
      else if (other !== bundle) twice.add(objectId);
    }
  }
  return { ids: [...first.keys()], twice: [...twice] };
}

/** An object that a bundle wanted and another owns. */
export interface Contest {
  readonly objectId: string;
  readonly owner: Owner;
  readonly claimant: Owner;
}

export interface SettledClaims {
  /** What each bundle owns, in the order of the claimants. */
  readonly owned: ReadonlyMap<string, readonly string[]>;
  readonly contests: readonly Contest[];
}

/**
 * Settle who owns what in one cluster, when one fleet's bundles ask for their objects: every object has one owner. Whoever owns it keeps it as
 * long as it still asks for it; among newcomers of one fleet the bundle written first gets it. Other fleets keep what they
 * own: only they let it go.
 *
 * @param owners who owns what now: other fleets, and this one as far as two of its bundles ask for an object. What this fleet owns and nobody asks for any more is free.
 */
export function settleClaims(fleet: string, claimants: readonly Claimant[], owners: ReadonlyMap<string, Owner>): SettledClaims {
  const wanted = new Map(claimants.map((claimant) => [claimant.bundle, new Set(claimant.objectIds)]));
  const taken = new Map<string, Owner>();
  const contests: Contest[] = [];
  const owned = new Map<string, readonly string[]>();
  for (const { bundle, objectIds } of claimants) {
    const kept: string[] = [];
    for (const objectId of objectIds) {
      const owner = taken.get(objectId) ?? holderOf(objectId, fleet, owners, wanted);
      if (owner === undefined || (owner.fleet === fleet && owner.bundle === bundle)) {
        taken.set(objectId, { fleet, bundle });
        kept.push(objectId);
      } else contests.push({ objectId, owner, claimant: { fleet, bundle } });
    }
    owned.set(bundle, kept.length === objectIds.length ? objectIds : kept);
  }
  return { owned, contests };
}

/** The owner of now, if it still counts. */
function holderOf(objectId: string, fleet: string, owners: ReadonlyMap<string, Owner>, wanted: ReadonlyMap<string, ReadonlySet<string>>): Owner | undefined {
  const owner = owners.get(objectId);
  if (owner === undefined || owner.fleet !== fleet) return owner;
  return wanted.get(owner.bundle)?.has(objectId) ? owner : undefined;
}
