import type { DryRunCommand } from "@flotilla/proto/gen/link";
import { openBody, type OpenBody } from "../cluster/body-store.ts";
import { getObject } from "../cluster/get-object.ts";
import { isStatus, KubeError, tellError } from "../cluster/kube-error.ts";
import { stages } from "../domain/apply-order.ts";
import { describeId, objectKey, parseObjectKey, type ObjectKey } from "../domain/object-id.ts";
import { planChanges, type ApplyStep, type DesiredObject, type Plan } from "../domain/plan.ts";
import { boundForesight, type Foreseen, type ForeseenAction, foreseenFields, type Foresight, wouldChange } from "../domain/preview.ts";
import { isOwnState } from "../domain/protected-kinds.ts";
import { previewLimits } from "../limits.ts";
import { applyByPolicy, type PolicyOutcome } from "./apply-by-policy.ts";
import { withoutForeignIgnored } from "./apply-tracked.ts";
import type { EngineContext } from "./engine-context.ts";
import { isHookHere, type FleetRun } from "./fleet-run.ts";
import { holdOf } from "./hold-of.ts";
import { readDesired, type Desired } from "./read-desired.ts";
import { trackObject } from "./tracked-object.ts";

/**
 * What a target would do here, by the rules and the code that would do it: planned against the present inventory, each change tried as a
 * server-side dry run (no write), prunes judged by guards and budgets. Order and windows are left out: this is about what, not when.
 *
 * @throws Error when the cluster has another target by now, or cannot be asked; RefusedTarget when the target would not be followed.
 */
export async function previewTarget(run: FleetRun, command: DryRunCommand, engine: EngineContext, signal: AbortSignal): Promise<Foresight> {
  const { target, baseDigest, hashKey } = command;
  if (!target) throw new Error("the question names no target");
  if (run.pending || (run.target?.digest ?? "") !== baseDigest) throw new Error("the cluster is being given another target just now: ask again");
  if (run.inventoryProblem !== "") throw new Error(`its inventory cannot be read: ${run.inventoryProblem}`);
  const open = opener(command, engine);
  const desired = await readDesired(target, open);
  // What the plan writes to is a copy; the objects and the inventory in it are only read.
  const shadow: FleetRun = { ...run, target, desired };
  const plan = planOf(run, shadow, engine);
  const dryRun: DryRun = { run, shadow, plan, open, hashKey, failed: [], engine, signal };
  const tried = await inParallel(
    stages.flatMap((stage) => plan.applies.get(stage) ?? []),
    (step) => foreseeApply(dryRun, step),
  );
  const applies = tried.filter((foreseen) => foreseen !== undefined).filter((foreseen) => !isOldTrouble(run, shadow, foreseen));
  const unchanged = plan.unchanged.length + plan.drifted.length + plan.exempt.size + (tried.length - applies.length);
  return boundForesight([...foreseeHooks(run, desired), ...applies, ...foreseeRest(dryRun)], unchanged);
}

/** Whether an object is refused or somebody else's already, with the same content: that is not the doing of what is previewed. */
function isOldTrouble(run: FleetRun, { desired }: FleetRun, { object: key, action }: Foreseen): boolean {
  if (action !== "refuse" && action !== "conflict") return false;
  const object = run.objects.get(key as ObjectKey);
  const isSame = run.desired.objects.get(key as ObjectKey)?.hash === desired.objects.get(key as ObjectKey)?.hash;
  return isSame && (Boolean(object?.foreign) || object?.failure !== undefined);
}

interface DryRun {
  /** As it is. */
  readonly run: FleetRun;
  /** As it would be. */
  readonly shadow: FleetRun;
  readonly plan: Plan;
  readonly open: (digest: string) => Promise<OpenBody>;
  readonly hashKey: Uint8Array;
  /** What would not be applied: prunes wait for it. */
  readonly failed: Foreseen[];
  readonly engine: EngineContext;
  readonly signal: AbortSignal;
}

