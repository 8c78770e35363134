import type { FleetDocument } from "./fleet-schema.ts";
import { fillWindows } from "./fill-windows.ts";
import type { Amount, JobGate, MetricGate, RolloutSpec, WaveGates, WaveSpec } from "./fleet-spec.ts";
import { parseDuration } from "./parse-duration.ts";
import { matchesSelector, type Labels } from "./select-clusters.ts";

/** Without `rollout` in fleet.yaml: every cluster at once, and no failure stops it. */
export const immediateRollout: RolloutSpec = {
  waves: [{ name: "all", clusters: {}, after: { healthy: true, soakMs: 0, metrics: [], jobs: [] } }],
  failureBudget: { percent: 100 },
  onFailure: "hold",
  progressDeadlineMs: 600_000,
  onNewRevision: "supersede",
};

/** Index of the wave that a cluster belongs to: the first that selects it, else the last. */
export function waveOf({ waves }: RolloutSpec, labels: Labels): number {
  const index = waves.findIndex(({ clusters }) => matchesSelector(clusters, labels));
  return index < 0 ? waves.length - 1 : index;
}

/** A part of a number of clusters, rounded up. */
export function amountUp(amount: Amount, of: number): number {
  return "count" in amount ? amount.count : Math.ceil((of * amount.percent) / 100);
}

/** A part of a number of clusters, rounded down. */
export function amountDown(amount: Amount, of: number): number {
  return "count" in amount ? amount.count : Math.floor((of * amount.percent) / 100);
}

type RolloutDocument = NonNullable<FleetDocument["spec"]["rollout"]>;
type WaveDocument = NonNullable<RolloutDocument["waves"]>[number];
type AfterDocument = NonNullable<WaveDocument["after"]>;

const [metricWindowMs, jobTimeoutMs] = [300_000, 600_000];

/** The rollout as fleet.yaml says it, with every default filled in. */
export function planOf({ waves, failureBudget, onFailure, progressDeadline, onNewRevision }: RolloutDocument): RolloutSpec {
  return {
    waves: waves === undefined ? immediateRollout.waves : waves.map(waveSpecOf),
    failureBudget: failureBudget === undefined ? { count: 0 } : amountOf(failureBudget),
    onFailure: onFailure ?? "rollback",
    progressDeadlineMs: msOf(progressDeadline, immediateRollout.progressDeadlineMs),
    onNewRevision: onNewRevision ?? "supersede",
  };
}

function waveSpecOf({ name, clusters = {}, maxConcurrency, maxUnavailable, windows, after = {} }: WaveDocument): WaveSpec {
  return {
    name,
    clusters,
    ...(maxConcurrency !== undefined && { maxConcurrency: amountOf(maxConcurrency) }),
    ...(maxUnavailable !== undefined && { maxUnavailable: amountOf(maxUnavailable) }),
    ...(windows !== undefined && { windows: fillWindows(windows) }),
    after: gatesOf(after),
  };
}

function gatesOf({ healthy = true, soak, approval, metrics = [], jobs = [], check }: AfterDocument): WaveGates {
  return {
    healthy,
    soakMs: msOf(soak, 0),
    ...(approval !== undefined && { approval }),
    metrics: metrics.map(({ threshold, window, ...metric }) => ({ ...metric, threshold: thresholdOf(threshold), windowMs: msOf(window, metricWindowMs) })),
    jobs: jobs.map(({ timeout, spec, ...job }) => ({ ...job, spec: spec as JobGate["spec"], timeoutMs: msOf(timeout, jobTimeoutMs) })),
    ...(check !== undefined && { check }),
  };
}

/** "< 0.01"; the schema has seen that it reads so. */
function thresholdOf(text: string): MetricGate["threshold"] {
  const [, operator = "==", value = ""] = /^(<=|>=|==|!=|<|>)(.*)$/.exec(text) ?? [];
  return { operator: operator as MetricGate["threshold"]["operator"], value: Number(value) };
}

function msOf(text: string | undefined, otherwise: number): number {
  return (text === undefined ? undefined : parseDuration(text)) ?? otherwise;
}

function amountOf(written: number | string): Amount {
  return typeof written === "number" ? { count: written } : { percent: Number.parseFloat(written) };
}
