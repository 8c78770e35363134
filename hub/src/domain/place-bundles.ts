import { targetDigest } from "@flotilla/proto/digest";
import { contestsToldMax } from "../limits.ts";
import { settleClaims, type Claimant, type ClusterClaims, type Contest, type Owner } from "./claims.ts";
import type { BundleSpec, FleetSpec } from "./fleet-spec.ts";
import { describeObjectId } from "./object-id.ts";
import type { Problem } from "./problem.ts";
import { selectClusters } from "./select-clusters.ts";
import type { PlacedCluster, PlacedTarget, TargetBundle } from "./target.ts";

/** A body as placement needs it. */
export interface PlacedBody {
  readonly digest: string;
  readonly objectCount: number;
  readonly bodyBytes: number;
  readonly objectIds: readonly string[];
}

export interface PlaceRequest {
  readonly fleet: string;
  readonly revision: string;
  readonly spec: FleetSpec;
  /** All clusters there are; the fleet's selector chooses. */
  readonly clusters: readonly PlacedCluster[];
  /** What a bundle rendered to for a cluster; undefined when it could not be rendered for this one. */
  bodyOf(cluster: string, bundle: string): PlacedBody | undefined;
  /** Clusters with the same one get the same body of every bundle; left out where nobody knows. */
  shapeOf?(cluster: string): object | undefined;
  /** Who owns what in a cluster now, by object id, as settleClaims needs it; undefined when nobody owns anything. */
  ownersIn(cluster: string): ReadonlyMap<string, Owner> | undefined;
}

export interface Placement {
  /** In the order of the clusters. */
  readonly targets: readonly PlacedTarget[];
  /** What this fleet owns in these clusters from now on: takes the place of what it owned there. */
  readonly claims: readonly ClusterClaims[];
  /** Objects that somebody else owns, by cluster. The owner's fleet should be told as well. */
  readonly contests: ReadonlyMap<string, readonly Contest[]>;
  /** Clusters that belong to the fleet and get no new target: they keep the one they have, and nothing is removed from them. */
  readonly held: readonly string[];
}

/**
 * Decide what every cluster of a fleet should run. Pure: the same answer for the same question, whatever the order of the
 * clusters. A cluster for which some bundle has no body is held whole: leaving the bundle out would prune it there.
 */
export function placeBundles(request: PlaceRequest): Placement {
  const order = inDependencyOrder(request.spec.bundles);
  const place = placerOf(request, order);
  const targets: PlacedTarget[] = [];
  const claims: ClusterClaims[] = [];
  const contests = new Map<string, readonly Contest[]>();
  const held: string[] = [];
  for (const cluster of selectClusters(request.spec.clusters, request.clusters)) {
    const placed = place(cluster.name);
    if (placed === undefined) {
      held.push(cluster.name);
      continue;
    }
    const { digest, bundles, problems, owned } = placed;
    targets.push({ fleet: request.fleet, cluster: cluster.name, revision: request.revision, digest, bundles, problems });
    if (owned.length > 0) claims.push({ cluster: cluster.name, owned });
    if (placed.contests.length > 0) contests.set(cluster.name, placed.contests);
  }
  return { targets, claims, contests, held };
}

/** Bundles so that each comes after those that it depends on; otherwise as written. Cycles were refused when the fleet was read. */
export function inDependencyOrder(bundles: readonly BundleSpec[]): BundleSpec[] {
  const byName = new Map(bundles.map((bundle) => [bundle.name, bundle]));
  const ordered = new Set<BundleSpec>();
  const visiting = new Set<string>();
  const visit = (bundle: BundleSpec): void => {
    if (ordered.has(bundle) || visiting.has(bundle.name)) return;
    visiting.add(bundle.name);
    for (const name of bundle.dependsOn) {
      const dependency = byName.get(name);
      if (dependency !== undefined) visit(dependency);
    }
    ordered.add(bundle);
  };
  for (const bundle of bundles) visit(bundle);
  return [...ordered];
}

/** The two sides of a contest, each as its own fleet should hear it. */
export function problemsOfContest(contest: Contest): { readonly forClaimant: Problem; readonly forOwner: Problem } {
  const { objectId, owner, claimant } = contest;
  const what = describeObjectId(objectId);
  const shared = { code: "object-claimed-twice", object: objectId };
  return {
    forClaimant: {
      ...shared,
      message: `${what} belongs to ${describeOwner(owner, claimant.fleet)}, which had it first: it is left out here`,
      bundle: claimant.bundle,
      hint: "take it out of one of the two",
    },
    forOwner: {
      ...shared,
      message: `${describeOwner(claimant, owner.fleet)} wants ${what} too: it stays here`,
      bundle: owner.bundle,
      hint: "take it out of one of the two",
    },
  };
}

