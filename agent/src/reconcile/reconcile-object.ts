import { applyObject } from "../cluster/apply-object.ts";
import { getObject } from "../cluster/get-object.ts";
import type { LiveObject } from "../cluster/live-object.ts";
import type { KubeResource } from "../cluster/discovery.ts";
import { stageOf } from "../domain/apply-order.ts";
import { closedBecause } from "../domain/bundle-order.ts";
import { isStatus, tellError } from "../cluster/kube-error.ts";
import { driftFields, noHolder, type FieldDrift } from "../domain/drift.ts";
import { decideHeal, fieldKey, recentHeals, repeatsOf } from "../domain/heal-budget.ts";
import { maxHealsPerWindow } from "@flotilla/proto/limits";
import { nothingIgnored } from "../domain/ignore.ts";
import { describeId, type ObjectKey } from "../domain/object-id.ts";
import { engineLimits } from "../limits.ts";
import type { DesiredObject, DriftMode } from "../domain/plan.ts";
import { applyTracked, noteApplied, withoutForeignIgnored } from "./apply-tracked.ts";
import { sightOf } from "./cluster-view.ts";
import { confirmGone } from "./confirm-gone.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOf, isDrifted, type FleetRun } from "./fleet-run.ts";
import { holdObject } from "./hold-object.ts";
import { holdOf } from "./hold-of.ts";
import { saveInventorySoon } from "./save-inventory.ts";
import { saveOrder, saveOrderSoon } from "./save-order.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** A drift that is only reported is looked at in full this often at most: a dry run costs what an apply costs. */
const examineEveryMs = 1_000;

/**
 * One object again: retry what failed, or answer a drift. Looks at the world as it is now; never touches another object,
 * and leaves alone what a plan is about to apply.
 */
export async function reconcileObject(run: FleetRun, key: ObjectKey, engine: EngineContext): Promise<void> {
  const object = run.objects.get(key);
  if (!object || run.planned.has(key) || run.pending || run.target?.tombstone) return;
  await holdObject(run, object, engine, async () => {
    const wanted = run.desired.objects.get(key);
    if (!wanted) return await confirmGone(run, object, engine);
    if (object.isUnjudged) await judgeAnew(object, wanted, engine);
    if (object.failure) await retry(run, object, wanted, engine);
    else if (object.isSuspect || isDrifted(run, object)) await answerDrift(run, object, wanted, engine);
    else if (object.drift.length > 0) settle(run, object, engine);
  });
}

/** Read an object that was seen before its health checks were known. */
async function judgeAnew(object: TrackedObject, wanted: DesiredObject, engine: EngineContext): Promise<void> {
  const resource = await engine.discovery.resolve(wanted.apiVersion, wanted.id.kind);
  const live = await getObject(engine.client, resource, wanted.id.namespace, wanted.id.name);
  engine.view.take(object, live && sightOf(object, live));
}

async function retry(run: FleetRun, object: TrackedObject, wanted: DesiredObject, engine: EngineContext): Promise<void> {
  // It waits for something now: the plan that lets it go applies it.
  if (holdOf(run, wanted.bundle, Date.now()) || isClosed(run, wanted)) return;
  const outcome = await applyTracked(run, object, wanted, engine);
  if (typeof outcome === "string") return;
  engine.reporter(run).event("Applied", `${describeId(object.id)} ${(object.change ?? "").toLowerCase()}`, { bundle: object.bundle, object: object.id });
  saveInventorySoon(run, engine);
  // What waited for this object (prunes, other bundles, the end of the apply) is the plan's to go on with.
  const isLast = [...run.objects.values()].every((other) => !other.failure);
  if (isLast || run.prunesWait) engine.queueFleet(run);
}

/** Whether the last plan found that the object has to wait. */
function isClosed(run: FleetRun, wanted: DesiredObject): boolean {
  const order = run.orders.get(wanted.bundle);
  return order !== undefined && closedBecause(order, wanted.directives.stage, stageOf(wanted.id) !== "rest") !== undefined;
}

