import type { Directives } from "@flotilla/proto/directives";
import { inApplyOrder, stageOf, stages, type Stage } from "./apply-order.ts";
import { strictest, unguarded, type Guard } from "./guard.ts";
import type { Ignored } from "./ignore.ts";
import type { Inventory, InventoryEntry } from "./inventory.ts";
import { parseObjectKey, type ObjectId, type ObjectKey } from "./object-id.ts";
import { isOwnHouse } from "./protected-kinds.ts";
import { holdPrunes, spentMark, type Approval, type HeldPrunes, type PruneBudget, type PruneCandidate } from "./prune-policy.ts";

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
  /** What drift does not look at. */
  readonly ignored: Ignored;
  /** What its annotations ask for. */
  readonly directives: Directives;
}

/** What the watch knows of a live object. "unseen": its kind cannot be listed, or has not been yet. */
export type Observation =
  | { readonly state: "present"; readonly uid: string; readonly owned: string; readonly guard?: Guard; readonly isGoing?: boolean }
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
  /** The other fleet in this cluster that wants an object and holds it, or may do so: it keeps it. */
  readonly claimedBy: (key: ObjectKey) => string | undefined;
  /** The other fleet in this cluster that has taken over an object. */
  readonly takenBy: (key: ObjectKey) => string | undefined;
  /** The other fleet in this cluster whose target names the object: a prune becomes a hand-over, which waits until it is taken over. */
  readonly namedBy: (key: ObjectKey) => string | undefined;
  readonly driftMode: (bundle: string) => DriftMode;
  /** Why an object may not be applied yet, or undefined. */
  readonly blocked: (object: DesiredObject) => string | undefined;
  /** Why an object of the inventory that the target does not name stays as it is: it is a hook, or its bundle is suspended. */
  readonly stays: (key: ObjectKey, bundle: string) => boolean;
  readonly budgets: ReadonlyMap<string, PruneBudget>;
  /** What was pruned without approval for this revision already, or is about to be, by bundle: marks as spentMark gives them. */
  readonly spent?: ReadonlyMap<string, ReadonlySet<string>>;
  readonly revision: string;
  readonly approval: Approval | undefined;
  /** Why an object that has just left the target, by itself or with its bundle, may not be deleted yet, or undefined. */
  readonly rests: (key: ObjectKey, bundle: string) => string | undefined;
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
  /** Git itself, or an annotation on the live object, asks that they are left as they are: key → why. In sync, and never awaited. */
  readonly exempt: ReadonlyMap<ObjectKey, string>;
  /** In the inventory, no longer ours or guarded: forgotten, not deleted. Key → why. */
  readonly letGo: ReadonlyMap<ObjectKey, string>;
  /** In the inventory, not in the target: last applied first. Deleted only when every apply succeeded. */
  readonly prunes: readonly ObjectKey[];
  /** Deleted after all others are, when everything is applied and healthy. */
  readonly lastPrunes: readonly ObjectKey[];
  /** Of these, a person agreed to the deletion. */
  readonly approved: ReadonlySet<ObjectKey>;
  /** To be pruned, and not yet: key → why. */
  readonly resting: ReadonlyMap<ObjectKey, string>;
  /** Deleted, and held by finalizers: nothing more to do, and nobody's budget. */
  readonly going: readonly ObjectKey[];
  readonly held: HeldPrunes | undefined;
}

/**
 * Decide what to do so that the cluster runs the target. Pure. Rules: G5 (nothing is pruned but what the target, whole and
 * not empty, no longer names), G6 (budget, protected kinds: prunes held as a whole, applies go on; an approval lets exactly the held list
 * go for exactly its revision), G7 (only what the inventory holds).
 * Whether a target is whole is judged before, by refuseTarget.
 */
export function planChanges(input: PlanInput): Plan {
  return { ...sortDesired(input), ...sortInventory(input) };
}

type PrunePart = Pick<Plan, "letGo" | "prunes" | "lastPrunes" | "approved" | "resting" | "going" | "held">;

function sortDesired(input: PlanInput): Omit<Plan, keyof PrunePart> {
  const steps: ApplyStep[] = [];
  const [drifted, unchanged, kept]: [ObjectKey[], ObjectKey[], ObjectKey[]] = [[], [], []];
  const [waiting, claimed, exempt] = [new Map<ObjectKey, string>(), new Map<ObjectKey, string>(), new Map<ObjectKey, string>()];
  for (const object of input.desired.values()) {
    const { key } = object;
    const owner = input.claimedBy(key);
    const exemption = owner === undefined ? exemptionOf(object, input) : undefined;
    const verdict = owner !== undefined ? "claimed" : exemption !== undefined ? "exempt" : compare(object, input);
    const wait = verdict === "new" || verdict === "changed" ? input.blocked(object) : undefined;
    if (owner !== undefined) claimed.set(key, owner);
    else if (exemption !== undefined) exempt.set(key, exemption);
    else if (wait !== undefined) waiting.set(key, wait);
    else if (verdict === "new" || verdict === "changed") steps.push({ object, reason: verdict });
    else if (verdict === "drifted") drifted.push(key);
    else if (verdict === "kept") kept.push(key);
    else unchanged.push(key);
  }
  return { applies: byStage(steps), drifted, unchanged, waiting, claimed, kept, exempt };
}

