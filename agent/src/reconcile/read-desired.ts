import { createHash } from "node:crypto";
import type { HealthCheck } from "../domain/health-checks.ts";
import type { IgnoreRule } from "../domain/ignore.ts";
import { ignoredPaths } from "../domain/ignore.ts";
import { describeId, idOf, objectKey, type ObjectKey } from "../domain/object-id.ts";
import type { DesiredObject, DriftMode } from "../domain/plan.ts";
import type { PruneBudget } from "../domain/prune-policy.ts";
import { readDirectives } from "@flotilla/proto/directives";
import { defaultHealthTimeoutMs } from "@flotilla/proto/limits";
import { DriftMode as DriftModeCode, type Target, type TargetBundle } from "@flotilla/proto/gen/target";
import type { OpenBody } from "../cluster/body-store.ts";

/** How a bundle is kept. */
export interface BundlePolicy {
  readonly name: string;
  readonly digest: string;
  readonly dependsOn: readonly string[];
  readonly driftMode: DriftMode;
  readonly healthTimeoutMs: number;
  readonly budget: PruneBudget | undefined;
  readonly healthChecks: readonly HealthCheck[];
  /** Service account ("namespace/name") in whose name its objects are written and deleted; "" is the agent itself. */
  readonly account: string;
}

/** What a target wants, object by object. */
export interface Desired {
  readonly objects: ReadonlyMap<ObjectKey, DesiredObject>;
  readonly excluded: ReadonlyMap<ObjectKey, string>;
  readonly bundles: ReadonlyMap<string, BundlePolicy>;
}

/** A target that must not be followed; the one before stays. */
export class RefusedTarget extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RefusedTarget";
  }
}

/**
 * Read the bodies of a target into an index of its objects: names, hashes and lines, no content.
 *
 * @throws RefusedTarget when a body is not what the target says: another number of objects, an object twice, not an object.
 */
export async function readDesired(target: Target, open: (digest: string) => Promise<OpenBody>): Promise<Desired> {
  const objects = new Map<ObjectKey, DesiredObject>();
  const excluded = new Map<ObjectKey, string>();
  for (const bundle of target.bundles) {
    const body = await open(bundle.digest);
    if (body.count !== bundle.objectCount)
      throw new RefusedTarget(`bundle ${bundle.name} should have ${bundle.objectCount} objects, its body has ${body.count}`);
    const left = new Set(bundle.excluded);
    for (const object of readBundle(bundle, body)) {
      if (left.has(object.key)) {
        excluded.set(object.key, bundle.name);
        continue;
      }
      const twin = objects.get(object.key);
      if (twin) throw new RefusedTarget(`${describeId(object.id)} is in bundle ${twin.bundle} and in bundle ${bundle.name}`);
      objects.set(object.key, object);
    }
  }
  for (const key of objects.keys()) excluded.delete(key);
  return { objects, excluded, bundles: new Map(target.bundles.map((bundle) => [bundle.name, policyOf(bundle)])) };
}

function* readBundle(bundle: TargetBundle, body: OpenBody): Generator<DesiredObject> {
  for (let line = 0; line < body.count; line++) {
    const object = body.object(line);
    if (typeof object?.apiVersion !== "string" || typeof object.kind !== "string" || typeof object.metadata?.name !== "string") {
      throw new RefusedTarget(`line ${line + 1} of bundle ${bundle.name} is not a Kubernetes object`);
    }
    const id = idOf(object);
    const ignored = ignoredPaths(bundle.ignore as readonly IgnoreRule[], id);
    const hash = createHash("sha256").update(body.line(line)).update(JSON.stringify(ignored)).digest("base64url").slice(0, 22);
    yield {
      key: objectKey(id),
      id,
      apiVersion: object.apiVersion,
      bundle: bundle.name,
      body: bundle.digest,
      line,
      hash,
      ignored,
      directives: readDirectives(object, bundle.defaults).directives,
    };
  }
}

const driftModes: ReadonlyMap<number, DriftMode> = new Map([
  [DriftModeCode.HEAL, "heal"],
  [DriftModeCode.REPORT, "report"],
  [DriftModeCode.HEAL_UNLESS_DRIFTED, "heal-unless-drifted"],
]);

function policyOf(bundle: TargetBundle): BundlePolicy {
  const timeout = bundle.healthTimeout;
  const timeoutMs = timeout ? Number(timeout.seconds) * 1000 + Math.round(timeout.nanos / 1e6) : 0;
  return {
    name: bundle.name,
    digest: bundle.digest,
    dependsOn: bundle.dependsOn,
    driftMode: driftModes.get(bundle.driftMode) ?? "heal",
    healthTimeoutMs: timeoutMs > 0 ? timeoutMs : defaultHealthTimeoutMs,
    healthChecks: bundle.healthChecks,
    account: bundle.serviceAccount,
    budget: bundle.pruneBudget && { objects: bundle.pruneBudget.objects, percent: bundle.pruneBudget.percent },
  };
}
