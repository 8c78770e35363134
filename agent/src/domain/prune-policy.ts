import { digestOf } from "@flotilla/proto/digest";
import { defaultPruneBudget } from "@flotilla/proto/limits";
import { agentNamespace } from "@flotilla/proto/names";
import { describeId, parseObjectKey, type ObjectId, type ObjectKey } from "./object-id.ts";

/** Kinds whose deletion takes other objects or data with it: never pruned without an approval (G6). */
const protectedKinds: ReadonlySet<string> = new Set([
  "/Namespace",
  "/PersistentVolume",
  "/PersistentVolumeClaim",
  "apps/StatefulSet",
  "apiextensions.k8s.io/CustomResourceDefinition",
  "apiregistration.k8s.io/APIService",
  "storage.k8s.io/StorageClass",
  "snapshot.storage.k8s.io/VolumeSnapshot",
  "snapshot.storage.k8s.io/VolumeSnapshotContent",
]);

/** Whether an object may never be pruned without an approval: a protected kind, or part of the agent's own house. */
export function isProtected(id: ObjectId): boolean {
  return protectedKinds.has(`${id.group}/${id.kind}`) || id.namespace === agentNamespace;
}

/** How many objects may be pruned without approval: the larger of a number and a percentage (rounded down). */
export interface PruneBudget {
  readonly objects: number;
  readonly percent: number;
}

/** Prunes that wait, and why. */
export interface HeldPrunes {
  readonly keys: readonly ObjectKey[];
  /** Digest of the sorted keys: what an approval names. */
  readonly digest: string;
  readonly reason: string;
}

/** The number of objects that a budget lets go out of a total. */
export function allowedPrunes(budget: PruneBudget, total: number): number {
  return Math.max(budget.objects, Math.floor((total * budget.percent) / 100));
}

/** An object that would be pruned. */
export interface PruneCandidate {
  readonly key: ObjectKey;
  readonly bundle: string;
}

/**
 * Why a list of prunes has to wait, or undefined when it may go. Candidates of a bundle with a budget of its own are held
 * against that bundle's objects; all others together against the whole inventory. One protected object holds all.
 *
 * @param inventorySizes objects per bundle before the prune.
 * @param budgets budgets of bundles that set their own; the default is the same as none.
 */
export function holdPrunes(
  candidates: readonly PruneCandidate[],
  inventorySizes: ReadonlyMap<string, number>,
  budgets: ReadonlyMap<string, PruneBudget>,
): HeldPrunes | undefined {
  const precious = candidates.find(({ key }) => isProtected(parseObjectKey(key)));
  if (precious) return held(candidates, `${describeId(parseObjectKey(precious.key))} is of a protected kind`);
  const own = (bundle: string) => {
    const budget = budgets.get(bundle);
    return budget && (budget.objects !== defaultPruneBudget.objects || budget.percent !== defaultPruneBudget.percent) ? budget : undefined;
  };
  const pooled = candidates.filter(({ bundle }) => !own(bundle));
  const total = [...inventorySizes.values()].reduce((sum, size) => sum + size, 0);
  const allowed = allowedPrunes(defaultPruneBudget, total);
  if (pooled.length > allowed) return held(candidates, `${pooled.length} of ${total} objects would be deleted, ${allowed} are allowed without approval`);
  for (const bundle of new Set(candidates.map((candidate) => candidate.bundle))) {
    const budget = own(bundle);
    if (!budget) continue;
    const [size, many] = [inventorySizes.get(bundle) ?? 0, candidates.filter((candidate) => candidate.bundle === bundle).length];
    if (many > allowedPrunes(budget, size))
      return held(candidates, `${many} of ${size} objects of bundle ${bundle} would be deleted, ${allowedPrunes(budget, size)} are allowed without approval`);
  }
  return undefined;
}

/** Digest of a list of object ids: order does not matter. */
export function pruneListDigest(keys: readonly ObjectKey[]): string {
  return digestOf([...keys].sort());
}

function held(candidates: readonly PruneCandidate[], reason: string): HeldPrunes {
  const keys = candidates.map(({ key }) => key).sort();
  return { keys, digest: pruneListDigest(keys), reason };
}
