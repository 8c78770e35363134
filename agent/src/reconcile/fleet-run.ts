import type { Target } from "@flotilla/proto/gen/target";
import type { InventoryEntry } from "../domain/inventory.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import type { BundleReadiness } from "../domain/apply-order.ts";
import type { BundleOrder } from "../domain/bundle-order.ts";
import type { HookRun } from "../domain/hook-run.ts";
import type { Correction } from "../domain/heal-budget.ts";
import type { Farewell } from "../domain/farewell.ts";
import type { DesiredObject } from "../domain/plan.ts";
import type { SpentBudget, SyncMark } from "../cluster/order-store.ts";
import type { HeldPrunes } from "../domain/prune-policy.ts";
import type { Desired } from "./read-desired.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** A target that arrived, or was found in the cluster after a restart. */
export interface PendingTarget {
  readonly target: Target;
  /** Epoch ms. */
  readonly arrivedAt: number;
  /** It comes from the cluster itself: nothing has to be written to keep it, and its path was told before. */
  readonly isRestored: boolean;
}

/** Since when a bundle has been in the phase that it is in. */
export interface PhaseClock {
  readonly token: string;
  readonly phase: string;
  /** Epoch ms: this phase, and the first phase in which something of this content was done. */
  readonly since: number;
  readonly begunAt: number;
}

/** What the last plan found out about the order of one bundle. */
export interface OrderState extends BundleOrder {
  /** Why it takes too long; "" while it does not. */
  readonly late: string;
}

/** Everything the engine holds of one fleet. Only the fleet's own stories change it. */
export interface FleetRun {
  readonly name: string;
  /** The target being followed: whole, readable and kept in the cluster. */
  target: Target | undefined;
  /** The newest target that arrived, until it is followed or refused. */
  pending: PendingTarget | undefined;
  desired: Desired;
  readonly inventory: Map<ObjectKey, InventoryEntry>;
  readonly objects: Map<ObjectKey, TrackedObject>;
  /** Newest runs of hooks, by hookRunKey, and how far the syncs of bundles are: kept in the cluster. */
  readonly hookRuns: Map<string, HookRun>;
  readonly syncs: Map<string, SyncMark>;
  /** What the bundles of the target, and those that are leaving, ask to be run when they are removed: kept in the cluster. */
  readonly farewells: Map<string, Farewell>;
  /** Corrections lately, for the heal budget: kept in the cluster. */
  readonly heals: Map<ObjectKey, readonly Correction[]>;
  /** Where each bundle stands, as the last plan saw it. */
  orders: ReadonlyMap<string, OrderState>;
  readonly clocks: Map<string, PhaseClock>;
  /** Bundles whose objects something waits for, and single objects that an expression reads. */
  awaited: ReadonlySet<string>;
  awaitedObjects: ReadonlySet<ObjectKey>;
  /** By bundle: what its readiness expressions said of the bundles that it depends on. */
  expressions: ReadonlyMap<string, ReadonlyMap<string, BundleReadiness>>;
  /** Objects of the target that the last plan left to others or to what people did: nothing waits for them. */
  leftAlone: ReadonlySet<ObjectKey>;
  /** The next moment at which time alone changes something: a deadline, a window. */
  wakeTimer: NodeJS.Timeout | undefined;
  /** Entries that a process before this one widened: what is found under their names may be its work. */
  readonly interrupted: Set<ObjectKey>;
  /** Bundles of the inventory that the target names no more, since when (epoch ms): another fleet may take them over. */
  readonly leftBundles: Map<string, number>;
  /** And single objects that have left bundles which stay. */
  readonly leftObjects: Map<ObjectKey, number>;
  /** UIDs of what was deleted since the start: the garbage collector is busy with what those made. */
  readonly prunedUids: Set<string>;
  /** What was pruned without approval for a revision, by bundle: a budget is not had twice. Kept in the cluster. */
  spent: SpentBudget;
  /** Plans in a row whose prunes did not all come to an end. */
  pruneTries: number;
  /** Whether the last plan left something to another fleet, or waited for one's target. */
  waitsForOthers: boolean;
  held: HeldPrunes | undefined;
  /** Prunes that wait because not everything is applied yet, and why. */
  prunesWait: { readonly count: number; readonly reason: string; readonly isForHealth: boolean } | undefined;
  /** Why the inventory cannot be read; nothing is done for the fleet then. "" when it can. */
  inventoryProblem: string;
  /** The cluster's database went back in time, and what is kept in it was not written anew yet. */
  goneBack: boolean;
  /** Why the newest target is not followed; "" when it is. */
  refusal: string;
  /** Why the last plan broke off as a whole; "" when it did not. */
  trouble: string;
  /** Plans that broke off in a row. */
  troubles: number;
  /** Plan steps still to be done: their objects are not retried or healed meanwhile. */
  readonly planned: Set<ObjectKey>;
  /** Generation whose phase was told already, by phase. */
  readonly told: Map<string, bigint>;
  /** Generation that was found in the cluster at the start; undefined when there was none. */
  restored: bigint | undefined;
  /** End of the apply, and last change of an object's health (epoch ms): the healthy phase lies between them. */
  appliedAt: number;
  healthChangedAt: number;
  /** Ends the plan that runs: a newer target came, or the engine stops. */
  superseded: AbortController;
  /** The write of the inventory that runs. */
  saving: Promise<void> | undefined;
  settleTimer: NodeJS.Timeout | undefined;
  /** The write of what is remembered of the order, soon. */
  orderTimer: NodeJS.Timeout | undefined;
  orderSaving: Promise<void> | undefined;
}

