import { compileWaveCheck, waveCheckVariables } from "@flotilla/proto/wave-check";
import { checkWindows } from "./check-order.ts";
import type { LabelSelector } from "./fleet-spec.ts";
import { checkDuration, checkSelector, checkUniqueNames, tell, type FleetChecks, type FleetDraft } from "./parse-fleet-checks.ts";
import { selectsEverything } from "./select-clusters.ts";

type RolloutDraft = NonNullable<NonNullable<FleetDraft["spec"]>["rollout"]>;
type WaveDraft = NonNullable<NonNullable<RolloutDraft["waves"]>[number]>;
type AfterDraft = NonNullable<WaveDraft["after"]>;

/** Problems of meaning in a rollout: waves are reachable and end, names are unique, gates can be asked. */
export function checkRollout(draft: FleetDraft, checks: FleetChecks): void {
  const rollout = draft.spec?.rollout;
  if (rollout === undefined) return;
  const waves = rollout.waves ?? [];
  checkDuration(rollout.progressDeadline, checks, "spec/rollout/progressDeadline");
  checkUniqueNames(waves, checks, "spec/rollout/waves", "wave");
  for (const [index, wave] of waves.entries()) if (wave) checkWave(wave, index === waves.length - 1, checks, `spec/rollout/waves/${index}`, index);
}

function checkWave(wave: WaveDraft, isLast: boolean, checks: FleetChecks, at: string, index: number): void {
  checkSelector(wave.clusters, checks, `${at}/clusters`);
  checkWindows(wave.windows, checks, `${at}/windows`);
  for (const name of ["maxConcurrency", "maxUnavailable"] as const) {
    if (wave[name] === 0 || wave[name] === "0%") tell(checks, `${at}/${name}`, "bad-value", `${name} is 0: the wave would never end`, "write at least 1 or 1%");
  }
  checkAfter(wave.after ?? {}, checks, `${at}/after`);
  const unreadable = wave.clusters === undefined && checks.positions.has(`${at}/clusters`);
  const takesRest = !unreadable && (wave.clusters === undefined || selectsEverything(wave.clusters as LabelSelector));
  if (!takesRest || isLast) return;
  const message = `wave '${wave.name ?? index + 1}' takes every cluster that is left; the waves after it would have none`;
  tell(checks, at, "bad-value", message, "give it a selector, or make it the last");
}

function checkAfter(after: AfterDraft, checks: FleetChecks, at: string): void {
  checkDuration(after.soak, checks, `${at}/soak`);
  const [metrics, jobs] = [after.metrics ?? [], after.jobs ?? []];
  checkUniqueNames(metrics, checks, `${at}/metrics`, "metric");
  checkUniqueNames(jobs, checks, `${at}/jobs`, "job");
  for (const [index, metric] of metrics.entries()) {
    checkAddress(metric?.address, checks, `${at}/metrics/${index}/address`);
    checkDuration(metric?.window, checks, `${at}/metrics/${index}/window`);
  }
  for (const [index, job] of jobs.entries()) {
    checkDuration(job?.timeout, checks, `${at}/jobs/${index}/timeout`);
    if (job?.spec) checkJobSpec(job.spec, checks, `${at}/jobs/${index}/spec`);
  }
  const compiled = after.check === undefined ? undefined : compileWaveCheck(after.check);
  if (compiled === undefined || compiled.ok) return;
  const { message, offset } = compiled.problem;
  const hint = `it is CEL over ${Object.keys(waveCheckVariables).join(" and ")}; see docs/rollouts.md`;
  tell(checks, `${at}/check`, "bad-expression", `check: ${message}, at column ${offset + 1} of the expression`, hint);
}

/** A URL is written to logs and shown: it holds no password. */
function checkAddress(address: string | undefined, checks: FleetChecks, at: string): void {
  if (address === undefined) return;
  const url = URL.parse(address);
  if (url === null || !["http:", "https:"].includes(url.protocol))
    tell(checks, at, "bad-value", `'${address.slice(0, 100)}' is not an address that can be asked`, "write http:// or https://, host and port");
  else if (url.username !== "" || url.password !== "")
    tell(checks, at, "bad-value", "an address holds no user and no password", "let the service answer agents without one");
  else if (url.search !== "" || url.hash !== "") tell(checks, at, "bad-value", "an address ends with its path", "the query belongs into `query`");
}

function checkJobSpec(spec: object, checks: FleetChecks, at: string): void {
  const { template } = spec as { template?: { spec?: { containers?: unknown } } };
  const containers = template?.spec?.containers;
  if (Array.isArray(containers) && containers.length > 0) return;
  tell(checks, at, "bad-value", "the Job runs nothing: it has no template.spec.containers", "write the spec of a batch/v1 Job");
}
