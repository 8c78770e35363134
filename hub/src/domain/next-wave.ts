import { compileWaveCheck } from "@flotilla/proto/wave-check";
import { judgeWindows } from "@flotilla/proto/sync-windows";
import { gateAskAgainMs, rollbackSettleMs } from "../limits.ts";
import type { WaveSpec } from "./fleet-spec.ts";
import { judgeClusters, markChangesOf, runsRevision, type JudgedCluster } from "./judge-clusters.ts";
import { amountDown, amountUp } from "./rollout-plan.ts";
import type { ClusterMark, Decision, GateAsk, Rollout, RolloutCluster, Step } from "./rollout.ts";

export { waveOf } from "./rollout-plan.ts";

type Hold = Extract<Decision, { readonly kind: "hold" }>;
type Outcome = Pick<Step, "decision" | "failure">;

/**
 * What a rollout does next, from its row, its clusters and the time (epoch ms). Pure: the same answer for the same question, whatever the order
 * of the clusters and whoever asks. Never more in flight than a wave allows, never past what a wave waits for; a hold says what it waits for,
 * and until when where time alone can end it.
 */
export function nextWave(rollout: Rollout, clusters: readonly RolloutCluster[], now: number): Step {
  const judged = judgeClusters(rollout, [...clusters].sort(byName), now);
  const outcome = rollout.phase === "RollingBack" ? goBack(rollout, judged, now) : goOn(rollout, judged, now);
  return { ...outcome, marks: markChangesOf(judged) };
}

function byName(left: RolloutCluster, right: RolloutCluster): number {
  return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
}

function goOn(rollout: Rollout, judged: readonly JudgedCluster[], now: number): Outcome {
  const failure = failureOf(rollout, judged);
  if (failure) return endAt(rollout, judged, failure);
  const stopped = stoppedBy(rollout, judged);
  if (stopped) return { decision: stopped };
  // They join a wave that the revision has been through: there is nothing to wait for.
  const late = judged.filter(({ mark, wave }) => mark === "Waiting" && wave < rollout.wave);
  if (late.length > 0)
    return {
      decision: {
        kind: "release",
        wave: rollout.wave,
        clusters: namesOf(late),
        reason: `${countOf(late.length)} joined a wave that was released before: ${someNames(late)}`,
      },
    };
  for (let index = rollout.wave; index < rollout.plan.waves.length; index += 1) {
    const wave = new WaveView(rollout, index, judged, now);
    const next = wave.release() ?? wave.gate();
    if (next === undefined) continue;
    return "failure" in next ? endAt(rollout, judged, next.failure) : { decision: next };
  }
  const healthy = judged.filter(({ mark }) => mark === "Healthy").length;
  const rest = (mark: ClusterMark, word: string): string => {
    const clusters = judged.filter((cluster) => cluster.mark === mark);
    return clusters.length === 0 ? "" : `; ${word}: ${someNames(clusters)}`;
  };
  return {
    decision: { kind: "done", reason: `healthy on ${countOf(healthy)}${rest("Failed", "failed within the budget")}${rest("Skipped", "offline and skipped")}` },
  };
}

interface Failure {
  readonly cluster: string;
  readonly message: string;
  readonly reason: string;
}

/** Too many clusters failed, or a gate did. */
function failureOf({ plan, gates }: Rollout, judged: readonly JudgedCluster[]): Failure | undefined {
  const failed = judged.filter(({ mark }) => mark === "Failed");
  const released = judged.filter(runsRevision).length;
  if (failed.length > amountDown(plan.failureBudget, released)) {
    const first = failed.reduce((a, b) => (b.since < a.since ? b : a));
    const more = failed.length > 1 ? ` (${failed.length} of ${released} released clusters failed)` : "";
    return {
      cluster: first.cluster.name,
      message: first.why,
      reason: `cluster ${first.cluster.name} failed${first.why === "" ? "" : `: ${first.why}`}${more}`,
    };
  }
  const gate = gates.find(({ verdict }) => verdict === "failed");
  if (!gate) return undefined;
  const what = `${gate.kind} gate ${gate.name} of wave ${plan.waves[gate.wave]?.name ?? gate.wave + 1} failed${gate.message === "" ? "" : `: ${gate.message}`}`;
  return { cluster: "", message: gate.message, reason: what };
}

