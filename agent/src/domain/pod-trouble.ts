import { because, conditionsOf, type HealthInput } from "./verdict.ts";

/** What keeps a pod from being ready, and whether it comes out of it by itself. */
export interface PodTrouble {
  /** One line: "main: CrashLoopBackOff, last exit code 137 (OOMKilled)". */
  readonly words: string;
  /** Nothing but a change mends it: an image that cannot be pulled, a container that ends again and again. */
  readonly isHopeless: boolean;
}

interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly terminated?: { readonly reason?: string; readonly exitCode?: number; readonly signal?: number };
}

interface ContainerStatus {
  readonly name?: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: ContainerState;
  readonly lastState?: ContainerState;
}

/** Waiting reasons out of which a container does not come by itself. */
const hopeless: ReadonlySet<string> = new Set([
  "CrashLoopBackOff",
  "ImagePullBackOff",
  "ErrImagePull",
  "ErrImageNeverPull",
  "ErrImageVerifyFailed",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
]);

/** Waiting reasons that every container passes. */
const ordinary: ReadonlySet<string> = new Set(["ContainerCreating", "PodInitializing", ""]);

/** The first thing that is wrong with a pod, worst first; undefined when nothing is, or it only starts. */
export function podTrouble(pod: HealthInput): PodTrouble | undefined {
  const containers = containersOf(pod);
  const stuck = containers.find((one) => hopeless.has(one.state?.waiting?.reason ?? ""));
  if (stuck) return { words: tellContainer(stuck), isHopeless: true };
  const reason = pod.status?.reason;
  if (pod.status?.phase === "Failed") return { words: podFailure(reason, containers), isHopeless: true };
  const scheduled = conditionsOf(pod).find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (scheduled) return { words: `${scheduled.reason ?? "not scheduled"}${scheduled.message ? `: ${scheduled.message}` : ""}`, isHopeless: false };
  const ended = containers.find((one) => one.state?.terminated !== undefined && one.state.terminated.exitCode !== 0);
  if (ended) return { words: tellContainer(ended), isHopeless: false };
  const waits = containers.find((one) => one.state?.waiting !== undefined && !ordinary.has(one.state.waiting.reason ?? ""));
  if (waits) return { words: tellContainer(waits), isHopeless: false };
  // It runs again now, and is not ready: what it died of before is the likeliest reason.
  const restarted = containers.find((one) => !one.ready && (one.restartCount ?? 0) > 0 && one.lastState?.terminated !== undefined);
  return restarted ? { words: tellContainer(restarted), isHopeless: false } : undefined;
}

/** Whether all its containers are ready, or it has done its work. */
export function isPodWell(pod: HealthInput): boolean {
  if (pod.status?.phase === "Succeeded") return true;
  return conditionsOf(pod).some(({ type, status }) => type === "Ready" && status === "True");
}

/** Why a pod is not ready, in its own words, when nothing is wrong with it. */
export function tellUnready(pod: HealthInput): string {
  const ready = conditionsOf(pod).find(({ type }) => type === "Ready");
  const phase = pod.status?.phase;
  return ready ? because(ready) : `pod is ${typeof phase === "string" ? phase : "not started"}`;
}

function podFailure(reason: unknown, containers: readonly ContainerStatus[]): string {
  const ended = containers.find((one) => (one.state?.terminated?.exitCode ?? 0) !== 0);
  const words = [typeof reason === "string" && reason !== "" ? reason : "", ended ? tellContainer(ended) : ""].filter((part) => part !== "");
  return words.length === 0 ? "pod failed" : `pod failed: ${words.join(", ")}`;
}

function tellContainer({ name = "container", state, lastState }: ContainerStatus): string {
  const { waiting, terminated } = state ?? {};
  if (terminated) return `${name}: ${tellEnd(terminated)}`;
  const now = waiting?.reason ?? "not ready";
  const before = lastState?.terminated ? `last ${tellEnd(lastState.terminated)}` : "";
  // What a crash was is told by its end; the kubelet's message only counts the seconds.
  const message = waiting?.message !== undefined && now !== "CrashLoopBackOff" ? `: ${waiting.message}` : "";
  return `${name}: ${now}${before === "" ? message : `, ${before}`}`;
}

function tellEnd({ exitCode, signal, reason }: NonNullable<ContainerState["terminated"]>): string {
  const why = reason !== undefined && reason !== "Error" && reason !== "Completed" ? ` (${reason})` : "";
  return exitCode === undefined && signal !== undefined ? `signal ${signal}${why}` : `exit code ${exitCode ?? "unknown"}${why}`;
}

function containersOf(pod: HealthInput): ContainerStatus[] {
  const { initContainerStatuses, containerStatuses } = pod.status ?? {};
  return [initContainerStatuses, containerStatuses].flatMap((list) => (Array.isArray(list) ? (list as ContainerStatus[]) : []));
}
