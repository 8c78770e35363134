import type { HookPhase } from "@flotilla/proto/directives";
import type { ObjectKey } from "./object-id.ts";

/** Phases at which a hook runs; "skip" is never applied. "pre-delete" and "post-delete" are a removal's, and no part of a bundle's order. */
export type RunPhase = Exclude<HookPhase, "skip">;

/** How far one hook is for the content that is wanted now. */
export type HookState = "due" | "started" | "succeeded" | "failed";

/** One hook at one of its phases. */
export interface HookFact {
  readonly key: ObjectKey;
  readonly phase: RunPhase;
  readonly stage: number;
  /** For people: "Job shop/migrate". */
  readonly name: string;
  readonly state: HookState;
  readonly why: string;
}

/** One object of a bundle as its order sees it. */
export interface ObjectFact {
  readonly name: string;
  readonly stage: number;
  /** A definition or a namespace: before every stage and every hook. */
  readonly isEarly: boolean;
  readonly isApplied: boolean;
  readonly isHealthy: boolean;
  /** Why it is not applied or not healthy. */
  readonly why: string;
  /** It waits for the definition of its kind. */
  readonly waitsForDefinition: boolean;
}

/** What is known of a bundle. */
export interface BundleFacts {
  /** It is suspended, or its window is closed: nothing of it is touched. */
  readonly hold: string | undefined;
  /** Which bundle it waits for, and why. */
  readonly waitsFor: string | undefined;
  readonly objects: readonly ObjectFact[];
  readonly hooks: readonly HookFact[];
  /** This content came to its end before: its hooks ran, and what goes wrong since is no failed sync. */
  readonly wasDone: boolean;
}

export type OrderPhase = "held" | "dependsOn" | "definitions" | "pre" | "apply" | "stage" | "sync" | "post" | "done";

/** Where a bundle stands, and what that lets happen. */
export interface BundleOrder {
  readonly phase: OrderPhase;
  /** The stage that is open, where stages are used. */
  readonly stage: number | undefined;
  /** The object that the phase waits for, and why; "" when it waits for nothing. */
  readonly blocker: string;
  /** Objects of this stage and of those before it may be applied. */
  readonly openStage: number;
  /** Whether definitions and namespaces may be applied. */
  readonly isOpen: boolean;
  /** Hooks to start now. */
  readonly start: readonly HookFact[];
  /** Why the sync failed; "" when it did not. */
  readonly failed: string;
}

/**
 * Decide what of a bundle may be applied now. Pure. A bundle goes through: dependencies, definitions and namespaces, pre hooks, stages from the
 * smallest (with the sync hooks of each), post hooks. A stage or a hook begins when all before it is applied and healthy. A bundle whose objects
 * are all of one stage, without hooks, is applied in one go, and its health is awaited by nobody.
 */
export function orderBundle(facts: BundleFacts): BundleOrder {
  if (facts.hold !== undefined) return closed("held", facts.hold);
  if (facts.waitsFor !== undefined) return closed("dependsOn", facts.waitsFor);
  const rest = facts.objects.filter((object) => !object.isEarly);
  const staged = walkStages(rest, facts);
  if (facts.wasDone)
    return {
      ...staged,
      phase: firstUnapplied(facts.objects) ? staged.phase : "done",
      blocker: firstUnapplied(facts.objects)?.why ?? "",
      start: [],
      failed: "",
    };
  const pre = walkHooks(facts.hooks, "pre");
  if (!pre.isDone) return { phase: "pre", stage: undefined, openStage: -Infinity, isOpen: true, ...pre };
  if (staged.phase !== "done") return staged;
  const early = firstUnapplied(facts.objects);
  if (early) return { ...staged, phase: "apply", blocker: tell(early) };
  const post = walkHooks(facts.hooks, "post");
  return post.isDone ? staged : { ...staged, ...post, phase: "post" };
}

/** The failure hooks that are to be started, when a sync failed. */
export function failureHooks(facts: BundleFacts): readonly HookFact[] {
  return facts.wasDone || facts.hold !== undefined ? [] : walkHooks(facts.hooks, "failure").start;
}