/** The end of the way forward: back, where the plan says so and there is something to go back to. */
function endAt(rollout: Rollout, judged: readonly JudgedCluster[], { cluster, message, reason }: Failure): Outcome {
  const failure = { cluster, message };
  if (rollout.plan.onFailure === "hold") return { decision: { kind: "fail", reason: `${reason}; it stays as it is (onFailure: hold)` }, failure };
  const running = judged.filter(runsRevision);
  const canGoBack = running.some(({ cluster: { healthyBefore } }) => healthyBefore !== undefined || rollout.from !== null);
  if (!canGoBack) return { decision: { kind: "fail", reason: `${reason}; there is nothing to go back to` }, failure };
  return { decision: { kind: "rollback", clusters: namesOf(highestWave(running)), reason }, failure };
}

/** In reverse order of the waves; the next one when the last is where it was before, or does not answer. */
function goBack(rollout: Rollout, judged: readonly JudgedCluster[], now: number): Outcome {
  if (rollout.paused) return { decision: { kind: "hold", wave: rollout.wave, reason: `the rollback is paused by ${said(rollout.paused)}` } };
  const running = judged.filter(runsRevision);
  const settling = judged.filter(({ mark, since, cluster }) => mark === "RolledBack" && !isBack(cluster) && now < since + rollbackSettleMs);
  if (running.length > 0 && settling.length === 0)
    return { decision: { kind: "rollback", clusters: namesOf(highestWave(running)), reason: `${countOf(running.length)} still to go back` } };
  const back = judged.filter(({ mark }) => mark === "RolledBack");
  if (settling.length > 0) {
    const until = Math.min(...settling.map(({ since }) => since + rollbackSettleMs));
    return { decision: { kind: "hold", wave: rollout.wave, reason: `rolling back: waits for ${someNames(settling)}`, until } };
  }
  const kept = judged.filter(({ mark, cluster }) => mark === "Kept" && !cluster.isPinned);
  // Not "done": what stayed must not be brought back afterwards as if it had only been missed.
  if (kept.length > 0) return { decision: { kind: "fail", reason: `${countOf(back.length)} went back; ${countOf(kept.length)} stayed: ${someReasons(kept)}` } };
  return { decision: { kind: "done", reason: `${countOf(back.length)} went back` } };
}

/** It says that it has what it had before, or nobody hears it. */
function isBack({ observed, offlineSince }: RolloutCluster): boolean {
  return offlineSince !== undefined || (observed?.isCurrent === true && observed.isSynced);
}

function highestWave(clusters: readonly JudgedCluster[]): readonly JudgedCluster[] {
  const highest = clusters.reduce((max, { wave }) => Math.max(max, wave), 0);
  return clusters.filter(({ wave }) => wave === highest);
}

/** A person's word that nothing new is released. */
function stoppedBy({ paused, held, wave }: Rollout, judged: readonly JudgedCluster[]): Hold | undefined {
  const deadline = earliest(judged.map(({ until }) => until));
  if (paused) return hold(wave, `paused by ${said(paused)}`, deadline);
  if (!held) return undefined;
  const until = held.until === undefined ? "" : ` until ${clock(held.until)}`;
  return hold(wave, `${held.ofAll ? "all fleets are frozen" : "the fleet is held"}${until} by ${said(held)}`, earliest([deadline, held.until]));
}

/** One wave of a rollout at one moment. */
class WaveView {
  readonly #rollout: Rollout;
  readonly #index: number;
  readonly #wave: WaveSpec;
  readonly #title: string;
  /** Its clusters that count. */
  readonly #members: readonly JudgedCluster[];
  readonly #now: number;
  readonly #deadline: number | undefined;

  constructor(rollout: Rollout, index: number, judged: readonly JudgedCluster[], now: number) {
    const wave = rollout.plan.waves[index];
    if (!wave) throw new RangeError(`no wave ${index}`);
    this.#rollout = rollout;
    this.#index = index;
    this.#wave = wave;
    this.#title = `wave ${wave.name} (${index + 1} of ${rollout.plan.waves.length})`;
    this.#members = judged.filter(({ wave: of, mark }) => of === index && mark !== "Kept" && mark !== "RolledBack");
    this.#now = now;
    this.#deadline = earliest(judged.map(({ until }) => until));
  }

