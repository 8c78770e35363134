import { failpoint } from "@flotilla/proto/failpoint";
import { applyObject } from "../cluster/apply-object.ts";
import { deleteObject } from "../cluster/delete-object.ts";
import type { KubeResource } from "../cluster/discovery.ts";
import { getObject } from "../cluster/get-object.ts";
import { KubeError, retryClassOf, tellError } from "../cluster/kube-error.ts";
import type { HookFact, RunPhase } from "../domain/bundle-order.ts";
import { endOfRun, hookRunKey, type HookRun, type HookSight } from "../domain/hook-run.ts";
import { healthChecksFor, type HealthCheck } from "../domain/health-checks.ts";
import { describeId, type ObjectKey } from "../domain/object-id.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { retryDelayMs } from "../domain/retry-delay.ts";
import { sightOf } from "./cluster-view.ts";
import { dropObject } from "./drop-object.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOf, accountOfEntry, leavingFarewells, leavingHook, type FleetRun } from "./fleet-run.ts";
import { saveInventory } from "./save-inventory.ts";
import { saveOrder } from "./save-order.ts";
import { exclusively, judgeBy, trackObject, type TrackedObject } from "./tracked-object.ts";

/**
 * Note which hooks have come to their end since the last look, and delete those whose policy says so. Hooks are run once for each content of
 * their bundle; what ran is kept in the cluster before and after, so that a restart neither runs one again nor forgets one.
 *
 * @throws KubeError when it could not be written.
 */
export async function settleHooks(run: FleetRun, engine: EngineContext, now: number): Promise<void> {
  if (run.desired.hooks.size === 0 && run.hookRuns.size === 0) return;
  for (const [key, hook] of run.hookRuns) {
    const named = nameOf(run, hook.key, hook.phase);
    if (!named) run.hookRuns.delete(key);
    else if (hook.token === named.token && hook.state === "started")
      noteEnd(run, key, named.hook, endOfRun(hook, await lookAt(run, hook, engine), now, named.deadlineMs), engine);
  }
  await saveOrder(run, engine);
  for (const { key, state } of run.hookRuns.values()) if (state !== "started") dropGone(run, key, engine);
  await clean(run, engine);
}

/** A hook that may run, and how. */
interface NamedHook {
  readonly hook: DesiredObject;
  /** It runs once for each. */
  readonly token: string;
  readonly deadlineMs: number;
  readonly healthChecks: readonly HealthCheck[];
}

/** The hook as the target names it, or what is kept of a bundle that is being removed; undefined when it is not to run at this phase. */
function nameOf(run: FleetRun, key: ObjectKey, phase: RunPhase): NamedHook | undefined {
  if (phase === "pre-delete" || phase === "post-delete") {
    const hook = leavingHook(run, key);
    const farewell = hook && run.farewells.get(hook.bundle);
    return farewell && { hook, token: farewell.token, deadlineMs: farewell.hookDeadlineMs, healthChecks: farewell.healthChecks };
  }
  const hook = run.desired.hooks.get(key);
  const policy = hook && run.desired.bundles.get(hook.bundle);
  return policy && { hook, token: policy.digest, deadlineMs: policy.deadlines.hook, healthChecks: policy.healthChecks };
}

/** How far a hook is at one phase for this content. */
export function hookFact(run: FleetRun, hook: DesiredObject, phase: RunPhase, token: string): HookFact {
  const newest = run.hookRuns.get(hookRunKey(hook.key, phase));
  const current = newest?.token === token ? newest : undefined;
  const object = run.objects.get(hook.key);
  // Started and without a UID: its object was never seen to be made, and is made (again).
  const state = current === undefined || (current.state === "started" && current.uid === "") ? "due" : current.state;
  const why = current?.message || object?.failure?.message || (state === "started" ? (object?.live?.verdict.message ?? "") : "not started yet");
  return { key: hook.key, phase, stage: hook.directives.stage, name: describeId(hook.id), state, why };
}

/** Start hooks, each as its bundle's order lets it. One that cannot be made is tried again, until its deadline. */
export async function startHooks(run: FleetRun, facts: readonly HookFact[], engine: EngineContext, signal: AbortSignal): Promise<void> {
  await Promise.all(
    facts.map(async ({ key, phase }) => {
      const named = nameOf(run, key, phase);
      if (named && !signal.aborted) await startHook(run, named, phase, engine);
    }),
  );
}