async function answerDrift(run: FleetRun, object: TrackedObject, wanted: DesiredObject, engine: EngineContext): Promise<void> {
  const wait = waitBefore(run, object, wanted);
  if (wait > 0) {
    engine.queueObject(run, object.key, { delayMs: wait, urgent: true });
    return engine.reporter(run).touch(object.key);
  }
  try {
    const resource = await engine.discovery.resolve(wanted.apiVersion, wanted.id.kind);
    const live = await getObject(engine.client, resource, wanted.id.namespace, wanted.id.name);
    object.isSuspect = false;
    engine.view.take(object, live && sightOf(object, live));
    if (!isDrifted(run, object)) return settle(run, object, engine);
    await answerConfirmed(run, object, wanted, resource, live, engine);
  } catch (error) {
    engine.log.warn({ fleet: run.name, object: object.key, problem: tellError(error, object.id.kind) }, "a drift could not be looked at; it is tried again");
    engine.queueObject(run, object.key, { delayMs: examineEveryMs * 5 });
  }
}

/** Milliseconds before this drift is worth a request: another side that writes all the time must not make us ask all the time. */
function waitBefore(run: FleetRun, object: TrackedObject, wanted: DesiredObject): number {
  const now = Date.now();
  const sinceExamined = examineEveryMs - (now - object.examinedAt);
  if (sinceExamined > 0) return sinceExamined;
  if (object.isSuspect || driftModeOf(run, wanted) !== "heal") return 0;
  const decision = decideHeal(run.heals.get(object.key) ?? [], now);
  return decision.kind === "wait" ? decision.until - now : 0;
}

/** The object's own word goes before its bundle's. */
function driftModeOf(run: FleetRun, wanted: DesiredObject): DriftMode {
  return wanted.directives.drift ?? run.desired.bundles.get(wanted.bundle)?.driftMode ?? "heal";
}

async function answerConfirmed(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  resource: KubeResource,
  live: LiveObject | undefined,
  engine: EngineContext,
): Promise<void> {
  const hold = holdOf(run, wanted.bundle, Date.now());
  const mode = hold && !hold.mayHeal ? "report" : driftModeOf(run, wanted);
  if (mode === "report" || (mode === "heal-unless-drifted" && live))
    return await report(run, object, wanted, resource, live, engine, "DriftReported", hold === undefined);
  const now = Date.now();
  const decision = decideHeal(run.heals.get(object.key) ?? [], now);
  if (decision.kind === "heal" && live && (await isAllLeft(run, object, wanted, resource, live, engine))) return rebase(run, object, live, engine);
  if (decision.kind === "heal") return await heal(run, object, wanted, live, engine);
  engine.queueObject(run, object.key, { delayMs: decision.until - now + 1, urgent: true });
  if (decision.kind === "wait") return engine.reporter(run).touch(object.key);
  const isNew = object.fightUntil < now;
  object.fightUntil = decision.until;
  await report(run, object, wanted, resource, live, engine, isNew ? "Fight" : undefined);
}

/** Whether all that differs is left to the managers who hold it (an autoscaler's replicas): a dry run tells, and nothing is written. */
async function isAllLeft(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  resource: KubeResource,
  live: LiveObject,
  engine: EngineContext,
): Promise<boolean> {
  if (wanted.ignored.held.length === 0) return false;
  object.examinedAt = Date.now();
  return (await examine(run, wanted, resource, live, engine)).length === 0;
}