type Comparison = "new" | "changed" | "drifted" | "kept" | "unchanged";

function compare(object: DesiredObject, input: PlanInput): Comparison {
  const entry = input.inventory.get(object.key);
  if (!entry || entry.desired === "") return "new";
  const live = input.observe(object.key);
  const drifted = live.state === "absent" || (live.state === "present" && (live.uid !== entry.uid || live.owned !== entry.owned));
  // An object that moved to another bundle is applied once more: its owner annotation says where it belongs.
  if (entry.desired === object.hash && entry.bundle === object.bundle) return drifted ? "drifted" : "unchanged";
  const editedByHand = live.state === "present" && live.uid === entry.uid && live.owned !== entry.owned;
  return editedByHand && (object.directives.drift ?? input.driftMode(object.bundle)) === "heal-unless-drifted" ? "kept" : "changed";
}

/** Why an object is left as it is although the target names it, or undefined. */
function exemptionOf({ key, directives }: DesiredObject, input: PlanInput): string | undefined {
  if (directives.reconcile === "disabled") return "not reconciled, as its annotation in Git says";
  if (directives.ssa === "ignore") return "never applied (ssa: ignore)";
  const live = input.observe(key);
  if (live.state === "present" && live.guard?.paused) return "not reconciled, as its annotation in the cluster says";
  const isKnown = (input.inventory.get(key)?.uid ?? "") !== "";
  return directives.ssa === "ifNotPresent" && isKnown && live.state !== "absent" ? "there already, and never changed (ssa: ifNotPresent)" : undefined;
}

function sortInventory(input: PlanInput): PrunePart {
  const letGo = new Map<ObjectKey, string>();
  const resting = new Map<ObjectKey, string>();
  const going: ObjectKey[] = [];
  const unwanted: (PruneCandidate & { readonly entry: InventoryEntry; readonly guard: Guard })[] = [];
  for (const entry of input.inventory.values()) {
    const { key, bundle } = entry;
    if (input.desired.has(key) || input.stays(key, bundle)) continue;
    const live = input.observe(key);
    const said = entry.guard ?? unguarded;
    const guard = live.state === "present" ? strictest(said, live.guard ?? unguarded) : said;
    const why = whyLetGo(key, guard, input);
    const taker = input.namedBy(key);
    if (why !== undefined) letGo.set(key, why);
    else if (taker !== undefined) resting.set(key, `goes over to fleet ${taker}, which names it`);
    else if (live.state === "present" && live.isGoing && live.uid === entry.uid) going.push(key);
    else unwanted.push({ key, bundle, entry, guard, asksFirst: guard.prune === "confirm" });
  }
  const { held, approved } = hold(unwanted, input);
  const stays = new Set(held?.keys);
  for (const { key, bundle } of unwanted) {
    const why = stays.has(key) ? undefined : input.rests(key, bundle);
    if (why !== undefined) resting.set(key, why);
  }
  const free = unwanted.filter(({ key }) => !stays.has(key) && !resting.has(key));
  const [last, first] = [free.filter(({ guard }) => guard.prune === "last"), free.filter(({ guard }) => guard.prune !== "last")];
  const ordered = (candidates: readonly PruneCandidate[]) => inPruneOrder(candidates.map(({ key }) => key));
  return { letGo, held, approved, resting, going, prunes: ordered(first), lastPrunes: ordered(last) };
}

function whyLetGo(key: ObjectKey, guard: Guard, input: PlanInput): string | undefined {
  if (input.excluded.has(key) || input.takenBy(key) !== undefined) return "now belongs to another fleet or bundle and is left alone";
  if (isOwnHouse(parseObjectKey(key))) return "is the agent's own and never deleted";
  return guard.prune === "disabled" ? "is no longer in Git and stays: it asks not to be deleted" : undefined;
}

/** What waits for an approval. What was approved before, as part of a list that is being deleted, goes on. */
function hold(
  unwanted: readonly (PruneCandidate & { readonly entry: InventoryEntry })[],
  input: PlanInput,
): { held: HeldPrunes | undefined; approved: ReadonlySet<ObjectKey> } {
  const digest = input.approval?.revision === input.revision ? input.approval.digest : "";
  const approved = new Set(unwanted.filter(({ entry }) => digest !== "" && entry.approved === digest).map(({ key }) => key));
  const open = unwanted.filter(({ key }) => !approved.has(key));
  // What was about to be deleted when the agent ended is a candidate again, and counts once.
  const marks = new Set(open.map(({ entry }) => spentMark(entry)));
  const spent = new Map([...(input.spent ?? [])].map(([bundle, gone]) => [bundle, [...gone].filter((mark) => !marks.has(mark)).length]));
  const held = holdPrunes(open, sizesByBundle(input.inventory), input.budgets, spent);
  if (!held || held.digest !== digest) return { held, approved };
  return { held: undefined, approved: new Set([...approved, ...held.keys]) };
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
