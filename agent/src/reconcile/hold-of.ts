import type { Suspension } from "@flotilla/proto/gen/target";
import { judgeWindows } from "@flotilla/proto/sync-windows";
import type { FleetRun } from "./fleet-run.ts";
import type { BundlePolicy } from "./read-desired.ts";

/** Why nothing of a bundle may be touched now. */
export interface Hold {
  readonly kind: "suspended" | "window";
  /** For people: who, since when, until when. */
  readonly reason: string;
  /** When it ends by itself (epoch ms); undefined when somebody has to end it. */
  readonly until: number | undefined;
  /** Whether drift is corrected meanwhile. */
  readonly mayHeal: boolean;
}

/** What holds a bundle at a time (epoch ms); undefined when nothing does. A sync that is under way may finish when its windows say so. */
export function holdOf(run: FleetRun, bundle: string, now: number): Hold | undefined {
  const policy = run.desired.bundles.get(bundle);
  const suspension = run.target?.suspension ?? policy?.suspension ?? run.target?.suspendedBundles[bundle];
  if (suspension) return { kind: "suspended", reason: tellSuspension(suspension), until: undefined, mayHeal: false };
  return policy && policy.windows.length > 0 ? closedWindow(run, policy, now) : undefined;
}

function closedWindow(run: FleetRun, policy: BundlePolicy, now: number): Hold | undefined {
  if (policy.override && now < policy.override.until) return undefined;
  const { isOpen, until } = judgeWindows(policy.windows, now);
  if (isOpen) return undefined;
  const mark = run.syncs.get(policy.name);
  const isUnderWay = mark?.state === "begun" && mark.token === policy.digest;
  if (isUnderWay && policy.windows.every(({ whenClosed }) => whenClosed === "finish")) return undefined;
  const when = until === undefined ? "" : ` until ${new Date(until).toISOString().replace(".000", "")}`;
  return { kind: "window", reason: `waits for its sync window${when}`, until, mayHeal: policy.windows.every(({ heal }) => heal) };
}

/** When the windows of a bundle open or close next by time alone (epoch ms), or its override ends. */
export function nextWindowChange(policy: BundlePolicy, now: number): number | undefined {
  if (policy.windows.length === 0) return undefined;
  if (policy.override && now < policy.override.until) return policy.override.until;
  return judgeWindows(policy.windows, now).until;
}

/** For people: by whom, and why. */
export function tellSuspension({ by, reason }: Pick<Suspension, "by" | "reason">): string {
  return `suspended${tellAct(by, reason)}`;
}

function tellAct(by: string, reason: string): string {
  return `${by === "" ? "" : ` by ${by}`}${reason === "" ? "" : `: ${reason}`}`;
}
