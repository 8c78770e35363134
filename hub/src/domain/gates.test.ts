import { describe, expect, it } from "vitest";
import type { RolloutSpec } from "./fleet-spec.ts";
import { foldAnswers, type GateAnswer, questionOf } from "./gates.ts";
import { immediateRollout } from "./rollout-plan.ts";

const answer = (cluster: string, verdict: GateAnswer["verdict"], message = ""): GateAnswer => ({ cluster, verdict, message });

describe("answers of clusters to a gate", () => {
  it("pass when all have passed", () => {
    expect(foldAnswers([answer("a", "passed", "is complete")])).toEqual({ verdict: "passed", message: "a: is complete" });
    expect(foldAnswers([answer("a", "passed"), answer("b", "passed")])).toEqual({ verdict: "passed", message: "passed on 2 clusters" });
  });

  it("fail with the first that failed, also while others are silent", () => {
    const answers = [answer("c", "failed", "0.5"), answer("b", "failed", "0.4"), answer("a", null), answer("d", "unknown", "away")];
    expect(foldAnswers(answers)).toEqual({ verdict: "failed", message: "b: 0.4 (and 1 more)" });
  });

  it("are waited for before anything is told as unknown", () => {
    const waiting = { verdict: "asked", message: "1 of 2 clusters have answered, it waits for b" };
    expect(foldAnswers([answer("a", "unknown", "no route"), answer("b", null)])).toEqual(waiting);
    const silent = ["e", "d", "c", "b", "a"].map((cluster) => answer(cluster, null));
    expect(foldAnswers(silent).message).toBe("0 of 5 clusters have answered, it waits for a, b, c and 2 more");
    expect(foldAnswers([answer("a", "unknown", "no route"), answer("b", "passed")])).toEqual({ verdict: "unknown", message: "a: no route" });
  });

  it("of nobody are no answer", () => {
    expect(foldAnswers([]).verdict).toBe("asked");
  });
});

describe("the question of a gate", () => {
  const job = { name: "smoke", namespace: "shop", spec: { template: {} }, timeoutMs: 300_000 };
  const metric = { name: "errors", address: "http://p", query: "q", threshold: { operator: "<" as const, value: 1 }, windowMs: 60_000 };
  const [wave] = immediateRollout.waves;
  const plan: RolloutSpec = { ...immediateRollout, waves: [{ ...wave!, name: "canary", after: { healthy: true, soakMs: 0, metrics: [metric], jobs: [job] } }] };
  const ask = (name: string, kind: "metric" | "job", of = 0) => questionOf(plan, "r1", { wave: of, name, kind, clusters: ["a"] });

  it("is what the plan says, and counts as long as it may take", () => {
    expect(ask("smoke", "job")).toEqual({ question: { revision: "r1", wave: "canary", kind: "job", job }, lifeMs: 360_000 });
    expect(ask("errors", "metric")).toEqual({ question: { revision: "r1", wave: "canary", kind: "metric", metric }, lifeMs: 60_000 });
  });

  it("is none where the plan has no such gate", () => {
    expect(ask("errors", "job")).toBeUndefined();
    expect(ask("smoke", "metric")).toBeUndefined();
    expect(ask("smoke", "job", 3)).toBeUndefined();
  });
});
