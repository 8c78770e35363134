import {
  closedBecause,
  failureHooks,
  orderBundle,
  type BundleFacts,
  type BundleOrder,
  type HookFact,
  type ObjectFact,
  type RunPhase,
} from "../domain/bundle-order.ts";
import { blockedBy, stageOf, type BundleReadiness } from "../domain/apply-order.ts";
import { tellDuration } from "../domain/hook-run.ts";
import { describeId } from "../domain/object-id.ts";
import type { DesiredObject } from "../domain/plan.ts";
import type { EngineContext } from "./engine-context.ts";
import { isApplied, type FleetRun, type OrderState, type PhaseClock } from "./fleet-run.ts";
import { holdOf, nextWindowChange } from "./hold-of.ts";
import { judge, readinessOf } from "./object-state.ts";
import type { BundlePolicy } from "./read-desired.ts";
import { hookFact } from "./run-hooks.ts";
import { tellOrderPhase } from "./tell-order-phase.ts";

/** Where every bundle stands, and what follows from it. */
export interface Orders {
  readonly states: ReadonlyMap<string, OrderState>;
  /** Bundles and objects whose changes may let something go on. */
  readonly awaited: ReadonlySet<string>;
  /** When time alone changes something (epoch ms). */
  readonly wakeAt: number;
  /** Why an object may not be applied now; undefined when it may. */
  gate(object: DesiredObject): string | undefined;
}

/** See where each bundle stands at a time (epoch ms). Changes nothing but the clocks of phases. */
export function orderBundles(run: FleetRun, engine: EngineContext, now: number): Orders {
  const policies = [...run.desired.bundles.values()];
  const objects = Map.groupBy(run.desired.objects.values(), (object) => object.bundle);
  const hooks = Map.groupBy(run.desired.hooks.values(), (hook) => hook.bundle);
  const readiness = readinessOf(run, now, new Set(policies.flatMap(({ dependsOn }) => dependsOn)));
  const states = new Map<string, OrderState>();
  const awaited = new Set<string>();
  let wakeAt = Infinity;
  for (const policy of policies) {
    const facts: BundleFacts = {
      hold: holdOf(run, policy.name, now)?.reason,
      waitsFor: policy.dependsOn.length > 0 ? blockedBy(policy, policies, readinessFor(run, policy, readiness)) : undefined,
      objects: (objects.get(policy.name) ?? []).map((object) => objectFact(run, object, policy, engine, now)),
      hooks: (hooks.get(policy.name) ?? []).flatMap((hook) => hookFacts(run, hook, policy)),
      wasDone: isDone(run, policy),
    };
    const order = orderBundle(facts);
    const clock = tick(run, policy, order, now);
    const late = lateBecause(policy, order, clock, now);
    const start = order.failed !== "" || late !== "" ? failureHooks(facts) : order.start;
    states.set(policy.name, { ...order, start, late });
    for (const name of awaitedBy(policy, order)) awaited.add(name);
    wakeAt = Math.min(wakeAt, deadlineOf(policy, order, clock, now), hookDeadline(run, policy, now), nextWindowChange(policy, now) ?? Infinity);
  }
  if ([...states.values()].some(({ phase }) => phase === "definitions"))
    for (const key of run.desired.definitions.values()) awaited.add(run.desired.objects.get(key)?.bundle ?? "");
  const gate = (object: DesiredObject) => {
    const order = states.get(object.bundle);
    const isEarly = stageOf(object.id) !== "rest";
    return (order && closedBecause(order, object.directives.stage, isEarly)) ?? waitsForDefinition(run, object, engine);
  };
  return { states, awaited, wakeAt, gate };
}

/** Whether the sync of a bundle's present content came to its end before. */
export function isDone(run: FleetRun, policy: BundlePolicy): boolean {
  const mark = run.syncs.get(policy.name);
  return mark?.state === "done" && mark.token === policy.digest;
}

/** Whether what happens to a bundle must be remembered over a restart: it has an order, or windows that close on it. */
export function isRemembered(run: FleetRun, policy: BundlePolicy): boolean {
  return policy.windows.length > 0 || policy.isStaged || policy.hasHooks || run.syncs.has(policy.name);
}

function readinessFor(run: FleetRun, policy: BundlePolicy, readiness: ReadonlyMap<string, BundleReadiness>): ReadonlyMap<string, BundleReadiness> {
  const own = run.expressions.get(policy.name);
  return own ? new Map([...readiness, ...own]) : readiness;
}

