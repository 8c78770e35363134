import { failpoint } from "@flotilla/proto/failpoint";
import type { KubeObject } from "@flotilla/proto/digest";
import type { Applied } from "../cluster/apply-object.ts";
import { getObject } from "../cluster/get-object.ts";
import { isStatus, KubeError, retryClassOf, tellError } from "../cluster/kube-error.ts";
import type { KubeResource } from "../cluster/discovery.ts";
import { isAccepted } from "../domain/drift.ts";
import { guardOf } from "../domain/guard.ts";
import { foreignPointers, nothingIgnored, withoutPaths } from "../domain/ignore.ts";
import { unansweredEntry, withGuard } from "../domain/inventory.ts";
import { describeId } from "../domain/object-id.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { isOwnState } from "../domain/protected-kinds.ts";
import { retryDelayMs } from "../domain/retry-delay.ts";
import { applyByPolicy, type PolicyOutcome } from "./apply-by-policy.ts";
import { sightOf } from "./cluster-view.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOf, type FleetRun } from "./fleet-run.ts";
import { saveInventorySoon } from "./save-inventory.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** What an apply of one object came to; the failure, or why it was left alone, is on the object. */
export type ApplyOutcome = Applied | "failed" | "left";

/**
 * Apply one object of the target and note what it came to: in the inventory, in what is known of the object, in the
 * reports. An error stays with the object and is tried again for ever, ever more patiently; it never stops another (G17).
 * The caller holds the object (exclusively).
 */
export async function applyTracked(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  engine: EngineContext,
  options: { readonly urgent?: boolean } = {},
): Promise<ApplyOutcome> {
  object.seenWhileBusy = undefined;
  const versionBefore = object.live?.resourceVersion;
  try {
    const body = (await engine.bodies.open(wanted.body)).object(wanted.line);
    refuseOwnHouse(object);
    const resource = await engine.discovery.resolve(wanted.apiVersion, wanted.id.kind);
    engine.view.attach(object, resource);
    const entry = run.inventory.get(object.key);
    const isOurs = entry !== undefined && entry.uid !== "";
    const toSend = isOurs ? await withoutForeignIgnored(body, object, wanted, resource, engine) : body;
    const outcome = await applyByPolicy({ run, object, wanted, resource, body: toSend, urgent: options.urgent ?? false, engine });
    failpoint("after-apply-object");
    if (outcome.kind !== "applied") return leave(run, object, wanted, outcome, engine);
    noteApplied(run, object, wanted, outcome.applied, versionBefore, engine);
    if (outcome.isAdopted) tellAdopted(run, object, engine);
    return outcome.applied;
  } catch (error) {
    fail(run, object, error, engine);
    return "failed";
  }
}

/**
 * Note that an object is as the target wants it: in the inventory, in what is known of it, in the reports.
 *
 * @param versionBefore what it was seen at before; the same as after when nothing was changed.
 */
export function noteApplied(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  applied: Applied,
  versionBefore: string | undefined,
  engine: EngineContext,
): void {
  const before = run.inventory.get(object.key);
  const isSame = !applied.isCreated && versionBefore === applied.object.metadata.resourceVersion;
  object.apiVersion = wanted.apiVersion;
  object.bundle = wanted.bundle;
  object.ignored = wanted.ignored;
  const sight = sightOf(object, applied.object);
  const entry = {
    key: object.key,
    apiVersion: wanted.apiVersion,
    bundle: wanted.bundle,
    uid: sight.uid,
    desired: wanted.hash,
    owned: sight.owned,
    ...(accountOf(run, wanted.bundle) !== "" && { account: accountOf(run, wanted.bundle) }),
  };
  run.inventory.set(object.key, withGuard(entry, guardOf(wanted.directives)));
  if (object.failure) engine.log.info({ fleet: run.name, object: object.key }, "applied at last");
  run.interrupted.delete(object.key);
  if (before?.uid === "") engine.claimsChanged(run);
  object.failure = undefined;
  object.foreign = "";
  object.exempt = "";
  object.note = "";
  if (object.drift.length > 0 && before?.desired !== wanted.hash) tellOvertaken(run, object, applied.object, engine);
  object.drift = [];
  object.change = applied.isCreated ? "Created" : isSame ? "Unchanged" : "Configured";
  // A new content starts its way to health anew.
  if (!isSame && before?.desired !== wanted.hash) object.movingSince = undefined;
  object.isSuspect = false;
  engine.view.take(object, sight);
  if (applied.tookOverFrom.length > 0) {
    engine
      .reporter(run)
      .event("TookOver", `took over fields of ${describeId(object.id)} from ${applied.tookOverFrom.join(", ")}`, { bundle: object.bundle, object: object.id });
  }
  engine.reporter(run).touch(object.key);
}

