import { describe, expect, it } from "vitest";
import type { RolloutSpec, WaveSpec } from "./fleet-spec.ts";
import { nextWave } from "./next-wave.ts";
import type { ClusterMark, GateState, Observation, Rollout, RolloutCluster, Step } from "./rollout.ts";

const start = Date.UTC(2026, 10, 25, 12);
const minute = 60_000;
const healthy: Observation = { isCurrent: true, isSynced: true, health: "Current", drifted: 0, failed: 0, message: "" };
const moving: Observation = { ...healthy, health: "InProgress", message: "Deployment shop/web: 1 of 2 replicas are ready" };
const broken: Observation = { ...healthy, health: "Failed", message: "Deployment shop/web: its image cannot be pulled" };

const wave = (name: string, { after = {}, ...more }: Partial<Omit<WaveSpec, "after">> & { after?: Partial<WaveSpec["after"]> } = {}): WaveSpec => ({
  name,
  clusters: { matchLabels: { tier: name } },
  ...more,
  after: { healthy: true, soakMs: 0, metrics: [], jobs: [], ...after },
});
const plan = (waves: readonly WaveSpec[], more: Partial<RolloutSpec> = {}): RolloutSpec => ({
  waves,
  failureBudget: { count: 0 },
  onFailure: "rollback",
  progressDeadlineMs: 10 * minute,
  onNewRevision: "supersede",
  ...more,
});
const rollout = (
  waves: readonly WaveSpec[],
  { plan: planned = {}, ...more }: Partial<Omit<Rollout, "plan">> & { plan?: Partial<RolloutSpec> } = {},
): Rollout => ({
  revision: "new",
  from: "old",
  plan: plan(waves, planned),
  phase: "Running",
  wave: 0,
  startedAt: start,
  approvals: [],
  gates: [],
  ...more,
});
/** Not released yet, and healthy with what it has. */
const waiting = (name: string, tier: string, more: Partial<RolloutCluster> = {}): RolloutCluster => ({
  name,
  labels: { tier },
  mark: "Waiting",
  since: 0,
  isPinned: false,
  healthyBefore: "old",
  observed: healthy,
  ...more,
});
/** Released at the start. */
const released = (name: string, tier: string, mark: ClusterMark, observed: Observation | undefined, more: Partial<RolloutCluster> = {}): RolloutCluster => {
  const { observed: _none, ...cluster } = waiting(name, tier, { mark, since: start, releasedAt: start, markedWave: 0, ...more });
  return observed === undefined ? cluster : { ...cluster, observed };
};
const ask = (asked: Rollout, clusters: readonly RolloutCluster[], at = start + minute): Step => nextWave(asked, clusters, at);
const canaryAndRest = [wave("canary"), wave("rest")];