function objectFact(run: FleetRun, object: DesiredObject, policy: BundlePolicy, engine: EngineContext, now: number): ObjectFact {
  const tracked = run.objects.get(object.key);
  const isLeft = run.leftAlone.has(object.key) || (tracked?.foreign ?? "") !== "";
  const applied = isLeft || isApplied(run, object.key);
  const definition = applied ? undefined : waitsForDefinition(run, object, engine);
  const isEarly = stageOf(object.id) !== "rest";
  const fact = { name: describeId(object.id), stage: object.directives.stage, isEarly, isApplied: applied, waitsForDefinition: definition !== undefined };
  // Health is looked at only where it is awaited: elsewhere it costs and decides nothing.
  if ((!policy.isStaged && !policy.hasHooks) || isLeft || !tracked) return { ...fact, isHealthy: true, why: definition ?? tracked?.failure?.message ?? "" };
  const { verdict } = judge(run, tracked, now);
  return { ...fact, isHealthy: verdict.health === "Current", why: definition ?? tracked.failure?.message ?? (applied ? verdict.message : "not applied yet") };
}

/** Why the kind of an object is not there yet: its definition is in this fleet and not established. */
function waitsForDefinition(run: FleetRun, object: DesiredObject, engine: EngineContext): string | undefined {
  const key = run.desired.definitions.get(`${object.id.group}/${object.id.kind}`);
  if (key === undefined || engine.discovery.known(object.apiVersion, object.id.kind)) return undefined;
  const definition = run.objects.get(key);
  // One that cannot be watched is tried: the API server says whether it is there.
  if (!definition || definition.blindness !== "" || definition.live?.verdict.health === "Current") return undefined;
  const why = definition.failure?.message ?? definition.live?.verdict.message ?? "not applied yet";
  return `waits for ${describeId(definition.id)}: ${why}`;
}

const runPhases: readonly RunPhase[] = ["pre", "sync", "post", "failure"];

function hookFacts(run: FleetRun, hook: DesiredObject, policy: BundlePolicy): HookFact[] {
  const phases = hook.directives.hook?.phases ?? [];
  if (phases.includes("skip")) return [];
  return runPhases.filter((phase) => phases.includes(phase)).map((phase) => hookFact(run, hook, phase, policy.digest));
}

/** The clock of the phase that a bundle is in; it starts anew with another phase or another content. */
function tick(run: FleetRun, policy: BundlePolicy, order: BundleOrder, now: number): PhaseClock | undefined {
  if (order.phase === "held" || order.phase === "done") {
    run.clocks.delete(policy.name);
    return undefined;
  }
  const before = run.clocks.get(policy.name);
  const phase = `${order.phase} ${order.stage ?? ""}`;
  const isSame = before?.token === policy.digest;
  const begunAt = order.phase === "dependsOn" ? 0 : isSame && before.begunAt > 0 ? before.begunAt : now;
  const clock = { token: policy.digest, phase, since: isSame && before.phase === phase ? before.since : now, begunAt };
  run.clocks.set(policy.name, clock);
  return clock;
}

/** Which deadline counts in a phase. Hooks have their own, from the start of each. */
const deadlineNames = { dependsOn: "dependsOn", definitions: "definitions", stage: "stage" } as const;

function phaseDeadlineMs(policy: BundlePolicy, order: BundleOrder): number | undefined {
  const name = order.phase in deadlineNames ? deadlineNames[order.phase as keyof typeof deadlineNames] : undefined;
  return name && policy.deadlines[name];
}

function deadlineOf(policy: BundlePolicy, order: BundleOrder, clock: PhaseClock | undefined, now: number): number {
  if (!clock) return Infinity;
  const ends = [clock.since + (phaseDeadlineMs(policy, order) ?? Infinity), clock.begunAt > 0 ? clock.begunAt + policy.deadlines.apply : Infinity];
  return Math.min(...ends.filter((end) => end > now), Infinity);
}

function lateBecause(policy: BundlePolicy, order: BundleOrder, clock: PhaseClock | undefined, now: number): string {
  if (!clock) return "";
  const limit = phaseDeadlineMs(policy, order);
  if (limit !== undefined && now >= clock.since + limit) return `${tellOrderPhase(order)} for longer than ${tellDuration(limit)}: ${order.blocker}`;
  if (clock.begunAt > 0 && now >= clock.begunAt + policy.deadlines.apply)
    return `not done after ${tellDuration(policy.deadlines.apply)}, ${tellOrderPhase(order)}: ${order.blocker}`;
  return "";
}

function hookDeadline(run: FleetRun, policy: BundlePolicy, now: number): number {
  let soonest = Infinity;
  if (!policy.hasHooks) return soonest;
  for (const hook of run.hookRuns.values()) {
    const end = hook.startedAt + policy.deadlines.hook;
    if (hook.bundle === policy.name && hook.token === policy.digest && hook.state === "started" && end > now) soonest = Math.min(soonest, end);
  }
  return soonest;
}

/** Bundles whose changes let this one go on. */
function awaitedBy(policy: BundlePolicy, order: BundleOrder): readonly string[] {
  if (order.phase === "dependsOn") return policy.dependsOn;
  return order.phase === "done" || order.phase === "held" ? [] : policy.isStaged || policy.hasHooks ? [policy.name] : [];
}