/** Apply over the drift; the difference between what was there and what the server gives back is the drift. */
async function heal(run: FleetRun, object: TrackedObject, wanted: DesiredObject, live: LiveObject | undefined, engine: EngineContext): Promise<void> {
  const applied = await applyTracked(run, object, wanted, engine, { urgent: true });
  if (typeof applied === "string") return;
  const fields = live ? driftFields(applied.object, live, wanted.ignored, engine.hashKey) : [deletedField];
  saveInventorySoon(run, engine);
  // The server changed nothing: what differed was not ours after all, and the hash is now right.
  if (live && applied.object.metadata.resourceVersion === live.metadata.resourceVersion) return;
  const now = Date.now();
  const repeats = await noteHeal(run, object, fields, now, engine);
  const again = repeats > 1 ? `, for the ${repeats === 2 ? "second" : repeats === 3 ? "third" : `${repeats}th`} time within ten minutes` : "";
  const details = { bundle: object.bundle, object: object.id, drift: fields };
  engine.reporter(run).event("DriftDetected", `${describeId(object.id)} ${tellDrift(fields, live !== undefined)}${again}`, { ...details, warning: true });
  engine.reporter(run).event("DriftHealed", `${describeId(object.id)} is what Git says again`, details);
}

/**
 * Remember a correction, over a restart too. Single ones are written together, a moment later; what is on its way to a fight at once, so that
 * a process that keeps ending does not fight for ever. Returns how often the most disputed field was corrected.
 */
async function noteHeal(run: FleetRun, object: TrackedObject, fields: readonly FieldDrift[], now: number, engine: EngineContext): Promise<number> {
  const correction = { at: now, fields: fields.slice(0, engineLimits.fieldsPerCorrection).map(({ manager, path }) => fieldKey(manager, path)) };
  const heals = recentHeals([...(run.heals.get(object.key) ?? []), correction], now);
  run.heals.delete(object.key);
  for (const [key, others] of run.heals) if (recentHeals(others, now).length === 0 || run.heals.size >= engineLimits.healedObjectsKept) run.heals.delete(key);
  run.heals.set(object.key, heals);
  if (heals.length > 1) await saveOrder(run, engine);
  else saveOrderSoon(run, engine);
  return repeatsOf(heals);
}

/** Say what differs, by a dry run, and change nothing. */
async function report(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  resource: KubeResource,
  live: LiveObject | undefined,
  engine: EngineContext,
  reason: "DriftReported" | "Fight" | undefined,
  mayWrite = true,
): Promise<void> {
  const now = Date.now();
  object.examinedAt = now;
  const fields = live ? await examine(run, wanted, resource, live, engine) : [deletedField];
  if (live && fields.length === 0) {
    let agreed = live;
    if (mayWrite) {
      agreed = await ownAgain(run, object, wanted, resource, live, engine).catch((error: unknown) => {
        // Another version: it is looked at anew. What is refused otherwise stays as it is.
        if (isStatus(error, 409)) throw error;
        engine.log.debug({ fleet: run.name, object: object.key, problem: tellError(error, object.id.kind) }, "fields could not be made ours again");
        return live;
      });
    }
    if (!mayWrite || run.inventory.get(object.key)?.desired === wanted.hash) return rebase(run, object, agreed, engine);
    // A revision that was held back for what somebody changed says the same by now.
    noteApplied(run, object, wanted, { object: agreed, isCreated: false, tookOverFrom: [] }, live.metadata.resourceVersion, engine);
    saveInventorySoon(run, engine);
    return engine.queueFleet(run);
  }
  const isSame = JSON.stringify(fields) === JSON.stringify(object.drift);
  object.drift = fields;
  object.note =
    reason === "Fight" || object.fightUntil > now
      ? `fight: corrected ${maxHealsPerWindow} times within ten minutes, left alone until ${new Date(object.fightUntil).toISOString()}: ${tellFight(fields)}`
      : run.leftAlone.has(object.key)
        ? object.note
        : "";
  if (reason && !isSame)
    engine
      .reporter(run)
      .event(reason, `${describeId(object.id)} ${reason === "Fight" ? `is fought over: ${tellFight(fields)}` : tellDrift(fields, live !== undefined)}`, {
        bundle: object.bundle,
        object: object.id,
        drift: fields,
        warning: true,
      });
  engine.reporter(run).touch(object.key);
}