/** What the watch does not show is read: that a hook is gone decides, and a watch may have begun before anybody asked for it. */
async function lookAt(run: FleetRun, { key, uid }: HookRun, engine: EngineContext): Promise<HookSight> {
  const object = run.objects.get(key);
  if (uid === "" || !object) return { state: "absent" };
  if (!object.live || object.isUnjudged) {
    try {
      const resource = await engine.discovery.resolve(object.apiVersion, object.id.kind);
      engine.view.attach(object, resource);
      const live = await getObject(engine.client, resource, object.id.namespace, object.id.name);
      engine.view.take(object, live && sightOf(object, live));
    } catch (error) {
      engine.log.warn({ fleet: run.name, object: key, problem: tellError(error, object.id.kind) }, "a hook could not be looked at; it is tried again");
      engine.queueFleet(run, { delayMs: 5_000 });
      return { state: "unseen" };
    }
  }
  return object.live ? { state: "present", uid: object.live.uid, verdict: object.live.verdict } : { state: "absent" };
}

function noteEnd(run: FleetRun, key: string, hook: DesiredObject, end: HookRun | undefined, engine: EngineContext): void {
  if (!end) return;
  run.hookRuns.set(key, end);
  const object = run.objects.get(end.key);
  if (object) engine.reporter(run).touch(object.key);
  const details = { bundle: end.bundle, object: hook.id };
  if (end.state === "succeeded") engine.reporter(run).event("HookSucceeded", `${end.phase} hook ${describeId(hook.id)} succeeded`, details);
  else engine.reporter(run).event("HookFailed", `${end.phase} hook ${describeId(hook.id)} failed: ${end.message}`, { ...details, warning: true });
}

/** Somebody deleted a hook that had ended, or its time to live was over. */
function dropGone(run: FleetRun, key: ObjectKey, engine: EngineContext): void {
  const object = run.objects.get(key);
  if (!object || object.live || !object.isVisible || !run.inventory.has(key) || object.failure) return;
  dropObject(run, object, engine);
}

/** Delete what ended, when every hook of its phase has: what one of them set up, the others may still use. */
async function clean(run: FleetRun, engine: EngineContext): Promise<void> {
  const byPhase = Map.groupBy(
    [...run.hookRuns.values()].filter(({ key, phase, token }) => nameOf(run, key, phase)?.token === token),
    (hook) => `${hook.bundle} ${hook.phase}`,
  );
  for (const [key, runs] of byPhase) {
    const phase = key.slice(key.indexOf(" ") + 1) as RunPhase;
    const hooks = [...run.desired.hooks.values(), ...leavingFarewells(run).flatMap((farewell) => [...farewell.hooks.values()])];
    const wanted = hooks.filter(({ bundle, directives }) => bundle === runs[0]?.bundle && directives.hook?.phases.includes(phase));
    const isOver = runs.some(({ state }) => state === "failed") || (runs.length === wanted.length && runs.every(({ state }) => state === "succeeded"));
    if (!isOver) continue;
    for (const hook of runs) if (hook.state !== "started" && run.inventory.has(hook.key) && mayDelete(run, hook)) await deleteHook(run, hook, engine);
  }
}

function mayDelete(run: FleetRun, { key, phase, state }: HookRun): boolean {
  const policies = nameOf(run, key, phase)?.hook.directives.hook?.deletePolicies ?? [];
  const isWanted = policies.includes(state === "succeeded" ? "succeeded" : "failed");
  // It is a hook at another phase too, and runs there now.
  const isRunning = [...run.hookRuns.values()].some((other) => other.key === key && other.state === "started");
  return isWanted && !isRunning;
}

/** Delete what ran. One that cannot be deleted is tried again with the next plan. */
export async function deleteHook(run: FleetRun, { key }: Pick<HookRun, "key">, engine: EngineContext): Promise<void> {
  const object = run.objects.get(key);
  const entry = run.inventory.get(key);
  if (!object || !entry) return;
  await exclusively(object, async () => {
    try {
      const resource = await engine.discovery.resolve(entry.apiVersion, object.id.kind);
      const deleted = await deleteObject(
        engine.client,
        resource,
        { namespace: object.id.namespace, name: object.id.name, uid: entry.uid, fleet: run.name },
        accountOfEntry(run, entry),
      );
      if (deleted.outcome === "terminating") return engine.view.take(object, sightOf(object, deleted.object));
      dropObject(run, object, engine);
      await saveInventory(run, engine);
    } catch (error) {
      engine.log.warn(
        { fleet: run.name, object: key, problem: tellError(error, object.id.kind) },
        "a hook that ended could not be deleted; it is tried again with the next plan",
      );
    }
  });
}

async function startHook(run: FleetRun, { hook, token, healthChecks }: NamedHook, phase: RunPhase, engine: EngineContext): Promise<void> {
  const object = trackHook(run, hook, healthChecks);
  await exclusively(object, async () => {
    try {
      const resource = await engine.discovery.resolve(hook.apiVersion, hook.id.kind);
      engine.view.attach(object, resource);
      const runKey = hookRunKey(hook.key, phase);
      const isResumed = run.hookRuns.get(runKey)?.token === token;
      if (!isResumed && !(await makeRoom(run, object, hook, resource, engine))) return;
      await remember(run, hook, phase, token, isResumed, engine);
      await create(run, object, hook, runKey, resource, engine);
    } catch (error) {
      fail(run, object, error, engine);
    }
  });
}

