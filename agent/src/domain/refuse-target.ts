import { maxBundlesPerTarget } from "@flotilla/proto/limits";
import { isName } from "@flotilla/proto/names";
import type { Target } from "@flotilla/proto/gen/target";

/** What the agent holds for a fleet, as far as a new target is measured against it. */
export interface HeldGeneration {
  readonly generation: bigint;
  readonly digest: string;
}

/**
 * Why a target must not be followed, or undefined when it may (G5). A refused target changes nothing: what ran before goes
 * on running, and nothing is pruned.
 */
export function refuseTarget(target: Target, cluster: string, held: HeldGeneration | undefined): string | undefined {
  if (!isName(target.fleet)) return "the target names no fleet";
  if (target.cluster !== cluster) return `the target is for cluster "${target.cluster}", this is "${cluster}"`;
  if (!target.complete) return "the target is not complete";
  if (held && target.generation < held.generation) return `generation ${target.generation} is older than ${held.generation}, which is held`;
  if (held && target.generation === held.generation && target.digest !== held.digest) return `generation ${target.generation} came with two different digests`;
  return target.tombstone ? refuseTombstone(target) : refuseBundles(target);
}

function refuseTombstone(target: Target): string | undefined {
  return target.bundles.length > 0 ? "a target with a tombstone must not name bundles" : undefined;
}

function refuseBundles(target: Target): string | undefined {
  if (target.bundles.length === 0) return "the target is empty: leaving a fleet takes a tombstone";
  if (target.bundles.length > maxBundlesPerTarget) return `the target has ${target.bundles.length} bundles, at most ${maxBundlesPerTarget} are served`;
  const names = new Set<string>();
  for (const bundle of target.bundles) {
    if (!isName(bundle.name)) return `"${bundle.name}" cannot name a bundle`;
    if (names.has(bundle.name)) return `bundle ${bundle.name} is in the target twice`;
    names.add(bundle.name);
    if (bundle.objectCount === 0) return `bundle ${bundle.name} is empty`;
    if (!/^[0-9a-f]{64}$/.test(bundle.digest)) return `bundle ${bundle.name} has no digest`;
  }
  return undefined;
}