/**
 * Every value is Git's again, but whoever wrote it back holds the field now: an edit of theirs would not be seen. An apply that changes no
 * value makes it ours; of an object that changed meanwhile it is refused.
 */
async function ownAgain(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  resource: KubeResource,
  live: LiveObject,
  engine: EngineContext,
): Promise<LiveObject> {
  const { resourceVersion } = live.metadata;
  if (wanted.directives.ssa !== "override" || resourceVersion === undefined) return live;
  // What is ignored differs by right: it is not taken from those who hold it.
  const body = await withoutForeignIgnored((await engine.bodies.open(wanted.body)).object(wanted.line), object, wanted, resource, engine);
  const apply = (dryRun: boolean) => {
    const options = { fleet: run.name, bundle: wanted.bundle, isOurs: true, urgent: true, resourceVersion, dryRun };
    return applyObject(engine.client.as(accountOf(run, wanted.bundle)), resource, body, options);
  };
  if (driftFields((await apply(true)).object, live, nothingIgnored, engine.hashKey).length > 0) return live;
  const { object: applied } = await apply(false);
  engine.view.take(object, sightOf(object, applied));
  return applied;
}

async function examine(run: FleetRun, wanted: DesiredObject, resource: KubeResource, live: LiveObject, engine: EngineContext): Promise<FieldDrift[]> {
  const body = (await engine.bodies.open(wanted.body)).object(wanted.line);
  const dryRun = await applyObject(engine.client.as(accountOf(run, wanted.bundle)), resource, body, {
    fleet: run.name,
    bundle: wanted.bundle,
    isOurs: true,
    dryRun: true,
    urgent: true,
  });
  return driftFields(dryRun.object, live, wanted.ignored, engine.hashKey);
}

/** The hash differed, the fields do not: the hash of what was looked at is the one to compare with. The watch may have told of something newer. */
function rebase(run: FleetRun, object: TrackedObject, examined: LiveObject, engine: EngineContext): void {
  const entry = run.inventory.get(object.key);
  const { uid, owned } = sightOf(object, examined);
  if (entry) run.inventory.set(object.key, { ...entry, uid, owned });
  saveInventorySoon(run, engine);
  settle(run, object, engine);
}

function settle(run: FleetRun, object: TrackedObject, engine: EngineContext): void {
  if (object.drift.length === 0 && object.fightUntil === 0) return;
  if (object.drift.length > 0)
    engine
      .reporter(run)
      .event("DriftEnded", `${describeId(object.id)} is what Git says again, without our doing`, { bundle: object.bundle, object: object.id });
  object.drift = [];
  object.fightUntil = 0;
  object.note = "";
  engine.reporter(run).touch(object.key);
}

/** The whole object is what differs. */
const deletedField: FieldDrift = { path: "", desired: '"present"', live: "", members: [], ...noHolder };

/** Both sides of a fight, with their values: hashes where the kind is Secret-like. */
function tellFight(fields: readonly FieldDrift[]): string {
  const [first] = fields;
  if (!first || first.path === "") return "Git wants it there, and somebody deletes it";
  const more = fields.length > 1 ? ` (and ${fields.length - 1} more fields)` : "";
  const live = first.live === "" ? "takes it away" : `writes ${first.live}`;
  return `at ${first.path} Git says ${first.desired === "" ? "nothing" : first.desired}, ${first.manager === "" ? "somebody" : `"${first.manager}"`} ${live}${more}`;
}

function tellDrift(fields: readonly FieldDrift[], isThere: boolean): string {
  if (!isThere) return "was deleted by somebody";
  const paths = fields.slice(0, 3).map((field) => field.path);
  const managers = [...new Set(fields.map((field) => field.manager).filter((manager) => manager !== ""))];
  const more = fields.length > paths.length ? ` and ${fields.length - paths.length} more` : "";
  return `was changed at ${paths.join(", ")}${more}${managers.length > 0 ? ` by ${managers.join(", ")}` : ""}`;
}