/** Bodies that came with the question are only in memory. */
function opener({ bodies }: DryRunCommand, engine: EngineContext): DryRun["open"] {
  const packed = new Map(bodies.map(({ digest, content }) => [digest, content]));
  const opened = new Map<string, OpenBody>();
  return async (digest) => {
    const content = packed.get(digest);
    if (!content) return engine.bodies.open(digest);
    const body = opened.get(digest) ?? openBody(digest, content);
    opened.set(digest, body);
    return body;
  };
}

function planOf(run: FleetRun, shadow: FleetRun, engine: EngineContext): Plan {
  const { desired, target } = shadow;
  const now = Date.now();
  return planChanges({
    desired: desired.objects,
    excluded: new Set(desired.excluded.keys()),
    inventory: run.inventory,
    observe: (key) => engine.view.observe(run.objects.get(key)),
    // Other fleets are asked about in this fleet's own name.
    claimedBy: (key) => engine.claimedBy(run, key),
    takenBy: (key) => engine.takenBy(run, key),
    namedBy: (key) => engine.namedBy(run, key),
    driftMode: (bundle) => desired.bundles.get(bundle)?.driftMode ?? "heal",
    blocked: () => undefined,
    stays: (key, bundle) => isHookHere(shadow, key) || (!desired.bundles.has(bundle) && holdOf(run, bundle, now)?.kind === "suspended"),
    rests: () => undefined,
    revision: target?.revision ?? "",
    approval: undefined,
    budgets: new Map([...desired.bundles.values()].flatMap(({ name, budget }) => (budget ? [[name, budget] as const] : []))),
  });
}

async function inParallel<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(previewLimits.atOnce, items.length) }, work));
  return results;
}

const plain = (wanted: DesiredObject, action: ForeseenAction, message = ""): Foreseen => ({
  object: wanted.key,
  bundle: wanted.bundle,
  action,
  message,
  fields: [],
  moreFields: 0,
});

/** Undefined: nothing would change. */
async function foreseeApply(dryRun: DryRun, { object: wanted }: ApplyStep): Promise<Foreseen | undefined> {
  const { run, shadow, open, engine, signal, hashKey } = dryRun;
  signal.throwIfAborted();
  const object = run.objects.get(wanted.key) ?? trackObject(run.name, wanted.key, wanted.id, wanted.apiVersion, wanted.bundle);
  try {
    if (isOwnState(wanted.id)) throw new KubeError("unusable", `${describeId(wanted.id)} is the agent's own state: no fleet may write it`);
    const body = (await open(wanted.body)).object(wanted.line);
    const resource = await engine.discovery.resolve(wanted.apiVersion, wanted.id.kind);
    const live = await getObject(engine.client, resource, resource.isNamespaced ? wanted.id.namespace : "", wanted.id.name);
    const isOurs = (run.inventory.get(wanted.key)?.uid ?? "") !== "";
    const toSend = isOurs ? await withoutForeignIgnored(body, object, wanted, resource, engine) : body;
    const outcome = await applyByPolicy({ run: shadow, object, wanted, resource, body: toSend, urgent: false, engine, isDryRun: true });
    if (outcome.kind === "foreign") return plain(wanted, "conflict", outcome.why);
    if (outcome.kind === "exempt") return undefined;
    if (outcome.applied.recreates) return plain(wanted, "recreate", `to change ${outcome.applied.recreates.join(", ")}`);
    if (outcome.applied.isCreated || !live) return plain(wanted, "create");
    if (!wouldChange(live, outcome.applied.object)) return undefined;
    return { ...plain(wanted, "configure", tellTaken(outcome)), fields: foreseenFields(live, outcome.applied.object, hashKey) };
  } catch (error) {
    return foreseeError(dryRun, wanted, error);
  }
}

function tellTaken({ isAdopted, applied }: Extract<PolicyOutcome, { kind: "applied" }>): string {
  const taken = applied.tookOverFrom.length === 0 ? "" : `takes over fields from ${applied.tookOverFrom.join(", ")}`;
  return [isAdopted ? "it is there already, and is taken over" : "", taken].filter((part) => part !== "").join("; ");
}