/** A fleet of which nothing is known yet. */
export function newFleetRun(name: string): FleetRun {
  return {
    name,
    target: undefined,
    pending: undefined,
    desired: { objects: new Map(), excluded: new Map(), bundles: new Map(), hooks: new Map(), definitions: new Map() },
    inventory: new Map(),
    objects: new Map(),
    hookRuns: new Map(),
    syncs: new Map(),
    farewells: new Map(),
    heals: new Map(),
    orders: new Map(),
    clocks: new Map(),
    awaited: new Set(),
    awaitedObjects: new Set(),
    expressions: new Map(),
    leftAlone: new Set(),
    wakeTimer: undefined,
    interrupted: new Set(),
    leftBundles: new Map(),
    leftObjects: new Map(),
    prunedUids: new Set(),
    spent: { revision: "", byBundle: new Map() },
    pruneTries: 0,
    waitsForOthers: false,
    held: undefined,
    prunesWait: undefined,
    inventoryProblem: "",
    goneBack: false,
    refusal: "",
    trouble: "",
    troubles: 0,
    planned: new Set(),
    told: new Map(),
    restored: undefined,
    appliedAt: 0,
    healthChangedAt: 0,
    superseded: new AbortController(),
    saving: undefined,
    settleTimer: undefined,
    orderTimer: undefined,
    orderSaving: undefined,
  };
}

/** Whether the object is what the target wants as far as is known: applied with the wanted content, and not failed. */
export function isApplied(run: FleetRun, key: ObjectKey): boolean {
  const wanted = run.desired.objects.get(key);
  if (wanted !== undefined && run.objects.get(key)?.exempt) return true;
  const entry = run.inventory.get(key);
  // As the plan has it: what moved to another bundle is applied once more, so that its annotation says where it belongs.
  return wanted !== undefined && entry?.desired === wanted.hash && entry.bundle === wanted.bundle && !run.objects.get(key)?.failure;
}

/** In whose name a bundle's objects are written: a service account, or "" for the agent itself. */
export function accountOf(run: FleetRun, bundle: string): string {
  return run.desired.bundles.get(bundle)?.account ?? run.farewells.get(bundle)?.account ?? "";
}

/** The farewells of bundles that the target does not name, or names no more. */
export function leavingFarewells(run: FleetRun): Farewell[] {
  return [...run.farewells.values()].filter(({ bundle }) => !run.desired.bundles.has(bundle));
}

/** The hook of a removal that has begun; undefined when it is none, or the target wants an object of this name. */
export function leavingHook(run: FleetRun, key: ObjectKey): DesiredObject | undefined {
  if (run.farewells.size === 0 || run.desired.objects.has(key) || run.desired.hooks.has(key) || run.desired.excluded.has(key)) return undefined;
  for (const { bundle, state, hooks } of run.farewells.values()) {
    const hook = state === "begun" && !run.desired.bundles.has(bundle) ? hooks.get(key) : undefined;
    if (hook) return hook;
  }
  return undefined;
}

/** Whether an object is a hook, of the target or of a removal that has begun. */
export function isHookHere(run: FleetRun, key: ObjectKey): boolean {
  return run.desired.hooks.has(key) || leavingHook(run, key) !== undefined;
}

/** In whose name an object of the inventory is deleted: its bundle's, or, when the bundle has left the target, who wrote it last. */
export function accountOfEntry(run: FleetRun, entry: InventoryEntry): string {
  return run.desired.bundles.has(entry.bundle) ? accountOf(run, entry.bundle) : (entry.account ?? "");
}

/** Have every entry of the target's objects name the account that writes it: when its bundle is gone, nobody else can tell. */
export function noteAccounts(run: FleetRun): void {
  for (const { key, bundle } of run.desired.objects.values()) {
    const entry = run.inventory.get(key);
    const account = accountOf(run, bundle);
    if (!entry || (entry.account ?? "") === account) continue;
    const { account: _before, ...rest } = entry;
    run.inventory.set(key, account === "" ? rest : { ...rest, account });
  }
}

/** Whether the live object differs from what was applied. */
export function isDrifted(run: FleetRun, object: TrackedObject): boolean {
  const entry = run.inventory.get(object.key);
  const wanted = run.desired.objects.get(object.key);
  if (!entry || entry.desired === "" || !wanted || object.live?.guard.paused) return false;
  // What is only made when it is missing is missing.
  if (object.exempt !== "" && (object.live || wanted.directives.ssa !== "ifNotPresent")) return false;
  if (!object.live) return object.isVisible;
  return object.live.uid !== entry.uid || object.live.owned !== entry.owned;
}