  /** What it releases now, or why it releases nothing though clusters wait; undefined when none waits. */
  release(): Decision | undefined {
    const waiting = this.#with("Waiting");
    if (waiting.length === 0) return undefined;
    const window = this.#wave.windows ? judgeWindows([this.#wave.windows], this.#now) : undefined;
    if (window && !window.isOpen) return this.#hold(`its window is closed, ${countOf(waiting.length)} waiting`, window.until);
    const clusters = this.#choose(waiting);
    if (clusters.length === 0) return this.#hold(`${this.#unavailable()}; ${countOf(waiting.length)} waiting for that`);
    const left = waiting.length - clusters.length;
    const reason = `${this.#title}: released to ${someNames(clusters)}${left === 0 ? "" : `, ${left} waiting`}`;
    return { kind: "release", wave: this.#index, clusters: namesOf(clusters), reason };
  }

  /** What keeps the next wave; undefined when nothing does. */
  gate(): Hold | { readonly failure: Failure } | undefined {
    const { after } = this.#wave;
    // Nobody is there of whom anything could be asked.
    if (this.#members.length === 0) return undefined;
    // What failed is within the budget, else nobody would ask: it is given up on.
    const unready = this.#members.filter(({ mark }) => mark === "Updating" || mark === "Waiting");
    if (after.healthy && unready.length > 0)
      return this.#hold(`${unready.length} of ${countOf(this.#members.length)} not healthy yet: ${someReasons(unready)}`);
    const healthyAt = this.#members.reduce((latest, { mark, since }) => (mark === "Healthy" ? Math.max(latest, since) : latest), 0);
    const soakedAt = healthyAt + after.soakMs;
    if (this.#now < soakedAt) return this.#hold(`soaks until ${clock(soakedAt)}`, soakedAt);
    return this.#check(soakedAt) ?? this.#asked() ?? this.#approval();
  }

  #check(healthyAt: number): Hold | { readonly failure: Failure } | undefined {
    const { check } = this.#wave.after;
    if (check === undefined) return undefined;
    const compiled = compileWaveCheck(check);
    const result = compiled.ok ? compiled.expression.evaluate(this.#checkInput()) : { ok: false as const, message: compiled.problem.message };
    if (result.ok && result.value) return undefined;
    const what = result.ok ? `its check is not true: ${check}` : `its check cannot be evaluated: ${result.message}`;
    const failsAt = healthyAt + this.#rollout.plan.progressDeadlineMs;
    if (this.#now < failsAt) return this.#hold(`${what} (fails at ${clock(failsAt)})`, failsAt);
    return { failure: { cluster: "", message: what, reason: `${this.#title}: ${what}` } };
  }

  #checkInput(): Readonly<Record<string, unknown>> {
    const count = (mark: ClusterMark): number => this.#with(mark).length;
    return {
      wave: {
        name: this.#wave.name,
        clusters: this.#members.length,
        healthy: count("Healthy"),
        updating: count("Updating"),
        failed: count("Failed"),
        skipped: count("Skipped"),
      },
      clusters: this.#members.map(({ cluster: { name, labels, observed }, mark, why }) => ({
        name,
        labels,
        mark,
        health: observed?.health ?? "Unknown",
        synced: observed?.isSynced ?? false,
        drifted: observed?.drifted ?? 0,
        failed: observed?.failed ?? 0,
        message: observed?.message ?? why,
      })),
    };
  }

