import { settleClaims, type Claimant, type Contest, type Owner } from "./claims.ts";
import type { KeptTarget } from "./fleet-rollout.ts";
import { digestOfBundles, ownedBy, tellContests } from "./place-bundles.ts";
import type { PlacedTarget } from "./target.ts";

/** What is kept, placed anew. */
export interface PlacedKept {
  readonly target: PlacedTarget;
  readonly owned: readonly Claimant[];
  readonly contests: readonly Contest[];
}

/**
 * A target as it was kept, for a cluster as it is now: who owns what may have changed since. Undefined when a body of it is gone: leaving
 * the bundle out would prune it there.
 *
 * @param objectIdsOf ids of a body's objects by its digest.
 */
export function placeKept(
  fleet: string,
  { cluster, revision, bundles }: KeptTarget,
  objectIdsOf: (digest: string) => readonly string[] | undefined,
  owners: ReadonlyMap<string, Owner>,
): PlacedKept | undefined {
  const claimants = bundles.map(({ name, digest }) => ({ bundle: name, objectIds: objectIdsOf(digest) }));
  if (!claimants.every((claimant): claimant is { bundle: string; objectIds: readonly string[] } => claimant.objectIds !== undefined)) return undefined;
  const { owned, contests } = settleClaims(fleet, claimants, owners);
  const placed = bundles.map((bundle) => ({
    ...bundle,
    excluded: contests
      .filter(({ claimant }) => claimant.bundle === bundle.name)
      .map(({ objectId }) => objectId)
      .sort(),
  }));
  const target = { fleet, cluster, revision, digest: digestOfBundles(placed), bundles: placed, problems: tellContests(fleet, contests) };
  return { target, owned: ownedBy(owned), contests };
}