function trackHook(run: FleetRun, hook: DesiredObject, healthChecks: readonly HealthCheck[]): TrackedObject {
  const object = run.objects.get(hook.key) ?? trackObject(run.name, hook.key, hook.id, hook.apiVersion, hook.bundle);
  object.isHook = true;
  judgeBy(object, healthChecksFor(healthChecks, hook.id));
  object.bundle = hook.bundle;
  object.apiVersion = hook.apiVersion;
  run.objects.set(hook.key, object);
  return object;
}

/** What runs must be made anew to run again; other kinds are applied over unless their policy says otherwise. */
const runningKinds: ReadonlySet<string> = new Set(["batch/Job", "/Pod"]);

/** Delete what is left of an earlier run. Returns whether the name is free. */
async function makeRoom(run: FleetRun, object: TrackedObject, hook: DesiredObject, resource: KubeResource, engine: EngineContext): Promise<boolean> {
  const isAnew = runningKinds.has(`${hook.id.group}/${hook.id.kind}`) || hook.directives.hook?.deletePolicies.includes("before-creation");
  if (!isAnew) return true;
  const uid = run.inventory.get(hook.key)?.uid ?? "";
  const deleted = await deleteObject(
    engine.client,
    resource,
    { namespace: hook.id.namespace, name: hook.id.name, uid, fleet: run.name },
    accountOf(run, hook.bundle),
  );
  if (deleted.outcome === "left") throw new KubeError("unusable", `there is one of this name already, and it stays: ${deleted.reason}`);
  if (deleted.outcome === "terminating") {
    object.note = "the one that ran before is still being deleted";
    engine.view.take(object, sightOf(object, deleted.object));
    return false;
  }
  if (deleted.outcome === "deleted") engine.view.take(object, undefined);
  return true;
}

/** First on record, then in the cluster (G8). */
async function remember(run: FleetRun, hook: DesiredObject, phase: RunPhase, token: string, isResumed: boolean, engine: EngineContext): Promise<void> {
  const { key, apiVersion, bundle } = hook;
  const account = accountOf(run, bundle);
  run.inventory.set(key, { key, apiVersion, bundle, uid: "", desired: "", owned: "", ...(account !== "" && { account }) });
  if (!isResumed) run.hookRuns.set(hookRunKey(key, phase), { bundle, key, phase, token, state: "started", uid: "", startedAt: Date.now(), message: "" });
  failpoint("before-start-hook");
  await Promise.all([saveInventory(run, engine), saveOrder(run, engine)]);
}

async function create(run: FleetRun, object: TrackedObject, hook: DesiredObject, runKey: string, resource: KubeResource, engine: EngineContext): Promise<void> {
  const body = (await engine.bodies.open(hook.body)).object(hook.line);
  const applied = await applyObject(engine.client.as(accountOf(run, hook.bundle)), resource, body, { fleet: run.name, bundle: hook.bundle, isOurs: false });
  failpoint("after-start-hook");
  const sight = sightOf(object, applied.object);
  const entry = run.inventory.get(hook.key);
  if (entry) run.inventory.set(hook.key, { ...entry, uid: sight.uid });
  const started = run.hookRuns.get(runKey);
  if (started) run.hookRuns.set(runKey, { ...started, uid: sight.uid });
  [object.failure, object.note, object.change] = [undefined, "", applied.isCreated ? "Created" : "Configured"];
  engine.view.take(object, sight);
  await saveOrder(run, engine);
  engine.reporter(run).event("HookStarted", `${started?.phase ?? ""} hook ${describeId(hook.id)} started`, { bundle: hook.bundle, object: hook.id });
  engine.reporter(run).touch(object.key);
}

function fail(run: FleetRun, object: TrackedObject, error: unknown, engine: EngineContext): void {
  const message = tellError(error, object.id.kind);
  const retryClass = retryClassOf(error);
  const attempts = (object.failure?.attempts ?? 0) + 1;
  if (object.failure?.message !== message && retryClass === "patient")
    engine.reporter(run).event("ApplyFailed", `hook ${describeId(object.id)}: ${message}`, { bundle: object.bundle, object: object.id, warning: true });
  object.failure = { message, attempts, passes: retryClass === "soon" };
  object.change = "Failed";
  engine.reporter(run).touch(object.key);
  engine.queueFleet(run, { delayMs: retryDelayMs(retryClass, attempts, Math.random()) });
}