/** The object is there and stays as it is: somebody else's, or never changed by its own word. What is not ours leaves the inventory. */
function leave(
  run: FleetRun,
  object: TrackedObject,
  wanted: DesiredObject,
  outcome: Exclude<PolicyOutcome, { kind: "applied" }>,
  engine: EngineContext,
): "left" {
  const details = { bundle: object.bundle, object: object.id };
  const live = outcome.kind === "exempt" ? outcome.live : undefined;
  if (live) {
    const sight = sightOf(object, live);
    const entry = unansweredEntry(object.key, wanted.apiVersion, wanted.bundle);
    run.inventory.set(object.key, withGuard({ ...entry, uid: sight.uid, desired: wanted.hash, owned: sight.owned }, guardOf(wanted.directives)));
    engine.view.take(object, sight);
  } else {
    run.inventory.delete(object.key);
    engine.claimsChanged(run);
  }
  const before = object.foreign;
  Object.assign(object, { failure: undefined, drift: [], change: "Skipped", note: "" });
  if (outcome.kind === "exempt") object.exempt = outcome.why;
  else Object.assign(object, { foreign: outcome.why, note: outcome.why });
  if (outcome.kind === "foreign" && before !== outcome.why)
    engine.reporter(run).event("NotAdopted", `${describeId(object.id)} is left alone: ${outcome.why}`, { ...details, warning: true });
  saveInventorySoon(run, engine);
  engine.reporter(run).touch(object.key);
  return "left";
}

/** A new revision was applied over a drift. */
function tellOvertaken(run: FleetRun, object: TrackedObject, now: KubeObject, engine: EngineContext): void {
  const details = { bundle: object.bundle, object: object.id };
  if (isAccepted(object.drift, now, engine.hashKey))
    engine.reporter(run).event("DriftAccepted", `Git says now what was found on ${describeId(object.id)}`, details);
  else engine.reporter(run).event("DriftReplaced", `a new revision of ${describeId(object.id)} took the place of what was changed by hand`, details);
}

function tellAdopted(run: FleetRun, object: TrackedObject, engine: EngineContext): void {
  engine
    .reporter(run)
    .event("Adopted", `${describeId(object.id)} was there before and belongs to this fleet now`, { bundle: object.bundle, object: object.id });
}

/** First tries of what passes by itself (a definition being established) are no news. */
const quietAttempts = 5;

function fail(run: FleetRun, object: TrackedObject, error: unknown, engine: EngineContext): void {
  if (isKindGone(error)) void engine.discovery.refresh().catch(() => undefined);
  const retryClass = retryClassOf(error);
  const message = tellError(error, object.id.kind);
  const attempts = (object.failure?.attempts ?? 0) + 1;
  const isNews = object.failure?.message !== message || attempts === quietAttempts;
  object.failure = { message, attempts, passes: retryClass === "soon" };
  object.change = "Failed";
  // An API server that is away is the fleet's trouble, not the news of each of its objects.
  const isOutage = error instanceof KubeError && error.code === "unreachable";
  if (isNews && !isOutage && (retryClass === "patient" || attempts >= quietAttempts)) {
    engine.reporter(run).event("ApplyFailed", `${describeId(object.id)}: ${message}`, { bundle: object.bundle, object: object.id, warning: true });
  }
  engine.log.debug({ fleet: run.name, object: object.key, attempts, problem: message }, "apply failed");
  engine.reporter(run).touch(object.key);
  engine.queueObject(run, object.key, { delayMs: retryDelayMs(retryClass, attempts, Math.random()) });
}

/** A 404 that names no object is about the collection: its definition is gone, and what discovery said is old. */
function isKindGone(error: unknown): boolean {
  return isStatus(error, 404) && /could not find the requested resource/.test(error.message);
}

/** A fleet that writes the agent's own state would make it forget what it owns. */
function refuseOwnHouse({ id }: TrackedObject): void {
  if (isOwnState(id)) throw new KubeError("unusable", `${describeId(id)} is the agent's own state: no fleet may write it`);
}

/**
 * Ignored fields that somebody else holds now (an autoscaler's replicas) are left out of what is applied: applying them
 * would take them back. Those that are still ours, or nobody's, are applied.
 */
export async function withoutForeignIgnored(
  body: KubeObject,
  object: TrackedObject,
  wanted: DesiredObject,
  resource: KubeResource,
  engine: EngineContext,
): Promise<KubeObject> {
  if (wanted.ignored === nothingIgnored) return body;
  // The watch shows that nobody else holds anything: most objects are not asked for.
  if (object.isVisible && object.live && !object.live.isShared) return body;
  const live = await getObject(engine.client, resource, wanted.id.namespace, wanted.id.name);
  if (!live) return body;
  return withoutPaths(body, foreignPointers(wanted.ignored, body, live));
}
