import type { HealthChecks } from "./health-checks.ts";
import { assessHealth } from "./health.ts";
import type { RunPhase } from "./bundle-order.ts";
import type { ObjectKey } from "./object-id.ts";
import { conditionsOf, current, failed, inProgress, because, type HealthInput, type Verdict } from "./verdict.ts";

/** The newest run of one hook at one phase. Kept in the cluster: a restart neither runs a finished hook again nor forgets one. */
export interface HookRun {
  readonly bundle: string;
  readonly key: ObjectKey;
  readonly phase: RunPhase;
  /** Digest of the bundle that named it: a hook runs once for each. */
  readonly token: string;
  readonly state: "started" | "succeeded" | "failed";
  /** UID of the object that runs; "" until the API server answered. */
  readonly uid: string;
  /** Epoch ms. */
  readonly startedAt: number;
  /** Why it failed; "" when it did not. */
  readonly message: string;
}

/** What a hook's object shows. "unseen": its kind cannot be watched, or has not been listed yet. */
export type HookSight =
  | { readonly state: "present"; readonly uid: string; readonly verdict: Verdict }
  | { readonly state: "absent" }
  | { readonly state: "unseen" };

/**
 * What has become of a run that was started, or undefined while it goes on. An object that is gone before its end was seen has failed: it may
 * have done half of its work, and nobody knows.
 */
export function endOfRun(run: HookRun, sight: HookSight, now: number, deadlineMs: number): HookRun | undefined {
  if (run.state !== "started") return undefined;
  if (sight.state === "absent" && run.uid !== "") return { ...run, state: "failed", message: "it was deleted before it ended" };
  if (sight.state === "present" && sight.verdict.health === "Current") return { ...run, state: "succeeded", uid: sight.uid };
  if (sight.state === "present" && sight.verdict.health === "Failed") return { ...run, state: "failed", uid: sight.uid, message: sight.verdict.message };
  if (now - run.startedAt < deadlineMs) return undefined;
  const why = sight.state === "present" ? sight.verdict.message : "its object could not be made";
  return { ...run, state: "failed", message: `no end after ${tellDuration(deadlineMs)}: ${why}` };
}

/** How far a hook's object is: a Job that merely runs is no end, nor is a Pod. Other kinds end when they are healthy. */
export function assessHook(object: HealthInput, checks: HealthChecks): Verdict {
  if (object.metadata?.deletionTimestamp) return inProgress("is being deleted");
  if (object.kind === "Job" && (object.apiVersion ?? "").startsWith("batch/")) return assessJob(object);
  if (object.kind === "Pod" && object.apiVersion === "v1") return assessPod(object, checks);
  return assessHealth(object, checks);
}

function assessJob(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const failure = conditions.find((condition) => condition.type === "Failed" && condition.status === "True");
  if (failure) return failed(because(failure));
  if (conditions.some((condition) => condition.type === "Complete" && condition.status === "True")) return current;
  const count = (name: string) => Number(object.status?.[name] ?? 0);
  if (object.spec?.suspend === true) return inProgress("the job is suspended");
  return inProgress(`${count("active")} pods active, ${count("succeeded")} succeeded, ${count("failed")} failed`);
}

function assessPod(object: HealthInput, checks: HealthChecks): Verdict {
  const phase = object.status?.phase;
  if (phase === "Succeeded") return current;
  if (phase === "Failed") return failed("the pod failed");
  const { message } = assessHealth(object, checks);
  return inProgress(message === "" ? `the pod is ${typeof phase === "string" ? phase : "not started"}` : message);
}

/** For people: "90 s", "10 min". */
export function tellDuration(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 100) / 10} s` : `${(ms / 60_000).toFixed(1).replace(/\.0$/, "")} min`;
}

/** Key of a run: an object that is a hook at two phases runs at both. */
export function hookRunKey(key: ObjectKey, phase: RunPhase): string {
  return `${phase} ${key}`;
}
