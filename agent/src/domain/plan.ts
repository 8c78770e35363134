import type { Directives } from "@flotilla/proto/directives";
import { inApplyOrder, stageOf, stages, type Stage } from "./apply-order.ts";
import type { Inventory } from "./inventory.ts";
import { parseObjectKey, type ObjectId, type ObjectKey } from "./object-id.ts";
import { holdPrunes, type HeldPrunes, type PruneBudget } from "./prune-policy.ts";

/** What the target wants of one object. */
export interface DesiredObject {
  readonly key: ObjectKey;
  readonly id: ObjectId;
  readonly apiVersion: string;
  readonly bundle: string;
  /** Digest of the body it lies in, and its line there. */
  readonly body: string;
  readonly line: number;
  /** Hash of its content and of its ignore rules. */
  readonly hash: string;
  /** JSON pointers that drift does not look at. */
  readonly ignored: readonly string[];
  /** What its annotations ask for. */
  readonly directives: Directives;
}

/** What the watch knows of a live object. "unseen": its kind cannot be listed, or has not been yet. */
export type Observation =
  | { readonly state: "present"; readonly uid: string; readonly owned: string }
  | { readonly state: "absent" }
  | { readonly state: "unseen" };

/** How a bundle's drift is answered. "heal-unless-drifted": a new revision does not overwrite what somebody changed by hand. */
export type DriftMode = "heal" | "report" | "heal-unless-drifted";

/** Everything a plan is made from. All of it is values: the same input gives the same plan. */
export interface PlanInput {
  readonly desired: ReadonlyMap<ObjectKey, DesiredObject>;
  /** Objects of the target that another fleet or bundle owns here. */
  readonly excluded: ReadonlySet<ObjectKey>;
  readonly inventory: Inventory;
  readonly observe: (key: ObjectKey) => Observation;
  /** Whether an inventory of another fleet in this cluster holds the object: its name, or undefined. */
  readonly claimedBy: (key: ObjectKey) => string | undefined;
  readonly driftMode: (bundle: string) => DriftMode;
  /** Why an object may not be applied yet, or undefined. */
  readonly blocked: (object: DesiredObject) => string | undefined;
  /** Why an object of the inventory that the target does not name stays as it is: it is a hook, or its bundle is suspended. */
  readonly stays: (key: ObjectKey, bundle: string) => boolean;
  readonly budgets: ReadonlyMap<string, PruneBudget>;
}

/** One object to apply, and why. */
export interface ApplyStep {
  readonly object: DesiredObject;
  readonly reason: "new" | "changed";
}

/** The changes intended. */
export interface Plan {
  /** By stage, in the order they are tried. */
  readonly applies: ReadonlyMap<Stage, readonly ApplyStep[]>;
  /** Unchanged in Git, different in the cluster: answered object by object, by drift mode and budget. */
  readonly drifted: readonly ObjectKey[];
  readonly unchanged: readonly ObjectKey[];
  /** Objects of bundles that wait for others: key → why. */
  readonly waiting: ReadonlyMap<ObjectKey, string>;
  /** Objects another inventory claims: key → who. Never touched. */
  readonly claimed: ReadonlyMap<ObjectKey, string>;
  /** Changed by hand in a bundle that asks not to overwrite that. */
  readonly kept: readonly ObjectKey[];
  /** In the inventory, no longer ours by the target's own word: forgotten, not deleted. */
  readonly letGo: readonly ObjectKey[];
  /** In the inventory, not in the target: last applied first. Deleted only when every apply succeeded. */
  readonly prunes: readonly ObjectKey[];
  readonly held: HeldPrunes | undefined;
}

/**
 * Decide what to do so that the cluster runs the target. Pure. Rules: G5 (nothing is pruned but what the target, whole and
 * not empty, no longer names), G6 (budget, protected kinds: prunes held as a whole, applies go on), G7 (only what the inventory holds).
 * Whether a target is whole is judged before, by refuseTarget.
 */
export function planChanges(input: PlanInput): Plan {
  const sorted = sortDesired(input);
  const { prunes, letGo } = sortInventory(input);
  const held = holdPrunes(prunes, sizesByBundle(input.inventory), input.budgets);
  return { ...sorted, letGo, prunes: held ? [] : inPruneOrder(prunes.map(({ key }) => key)), held };
}

type DesiredPart = Omit<Plan, "letGo" | "prunes" | "held">;

function sortDesired(input: PlanInput): DesiredPart {
  const steps: ApplyStep[] = [];
  const [drifted, unchanged, kept]: [ObjectKey[], ObjectKey[], ObjectKey[]] = [[], [], []];
  const [waiting, claimed] = [new Map<ObjectKey, string>(), new Map<ObjectKey, string>()];
  for (const object of input.desired.values()) {
    const { key } = object;
    const owner = input.claimedBy(key);
    const verdict = owner === undefined ? compare(object, input) : "claimed";
    const wait = verdict === "new" || verdict === "changed" ? input.blocked(object) : undefined;
    if (owner !== undefined) claimed.set(key, owner);
    else if (wait !== undefined) waiting.set(key, wait);
    else if (verdict === "new" || verdict === "changed") steps.push({ object, reason: verdict });
    else if (verdict === "drifted") drifted.push(key);
    else if (verdict === "kept") kept.push(key);
    else unchanged.push(key);
  }
  return { applies: byStage(steps), drifted, unchanged, waiting, claimed, kept };
}

type Comparison = "new" | "changed" | "drifted" | "kept" | "unchanged" | "claimed";

function compare(object: DesiredObject, input: PlanInput): Comparison {
  const entry = input.inventory.get(object.key);
  if (!entry || entry.desired === "") return "new";
  const live = input.observe(object.key);
  const drifted = live.state === "absent" || (live.state === "present" && (live.uid !== entry.uid || live.owned !== entry.owned));
  if (entry.desired === object.hash) return drifted ? "drifted" : "unchanged";
  const editedByHand = live.state === "present" && live.uid === entry.uid && live.owned !== entry.owned;
  return editedByHand && input.driftMode(object.bundle) === "heal-unless-drifted" ? "kept" : "changed";
}

function sortInventory(input: PlanInput): { prunes: { key: ObjectKey; bundle: string }[]; letGo: ObjectKey[] } {
  const prunes: { key: ObjectKey; bundle: string }[] = [];
  const letGo: ObjectKey[] = [];
  for (const { key, bundle } of input.inventory.values()) {
    if (input.desired.has(key) || input.stays(key, bundle)) continue;
    if (input.excluded.has(key) || input.claimedBy(key) !== undefined) letGo.push(key);
    else prunes.push({ key, bundle });
  }
  return { prunes, letGo };
}

function byStage(steps: readonly ApplyStep[]): ReadonlyMap<Stage, readonly ApplyStep[]> {
  const ordered = inApplyOrder(steps.map((step) => ({ step, id: step.object.id }))).map(({ step }) => step);
  return new Map(stages.map((stage) => [stage, ordered.filter((step) => stageOf(step.object.id) === stage)]));
}

/** Workloads go before what they stand on: the apply order backwards. */
export function inPruneOrder(keys: readonly ObjectKey[]): ObjectKey[] {
  return inApplyOrder(keys.map((key) => ({ key, id: parseObjectKey(key) })))
    .map(({ key }) => key)
    .reverse();
}

/** Objects per bundle. */
export function sizesByBundle(inventory: Inventory): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const { bundle } of inventory.values()) sizes.set(bundle, (sizes.get(bundle) ?? 0) + 1);
  return sizes;
}