describe("the next step of a rollout", () => {
  it("releases the first wave, and no other", () => {
    const { decision } = ask(rollout(canaryAndRest), [waiting("c1", "canary"), waiting("r1", "rest")]);
    expect(decision).toEqual({ kind: "release", wave: 0, clusters: ["c1"], reason: "wave canary (1 of 2): released to c1" });
  });

  it("waits for the wave to be healthy, and says what it waits for and how long that may take", () => {
    const { decision, marks } = ask(rollout(canaryAndRest), [released("c1", "canary", "Updating", moving), waiting("r1", "rest", { markedWave: 1 })]);
    expect(decision).toMatchObject({
      kind: "hold",
      reason: "wave canary (1 of 2): 1 of 1 cluster not healthy yet: c1 (Deployment shop/web: 1 of 2 replicas are ready)",
      until: start + 10 * minute,
    });
    expect(marks).toEqual([]);
  });

  it("goes on when it is healthy", () => {
    const { decision, marks } = ask(rollout(canaryAndRest), [released("c1", "canary", "Updating", healthy), waiting("r1", "rest")]);
    expect(decision).toMatchObject({ kind: "release", wave: 1, clusters: ["r1"] });
    expect(marks).toContainEqual({ cluster: "c1", wave: 0, mark: "Healthy", since: start + minute, why: "" });
  });

  it("soaks from when the last cluster was healthy, and anew when one was not meanwhile", () => {
    const soaking = rollout([wave("canary", { after: { soakMs: 5 * minute } }), wave("rest")]);
    const since = start + 2 * minute;
    const hold = ask(soaking, [released("c1", "canary", "Healthy", healthy, { since }), waiting("r1", "rest")], start + 4 * minute);
    expect(hold.decision).toMatchObject({ kind: "hold", reason: "wave canary (1 of 2): soaks until 2026-11-25T12:07:00Z", until: start + 7 * minute });
    const shaken = ask(soaking, [released("c1", "canary", "Healthy", moving, { since }), waiting("r1", "rest")], start + 4 * minute);
    expect(shaken.marks).toContainEqual(expect.objectContaining({ cluster: "c1", mark: "Updating", since: start + 4 * minute }));
    expect(ask(soaking, [released("c1", "canary", "Healthy", healthy, { since }), waiting("r1", "rest")], start + 7 * minute).decision.kind).toBe("release");
  });

  it("waits for an approval, and takes only that of the wave", () => {
    const gated = [wave("canary", { after: { approval: "ops" } }), wave("rest")];
    const clusters = [released("c1", "canary", "Healthy", healthy), waiting("r1", "rest")];
    expect(ask(rollout(gated), clusters).decision).toMatchObject({
      kind: "hold",
      reason: "wave canary (1 of 2): waits for an approval by ops: fleet rollout approve",
    });
    const said = { by: "ann", reason: "", at: start };
    expect(ask(rollout(gated, { approvals: [{ ...said, wave: 1 }] }), clusters).decision.kind).toBe("hold");
    expect(ask(rollout(gated, { approvals: [{ ...said, wave: 0 }] }), clusters).decision.kind).toBe("release");
  });

  it("releases in a wave's window only, and says when that opens", () => {
    const windows = { allow: [{ timeZone: "UTC", schedule: "0 14 * * *", durationMs: 60 * minute }], deny: [], whenClosed: "finish", heal: false } as const;
    const night = rollout([wave("canary", { windows })]);
    expect(ask(night, [waiting("c1", "canary")]).decision).toMatchObject({
      kind: "hold",
      reason: "wave canary (1 of 1): its window is closed, 1 cluster waiting",
      until: start + 120 * minute,
    });
    expect(ask(night, [waiting("c1", "canary")], start + 120 * minute).decision.kind).toBe("release");
  });

  it("keeps as many in flight as the wave allows", () => {
    const narrow = rollout([wave("canary", { maxConcurrency: { count: 2 } })]);
    const clusters = ["c1", "c2", "c3"].map((name) => waiting(name, "canary"));
    expect(ask(narrow, clusters).decision).toMatchObject({ clusters: ["c1", "c2"] });
    const busy = [released("c1", "canary", "Updating", moving), released("c2", "canary", "Healthy", healthy), waiting("c3", "canary")];
    expect(ask(narrow, busy).decision).toMatchObject({ kind: "release", clusters: ["c3"] });
    const full = [released("c1", "canary", "Updating", moving), released("c2", "canary", "Updating", moving), waiting("c3", "canary")];
    expect(ask(narrow, full).decision).toMatchObject({ kind: "hold", until: start + 10 * minute });
  });

  it("makes no more unavailable than the wave allows; what is away already makes it no worse", () => {
    const careful = rollout([wave("canary", { maxUnavailable: { count: 1 } })]);
    const away = waiting("c1", "canary", { offlineSince: start });
    expect(ask(careful, [away, waiting("c2", "canary")]).decision).toMatchObject({ kind: "release", clusters: ["c1"] });
    const sick = waiting("c1", "canary", { observed: broken });
    expect(ask(careful, [released("c0", "canary", "Healthy", healthy), sick, waiting("c2", "canary")]).decision).toMatchObject({ clusters: ["c1"] });
  });

  it("is over when the last wave is through", () => {
    const clusters = [released("c1", "canary", "Healthy", healthy), released("r1", "rest", "Healthy", healthy)];
    expect(ask(rollout(canaryAndRest, { wave: 1 }), clusters).decision).toEqual({ kind: "done", reason: "healthy on 2 clusters" });
  });

  it("asks the wave's check, and gives it up after the deadline", () => {
    const checked = rollout([wave("canary", { after: { check: "clusters.all(c, c.drifted == 0) && wave.healthy == 1" } }), wave("rest")]);
    const drifted = [released("c1", "canary", "Healthy", { ...healthy, drifted: 2 }), waiting("r1", "rest")];
    expect(ask(checked, drifted).decision).toMatchObject({ kind: "hold", until: start + 10 * minute });
    expect(ask(checked, [released("c1", "canary", "Healthy", healthy), waiting("r1", "rest")]).decision.kind).toBe("release");
    expect(ask(checked, drifted, start + 11 * minute).decision).toMatchObject({ kind: "rollback", clusters: ["c1"] });
  });

  it("asks metric and Job gates of the clusters that are healthy, once, and again when nobody could answer", () => {
    const gate = { name: "errors", address: "http://p", query: "up", threshold: { operator: ">", value: 0 }, windowMs: minute } as const;
    const gated = [wave("canary", { after: { metrics: [gate], jobs: [{ name: "smoke", namespace: "shop", spec: {}, timeoutMs: minute }] } }), wave("rest")];
    const clusters = [released("c1", "canary", "Healthy", healthy), waiting("r1", "rest")];
    const state = (name: string, kind: "metric" | "job", verdict: GateState["verdict"], message = ""): GateState => ({
      wave: 0,
      name,
      kind,
      verdict,
      message,
      at: start + minute,
    });
    const first = ask(rollout(gated), clusters).decision;
    expect(first).toMatchObject({ kind: "hold", asks: [{ wave: 0, name: "errors", kind: "metric", clusters: ["c1"] }, { name: "smoke" }] });
    const asked = ask(rollout(gated, { gates: [state("errors", "metric", "asked"), state("smoke", "job", "passed")] }), clusters).decision;
    expect(asked).toMatchObject({ kind: "hold", reason: "wave canary (1 of 2): metric gate errors is being asked" });
    expect(asked).not.toHaveProperty("asks");
    const unknown = rollout(gated, { gates: [state("errors", "metric", "unknown", "no data"), state("smoke", "job", "passed")] });
    expect(ask(unknown, clusters).decision).toMatchObject({
      reason: "wave canary (1 of 2): metric gate errors has no answer yet (no data)",
      until: start + 2 * minute,
    });
    expect(ask(unknown, clusters, start + 2 * minute).decision).toMatchObject({ asks: [{ name: "errors" }] });
    const passed = rollout(gated, { gates: [state("errors", "metric", "passed"), state("smoke", "job", "passed")] });
    expect(ask(passed, clusters).decision.kind).toBe("release");
    const failed = ask(rollout(gated, { gates: [state("smoke", "job", "failed", "exit status 1")] }), clusters);
    expect(failed.decision).toMatchObject({ kind: "rollback", reason: "job gate smoke of wave canary failed: exit status 1" });
  });
});

