import { failpoint } from "@flotilla/proto/failpoint";
import type { KubeObject } from "@flotilla/proto/digest";
import { ownerAnnotation, ownerOf } from "@flotilla/proto/names";
import { applyObject, createObject, isMarkConflict, isOwnershipConflict, isUidConflict, type Applied, type ApplyOptions } from "../cluster/apply-object.ts";
import { deleteObject } from "../cluster/delete-object.ts";
import type { KubeResource } from "../cluster/discovery.ts";
import { getObject } from "../cluster/get-object.ts";
import { immutableFields } from "../cluster/immutable-fields.ts";
import { isStatus, KubeError } from "../cluster/kube-error.ts";
import type { LiveObject } from "../cluster/live-object.ts";
import { differencesBeyondMarks, heldByOthers } from "../domain/adoption.ts";
import { withoutPaths } from "../domain/ignore.ts";
import { unansweredEntry } from "../domain/inventory.ts";
import { describeId } from "../domain/object-id.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { whyIrreplaceable } from "../domain/protected-kinds.ts";
import type { EngineContext } from "./engine-context.ts";
import { accountOf, type FleetRun } from "./fleet-run.ts";
import { saveInventory } from "./save-inventory.ts";
import type { TrackedObject } from "./tracked-object.ts";

/** What an apply by an object's own policies came to. */
export type PolicyOutcome =
  | { readonly kind: "applied"; readonly applied: Applied; readonly isAdopted: boolean }
  /** It is somebody else's, and stays so. */
  | { readonly kind: "foreign"; readonly why: string }
  /** It is there, and is never changed. `live` is set when it is ours all the same. */
  | { readonly kind: "exempt"; readonly why: string; readonly live?: LiveObject };

/** One object to apply, with all that its policies look at. */
export interface Attempt {
  readonly run: FleetRun;
  readonly object: TrackedObject;
  readonly wanted: DesiredObject;
  readonly resource: KubeResource;
  readonly body: KubeObject;
  readonly urgent: boolean;
  readonly engine: EngineContext;
  /** Nothing is written, neither to the API server nor to the inventory: what would come of it. */
  readonly isDryRun?: boolean;
}

const thereAlready = "there already, and never changed (ssa: ifNotPresent)";

/**
 * Apply one object as its directives ask: adopt, ssa, force. An object of the inventory is applied with its UID as precondition, so that an
 * apply never makes an object that the inventory does not expect: one that may be made is first written down with an empty UID (G8).
 *
 * @throws KubeError
 */
export async function applyByPolicy(attempt: Attempt): Promise<PolicyOutcome> {
  const { run, object, wanted } = attempt;
  const uid = run.inventory.get(object.key)?.uid ?? "";
  if (wanted.directives.ssa === "ifNotPresent") return await createIfAbsent(attempt, uid);
  if (uid === "") return await applyFirst(attempt);
  if (!object.live && object.isVisible) return await applyAgain(attempt);
  try {
    return applied(await sendByPolicy(attempt, { isOurs: true, uid }));
  } catch (error) {
    if (!isUidConflict(error)) throw error;
    return await applyAgain(attempt);
  }
}

/** Nothing of this name is known to be ours: look first where its policy, or what is known of it, asks for it. */
async function applyFirst(attempt: Attempt): Promise<PolicyOutcome> {
  const { run, object, wanted, resource, engine } = attempt;
  const looksFirst = (wanted.directives.adopt ?? "always") !== "always" || engine.view.isTaken(object, resource);
  if (looksFirst) return await adoptOrCreate(attempt, false);
  try {
    const answer = await sendByPolicy(attempt, { isOurs: false });
    return applied(answer, !answer.isCreated && !run.interrupted.has(object.key));
  } catch (error) {
    if (!isMarkConflict(error)) throw error;
    return await adoptOrCreate(attempt, false);
  }
}

/** The object of our inventory is gone; what lies under its name now, if anything, is another. */
async function applyAgain(attempt: Attempt): Promise<PolicyOutcome> {
  await forgetUid(attempt);
  return await adoptOrCreate(attempt, true);
}

async function adoptOrCreate(attempt: Attempt, wasOurs: boolean): Promise<PolicyOutcome> {
  const { run, object } = attempt;
  const live = await look(attempt);
  const why = live && (await whyNotAdopted(attempt, live));
  if (why !== undefined) return { kind: "foreign", why };
  const isAnswered = run.interrupted.has(object.key) || (live !== undefined && isMarked(live, run.name));
  return applied(await sendByPolicy(attempt, { isOurs: wasOurs, mayClaim: true }), live !== undefined && !isAnswered);
}

/** Why an object that is there, and not in our inventory, is not taken over; undefined when it may be. */
async function whyNotAdopted(attempt: Attempt, live: LiveObject): Promise<string | undefined> {
  const { run, object, wanted, resource, body, engine } = attempt;
  const owner = live.metadata.annotations?.[ownerAnnotation];
  if (owner !== undefined && isMarked(live, run.name)) return undefined;
  if (owner !== undefined && !engine.hasLetGo(owner.split("/")[0] ?? "", object.key))
    return `it is there already and belongs to ${owner}; it is taken over when that lets go of it (annotation ${ownerAnnotation})`;
  const adopt = wanted.directives.adopt ?? "always";
  if (adopt === "always") return undefined;
  if (adopt === "never") return "it was there before, and is not taken over (adopt: never)";
  const options = { fleet: run.name, bundle: wanted.bundle, isOurs: false, dryRun: true, mayClaim: true, force: "never" } as const;
  try {
    const dryRun = await applyObject(engine.client.as(accountOf(run, wanted.bundle)), resource, body, options);
    const places = differencesBeyondMarks(live, dryRun.object);
    return places.length === 0 ? undefined : `it was there before, and is not taken over because it differs at ${places.join(", ")} (adopt: if-no-diff)`;
  } catch (error) {
    if (!isOwnershipConflict(error)) throw error;
    const places = error.causes.map((cause) => cause.field ?? "").slice(0, 5);
    return `it was there before, and is not taken over because it differs at ${places.join(", ")} (adopt: if-no-diff)`;
  }
}

