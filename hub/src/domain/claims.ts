/** Who owns an object in a cluster. */
export interface Owner {
  readonly fleet: string;
  readonly bundle: string;
}

/** The objects that one bundle owns in one cluster. */
export interface Claim extends Owner {
  readonly cluster: string;
  /** Sorted. Clusters that get the same often share one array. */
  readonly objectIds: readonly string[];
}

/** A bundle that wants its objects. */
export interface Claimant {
  readonly bundle: string;
  readonly objectIds: readonly string[];
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
 * @param owners who owns what now, all fleets; objects of this fleet that nobody asks for any more are free.
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
