import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { GateCommand, JobQuestion } from "@flotilla/proto/gen/link";
import { noHealthChecks } from "../domain/health-checks.ts";
import { assessHook, tellDuration } from "../domain/hook-run.ts";
import type { GateVerdict } from "../domain/judge-samples.ts";
import { gateLimits } from "../limits.ts";
import { HealthEvidence } from "./health-evidence.ts";
import type { KubeClient } from "./kube-client.ts";
import { isStatus, KubeError, tellError } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/** Marks what gates made, for people and for `kubectl delete -l`. */
const gateLabel = "flotilla.dev/gate";

/**
 * Runs a Job and says how it ended (batch/v1 Job conditions Complete and Failed). Its name comes from the command's id: asked again, also by
 * another process of the agent, the Job that runs is awaited, and no second one made. One that passed is deleted; one that failed stays for
 * an hour to be looked at. Never throws.
 */
export async function runGateJob(client: KubeClient, commandId: string, gate: GateCommand, question: JobQuestion, signal: AbortSignal): Promise<GateVerdict> {
  const { namespace } = question;
  const timeoutMs = question.timeout ? durationMs(question.timeout) : 0;
  const name = jobName(gate.gate, commandId);
  const path = `/apis/batch/v1/namespaces/${encodeURIComponent(namespace)}/jobs`;
  try {
    const job = manifestOf(name, gate, question, timeoutMs);
    if (typeof job === "string") return { verdict: "unknown", message: job };
    await make(client, path, job);
    const end = await awaitEnd(client, `${path}/${name}`, Date.now() + timeoutMs, signal);
    if (signal.aborted) return { verdict: "unknown", message: String(signal.reason) };
    if (end === undefined) return { verdict: "unknown", message: `Job ${namespace}/${name} was deleted before it ended` };
    const verdict = await judge(client, end, namespace, timeoutMs);
    if (verdict.verdict === "passed") await remove(client, `${path}/${name}`, end);
    return verdict;
  } catch (error) {
    return { verdict: "unknown", message: `Job ${namespace}/${name}: ${tellError(error, "Job")}` };
  }
}

/**
 * Deletes the Job of a command whose answer nobody waits for any more, with its pods; there may be none.
 *
 * @throws KubeError when the API server refuses, or does not answer.
 */
export async function deleteGateJob(client: KubeClient, commandId: string, gate: string, namespace: string): Promise<void> {
  const path = `/apis/batch/v1/namespaces/${encodeURIComponent(namespace)}/jobs/${jobName(gate, commandId)}`;
  const body = JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" });
  await client.request({ method: "DELETE", path, body }).catch((error: unknown) => {
    if (!isStatus(error, 404)) throw error;
  });
}

/** At most 63 characters: pods are named after it. */
function jobName(gate: string, commandId: string): string {
  return `gate-${gate.slice(0, 40)}-${createHash("sha256").update(commandId).digest("hex").slice(0, 10)}`;
}

type JobManifest = Readonly<Record<string, unknown>>;

/** The Job, or what is wrong with what was asked. */
function manifestOf(name: string, { fleet, revision, wave, gate }: GateCommand, { namespace, spec }: JobQuestion, timeoutMs: number): JobManifest | string {
  let written: { template?: { spec?: Record<string, unknown> } };
  try {
    written = JSON.parse(Buffer.from(spec).toString("utf8")) as typeof written;
  } catch {
    return "the Job's spec is not JSON";
  }
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      namespace,
      labels: { [gateLabel]: gate },
      annotations: { "flotilla.dev/fleet": fleet, "flotilla.dev/revision": revision, "flotilla.dev/wave": wave },
    },
    spec: {
      // What is not said: the cluster ends the Job and cleans up though no agent is left. A little after the gate's own time: its pods, which
      // know why it takes so long, are gone then.
      activeDeadlineSeconds: Math.ceil(timeoutMs / 1_000) + gateLimits.jobOverS,
      ttlSecondsAfterFinished: gateLimits.jobKeptS,
      backoffLimit: 0,
      ...written,
      template: { ...written.template, spec: { restartPolicy: "Never", ...written.template?.spec } },
    },
  };
}

/** One that is there already is the one that an earlier process made. */
async function make(client: KubeClient, path: string, job: JobManifest): Promise<void> {
  const query = { fieldManager: "flotilla-gate" };
  await client.request({ method: "POST", path, query, body: JSON.stringify(job) }).catch((error: unknown) => {
    if (!isStatus(error, 409)) throw error;
  });
}

/** The Job when it ended, or when the time was over; undefined when it is gone. An API server that is away is waited for. */
async function awaitEnd(client: KubeClient, path: string, until: number, signal: AbortSignal): Promise<LiveObject | undefined> {
  let waitMs: number = gateLimits.jobLookMinMs;
  for (;;) {
    const job = await look(client, path);
    if (job === undefined) return undefined;
    if (job !== "away" && (hasEnded(job) || Date.now() >= until)) return job;
    if (job === "away" && Date.now() >= until + gateLimits.jobLookMaxMs) throw new KubeError("unreachable", "the API server does not answer");
    await delay(Math.min(waitMs, Math.max(100, until - Date.now())), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return undefined;
    waitMs = Math.min(waitMs * 1.5, gateLimits.jobLookMaxMs);
  }
}

async function look(client: KubeClient, path: string): Promise<LiveObject | "away" | undefined> {
  try {
    return await client.json<LiveObject>({ method: "GET", path });
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    if (error instanceof KubeError && (error.code === "unreachable" || error.status >= 500)) return "away";
    throw error;
  }
}

const hasEnded = (job: LiveObject): boolean => assessHook(job, noHealthChecks).health !== "InProgress";

async function judge(client: KubeClient, job: LiveObject, namespace: string, timeoutMs: number): Promise<GateVerdict> {
  const { health, message } = assessHook(job, noHealthChecks);
  const name = `Job ${namespace}/${job.metadata.name}`;
  if (health === "Current") return { verdict: "passed", message: `${name} is complete` };
  const evidence = await new HealthEvidence(client).reasonOf(job).catch(() => "");
  const why = [message, evidence].filter((part) => part !== "").join("; ");
  if (health === "Failed") return { verdict: "failed", message: `${name} failed: ${why}` };
  return { verdict: "failed", message: `${name} has not ended within ${tellDuration(timeoutMs)}: ${why}` };
}

/** Only the one that we made. What cannot be deleted goes by its time to live. */
async function remove(client: KubeClient, path: string, job: LiveObject): Promise<void> {
  const body = JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background", preconditions: { uid: job.metadata.uid } });
  await client.request({ method: "DELETE", path, body }).catch(() => undefined);
}