async function createIfAbsent(attempt: Attempt, uid: string): Promise<PolicyOutcome> {
  const { run, wanted, resource, body, engine } = attempt;
  const live = await look(attempt);
  const isOurs = live !== undefined && (uid === "" ? isMarked(live, run.name) : live.metadata.uid === uid);
  if (live) return { kind: "exempt", why: thereAlready, ...(isOurs && { live }) };
  if (uid !== "") await forgetUid(attempt);
  try {
    const owner = { fleet: run.name, bundle: wanted.bundle, ...(attempt.isDryRun && { dryRun: true }) };
    return applied(await createObject(engine.client.as(accountOf(run, wanted.bundle)), resource, body, owner));
  } catch (error) {
    if (isStatus(error, 409) && error.reason === "AlreadyExists") return { kind: "exempt", why: thereAlready };
    throw error;
  }
}

/** One apply, and what force and ssa make of its refusal. */
async function sendByPolicy(attempt: Attempt, how: Pick<ApplyOptions, "isOurs" | "uid" | "mayClaim">): Promise<Applied> {
  const { run, wanted, resource, body, urgent, engine } = attempt;
  const isMerge = wanted.directives.ssa === "merge";
  const send = (object: KubeObject, more: Partial<ApplyOptions> = {}) =>
    applyObject(engine.client.as(accountOf(run, wanted.bundle)), resource, object, {
      fleet: run.name,
      bundle: wanted.bundle,
      urgent,
      ...(attempt.isDryRun && { dryRun: true }),
      ...how,
      ...more,
    });
  try {
    return await send(body, isMerge ? { force: "never" } : {});
  } catch (error) {
    if (isMerge && isOwnershipConflict(error)) {
      const live = await look(attempt);
      if (live) return await send(withoutPaths(body, heldByOthers(body, live)), { force: "never" });
    }
    const fields = isUidConflict(error) ? [] : immutableFields(error);
    if (fields.length === 0) throw error;
    return await recreate(attempt, fields, how.uid ?? "", send);
  }
}

/** Delete our own object and make it again, where its annotation allows it and nothing is lost. */
async function recreate(
  attempt: Attempt,
  fields: readonly string[],
  uid: string,
  send: (object: KubeObject, more: Partial<ApplyOptions>) => Promise<Applied>,
): Promise<Applied> {
  const { run, object, wanted, resource, body, engine } = attempt;
  if (wanted.directives.force !== "recreate")
    throw immutable(fields, "undo the change in Git, or let it be deleted and made again: annotation flotilla.dev/force: recreate");
  const live = await look(attempt);
  const why = live && (live.metadata.uid === uid ? whyIrreplaceable(object.id, live) : "it is not the object that was applied here");
  if (why !== undefined) throw immutable(fields, `it is not deleted to be made again, because ${why}`);
  if (attempt.isDryRun && live) return { object: live, isCreated: false, tookOverFrom: [], recreates: fields };
  const { namespace, name } = object.id;
  const warrant = { namespace, name, uid, fleet: run.name, isApproved: true };
  const deleted = await deleteObject(engine.client, resource, warrant, accountOf(run, wanted.bundle));
  failpoint("after-recreate-delete");
  if (deleted.outcome === "left" || deleted.outcome === "waits") throw immutable(fields, `it is not deleted to be made again: ${deleted.reason}`);
  if (deleted.outcome === "terminating")
    throw new KubeError("unreachable", `deleted to be made again, and held by finalizers: ${(deleted.object.metadata.finalizers ?? []).join(", ")}`);
  await forgetUid(attempt);
  failpoint("before-recreate-apply");
  const again = await send(body, { uid: "" });
  engine
    .reporter(run)
    .event("Recreated", `${describeId(object.id)} was deleted and made again, to change ${fields.join(", ")}`, { bundle: wanted.bundle, object: object.id });
  return again;
}

function immutable(fields: readonly string[], remedy: string): KubeError {
  return new KubeError("unusable", `${fields.join(", ")} cannot be changed in place (immutable): ${remedy}`);
}

/** Written down before an apply that may make a new object: whatever its UID, a restart knows it for ours. */
async function forgetUid({ run, object, wanted, engine, isDryRun }: Attempt): Promise<void> {
  if (isDryRun) return;
  const entry = run.inventory.get(object.key);
  if (entry?.uid === "") return;
  run.inventory.set(object.key, { ...(entry ?? unansweredEntry(object.key, wanted.apiVersion, wanted.bundle)), uid: "", desired: "", owned: "" });
  await saveInventory(run, engine);
  failpoint("after-forget-uid");
}

function look({ wanted, resource, engine }: Attempt): Promise<LiveObject | undefined> {
  return getObject(engine.client, resource, resource.isNamespaced ? wanted.id.namespace : "", wanted.id.name);
}

function isMarked(live: LiveObject, fleet: string): boolean {
  return live.metadata.annotations?.[ownerAnnotation]?.startsWith(ownerOf(fleet, "")) ?? false;
}

function applied(answer: Applied, isAdopted = false): PolicyOutcome {
  return { kind: "applied", applied: answer, isAdopted };
}
