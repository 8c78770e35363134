import type { Amount, RolloutSpec, WaveSpec } from "@flotilla/hub/domain/fleet-spec";
import { nextWave, waveOf } from "@flotilla/hub/domain/next-wave";
import { amountDown, amountUp } from "@flotilla/hub/domain/rollout-plan";
import type { ClusterMark, GateState, Rollout, RolloutCluster, RolloutPhase, Step } from "@flotilla/hub/domain/rollout";
import { seededRandom } from "../harness/random.ts";

/** A cluster as it really is; what the rollout keeps of it lies beside. */
interface SimulatedCluster {
  readonly name: string;
  tier: string;
  offlineSince: number | undefined;
  /** What it was given. */
  revision: string;
  /** What its agent has reported about that. */
  reported: "nothing" | "healthy" | "failed" | "moving";
  pinned: boolean;
  readonly healthyAt: string[];
  kept: { mark: ClusterMark; since: number; wave: number; releasedAt: number | undefined } | undefined;
}

type Release = Extract<Step["decision"], { readonly kind: "release" }>;

/**
 * One fleet whose rollout is decided by nextWave on a virtual clock, with everything that happens to a fleet drawn from a seed: clusters
 * fail, recover, go away, return, join, leave and change labels; people pause, hold and approve; commits come. Each decision is checked.
 */
export class RolloutWorld {
  readonly #random: () => number;
  readonly #clusters = new Map<string, SimulatedCluster>();
  readonly #bad: ReadonlySet<string>;
  now = 1_700_000_000_000;
  #plan: RolloutSpec;
  #revision = "r1";
  #settled: string | null = "r0";
  #phase: RolloutPhase = "Running";
  #wave = 0;
  #startedAt: number;
  #paused = false;
  #heldUntil: number | "ever" | undefined;
  #approvals = new Set<number>();
  #gates: GateState[] = [];
  #joined = 0;
  #commits = 1;
  /** How rollouts ended. */
  readonly ends: RolloutPhase[] = [];

