import type { MessageInitShape } from "@bufbuild/protobuf";
import { Change, PruneState, type BundleStateSchema, type ObjectStateSchema, type SummarySchema } from "@flotilla/proto/gen/report";
import { maxMessageChars } from "@flotilla/proto/limits";
import type { BundleReadiness } from "../domain/apply-order.ts";
import { inOneLine } from "../domain/health-reason.ts";
import type { Verdict } from "../domain/verdict.ts";
import { describeId, versionOf } from "../domain/object-id.ts";
import { healthThatCounts, rollUp, worseOf, type CountedObject, type RollUp } from "../domain/roll-up.ts";
import { engineLimits } from "../limits.ts";
import { isApplied, isDrifted, isHookHere, type FleetRun, type OrderState } from "./fleet-run.ts";
import { tellOrderPhase } from "./tell-order-phase.ts";
import { changeCode, healthCode, pruneCode, syncCode, wireDrift } from "./report-words.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** What is said of one object. */
export interface Judged {
  readonly isSynced: boolean;
  readonly verdict: Verdict;
  readonly message: string;
}

/** Judge one object of a fleet at a time (epoch ms). */
export function judge(run: FleetRun, object: TrackedObject, now: number): Judged {
  const verdict = withWhy(healthOf(run, object, now), object.why);
  const reason = outOfSyncBecause(run, object);
  return { isSynced: reason === undefined, verdict, message: inOneLine(reason || verdict.message || object.exempt, maxMessageChars) };
}

function withWhy(verdict: Verdict, why: string): Verdict {
  if (why === "" || (verdict.health !== "InProgress" && verdict.health !== "Failed")) return verdict;
  return { ...verdict, message: verdict.message === "" ? why : `${verdict.message}; ${why}` };
}

/** Why an object is not in sync; undefined when it is, "" when there is no more to say. */
function outOfSyncBecause(run: FleetRun, object: TrackedObject): string | undefined {
  if (run.desired.excluded.has(object.key)) return undefined;
  if (object.isHook && isHookHere(run, object.key)) return object.failure?.message;
  if (object.failure) return object.failure.message;
  if (!isApplied(run, object.key)) return object.note || (run.desired.objects.has(object.key) ? "not applied yet" : "to be deleted");
  if (object.note) return object.note;
  if (object.drift.length > 0 || isDrifted(run, object)) return object.live ? driftedFields(object) : "deleted by somebody";
  return undefined;
}

function driftedFields(object: TrackedObject): string {
  if (object.drift.length === 0) return "changed by somebody";
  const managers = [...new Set(object.drift.map((field) => field.manager).filter((manager) => manager !== ""))];
  return `drifted at ${object.drift
    .map((field) => field.path)
    .slice(0, 3)
    .join(", ")}${managers.length > 0 ? ` by ${managers.join(", ")}` : ""}`;
}

/** Health with the bundle's patience: what is in progress for longer than the health timeout has failed. */
function healthOf(run: FleetRun, object: TrackedObject, now: number): Verdict {
  if (run.desired.excluded.has(object.key)) return { health: "Current", message: object.note };
  if (object.foreign !== "") return { health: "Current", message: object.foreign };
  if (object.exempt !== "" && !object.live) return { health: "Current", message: object.exempt };
  if (object.blindness) return { health: "Unknown", message: object.blindness };
  if (!object.live) return object.isVisible || object.failure ? { health: "NotFound", message: "not there" } : { health: "Unknown", message: "not seen yet" };
  const { verdict } = object.live;
  const deadline = healthDeadline(run, object);
  if (deadline === undefined || now < deadline) return verdict;
  const minutes = ((run.desired.bundles.get(object.bundle)?.healthTimeoutMs ?? 0) / 60_000).toFixed(1).replace(/\.0$/, "");
  return { health: "Failed", message: `in progress for over ${minutes} min: ${verdict.message}` };
}