  /** Metric and Job gates: what was not asked yet is asked, all at once; what could not be answered is asked again. */
  #asked(): Hold | undefined {
    const { metrics, jobs } = this.#wave.after;
    const gates = [
      ...metrics.map(({ name }) => ({ name, kind: "metric" as const, patienceMs: gateAskAgainMs })),
      ...jobs.map(({ name, timeoutMs }) => ({ name, kind: "job" as const, patienceMs: timeoutMs + gateAskAgainMs })),
    ];
    const asks: GateAsk[] = [];
    const waits: string[] = [];
    const times: number[] = [];
    for (const { name, kind, patienceMs } of gates) {
      const state = this.#rollout.gates.find((gate) => gate.wave === this.#index && gate.name === name && gate.kind === kind);
      if (state?.verdict === "passed") continue;
      const againAt = state === undefined ? this.#now : state.at + (state.verdict === "asked" ? patienceMs : gateAskAgainMs);
      if (againAt <= this.#now) asks.push({ wave: this.#index, name, kind, clusters: namesOf(this.#with("Healthy")) });
      times.push(Math.max(againAt, this.#now + 1));
      const answer = state?.verdict === "unknown" ? ` has no answer yet${state.message === "" ? "" : ` (${state.message})`}` : " is being asked";
      waits.push(`${kind} gate ${name}${answer}`);
    }
    if (waits.length === 0) return undefined;
    // Nobody is there to answer: a wave whose clusters are all away is not judged by them.
    if (this.#with("Healthy").length === 0) return this.#hold(`${waits.join(", ")}: no healthy cluster could answer`);
    const until = asks.length > 0 ? this.#now + gateAskAgainMs : Math.min(...times);
    return { ...this.#hold(waits.join(", "), until), ...(asks.length > 0 && { asks }) };
  }

  #approval(): Hold | undefined {
    const { approval } = this.#wave.after;
    if (approval === undefined || this.#rollout.approvals.some(({ wave }) => wave === this.#index)) return undefined;
    return this.#hold(`waits for an approval by ${approval}: fleet rollout approve`);
  }

  /** As many as may be in flight and away at a time: those that are away already make it no worse. */
  #choose(waiting: readonly JudgedCluster[]): readonly JudgedCluster[] {
    const { maxConcurrency, maxUnavailable } = this.#wave;
    const size = this.#members.length;
    let slots = (maxConcurrency ? Math.max(1, amountUp(maxConcurrency, size)) : size) - this.#with("Updating").length;
    let spare = maxUnavailable ? allowedUnavailable(maxUnavailable, size) - this.#members.filter(isUnavailable).length : size;
    const chosen: JudgedCluster[] = [];
    for (const cluster of waiting) {
      if (slots <= 0) break;
      if (!isUnavailable(cluster)) {
        if (spare <= 0) continue;
        spare -= 1;
      }
      slots -= 1;
      chosen.push(cluster);
    }
    return chosen;
  }

  /** Why nothing is chosen. */
  #unavailable(): string {
    const updating = this.#with("Updating");
    if (updating.length > 0) return `${countOf(updating.length)} being updated: ${someReasons(updating)}`;
    const away = this.#members.filter(isUnavailable);
    return `${countOf(away.length)} unavailable, which is all that maxUnavailable allows: ${someNames(away)}`;
  }

  #with(mark: ClusterMark): readonly JudgedCluster[] {
    return this.#members.filter((member) => member.mark === mark);
  }

  #hold(reason: string, until?: number): Hold {
    return hold(this.#index, `${this.#title}: ${reason}`, earliest([until, this.#deadline]));
  }
}

/** Rounded down as of a Deployment's maxUnavailable, but never to nothing: then no cluster could ever be updated. */
function allowedUnavailable(amount: NonNullable<WaveSpec["maxUnavailable"]>, size: number): number {
  return Math.max(1, amountDown(amount, size));
}

/** Away, or not what it should be: it cannot do its work, whatever it runs. */
function isUnavailable({ mark, cluster: { offlineSince, observed } }: JudgedCluster): boolean {
  if (mark === "Healthy") return false;
  if (mark !== "Waiting" || offlineSince !== undefined) return true;
  return observed !== undefined && !(observed.isSynced && observed.health === "Current");
}

function hold(wave: number, reason: string, until: number | undefined): Hold {
  return { kind: "hold", wave, reason, ...(until !== undefined && { until }) };
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const time of times) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}

function namesOf(clusters: readonly JudgedCluster[]): string[] {
  return clusters.map(({ cluster }) => cluster.name);
}

const namesShown = 3;

function someNames(clusters: readonly JudgedCluster[]): string {
  return some(clusters.map(({ cluster }) => cluster.name));
}

function someReasons(clusters: readonly JudgedCluster[]): string {
  return some(
    clusters.slice(0, namesShown).map(({ cluster, why }) => (why === "" ? cluster.name : `${cluster.name} (${why.slice(0, 200)})`)),
    clusters.length,
  );
}

function some(names: readonly string[], count = names.length): string {
  const shown = names.slice(0, namesShown).join(", ");
  return count > namesShown ? `${shown} and ${count - namesShown} more` : shown;
}

function countOf(clusters: number): string {
  return `${clusters} cluster${clusters === 1 ? "" : "s"}`;
}

function said({ by, reason }: { readonly by: string; readonly reason: string }): string {
  return reason === "" ? by : `${by}: ${reason}`;
}

/** UTC, to the second. */
function clock(time: number): string {
  return new Date(Math.ceil(time / 1_000) * 1_000).toISOString().replace(".000Z", "Z");
}
