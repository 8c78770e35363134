import { createHash } from "node:crypto";
import { timestampMs, type Duration } from "@bufbuild/protobuf/wkt";
import type { KubeObject } from "@flotilla/proto/digest";
import { stageOf } from "../domain/apply-order.ts";
import type { HealthCheck } from "../domain/health-checks.ts";
import { defaultRulesFor, scaledBy, scaleKey } from "../domain/ignore-defaults.ts";
import { type Ignored, ignoredOf } from "../domain/ignore.ts";
import { describeId, idOf, objectKey, type ObjectKey } from "../domain/object-id.ts";
import type { DesiredObject, DriftMode } from "../domain/plan.ts";
import type { PruneBudget } from "../domain/prune-policy.ts";
import { readDirectives, type Directives } from "@flotilla/proto/directives";
import { defaultDeadlinesMs, defaultHealthTimeoutMs } from "@flotilla/proto/limits";
import type { SyncWindow, SyncWindows } from "@flotilla/proto/sync-windows";
import {
  DriftMode as DriftModeCode,
  type Suspension,
  type SyncWindow as WireWindow,
  type SyncWindows as WireWindows,
  type Target,
  type TargetBundle,
  WhenClosed,
} from "@flotilla/proto/gen/target";
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
  /** Its objects name more than one stage, or hooks: then health is awaited between them. */
  readonly isStaged: boolean;
  readonly hasHooks: boolean;
  readonly deadlines: PhaseDeadlines;
  readonly suspension: Suspension | undefined;
  readonly windows: readonly SyncWindows[];
  /** Opens every window until then (epoch ms). */
  readonly override: { readonly until: number } | undefined;
  /** Readiness expressions by the bundle that is waited for. */
  readonly readiness: ReadonlyMap<string, string>;
}

/** Milliseconds that each phase may take before it is late. */
export interface PhaseDeadlines {
  readonly definitions: number;
  readonly hook: number;
  readonly stage: number;
  readonly dependsOn: number;
  readonly apply: number;
}

/** What a target wants, object by object. */
export interface Desired {
  readonly objects: ReadonlyMap<ObjectKey, DesiredObject>;
  readonly excluded: ReadonlyMap<ObjectKey, string>;
  readonly bundles: ReadonlyMap<string, BundlePolicy>;
  /** Objects that are run and not kept. */
  readonly hooks: ReadonlyMap<ObjectKey, DesiredObject>;
  /** "group/kind" → the definition in this target that makes it. */
  readonly definitions: ReadonlyMap<string, ObjectKey>;
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
  const hooks = new Map<ObjectKey, DesiredObject>();
  const definitions = new Map<string, ObjectKey>();
  const scaled = new Set<string>();
  for (const bundle of target.bundles) {
    const body = await open(bundle.digest);
    if (body.count !== bundle.objectCount)
      throw new RefusedTarget(`bundle ${bundle.name} should have ${bundle.objectCount} objects, its body has ${body.count}`);
    const left = new Set(bundle.excluded);
    for (const { object, defines, scales } of readBundle(bundle, body)) {
      if (scales !== undefined) scaled.add(scales);
      if (left.has(object.key)) {
        excluded.set(object.key, bundle.name);
        continue;
      }
      const twin = objects.get(object.key) ?? hooks.get(object.key);
      if (twin) throw new RefusedTarget(`${describeId(object.id)} is in bundle ${twin.bundle} and in bundle ${bundle.name}`);
      (object.directives.hook ? hooks : objects).set(object.key, object);
      if (defines !== undefined) definitions.set(defines, object.key);
    }
  }
  for (const key of [...objects.keys(), ...hooks.keys()]) excluded.delete(key);
  if (scaled.size > 0) await leaveToAutoscalers(target, objects, scaled, open);
  return { objects, excluded, hooks, definitions, bundles: readPolicies(target, objects, hooks) };
}

/** An autoscaler may stand in any bundle: what it scales is known when all were read. */
async function leaveToAutoscalers(
  target: Target,
  objects: Map<ObjectKey, DesiredObject>,
  scaled: ReadonlySet<string>,
  open: (digest: string) => Promise<OpenBody>,
): Promise<void> {
  const bundles = new Map(target.bundles.map((bundle) => [bundle.name, bundle]));
  for (const wanted of objects.values()) {
    const bundle = bundles.get(wanted.bundle);
    if (!bundle || !scaled.has(scaleKey(wanted.id))) continue;
    const body = await open(wanted.body);
    const rules = defaultRulesFor(body.object(wanted.line), wanted.id, bundle.ignoreDefaultsOff, true);
    const ignored = ignoredOf([...bundle.ignore, ...rules], wanted.id);
    objects.set(wanted.key, { ...wanted, ignored, hash: hashOf(body.line(wanted.line), ignored) });
  }
}

/** Hash of an object's content and of what is ignored of it. */
function hashOf(line: Buffer, ignored: Ignored): string {
  return createHash("sha256").update(line).update(ignored.text).digest("base64url").slice(0, 22);
}