/** When an object that is in progress counts as failed (epoch ms); undefined when it is not in progress, or may be for as long as it takes. */
export function healthDeadline(run: FleetRun, object: TrackedObject): number | undefined {
  const policy = run.desired.bundles.get(object.bundle);
  // A hook has a deadline of its own.
  if (object.isHook) return undefined;
  if (object.live?.verdict.health !== "InProgress" || object.live.verdict.isPatient || object.movingSince === undefined || !policy) return undefined;
  return object.movingSince + policy.healthTimeoutMs;
}

/** One object as it is reported. */
export function objectState(run: FleetRun, object: TrackedObject, now: number): MessageInitShape<typeof ObjectStateSchema> {
  const { isSynced, verdict, message } = judge(run, object, now);
  const { group, kind, namespace, name } = object.id;
  return {
    id: { group, kind, namespace, name },
    version: versionOf(object.apiVersion),
    bundle: object.bundle,
    sync: syncCode(isSynced),
    health: healthCode[verdict.health],
    message,
    change: object.change ? changeCode[object.change] : Change.UNSPECIFIED,
    uid: object.live?.uid ?? "",
    drift: object.drift.map(wireDrift),
    prune: run.desired.objects.has(object.key) || !object.pruneHold ? PruneState.UNSPECIFIED : pruneCode[object.pruneHold],
  };
}

function counted(run: FleetRun, object: TrackedObject, now: number): CountedObject {
  const { isSynced, verdict, message } = judge(run, object, now);
  return {
    bundle: object.bundle,
    name: describeId(object.id),
    synced: isSynced,
    health: healthThatCounts(verdict.health, object.isHook || run.desired.objects.has(object.key)),
    drifted: object.drift.length > 0,
    failed: object.failure !== undefined,
    message,
  };
}

/** A fleet's summary and its bundles, in one pass over its objects. */
export interface Totals {
  readonly summary: MessageInitShape<typeof SummarySchema>;
  readonly bundles: MessageInitShape<typeof BundleStateSchema>[];
  readonly rollUp: RollUp;
}

export function totals(run: FleetRun, now: number): Totals {
  const all = [...run.objects.values()].filter((object) => !run.desired.excluded.has(object.key)).map((object) => counted(run, object, now));
  const byBundle = Map.groupBy(all, (object) => object.bundle);
  // The first report of a target carries every bundle: a thousand of them must leave room for objects.
  const charsEach = Math.min(maxMessageChars, Math.max(80, Math.floor(engineLimits.bundleMessageChars / run.desired.bundles.size)));
  const judged = [...run.desired.bundles.values()].map(({ name, digest }) => {
    const rolled = rollUp(byBundle.get(name) ?? []);
    return { name, digest, rolled, added: withOrder(rolled, run.orders.get(name)) };
  });
  const bundles = judged.map(({ name, digest, added: { synced, health, message, ...counts } }) => {
    return { name, digest, sync: syncCode(synced), health: healthCode[health], message: cut(message, charsEach), ...counts };
  });
  const others = all.filter(({ bundle }) => !run.desired.bundles.has(bundle));
  const whole = wholeOf(rollUp(all), rollUp(others), judged);
  const trouble = run.refusal ? `target refused: ${run.refusal}` : run.trouble;
  const waits = run.held
    ? `${run.held.keys.length} prunes wait for approval: ${run.held.reason}`
    : run.prunesWait
      ? `${run.prunesWait.count} prunes wait: ${run.prunesWait.reason}`
      : "";
  const isSynced = whole.synced && trouble === "" && waits === "";
  const summary = {
    sync: syncCode(isSynced),
    health: healthCode[whole.health],
    message: cut(trouble || whole.message || waits),
    objects: whole.objects,
    healthy: whole.healthy,
    drifted: whole.drifted,
    failed: whole.failed,
    healthCounts: whole.healthCounts,
    prunesHeld: run.held?.keys.length ?? 0,
    prunesDigest: run.held?.digest ?? "",
  };
  return { summary, bundles, rollUp: { ...whole, synced: isSynced } };
}