describe("a rollout of a fleet that moves", () => {
  const passed = rollout(canaryAndRest, { wave: 1 });

  it("gives a cluster that joins a wave that was released what the wave has", () => {
    expect(
      ask(passed, [released("c1", "canary", "Healthy", healthy), waiting("c2", "canary"), released("r1", "rest", "Updating", moving)]).decision,
    ).toMatchObject({
      kind: "release",
      clusters: ["c2"],
    });
  });

  it("lets a cluster that joins a wave to come wait for it", () => {
    expect(ask(rollout(canaryAndRest), [released("c1", "canary", "Updating", moving), waiting("r9", "rest")]).decision.kind).toBe("hold");
  });

  it("does not wait for a cluster that has left", () => {
    expect(ask(rollout(canaryAndRest), [released("c1", "canary", "Healthy", healthy), waiting("r1", "rest")]).decision).toMatchObject({ clusters: ["r1"] });
  });

  it("counts a cluster that is offline as unavailable, and skips it after the deadline: it has not failed", () => {
    const away = released("c1", "canary", "Updating", undefined, { offlineSince: start + minute });
    const clusters = [away, released("c2", "canary", "Healthy", healthy), waiting("r1", "rest")];
    expect(ask(rollout(canaryAndRest), clusters, start + 2 * minute).decision).toMatchObject({ kind: "hold", until: start + 11 * minute });
    const skipped = ask(rollout(canaryAndRest), clusters, start + 11 * minute);
    expect(skipped.decision).toMatchObject({ kind: "release", wave: 1 });
    expect(skipped.marks).toContainEqual(expect.objectContaining({ cluster: "c1", mark: "Skipped" }));
  });

  it("counts one that returns as being updated from then on", () => {
    const back = released("c1", "canary", "Skipped", { ...healthy, isCurrent: false }, { since: start + 11 * minute });
    const { decision, marks } = ask(rollout([wave("canary")]), [back], start + 60 * minute);
    expect(marks).toContainEqual(expect.objectContaining({ cluster: "c1", mark: "Updating", since: start + 60 * minute }));
    expect(decision).toMatchObject({ kind: "hold", until: start + 70 * minute });
  });

  it("keeps what a cluster has when its labels move it to a wave to come", () => {
    const moved = released("c1", "rest", "Healthy", healthy);
    const { decision, marks } = ask(rollout(canaryAndRest), [moved, waiting("c2", "canary")]);
    expect(decision).toMatchObject({ kind: "release", wave: 0, clusters: ["c2"] });
    expect(marks).toContainEqual(expect.objectContaining({ cluster: "c1", mark: "Healthy", wave: 1 }));
  });

  it("neither releases nor counts a cluster that is pinned", () => {
    const { decision, marks } = ask(rollout([wave("canary")]), [waiting("c1", "canary", { isPinned: true }), released("c2", "canary", "Healthy", healthy)]);
    expect(decision.kind).toBe("done");
    expect(marks).toContainEqual(expect.objectContaining({ cluster: "c1", mark: "Kept" }));
  });

  it("goes on through waves in which nobody is", () => {
    const empty = rollout([wave("canary", { after: { approval: "ops" } }), wave("europe"), wave("rest")]);
    expect(ask(empty, [waiting("r1", "rest")]).decision).toMatchObject({ kind: "release", wave: 2 });
    expect(ask(empty, []).decision.kind).toBe("done");
  });
});