/** What this very target brings first is no reason to refuse the rest of it. */
function foreseeError({ shadow, failed }: DryRun, wanted: DesiredObject, error: unknown): Foreseen {
  const { id } = wanted;
  if (error instanceof KubeError && error.code === "unreachable") throw error;
  const isKindUnknown =
    (error instanceof KubeError && error.code === "no-match") || (isStatus(error, 404) && /could not find the requested/.test(error.message));
  if (isKindUnknown && shadow.desired.definitions.has(`${id.group}/${id.kind}`)) return plain(wanted, "create", "not tried: its definition is made first");
  const namespace = objectKey({ group: "", kind: "Namespace", namespace: "", name: id.namespace });
  if (isStatus(error, 404) && error.message.startsWith("namespaces ") && shadow.desired.objects.has(namespace))
    return plain(wanted, "create", "not tried: its namespace is made first");
  const isContested = error instanceof KubeError && error.reason === "Contested";
  const foreseen = plain(wanted, isContested ? "conflict" : "refuse", tellError(error, id.kind));
  failed.push(foreseen);
  return foreseen;
}

/** Hooks of bundles that have another content run again. */
function foreseeHooks(run: FleetRun, desired: Desired): Foreseen[] {
  const isNew = (bundle: string): boolean => run.desired.bundles.get(bundle)?.digest !== desired.bundles.get(bundle)?.digest;
  const phasesOf = ({ directives }: DesiredObject): readonly string[] => (directives.hook?.phases ?? []).filter((phase) => runs.has(phase));
  return [...desired.hooks.values()]
    .filter((hook) => isNew(hook.bundle) && phasesOf(hook).length > 0)
    .map((hook) => plain(hook, "run-hook", phasesOf(hook).join(", ")));
}

const runs: ReadonlySet<string> = new Set(["pre", "sync", "post"]);

/** What is not applied: claimed, kept, let go, pruned, held. */
function foreseeRest({ run, shadow, plan, failed }: DryRun): Foreseen[] {
  const { desired } = shadow;
  const row = (key: ObjectKey, action: ForeseenAction, message = ""): Foreseen => {
    const bundle = desired.objects.get(key)?.bundle ?? desired.excluded.get(key) ?? run.inventory.get(key)?.bundle ?? "";
    return { object: key, bundle, action, message, fields: [], moreFields: 0 };
  };
  const isNews = (key: ObjectKey): boolean => run.desired.objects.get(key)?.hash !== desired.objects.get(key)?.hash;
  const [first] = failed.map(({ object }) => object).sort();
  const blocker = first && `it waits until everything is applied; ${describeId(parseObjectKey(first as ObjectKey))} would not be`;
  const excluded = [...desired.excluded].filter(([key]) => !run.desired.excluded.has(key));
  return [
    ...excluded.map(([key]) => row(key, "conflict", "it belongs to another fleet or bundle, which keeps it")),
    ...[...plan.claimed].filter(([key]) => isNews(key)).map(([key, owner]) => row(key, "conflict", `it belongs to fleet ${owner}, which keeps it`)),
    ...plan.kept.map((key) => row(key, "keep", "it was changed by hand, and is not overwritten (drift mode heal-unless-drifted)")),
    ...[...plan.letGo].filter(([key]) => !desired.excluded.has(key)).map(([key, why]) => row(key, "let-go", `${describeId(parseObjectKey(key))} ${why}`)),
    ...[...plan.resting].map(([key, why]) => row(key, "let-go", why)),
    ...(plan.held?.keys ?? []).map((key) => row(key, "hold-prune", plan.held?.reason ?? "")),
    ...[...plan.prunes, ...plan.lastPrunes].map((key) => (blocker === undefined ? row(key, "prune") : row(key, "hold-prune", blocker))),
  ];
}