/** Why an object of a stage may not be applied now; undefined when it may. */
export function closedBecause(order: BundleOrder, stage: number, isEarly: boolean): string | undefined {
  if (isEarly ? order.isOpen : stage <= order.openStage) return undefined;
  if (order.failed !== "") return order.failed;
  if (order.phase === "stage" || order.phase === "sync" || order.phase === "definitions") return `waits for stage ${order.stage ?? 0}: ${order.blocker}`;
  return order.phase === "pre" ? `waits for ${order.blocker}` : order.blocker;
}

function closed(phase: OrderPhase, blocker: string): BundleOrder {
  return { phase, stage: undefined, blocker, openStage: -Infinity, isOpen: false, start: [], failed: "" };
}

/** How far the hooks of one phase are, and which are to be started. */
export interface HookWalk {
  readonly isDone: boolean;
  readonly start: readonly HookFact[];
  readonly blocker: string;
  readonly failed: string;
}

/** Hooks of one phase: stage after stage, each beginning when those before it ended well. */
export function walkHooks(all: readonly HookFact[], phase: RunPhase): HookWalk {
  const hooks = all.filter((hook) => hook.phase === phase);
  for (const stage of ascending(hooks)) {
    const group = hooks.filter((hook) => hook.stage === stage);
    const walk = walkGroup(group);
    if (!walk.isDone) return walk;
  }
  return allDone;
}

const allDone: HookWalk = { isDone: true, start: [], blocker: "", failed: "" };

function walkGroup(group: readonly HookFact[]): HookWalk {
  const failed = group.find((hook) => hook.state === "failed");
  if (failed) return { isDone: false, start: [], blocker: tellHook(failed), failed: `${failed.phase} hook ${failed.name} failed: ${failed.why}` };
  const open = group.filter((hook) => hook.state !== "succeeded");
  const [first] = open;
  return first ? { isDone: false, start: open.filter((hook) => hook.state === "due"), blocker: tellHook(first), failed: "" } : allDone;
}

/** The lowest stage that is not applied and healthy is open, those after it are closed. */
function walkStages(rest: readonly ObjectFact[], facts: BundleFacts): BundleOrder {
  const hooks = facts.hooks.filter((hook) => hook.phase === "sync");
  const stages = ascending([...rest, ...hooks]);
  const awaitsHealth = facts.hooks.length > 0 || stages.length > 1;
  const open = { stage: undefined, openStage: Infinity, isOpen: true, start: [], failed: "" };
  if (!awaitsHealth) {
    const first = firstUnapplied(facts.objects);
    return { ...open, phase: first ? (first.waitsForDefinition ? "definitions" : "apply") : "done", blocker: first ? tell(first) : "" };
  }
  for (const stage of ascending([...rest, ...hooks])) {
    const object = rest.find((candidate) => candidate.stage === stage && !(candidate.isApplied && candidate.isHealthy));
    const walk = facts.wasDone ? allDone : walkGroup(hooks.filter((hook) => hook.stage === stage));
    if (!object && walk.isDone) continue;
    const phase = object?.waitsForDefinition ? "definitions" : object ? "stage" : "sync";
    return { phase, stage, blocker: object ? tell(object) : walk.blocker, openStage: stage, isOpen: true, start: walk.start, failed: walk.failed };
  }
  return { ...open, phase: "done", blocker: "" };
}

function ascending(of: readonly { readonly stage: number }[]): number[] {
  return [...new Set(of.map(({ stage }) => stage))].sort((a, b) => a - b);
}

function firstUnapplied(objects: readonly ObjectFact[]): ObjectFact | undefined {
  return objects.find((object) => !object.isApplied && !object.waitsForDefinition) ?? objects.find((object) => !object.isApplied);
}

function tell({ name, why }: ObjectFact): string {
  return why === "" ? name : `${name}: ${why}`;
}

function tellHook({ phase, name, why }: HookFact): string {
  return `${phase} hook ${name}${why === "" ? "" : `: ${why}`}`;
}
