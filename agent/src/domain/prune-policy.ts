import { digestOf } from "@flotilla/proto/digest";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import { defaultPruneBudget } from "@flotilla/proto/limits";
import { describeId, parseObjectKey, type ObjectKey } from "./object-id.ts";

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

/** A person's word that a list may go, as a target carries it. */
export interface Approval {
  readonly revision: string;
  readonly digest: string;
}

/** The number of objects that a budget lets go out of a total. */
export function allowedPrunes(budget: PruneBudget, total: number): number {
  return Math.max(budget.objects, Math.floor((total * budget.percent) / 100));
}

/** An object that would be pruned. */
export interface PruneCandidate {
  readonly key: ObjectKey;
  readonly bundle: string;
  /** Its own annotation, or its bundle, asks that a person agrees. */
  readonly asksFirst: boolean;
}

/**
 * The prunes that have to wait for an approval, or undefined when all may go. One protected object holds all of them, and so does a list
 * over the budget; an object that only asks for itself holds itself. Candidates of a bundle with a budget of its own are held against that
 * bundle's objects; all others together against the whole inventory.
 *
 * @param inventorySizes objects per bundle before the prune.
 * @param budgets budgets of bundles that set their own; the default is the same as none.
 * @param spent what was pruned without approval for this revision already, by bundle: a budget is not had twice.
 */
export function holdPrunes(
  candidates: readonly PruneCandidate[],
  inventorySizes: ReadonlyMap<string, number>,
  budgets: ReadonlyMap<string, PruneBudget>,
  spent: ReadonlyMap<string, number> = new Map(),
): HeldPrunes | undefined {
  const ordinary = candidates.filter(({ asksFirst }) => !asksFirst);
  const reason = holdsProtected(candidates) ?? exceedsBudget(ordinary, inventorySizes, budgets, spent);
  if (reason !== undefined) return held(candidates, reason);
  const asking = candidates.filter(({ asksFirst }) => asksFirst);
  const [first] = asking;
  return first && held(asking, `${describeId(parseObjectKey(first.key))} asks for confirmation (prune: confirm)`);
}

function holdsProtected(candidates: readonly PruneCandidate[]): string | undefined {
  for (const { key } of candidates) {
    const why = whyProtected(parseObjectKey(key));
    if (why !== undefined) return `${describeId(parseObjectKey(key))} is of a protected kind (${why})`;
  }
  return undefined;
}

function exceedsBudget(
  candidates: readonly PruneCandidate[],
  inventorySizes: ReadonlyMap<string, number>,
  budgets: ReadonlyMap<string, PruneBudget>,
  spent: ReadonlyMap<string, number>,
): string | undefined {
  const own = (bundle: string) => {
    const budget = budgets.get(bundle);
    return budget && (budget.objects !== defaultPruneBudget.objects || budget.percent !== defaultPruneBudget.percent) ? budget : undefined;
  };
  const pooled = candidates.filter(({ bundle }) => !own(bundle));
  const before = [...spent].reduce((sum, [bundle, count]) => sum + (own(bundle) ? 0 : count), 0);
  const total = [...inventorySizes.values()].reduce((sum, size) => sum + size, 0);
  const allowed = allowedPrunes(defaultPruneBudget, total);
  if (pooled.length > 0 && pooled.length + before > allowed)
    return `${pooled.length} of ${total} objects would be deleted, ${allowed} are allowed without approval${tellSpent(before)}`;
  for (const bundle of new Set(candidates.map((candidate) => candidate.bundle))) {
    const budget = own(bundle);
    if (!budget) continue;
    const [size, many] = [inventorySizes.get(bundle) ?? 0, candidates.filter((candidate) => candidate.bundle === bundle).length];
    const gone = spent.get(bundle) ?? 0;
    if (many + gone > allowedPrunes(budget, size))
      return `${many} of ${size} objects of bundle ${bundle} would be deleted, ${allowedPrunes(budget, size)} are allowed without approval${tellSpent(gone)}`;
  }
  return undefined;
}

/** Stands for one object that was pruned, or is about to be: one of the name that is made later is another. */
export function spentMark({ key, uid }: { readonly key: ObjectKey; readonly uid: string }): string {
  return digestOf([key, uid]).slice(0, 12);
}

function tellSpent(count: number): string {
  return count === 0 ? "" : `, and ${count} were deleted for this revision`;
}

/** Digest of a list of object ids: order does not matter. */
export function pruneListDigest(keys: readonly ObjectKey[]): string {
  return digestOf([...keys].sort());
}

function held(candidates: readonly PruneCandidate[], reason: string): HeldPrunes {
  const keys = candidates.map(({ key }) => key).sort();
  return { keys, digest: pruneListDigest(keys), reason };
}