  constructor(seed: number, size: number) {
    this.#random = seededRandom(seed);
    this.#plan = this.#drawPlan();
    this.#startedAt = this.now;
    for (let index = 0; index < size; index += 1) this.#join("r0");
    // Revisions that fail where they land.
    this.#bad = new Set(Array.from({ length: 30 }, (_, index) => `r${index}`).filter(() => this.#chance(0.25)));
    for (const cluster of this.#clusters.values()) cluster.healthyAt.push("r0");
  }

  /** Many things happen; whatever is decided meanwhile keeps the rules. */
  live(events: number): void {
    for (let event = 0; event < events; event += 1) {
      this.#happen();
      this.decide();
    }
  }

  /** Nothing new happens: people say yes, clusters return and answer. Ends with the rollout. */
  settle(): void {
    this.#paused = false;
    this.#heldUntil = undefined;
    for (let turn = 0; turn < 10_000; turn += 1) {
      if (this.#phase !== "Running" && this.#phase !== "RollingBack") return;
      for (let wave = 0; wave < this.#plan.waves.length; wave += 1) this.#approvals.add(wave);
      for (const cluster of this.#clusters.values()) {
        cluster.offlineSince = undefined;
        // What is healthy stays so: of a thousand that flicker, all are never healthy at once.
        if (cluster.reported !== "healthy") this.#answer(cluster);
      }
      this.#gates = this.#gates.map((gate) => (gate.verdict === "asked" ? { ...gate, verdict: "passed", at: this.now } : gate));
      const until = this.decide();
      this.now = until ?? this.now + 1_000;
    }
    throw new Error(`the rollout of ${this.#revision} does not end`);
  }

  /** Decides and carries out until there is nothing to do but wait. Gives when to look again. */
  decide(): number | undefined {
    for (let steps = 0; steps < 1_000; steps += 1) {
      if (this.#phase !== "Running" && this.#phase !== "RollingBack") return undefined;
      const step = this.#ask();
      this.#keep(step);
      const { decision } = step;
      switch (decision.kind) {
        case "release":
          this.#release(decision);
          break;
        case "rollback":
          this.#rollback(decision.clusters);
          break;
        case "hold":
          this.#checkHold(decision.reason, decision.until);
          for (const { wave, name, kind } of decision.asks ?? []) {
            this.#gates = this.#gates.filter((gate) => gate.wave !== wave || gate.name !== name);
            this.#gates.push({ wave, name, kind, verdict: "asked", message: "", at: this.now });
          }
          return decision.until;
        case "fail":
          return this.#end("Failed");
        case "done":
          return this.#end(this.#phase === "RollingBack" ? "RolledBack" : "Done");
      }
    }
    throw new Error("it decides for ever");
  }

  /** What any hub would decide: one that restarted, and one that reads rows in another order, too. */
  #ask(): Step {
    const rollout = this.#rollout();
    const clusters = [...this.#clusters.values()].map((cluster) => this.#seen(cluster));
    const step = nextWave(rollout, clusters, this.now);
    const again = nextWave(JSON.parse(JSON.stringify(rollout)) as Rollout, (JSON.parse(JSON.stringify(clusters)) as RolloutCluster[]).reverse(), this.now);
    check(JSON.stringify(step) === JSON.stringify(again), "another hub decides otherwise");
    return step;
  }

  #rollout(): Rollout {
    const word = { by: "ann", reason: "because", at: this.now };
    return {
      revision: this.#revision,
      from: this.#settled,
      plan: this.#plan,
      phase: this.#phase as Rollout["phase"],
      wave: this.#wave,
      startedAt: this.#startedAt,
      ...(this.#paused && { paused: word }),
      ...(this.#isHeld() && { held: { ...word, ofAll: false, ...(typeof this.#heldUntil === "number" && { until: this.#heldUntil }) } }),
      approvals: [...this.#approvals].map((wave) => ({ ...word, wave })),
      gates: this.#gates,
    };
  }

  #isHeld(): boolean {
    return this.#heldUntil === "ever" || (this.#heldUntil !== undefined && this.#heldUntil > this.now);
  }

  #seen({ name, tier, offlineSince, revision, reported, pinned, healthyAt, kept }: SimulatedCluster): RolloutCluster {
    const healthyBefore = healthyAt.findLast((healthy) => healthy !== this.#revision);
    return {
      name,
      labels: { tier },
      mark: kept?.mark ?? "Waiting",
      since: kept?.since ?? 0,
      ...(kept && { markedWave: kept.wave }),
      ...(kept?.releasedAt !== undefined && { releasedAt: kept.releasedAt }),
      ...(offlineSince !== undefined && { offlineSince }),
      ...(revision !== "" && {
        observed: {
          isCurrent: reported !== "nothing",
          isSynced: reported === "healthy" || reported === "failed",
          health: reported === "healthy" ? "Current" : reported === "failed" ? "Failed" : "InProgress",
          drifted: 0,
          failed: 0,
          message: "",
        },
      }),
      isPinned: pinned,
      ...(healthyBefore !== undefined && { healthyBefore }),
    };
  }

  #keep({ marks }: Step): void {
    for (const { cluster, mark, since, wave } of marks) {
      const held = this.#cluster(cluster);
      held.kept = { mark, since, wave, releasedAt: held.kept?.releasedAt };
    }
  }

  #release({ wave: index, clusters }: Release): void {
    check(!this.#paused && !this.#isHeld(), "released while paused or held");
    check(clusters.length > 0, "released to nobody");
    const failed = this.#marked("Failed").length;
    check(failed <= amountDown(this.#plan.failureBudget, this.#released()), "released though the failure budget is spent");
    check(!this.#gates.some(({ verdict }) => verdict === "failed"), "released past a failed gate");
    for (let passed = this.#wave; passed < index; passed += 1) this.#checkPassed(passed);
    const isLate = index === this.#wave && clusters.every((name) => this.#waveOf(name) < index);
    if (!isLate) {
      check(
        clusters.every((name) => this.#waveOf(name) === index),
        "released to another wave",
      );
      this.#checkConcurrency(index, clusters);
    }
    for (const name of clusters) {
      const cluster = this.#cluster(name);
      check(cluster.kept?.mark === "Waiting" && !cluster.pinned, `released ${name} twice, or though it is pinned`);
      Object.assign(cluster, { revision: this.#revision, reported: "nothing" });
      cluster.kept = { mark: "Updating", since: this.now, wave: index, releasedAt: this.now };
    }
    this.#wave = Math.max(this.#wave, index);
  }

  #checkConcurrency(index: number, clusters: readonly string[]): void {
    const { maxConcurrency } = this.#wavePlan(index);
    if (!maxConcurrency) return;
    const members = [...this.#clusters.values()].filter(
      ({ tier, kept }) => waveOf(this.#plan, { tier }) === index && kept?.mark !== "Kept" && kept?.mark !== "RolledBack",
    );
    const inFlight = members.filter(({ kept }) => kept?.mark === "Updating").length + clusters.length;
    check(inFlight <= Math.max(1, amountUp(maxConcurrency, members.length)), `${inFlight} of ${members.length} in flight at once`);
  }

  /** What the plan asks of a wave, looked at with eyes of its own. */
  #checkPassed(index: number): void {
    const { after } = this.#wavePlan(index);
    const members = [...this.#clusters.values()].filter(({ tier, kept }) => waveOf(this.#plan, { tier }) === index && kept?.mark !== "Kept");
    if (members.length === 0) return;
    if (after.healthy)
      check(
        members.every(({ kept }) => ["Healthy", "Skipped", "Failed"].includes(kept?.mark ?? "")),
        "went on past a wave that is not healthy",
      );
    const soaked = members.every(({ kept }) => kept?.mark !== "Healthy" || this.now >= kept.since + after.soakMs);
    check(soaked, "went on before the soak was over");
    if (after.approval !== undefined) check(this.#approvals.has(index), "went on without an approval");
    for (const { name } of [...after.metrics, ...after.jobs])
      check(
        this.#gates.some((gate) => gate.wave === index && gate.name === name && gate.verdict === "passed"),
        "went on past a gate that has not passed",
      );
  }

  #rollback(names: readonly string[]): void {
    check(this.#plan.onFailure === "rollback", "went back though the plan says hold");
    const running = [...this.#clusters.values()].filter(({ kept }) => kept?.releasedAt !== undefined && !["RolledBack", "Kept", "Waiting"].includes(kept.mark));
    const highest = Math.max(...running.map(({ name }) => this.#waveOf(name)));
    check(names.length > 0 && names.every((name) => this.#waveOf(name) === highest), "went back out of order");
    this.#phase = "RollingBack";
    for (const name of names) {
      const cluster = this.#cluster(name);
      const back = cluster.healthyAt.findLast((healthy) => healthy !== this.#revision) ?? this.#settled;
      const mark = back === null ? "Kept" : "RolledBack";
      if (back !== null) Object.assign(cluster, { revision: back, reported: "nothing" });
      cluster.kept = { mark, since: this.now, wave: cluster.kept?.wave ?? 0, releasedAt: cluster.kept?.releasedAt };
    }
  }

  #checkHold(reason: string, until: number | undefined): void {
    check(reason !== "", "holds without a reason");
    check(until === undefined || until > this.now, `holds until a time that is over: ${reason}`);
    if (until === undefined)
      check(/paused|held|frozen|approval|maxUnavailable|no healthy cluster/.test(reason), `waits for nothing that could come: ${reason}`);
  }

  #end(phase: RolloutPhase): undefined {
    this.#phase = phase;
    this.ends.push(phase);
    if (phase !== "Done") return;
    this.#settled = this.#revision;
    for (const { name, kept, pinned } of this.#clusters.values())
      check(pinned || kept?.mark === "Healthy" || kept?.mark === "Skipped" || kept?.mark === "Failed" || kept?.mark === "Updating", `done without ${name}`);
  }

  #happen(): void {
    this.now += Math.floor(this.#random() * 60_000);
    const events = [
      () => this.#some((cluster) => this.#answer(cluster)),
      () => this.#some((cluster) => this.#answer(cluster)),
      () => this.#some((cluster) => this.#answer(cluster)),
      () => this.#some((cluster) => (cluster.offlineSince ??= this.now)),
      () => this.#some((cluster) => (cluster.offlineSince = undefined)),
      () => this.#join(""),
      () => this.#some(({ name }) => void this.#clusters.delete(name)),
      () => this.#some((cluster) => (cluster.tier = this.#tier())),
      () => this.#some((cluster) => (cluster.pinned = !cluster.pinned)),
      () => (this.#paused = !this.#paused),
      () => (this.#heldUntil = this.#isHeld() ? undefined : this.#chance(0.5) ? "ever" : this.now + 120_000),
      () => this.#approvals.add(Math.floor(this.#random() * this.#plan.waves.length)),
      () =>
        (this.#gates = this.#gates.map((gate) =>
          gate.verdict === "asked" ? { ...gate, verdict: this.#pick(["passed", "passed", "unknown", "failed"]), at: this.now } : gate,
        )),
      () => this.#chance(0.3) && this.#commit(),
    ];
    this.#pick(events)();
  }

  /** A newer commit takes the place of what runs; of what goes back when that is over. */
  #commit(): void {
    if (this.#phase === "RollingBack") return;
    this.#revision = `r${(this.#commits += 1)}`;
    Object.assign(this, { now: this.now + 1 });
    [this.#phase, this.#wave, this.#startedAt] = ["Running", 0, this.now];
    [this.#plan, this.#gates] = [this.#drawPlan(), []];
    this.#approvals.clear();
    this.#paused = false;
    for (const cluster of this.#clusters.values()) cluster.kept = undefined;
  }

  /** Its agent works, and says so. */
  #answer(cluster: SimulatedCluster): void {
    if (cluster.offlineSince !== undefined || cluster.revision === "") return;
    cluster.reported = this.#bad.has(cluster.revision) && this.#chance(0.2) ? "failed" : this.#chance(0.8) ? "healthy" : "moving";
    if (cluster.reported === "healthy" && cluster.healthyAt.at(-1) !== cluster.revision) cluster.healthyAt.push(cluster.revision);
  }

  #join(revision: string): void {
    const name = `c${String((this.#joined += 1)).padStart(5, "0")}`;
    this.#clusters.set(name, {
      name,
      tier: this.#tier(),
      offlineSince: this.#chance(0.05) ? this.now : undefined,
      revision,
      reported: revision === "" ? "nothing" : "healthy",
      pinned: false,
      healthyAt: [],
      kept: undefined,
    });
  }

  #drawPlan(): RolloutSpec {
    const amount = (): Amount => (this.#chance(0.5) ? { count: 1 + Math.floor(this.#random() * 3) } : { percent: 10 + Math.floor(this.#random() * 60) });
    const waves = Array.from({ length: 1 + Math.floor(this.#random() * 4) }, (_, index): WaveSpec => {
      return {
        name: `w${index}`,
        clusters: { matchLabels: { tier: `t${index}` } },
        ...(this.#chance(0.5) && { maxConcurrency: amount() }),
        ...(this.#chance(0.2) && { maxUnavailable: amount() }),
        after: {
          healthy: this.#chance(0.9),
          soakMs: this.#chance(0.5) ? 60_000 : 0,
          ...(this.#chance(0.2) && { approval: "ops" }),
          metrics: this.#chance(0.15) ? [{ name: "errors", address: "http://p", query: "x", threshold: { operator: "<", value: 1 }, windowMs: 1 }] : [],
          jobs: [],
          ...(this.#chance(0.15) && { check: "clusters.all(c, c.drifted == 0)" }),
        },
      };
    });
    const budget: Amount = this.#chance(0.5) ? { count: Math.floor(this.#random() * 3) } : { percent: Math.floor(this.#random() * 50) };
    return { waves, failureBudget: budget, onFailure: this.#chance(0.7) ? "rollback" : "hold", progressDeadlineMs: 300_000, onNewRevision: "supersede" };
  }

  #tier(): string {
    return `t${Math.floor(this.#random() * 5)}`;
  }

  #some(act: (cluster: SimulatedCluster) => unknown): void {
    const all = [...this.#clusters.values()];
    const count = Math.max(1, Math.floor(this.#random() * this.#random() * all.length));
    for (let index = 0; index < count && all.length > 0; index += 1) act(this.#pick(all));
  }

  #marked(mark: ClusterMark): SimulatedCluster[] {
    return [...this.#clusters.values()].filter(({ kept }) => kept?.mark === mark);
  }

  #released(): number {
    return [...this.#clusters.values()].filter(({ kept }) => kept?.releasedAt !== undefined && !["RolledBack", "Kept", "Waiting"].includes(kept.mark)).length;
  }

  #waveOf(name: string): number {
    return waveOf(this.#plan, { tier: this.#cluster(name).tier });
  }

  #wavePlan(index: number): WaveSpec {
    const wave = this.#plan.waves[index];
    if (!wave) throw new Error(`no wave ${index}`);
    return wave;
  }

  #cluster(name: string): SimulatedCluster {
    const cluster = this.#clusters.get(name);
    if (!cluster) throw new Error(`${name} is not there, and was decided about`);
    return cluster;
  }

  #chance(part: number): boolean {
    return this.#random() < part;
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#random() * from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }
}

function check(holds: boolean, problem: string): void {
  if (!holds) throw new Error(problem);
}
