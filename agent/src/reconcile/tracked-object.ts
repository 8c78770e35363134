import { type Ignored, nothingIgnored } from "../domain/ignore.ts";
import type { FieldDrift } from "../domain/drift.ts";
import type { Guard } from "../domain/guard.ts";
import { noHealthChecks, type HealthChecks } from "../domain/health-checks.ts";
import { inProgress, type Verdict } from "../domain/verdict.ts";
import type { ObjectId, ObjectKey } from "../domain/object-id.ts";

/** What the watch, or the answer to an apply, last showed of a live object. Nothing of its content is kept. */
export interface Sight {
  readonly uid: string;
  readonly resourceVersion: string;
  /** What `owned` leaves out: what was ignored when it was seen. */
  readonly ignored: Ignored;
  /** hashOwned, without what is ignored. */
  readonly owned: string;
  /** Others hold fields of it too, not only of its status. */
  readonly isShared: boolean;
  /** The stage that it says it is of: deletes go backwards. */
  readonly stage: number;
  /** How its own annotations guard it. */
  readonly guard: Guard;
  readonly verdict: Verdict;
}

/** Why the last apply of an object failed, and when it is tried again. */
export interface ApplyFailure {
  readonly message: string;
  readonly attempts: number;
  /** Whether it passes by itself: then nobody is alarmed by the first tries. */
  readonly passes: boolean;
}

/** Why an object that is in Git no more is still there. */
export type PruneHold = "Held" | "Waits" | "Terminating";

/** What the last plan did to an object. */
export type ChangeWord = "Created" | "Configured" | "Unchanged" | "Skipped" | "Deleted" | "Failed";

/** One object of a fleet's target or inventory, with what is known of it. The engine's unit of work; mutable, and owned by its fleet. */
export interface TrackedObject {
  readonly fleet: string;
  readonly key: ObjectKey;
  readonly id: ObjectId;
  apiVersion: string;
  bundle: string;
  /** It is run, not kept: neither in sync nor out of it, neither healed nor pruned. */
  isHook: boolean;
  /** What drift does not look at. */
  ignored: Ignored;
  /** The bundle's own health checks for this kind. */
  checks: HealthChecks;
  /** Its checks are new, and it was seen before them: it is read and judged again. */
  isUnjudged: boolean;
  /** undefined: not there, or not seen yet (see isVisible). */
  live: Sight | undefined;
  /** Whether its collection is listed and watched, so that "not seen" means "not there". */
  isVisible: boolean;
  /** Why its collection cannot be watched; "" when it can. */
  blindness: string;
  /** hashOwned that the watch showed last during the work that is being done on it; "" when it showed that the object is gone. */
  seenWhileBusy: string | undefined;
  /** The watch showed something that an apply's answer does not explain: look again. */
  isSuspect: boolean;
  /** Why it is not healthy, beyond what its own status tells: of pods and events. "" when that is not known, or it is healthy. */
  why: string;
  failure: ApplyFailure | undefined;
  change: ChangeWord | undefined;
  /** Why it is neither applied nor pruned now: waits, held, owned by another. "" when nothing keeps it. */
  note: string;
  /** Why it is left as it is, by Git's own word or its annotations: it is in sync then, and nothing waits for it. "" when it is kept as Git says. */
  exempt: string;
  /** Why it is left to somebody else: out of sync, never touched, and nothing waits for it. "" when it is ours or may become ours. */
  foreign: string;
  /** What keeps it from being pruned, while it is in Git no more. */
  pruneHold: PruneHold | undefined;
  drift: readonly FieldDrift[];
  /** Another controller keeps changing it back; until when it is left alone (epoch ms). */
  fightUntil: number;
  /** When it was last dry-run for a drift that is only reported (epoch ms). */
  examinedAt: number;
  /** Since when it has not been Current (epoch ms); undefined while it is. */
  movingSince: number | undefined;
  /** The work being done on it; others wait for its end. */
  busy: Promise<void> | undefined;
  /** What was last reported of it, as a hash. */
  reported: string;
}

/** A new object of which nothing is known yet. */
export function trackObject(fleet: string, key: ObjectKey, id: ObjectId, apiVersion: string, bundle: string): TrackedObject {
  return {
    fleet,
    key,
    id,
    apiVersion,
    bundle,
    isHook: false,
    ignored: nothingIgnored,
    checks: noHealthChecks,
    isUnjudged: false,
    live: undefined,
    isVisible: false,
    blindness: "",
    seenWhileBusy: undefined,
    isSuspect: false,
    why: "",
    failure: undefined,
    change: undefined,
    note: "",
    exempt: "",
    foreign: "",
    pruneHold: undefined,
    drift: [],
    fightUntil: 0,
    examinedAt: 0,
    movingSince: undefined,
    busy: undefined,
    reported: "",
  };
}

/** Do something to an object while nothing else is done to it. */
export async function exclusively<T>(object: TrackedObject, act: () => Promise<T>): Promise<T> {
  while (object.busy) await object.busy;
  const { promise, resolve } = Promise.withResolvers<void>();
  object.busy = promise;
  try {
    return await act();
  } finally {
    object.busy = undefined;
    resolve();
  }
}

/** Judge by these checks from now on. What was seen before them counts no more: nothing of its content is kept to judge again. */
export function judgeBy(object: TrackedObject, checks: HealthChecks): void {
  const isSame = object.checks.digest === checks.digest;
  object.checks = checks;
  if (isSame || !object.live) return;
  object.isUnjudged = true;
  object.live = { ...object.live, verdict: inProgress("its new health check was not asked yet") };
}

/** Take in what was seen of an object, and note since when it has been on the move. */
export function see(object: TrackedObject, sight: Sight | undefined, now: number): void {
  object.live = sight;
  object.isUnjudged = false;
  if (sight?.verdict.health === "Current") object.movingSince = undefined;
  else object.movingSince ??= now;
}
