import { maxReadinessObjects, compileReadiness } from "@flotilla/proto/readiness";
import { getObject } from "../cluster/get-object.ts";
import type { BundleReadiness } from "../domain/apply-order.ts";
import { isSecretLike, type ObjectKey } from "../domain/object-id.ts";
import type { EngineContext } from "./engine-context.ts";
import { isApplied, type FleetRun } from "./fleet-run.ts";
import { countsOf, type BundleCounts } from "./object-state.ts";
import type { TrackedObject } from "./tracked-object.ts";

/**
 * Evaluate the readiness expressions of bundles that still have something to apply. Of live objects only those that an expression names are
 * read, and kept no longer than the evaluation.
 */
export async function readReadiness(run: FleetRun, engine: EngineContext, now: number): Promise<void> {
  const expressions = new Map<string, ReadonlyMap<string, BundleReadiness>>();
  const awaited = new Set<ObjectKey>();
  for (const policy of run.desired.bundles.values()) {
    if (policy.readiness.size === 0 || isSettled(run, policy.name)) continue;
    const counts = countsOf(run, now, new Set(policy.readiness.keys()));
    const verdicts = new Map<string, BundleReadiness>();
    for (const [bundle, text] of policy.readiness) verdicts.set(bundle, await evaluate(run, engine, { bundle, text, counts: counts.get(bundle), awaited }));
    expressions.set(policy.name, verdicts);
  }
  run.expressions = expressions;
  run.awaitedObjects = awaited;
}

/** Nothing of the bundle is still to be applied, so nobody asks. */
function isSettled(run: FleetRun, bundle: string): boolean {
  const order = run.orders.get(bundle);
  if (order?.phase !== "done") return false;
  for (const object of run.desired.objects.values())
    if (object.bundle === bundle && !run.leftAlone.has(object.key) && !isApplied(run, object.key)) return false;
  return true;
}

interface Question {
  readonly bundle: string;
  readonly text: string;
  readonly counts: BundleCounts | undefined;
  readonly awaited: Set<ObjectKey>;
}

async function evaluate(run: FleetRun, engine: EngineContext, { bundle, text, counts, awaited }: Question): Promise<BundleReadiness> {
  if (!counts) return { applied: false, healthy: false, reason: "" };
  const compiled = compileReadiness(text);
  if (!compiled.ok) return notReady(`its readiness expression cannot be read: ${compiled.problem.message}`);
  const objects: Record<string, unknown> = {};
  for (const name of compiled.expression.keysOf("objects").slice(0, maxReadinessObjects)) {
    const object = findObject(run, bundle, name);
    if (!object) continue;
    awaited.add(object.key);
    const live = await readObject(object, engine);
    if (typeof live === "string") return notReady(live);
    if (live) objects[name] = live;
  }
  const { objects: count, applied, healthy, drifted, failed, health, synced } = counts;
  const result = compiled.expression.evaluate({ bundle: { objects: count, applied, healthy, drifted, failed, health, synced }, objects });
  if (!result.ok) return notReady(`not ready: ${result.message} (${text})`);
  return result.value ? { applied: true, healthy: true, reason: "" } : notReady(`not ready: ${text}`);
}

function notReady(reason: string): BundleReadiness {
  return { applied: false, healthy: false, reason };
}

/** The live object, without the content of what is secret; or why it cannot be read. */
async function readObject(object: TrackedObject, engine: EngineContext): Promise<object | string | undefined> {
  try {
    const resource = await engine.discovery.resolve(object.apiVersion, object.id.kind);
    const live = await getObject(engine.client, resource, object.id.namespace, object.id.name);
    if (!live) return undefined;
    const metadata: Record<string, unknown> = { ...live.metadata, managedFields: undefined };
    return isSecretLike(object.id.kind)
      ? { apiVersion: live.apiVersion, kind: live.kind, metadata: { name: metadata.name, namespace: metadata.namespace } }
      : { ...live, metadata };
  } catch (error) {
    return `${object.id.kind} ${object.id.name} cannot be read: ${(error as Error).message}`;
  }
}

/** "Kind/namespace/name", or "Kind/name" for what has no namespace. */
function findObject(run: FleetRun, bundle: string, name: string): TrackedObject | undefined {
  const [kind, second, third] = name.split("/");
  for (const object of run.objects.values()) {
    if (object.bundle !== bundle || object.id.kind !== kind) continue;
    if (third === undefined ? object.id.namespace === "" && object.id.name === second : object.id.namespace === second && object.id.name === third)
      return object;
  }
  return undefined;
}