describe("a rollout that fails", () => {
  const bad = released("c1", "canary", "Updating", broken);

  it("goes back, and names the first cluster and why", () => {
    const { decision, failure } = ask(rollout(canaryAndRest), [bad, waiting("r1", "rest")]);
    expect(decision).toEqual({ kind: "rollback", clusters: ["c1"], reason: "cluster c1 failed: Deployment shop/web: its image cannot be pulled" });
    expect(failure).toEqual({ cluster: "c1", message: "Deployment shop/web: its image cannot be pulled" });
  });

  it("stays as it is where the plan says hold, or where there is nothing to go back to", () => {
    expect(ask(rollout(canaryAndRest, { plan: { onFailure: "hold" } }), [bad]).decision).toMatchObject({
      kind: "fail",
      reason: expect.stringContaining("onFailure: hold"),
    });
    const { healthyBefore: _never, ...first } = bad;
    expect(ask(rollout(canaryAndRest, { from: null }), [first]).decision).toMatchObject({
      kind: "fail",
      reason: expect.stringContaining("nothing to go back to"),
    });
  });

  it("goes on within its failure budget, of the clusters released so far", () => {
    const tolerant = rollout([wave("canary"), wave("rest")], { plan: { failureBudget: { percent: 50 } } });
    expect(ask(tolerant, [bad, released("c2", "canary", "Healthy", healthy), waiting("r1", "rest")]).decision).toMatchObject({ kind: "release", wave: 1 });
    expect(ask(tolerant, [bad, waiting("r1", "rest")]).decision.kind).toBe("rollback");
  });

  it("counts a cluster that is not healthy in time as failed", () => {
    const { failure } = ask(rollout(canaryAndRest), [released("c1", "canary", "Updating", moving)], start + 10 * minute);
    expect(failure).toEqual({ cluster: "c1", message: "not healthy within 10 minutes: Deployment shop/web: 1 of 2 replicas are ready" });
  });

  it("goes back wave by wave, the last first, and waits until each is there", () => {
    const back = rollout(canaryAndRest, { phase: "RollingBack", wave: 1 });
    const canary = released("c1", "canary", "Healthy", healthy);
    expect(ask(back, [canary, released("r1", "rest", "Failed", broken)]).decision).toMatchObject({ kind: "rollback", clusters: ["r1"] });
    const settling = released("r1", "rest", "RolledBack", { ...healthy, isCurrent: false });
    expect(ask(back, [canary, settling], start + 1).decision).toMatchObject({ kind: "hold", reason: "rolling back: waits for r1", until: start + minute });
    expect(ask(back, [canary, { ...settling, observed: healthy }], start + 1).decision).toMatchObject({ kind: "rollback", clusters: ["c1"] });
    expect(ask(back, [canary, settling], start + minute).decision).toMatchObject({ kind: "rollback", clusters: ["c1"] });
    const all = [released("c1", "canary", "RolledBack", healthy), { ...settling, observed: healthy }];
    expect(ask(back, all, start + 2).decision).toEqual({ kind: "done", reason: "2 clusters went back" });
  });
});

describe("a person's word", () => {
  const clusters = [waiting("c1", "canary")];
  const word = { by: "ann", reason: "lunch", at: start };

  it("pauses: nothing new is released, and the reason names who and why", () => {
    expect(ask(rollout(canaryAndRest, { paused: word }), clusters).decision).toEqual({ kind: "hold", wave: 0, reason: "paused by ann: lunch" });
  });

  it("holds a fleet, or all, until a time", () => {
    const held = rollout(canaryAndRest, { held: { ...word, ofAll: true, until: start + 60 * minute } });
    expect(ask(held, clusters).decision).toMatchObject({
      reason: "all fleets are frozen until 2026-11-25T13:00:00Z by ann: lunch",
      until: start + 60 * minute,
    });
  });

  it("does not keep what has failed from going back, unless it pauses just that", () => {
    const bad = [released("c1", "canary", "Updating", broken)];
    expect(ask(rollout(canaryAndRest, { held: { ...word, ofAll: false } }), bad).decision.kind).toBe("rollback");
    expect(ask(rollout(canaryAndRest, { paused: word, phase: "RollingBack" }), bad).decision).toMatchObject({
      kind: "hold",
      reason: "the rollback is paused by ann: lunch",
    });
  });
});