function readPolicies(
  target: Target,
  objects: ReadonlyMap<ObjectKey, DesiredObject>,
  hooks: ReadonlyMap<ObjectKey, DesiredObject>,
): ReadonlyMap<string, BundlePolicy> {
  const stages = new Map<string, Set<number>>();
  for (const { bundle, directives } of objects.values()) stages.set(bundle, (stages.get(bundle) ?? new Set()).add(directives.stage));
  // The hooks of a removal are no part of the order in which a bundle is applied.
  const isRun = ({ directives }: DesiredObject) => directives.hook?.phases.some((phase) => phase !== "pre-delete" && phase !== "post-delete");
  const hooked = new Set([...hooks.values()].filter(isRun).map(({ bundle }) => bundle));
  return new Map(target.bundles.map((bundle) => [bundle.name, policyOf(bundle, (stages.get(bundle.name)?.size ?? 0) > 1, hooked.has(bundle.name))]));
}

interface ReadObject {
  readonly object: DesiredObject;
  /** The "group/kind" that it defines. */
  readonly defines: string | undefined;
  /** The object that it scales, as scaleKey names it. */
  readonly scales: string | undefined;
}

function* readBundle(bundle: TargetBundle, body: OpenBody): Generator<ReadObject> {
  for (let line = 0; line < body.count; line++) {
    const object = body.object(line);
    if (typeof object?.apiVersion !== "string" || typeof object.kind !== "string" || typeof object.metadata?.name !== "string") {
      throw new RefusedTarget(`line ${line + 1} of bundle ${bundle.name} is not a Kubernetes object`);
    }
    const id = idOf(object);
    const ignored = ignoredOf([...bundle.ignore, ...defaultRulesFor(object, id, bundle.ignoreDefaultsOff, false)], id);
    const hash = hashOf(body.line(line), ignored);
    const directives = directivesOf(object, bundle);
    const wanted = { key: objectKey(id), id, apiVersion: object.apiVersion, bundle: bundle.name, body: bundle.digest, line, hash, ignored, directives };
    yield { object: wanted, scales: scaledBy(object), defines: stageOf(id) === "definitions" ? kindDefinedBy(object) : undefined };
  }
}

/** A hook whose only phases are those that nothing here runs must not pass for an ordinary object: it is skipped. */
function directivesOf(object: KubeObject, bundle: TargetBundle): Directives {
  const { directives, honoured, notHonoured } = readDirectives(object, bundle.defaults);
  const isRefusedHook = !directives.hook && notHonoured.some(({ annotation }) => annotation.endsWith("/hook"));
  const isHonoured = honoured.some(({ annotation }) => annotation.endsWith("/hook"));
  return isRefusedHook && !isHonoured ? { ...directives, hook: { phases: ["skip"], deletePolicies: ["before-creation"] } } : directives;
}

function kindDefinedBy(definition: KubeObject): string | undefined {
  const spec = definition.spec as { group?: unknown; names?: { kind?: unknown } } | undefined;
  return typeof spec?.group === "string" && typeof spec.names?.kind === "string" ? `${spec.group}/${spec.names.kind}` : undefined;
}

const driftModes: ReadonlyMap<number, DriftMode> = new Map([
  [DriftModeCode.HEAL, "heal"],
  [DriftModeCode.REPORT, "report"],
  [DriftModeCode.HEAL_UNLESS_DRIFTED, "heal-unless-drifted"],
]);

function policyOf(bundle: TargetBundle, isStaged: boolean, hasHooks: boolean): BundlePolicy {
  return {
    name: bundle.name,
    digest: bundle.digest,
    dependsOn: bundle.dependsOn,
    driftMode: driftModes.get(bundle.driftMode) ?? "heal",
    healthTimeoutMs: msOf(bundle.healthTimeout) ?? defaultHealthTimeoutMs,
    healthChecks: bundle.healthChecks,
    account: bundle.serviceAccount,
    budget: bundle.pruneBudget && { objects: bundle.pruneBudget.objects, percent: bundle.pruneBudget.percent },
    isStaged,
    hasHooks,
    deadlines: {
      definitions: msOf(bundle.deadlines?.definitions) ?? defaultDeadlinesMs.definitions,
      hook: msOf(bundle.deadlines?.hook) ?? defaultDeadlinesMs.hook,
      stage: msOf(bundle.deadlines?.stage) ?? defaultDeadlinesMs.stage,
      dependsOn: msOf(bundle.deadlines?.dependsOn) ?? defaultDeadlinesMs.dependsOn,
      apply: msOf(bundle.deadlines?.apply) ?? defaultDeadlinesMs.apply,
    },
    suspension: bundle.suspension,
    windows: bundle.syncWindows.map(windowsOf),
    override: bundle.windowOverride?.until && { until: timestampMs(bundle.windowOverride.until) },
    readiness: new Map(bundle.readiness.map(({ bundle: name, expression }) => [name, expression])),
  };
}

/** Milliseconds of a duration; undefined when it is not set. */
function msOf(duration: Duration | undefined): number | undefined {
  const ms = duration ? Number(duration.seconds) * 1000 + Math.round(duration.nanos / 1e6) : 0;
  return ms > 0 ? ms : undefined;
}

function windowsOf(windows: WireWindows): SyncWindows {
  const isStop = windows.whenClosed === WhenClosed.STOP;
  return { allow: windows.allow.map(windowOf), deny: windows.deny.map(windowOf), whenClosed: isStop ? "stop" : "finish", heal: windows.heal };
}

function windowOf({ timeZone, schedule, duration, from, to }: WireWindow): SyncWindow {
  return { timeZone: timeZone || "UTC", schedule, durationMs: msOf(duration) ?? 0, from, to };
}
