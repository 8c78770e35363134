import { failpoint } from "@flotilla/proto/failpoint";
import type { KubeObject } from "@flotilla/proto/digest";
import { agentNamespace } from "@flotilla/proto/names";
import { applyObject, type Applied } from "../cluster/apply-object.ts";
import { getObject } from "../cluster/get-object.ts";
import { isStatus, KubeError, retryClassOf, tellError } from "../cluster/kube-error.ts";
import type { KubeResource } from "../cluster/discovery.ts";
import { withoutPaths } from "../domain/ignore.ts";
import { describeId } from "../domain/object-id.ts";
import { ownsPointer } from "../domain/owned-fields.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { retryDelayMs } from "../domain/retry-delay.ts";
import { sightOf } from "./cluster-view.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOf, type FleetRun } from "./fleet-run.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** What an apply of one object came to; the failure is on the object. */
export type ApplyOutcome = Applied | "failed";

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
    const toSend = isOurs ? await withoutForeignIgnored(body, wanted, resource, engine) : body;
    const applied = await applyObject(engine.client.as(accountOf(run, wanted.bundle)), resource, toSend, {
      fleet: run.name,
      bundle: wanted.bundle,
      isOurs,
      urgent: options.urgent ?? false,
    });
    failpoint("after-apply-object");
    remember(run, object, wanted, applied, versionBefore, engine);
    return applied;
  } catch (error) {
    fail(run, object, error, engine);
    return "failed";
  }
}

function remember(
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
  run.inventory.set(object.key, {
    key: object.key,
    apiVersion: wanted.apiVersion,
    bundle: wanted.bundle,
    uid: sight.uid,
    desired: wanted.hash,
    owned: sight.owned,
    ...(accountOf(run, wanted.bundle) !== "" && { account: accountOf(run, wanted.bundle) }),
  });
  if (object.failure) engine.log.info({ fleet: run.name, object: object.key }, "applied at last");
  object.failure = undefined;
  object.note = "";
  object.drift = [];
  object.change = applied.isCreated ? "Created" : isSame ? "Unchanged" : "Configured";
  // A new content starts its way to health anew.
  if (!isSame && before?.desired !== wanted.hash) object.movingSince = undefined;
  object.isSuspect = object.seenWhileBusy !== undefined && object.seenWhileBusy !== sight.owned;
  engine.view.take(object, sight);
  if (applied.tookOverFrom.length > 0) {
    engine
      .reporter(run)
      .event("TookOver", `took over fields of ${describeId(object.id)} from ${applied.tookOverFrom.join(", ")}`, { bundle: object.bundle, object: object.id });
  }
  engine.reporter(run).touch(object.key);
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
  const isState = id.namespace === agentNamespace && /^flotilla-(target|body|inventory|order|agent-identity)/.test(id.name);
  if (isState) throw new KubeError("unusable", `${describeId(id)} is the agent's own state: no fleet may write it`);
}

/**
 * Ignored fields that somebody else holds now (an autoscaler's replicas) are left out of what is applied: applying them
 * would take them back. Those that are still ours, or nobody's, are applied.
 */
async function withoutForeignIgnored(body: KubeObject, wanted: DesiredObject, resource: KubeResource, engine: EngineContext): Promise<KubeObject> {
  if (wanted.ignored.length === 0) return body;
  const live = await getObject(engine.client, resource, wanted.id.namespace, wanted.id.name);
  if (!live) return body;
  return withoutPaths(
    body,
    wanted.ignored.filter((pointer) => pointer.includes("/*") || !ownsPointer(live, pointer)),
  );
}