/** What clusters with the same bodies and the same owners of their objects get, all of them the same one. */
interface Placed extends Pick<PlacedTarget, "digest" | "bundles" | "problems"> {
  readonly owned: readonly Claimant[];
  readonly contests: readonly Contest[];
}

/** Most clusters get what others get, and own it alone: that is settled once, whatever their number. */
function placerOf(request: PlaceRequest, order: readonly BundleSpec[]): (cluster: string) => Placed | undefined {
  const { spec } = request;
  const numbers = new Map<PlacedBody, number>();
  const shared = new Map<string, Placed>();
  const byShape = new Map<object, Placed>();
  return (cluster) => {
    const owners = request.ownersIn(cluster);
    const isAlone = owners === undefined || owners.size === 0;
    const shape = isAlone ? request.shapeOf?.(cluster) : undefined;
    const alike = shape && byShape.get(shape);
    if (alike !== undefined) return alike;
    const bodies = new Map<string, PlacedBody>();
    let key = "";
    for (const { name } of spec.bundles) {
      const body = request.bodyOf(cluster, name);
      if (body === undefined) return undefined;
      const number = numbers.get(body) ?? numbers.size;
      numbers.set(body, number);
      bodies.set(name, body);
      key += `${number},`;
    }
    if (!isAlone) return settle(request, order, bodies, owners);
    const known = shared.get(key) ?? settle(request, order, bodies, noOwners);
    shared.set(key, known);
    if (shape) byShape.set(shape, known);
    return known;
  };
}

const noOwners: ReadonlyMap<string, Owner> = new Map();

function settle(
  { fleet, spec }: PlaceRequest,
  order: readonly BundleSpec[],
  bodies: ReadonlyMap<string, PlacedBody>,
  owners: ReadonlyMap<string, Owner>,
): Placed {
  const claimants = spec.bundles.map(({ name }) => ({ bundle: name, objectIds: bodies.get(name)?.objectIds ?? [] }));
  const { owned, contests } = settleClaims(fleet, claimants, owners);
  const bundles = order.flatMap((bundle) => toTargetBundle(bundle, bodies.get(bundle.name), contests));
  return { digest: digestOfBundles(bundles), bundles, problems: tellContests(fleet, contests), owned: ownedBy(owned), contests };
}

/** Without bundles that own nothing. */
export function ownedBy(owned: ReadonlyMap<string, readonly string[]>): Claimant[] {
  return [...owned].map(([bundle, objectIds]) => ({ bundle, objectIds })).filter(({ objectIds }) => objectIds.length > 0);
}

/** targetDigest, with what is left to others as a part of each bundle's policy. */
export function digestOfBundles(bundles: readonly TargetBundle[]): string {
  return targetDigest(
    bundles.map(({ name, digest, dependsOn, policy, excluded }) => ({
      name,
      digest,
      dependsOn,
      policy: excluded.length === 0 ? policy : { ...policy, excluded },
    })),
  );
}

function toTargetBundle(bundle: BundleSpec, body: PlacedBody | undefined, contests: readonly Contest[]): TargetBundle[] {
  if (body === undefined) return [];
  const excluded = contests.filter((contest) => contest.claimant.bundle === bundle.name).map((contest) => contest.objectId);
  return [
    {
      name: bundle.name,
      digest: body.digest,
      objectCount: body.objectCount,
      bodyBytes: body.bodyBytes,
      dependsOn: [...bundle.dependsOn].sort(),
      policy: bundle.policy,
      excluded: excluded.sort(),
    },
  ];
}

/** The claimant's side always; the owner's too when both are in this fleet. Beyond a number they are only counted. */
export function tellContests(fleet: string, contests: readonly Contest[]): Problem[] {
  const told = contests.slice(0, contestsToldMax).flatMap((contest) => {
    const { forClaimant, forOwner } = problemsOfContest(contest);
    return contest.owner.fleet === fleet ? [forClaimant, forOwner] : [forClaimant];
  });
  if (contests.length <= contestsToldMax) return told;
  return [...told, { code: "object-claimed-twice", message: `${contests.length - contestsToldMax} more objects belong to others` }];
}

function describeOwner(owner: Owner, seenFrom: string): string {
  return owner.fleet === seenFrom ? `bundle '${owner.bundle}'` : `bundle '${owner.bundle}' of fleet '${owner.fleet}'`;
}