/** A roll-up, with what the order of the bundle adds: a failed or late sync is Failed, one that goes on is InProgress. */
function withOrder(rolled: RollUp, order: OrderState | undefined): RollUp {
  if (!order) return rolled;
  const failed = order.failed || order.late;
  if (failed !== "")
    return { ...rolled, health: worseOf(rolled.health, "Failed"), message: rolled.failed > 0 && order.failed === "" ? rolled.message : failed };
  if (order.phase === "done") return rolled;
  if (order.phase === "held") return rolled.synced ? rolled : { ...rolled, message: `${order.blocker}; ${rolled.message}` };
  if (!awaitsHealth.has(order.phase)) return rolled;
  const isMoving = rolled.health === "Current" || rolled.health === "InProgress" || rolled.health === "NotFound";
  return isMoving && rolled.failed === 0 ? { ...rolled, health: "InProgress", message: `${tellOrderPhase(order)}: ${order.blocker}` } : rolled;
}

const awaitsHealth: ReadonlySet<string> = new Set(["dependsOn", "definitions", "pre", "stage", "sync", "post"]);

interface JudgedBundle {
  readonly name: string;
  readonly rolled: RollUp;
  readonly added: RollUp;
}

/** The fleet is as its worst bundle; its line is about order where that is what keeps it, and no apply failed. */
function wholeOf(counts: RollUp, others: RollUp, bundles: readonly JudgedBundle[]): RollUp {
  const told = bundles.filter(({ rolled, added }) => rolled !== added);
  if (told.length === 0) return counts;
  const health = bundles.reduce((worst, { added }) => worseOf(worst, added.health), others.health);
  const [first] = told.toSorted((a, b) => (a.added.health === b.added.health ? 0 : worseOf(a.added.health, b.added.health) === a.added.health ? -1 : 1));
  const isWorst = first !== undefined && (counts.failed === 0 || first.added.health === "Failed") && worseOf(first.added.health, health) === first.added.health;
  return { ...counts, health, message: isWorst ? `bundle ${first.name}: ${first.added.message}` : counts.message };
}

/** How far each bundle is, for those that depend on it. */
export function readinessOf(run: FleetRun, now: number, bundles: ReadonlySet<string>): Map<string, BundleReadiness> {
  const readiness = new Map<string, BundleReadiness>();
  if (bundles.size === 0) return readiness;
  const counts = countsOf(run, now, bundles);
  for (const [name, { objects, applied, health, message }] of counts) {
    const order = pendingOrder(run, name);
    readiness.set(name, { applied: applied === objects && order === "", healthy: health === "Current", reason: order || message });
  }
  return readiness;
}

/** What is known of a bundle in numbers: what a readiness expression sees. */
export interface BundleCounts extends RollUp {
  readonly applied: number;
}

export function countsOf(run: FleetRun, now: number, bundles: ReadonlySet<string>): Map<string, BundleCounts> {
  const wanted = Map.groupBy(run.desired.objects.values(), (object) => object.bundle);
  const counts = new Map<string, BundleCounts>();
  for (const name of bundles) {
    if (!run.desired.bundles.has(name)) continue;
    const objects = (wanted.get(name) ?? []).flatMap(({ key }) => run.objects.get(key) ?? []);
    const applied = objects.filter((object) => isApplied(run, object.key)).length;
    counts.set(name, { ...rollUp(objects.map((object) => counted(run, object, now))), applied });
  }
  return counts;
}

/** What a bundle's hooks have still to do for its present content; "" when nothing. */
function pendingOrder(run: FleetRun, name: string): string {
  const policy = run.desired.bundles.get(name);
  const mark = run.syncs.get(name);
  if (!policy?.hasHooks || (mark?.state === "done" && mark.token === policy.digest)) return "";
  return run.orders.get(name)?.failed || "its hooks have not run";
}

/** Lines for people have a bound. */
export function cut(text: string, maxChars: number = maxMessageChars): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`;
}
