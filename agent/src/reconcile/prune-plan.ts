import { defaultDeadlinesMs } from "@flotilla/proto/limits";
import { describeId, parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import type { Plan } from "../domain/plan.ts";
import { nextPrunes, type StagedPrune } from "../domain/prune-stages.ts";
import { engineLimits } from "../limits.ts";
import { dropObject } from "./drop-object.ts";
import type { EngineContext } from "./engine-context.ts";
import { isApplied, isHookHere, leavingHook, type FleetRun } from "./fleet-run.ts";
import { judge } from "./object-state.ts";
import { pruneOne } from "./prune-object.ts";
import { beforeDeletes } from "./say-farewell.ts";
import { reserveBudget } from "./spend-budget.ts";
import type { PruneHold } from "./tracked-object.ts";

/** What keeps prunes, and whether health alone would end it. */
interface Wait {
  readonly reason: string;
  readonly isForHealth: boolean;
}

/**
 * Do the prunes of a plan, last applied first; but only when everything the target wants is applied: a target that is
 * half there is no reason to delete the other half (fault 5). Held prunes are said, with the list's digest (G6). What asks to be the last
 * goes when all else is gone and everything is healthy.
 *
 * @param plannedAt when the plan was begun (epoch ms).
 * @returns after how many milliseconds another plan should look at what is left, or undefined when nothing is, or what is left comes by itself.
 */
export async function prunePlan(run: FleetRun, plan: Plan, plannedAt: number, engine: EngineContext, signal: AbortSignal): Promise<number | undefined> {
  for (const [key, why] of plan.letGo) letGo(run, key, why, engine);
  announceHeld(run, plan, engine);
  const wait = unreadBy(run, engine) ?? unapplied(run, plan);
  note(run, plan.held?.keys ?? [], "Held", `prune waits for approval: ${plan.held?.reason}`, engine);
  note(run, plan.going, "Terminating", "deleted, and held by finalizers", engine);
  for (const [key, why] of plan.resting) note(run, [key], "Waits", `prune waits: ${why}`, engine);
  if (wait) {
    waitFor(run, [...plan.prunes, ...plan.lastPrunes], wait, engine);
    return restMs(run, plan, plannedAt, engine);
  }
  const farewells = await sayFarewells(run, plan, engine, signal);
  const going = withoutThese(plan, (key) => farewells.has(bundleOf(run, key)) || leavingHook(run, key) !== undefined);
  const { left, waits } = await pruneByStage(run, going, engine, signal);
  const lastWait = going.lastPrunes.length > 0 ? waitsForAll(run, going) : undefined;
  waitFor(run, lastWait ? going.lastPrunes : [], lastWait, engine);
  noteStages(run, waits, engine);
  noteFarewells(run, plan, farewells, engine);
  const stuck = left + (lastWait ? 0 : await pruneAll(run, plan, going.lastPrunes, engine, signal));
  run.pruneTries = stuck > 0 ? run.pruneTries + 1 : 0;
  const againMs = Math.min(engineLimits.pruneRetryMaxMs, engineLimits.pruneRetryMinMs * 2 ** Math.min(run.pruneTries - 1, 10));
  const restsMs = soonerOf(restMs(run, plan, plannedAt, engine), waits.size > 0 ? stageWaitMs(run, waits) : undefined);
  return stuck > 0 ? Math.min(againMs, restsMs ?? againMs) : restsMs;
}

/** Start what bundles that leave ask for before anything of them is deleted. Returns why the deletes of a bundle wait. */
async function sayFarewells(run: FleetRun, plan: Plan, engine: EngineContext, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  if (run.farewells.size === 0) return new Map();
  return await beforeDeletes(run, new Set([...plan.prunes, ...plan.lastPrunes].map((key) => bundleOf(run, key))), engine, signal);
}

function noteFarewells(run: FleetRun, plan: Plan, farewells: ReadonlyMap<string, string>, engine: EngineContext): void {
  const waiting = [...plan.prunes, ...plan.lastPrunes].filter((key) => farewells.has(bundleOf(run, key)));
  const [first] = waiting;
  if (first === undefined) return;
  const reason = (key: ObjectKey) => `bundle ${bundleOf(run, key)} is removed: ${farewells.get(bundleOf(run, key)) ?? ""}`;
  run.prunesWait = { count: waiting.length + (run.prunesWait?.count ?? 0), reason: reason(first), isForHealth: false };
  for (const key of waiting) note(run, [key], "Waits", `prune waits: ${reason(key)}`, engine);
}

function bundleOf(run: FleetRun, key: ObjectKey): string {
  return run.inventory.get(key)?.bundle ?? "";
}

function withoutThese(plan: Plan, isOut: (key: ObjectKey) => boolean): Plan {
  return { ...plan, prunes: plan.prunes.filter((key) => !isOut(key)), lastPrunes: plan.lastPrunes.filter((key) => !isOut(key)) };
}

/** The prunes that may go, stage after stage backwards; what waits for an object of a later stage that is still there is given back. */
async function pruneByStage(
  run: FleetRun,
  plan: Plan,
  engine: EngineContext,
  signal: AbortSignal,
): Promise<{ readonly left: number; readonly waits: ReadonlyMap<ObjectKey, ObjectKey> }> {
  const tried = new Set<ObjectKey>();
  let left = 0;
  for (;;) {
    const open = plan.prunes.filter((key) => !tried.has(key));
    const going = [...plan.going, ...tried].filter((key) => holdsUp(run, key));
    const { now, later } = nextPrunes(staged(run, open), staged(run, going));
    if (now.length === 0 || signal.aborted) return { left, waits: later };
    for (const key of now) tried.add(key);
    left += await pruneAll(run, plan, now, engine, signal);
  }
}

function staged(run: FleetRun, keys: readonly ObjectKey[]): StagedPrune[] {
  return keys.map((key) => ({ key, bundle: run.inventory.get(key)?.bundle ?? "", stage: run.objects.get(key)?.live?.stage ?? 0 }));
}

/** Whether an object is being deleted and may be waited for: not for longer than a stage may take, and not where the delete was refused. */
function holdsUp(run: FleetRun, key: ObjectKey): boolean {
  return run.objects.get(key)?.live?.verdict.health === "Terminating" && Date.now() < goneBy(run, key);
}

/** Until when an object that is being deleted is waited for (epoch ms). */
function goneBy(run: FleetRun, key: ObjectKey): number {
  const object = run.objects.get(key);
  const patienceMs = run.desired.bundles.get(object?.bundle ?? "")?.deadlines.stage ?? defaultDeadlinesMs.stage;
  return (object?.movingSince ?? Date.now()) + patienceMs;
}

function stageWaitMs(run: FleetRun, waits: ReadonlyMap<ObjectKey, ObjectKey>): number {
  return Math.max(50, Math.min(...[...waits.values()].map((key) => goneBy(run, key))) - Date.now() + 10);
}

function soonerOf(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}

function noteStages(run: FleetRun, waits: ReadonlyMap<ObjectKey, ObjectKey>, engine: EngineContext): void {
  const [first] = waits.values();
  if (first === undefined) return;
  const reason = (key: ObjectKey) => `${describeId(parseObjectKey(key))} of a later stage is to be gone before`;
  run.prunesWait = { count: waits.size + (run.prunesWait?.count ?? 0), reason: reason(first), isForHealth: false };
  for (const [key, other] of waits) note(run, [key], "Waits", `prune waits: ${reason(other)}`, engine);
}

async function pruneAll(run: FleetRun, plan: Plan, keys: readonly ObjectKey[], engine: EngineContext, signal: AbortSignal): Promise<number> {
  let left = 0;
  await reserveBudget(
    run,
    keys.filter((key) => !plan.approved.has(key)),
    engine,
  );
  for (const key of keys) {
    if (signal.aborted) return left;
    // Another fleet may have come to name it since the plan was made.
    if (engine.unreadFleet(run) !== undefined || engine.namedBy(run, key) !== undefined) left += 1;
    else if (!(await pruneOne(run, key, engine, { isApproved: plan.approved.has(key) }))) left += 1;
  }
  return left;
}

/** Another fleet's target may name what this one would delete: it is read first. */
function unreadBy(run: FleetRun, engine: EngineContext): Wait | undefined {
  const other = engine.unreadFleet(run);
  if (other === undefined) return undefined;
  run.waitsForOthers = true;
  return { reason: `the target of fleet ${other} was not read yet`, isForHealth: false };
}

/** Why prunes must wait, or undefined. */
function unapplied(run: FleetRun, plan: Plan): Wait | undefined {
  for (const [key, object] of run.desired.objects) {
    if (plan.claimed.has(key) || plan.kept.includes(key) || run.objects.get(key)?.foreign) continue;
    if (isApplied(run, key)) continue;
    const failure = run.objects.get(key)?.failure;
    return {
      reason: failure ? `${describeId(object.id)} is not applied: ${failure.message}` : `${describeId(object.id)} is not applied yet`,
      isForHealth: false,
    };
  }
  return undefined;
}

/** Why what asks to be the last must wait, or undefined: other prunes, or an object that is not healthy. */
function waitsForAll(run: FleetRun, plan: Plan): Wait | undefined {
  const last = new Set(plan.lastPrunes);
  for (const key of run.inventory.keys()) {
    const object = run.objects.get(key);
    if (isHookHere(run, key)) continue;
    if (!run.desired.objects.has(key) && !last.has(key)) return { reason: `${describeId(parseObjectKey(key))} is to be deleted before`, isForHealth: false };
    if (!object || last.has(key) || object.exempt !== "") continue;
    const { verdict } = judge(run, object, Date.now());
    if (verdict.health !== "Current") return { reason: `${describeId(object.id)} is not healthy yet: ${verdict.message || verdict.health}`, isForHealth: true };
  }
  return undefined;
}

/** When what rests may be looked at again. */
function restMs(run: FleetRun, plan: Plan, plannedAt: number, engine: EngineContext): number | undefined {
  // Also of a rest that has ended since it was planned: applies may take longer than it, and nobody else would look again.
  const ends = [...run.leftBundles.values(), ...run.leftObjects.values()].map((since) => since + engine.handOverMs).filter((end) => end > plannedAt);
  // What rests because another fleet names it is woken by that fleet.
  return plan.resting.size === 0 || ends.length === 0 ? undefined : Math.max(0, Math.min(...ends) - Date.now()) + 10;
}

/** Forget without deleting. */
function letGo(run: FleetRun, key: ObjectKey, why: string, engine: EngineContext): void {
  const object = run.objects.get(key);
  run.inventory.delete(key);
  engine.claimsChanged(run);
  if (!object) return;
  engine.reporter(run).event("LetGo", `${describeId(object.id)} ${why}`, { bundle: object.bundle, object: object.id });
  if (!run.desired.excluded.has(key) && !run.desired.objects.has(key)) dropObject(run, object, engine);
}

function announceHeld(run: FleetRun, plan: Plan, engine: EngineContext): void {
  const before = run.held?.digest;
  run.held = plan.held;
  if (!plan.held || plan.held.digest === before) return;
  const names = plan.held.keys.slice(0, 10).map((key) => describeId(parseObjectKey(key)));
  const more = plan.held.keys.length > names.length ? ` and ${plan.held.keys.length - names.length} more` : "";
  engine
    .reporter(run)
    .event(
      "PruneHeld",
      `${plan.held.keys.length} prunes wait for approval (${plan.held.digest.slice(0, 12)}): ${plan.held.reason}. ${names.join(", ")}${more}`,
      { warning: true },
    );
}

function waitFor(run: FleetRun, keys: readonly ObjectKey[], wait: Wait | undefined, engine: EngineContext): void {
  run.prunesWait = wait !== undefined && keys.length > 0 ? { count: keys.length, ...wait } : undefined;
  if (wait) note(run, keys, "Waits", `prune waits: ${wait.reason}`, engine);
}

function note(run: FleetRun, keys: readonly ObjectKey[], hold: PruneHold, text: string, engine: EngineContext): void {
  for (const key of keys) {
    const object = run.objects.get(key);
    if (!object || (hold === "Terminating" && object.pruneHold === hold) || (object.note === text && object.pruneHold === hold)) continue;
    Object.assign(object, { note: text, pruneHold: hold, change: "Skipped" });
    engine.reporter(run).touch(key);
  }
}
