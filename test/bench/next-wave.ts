import { parseArgs } from "node:util";
import type { RolloutSpec } from "@flotilla/hub/domain/fleet-spec";
import { nextWave } from "@flotilla/hub/domain/next-wave";
import type { ClusterMark, Rollout, RolloutCluster } from "@flotilla/hub/domain/rollout";
import { type Figure, percentile, reportFigures } from "./figures.ts";

/**
 * What a decision about a rollout costs: a fleet of 10,000 clusters in five waves, in states that a rollout goes through.
 * `npm run bench -- next-wave [--json FILE] [--write] [--clusters N] [--rounds N]`.
 */

const start = Date.UTC(2026, 10, 25, 12);
const tiers = ["canary", "eu", "us", "asia", "rest"];
const after = { healthy: true, soakMs: 60_000, check: "clusters.all(c, c.drifted == 0)", metrics: [], jobs: [] };
const plan: RolloutSpec = {
  waves: tiers.map((name) => ({ name, clusters: { matchLabels: { tier: name } }, maxConcurrency: { percent: 10 }, maxUnavailable: { percent: 5 }, after })),
  failureBudget: { percent: 2 },
  onFailure: "rollback",
  progressDeadlineMs: 600_000,
  onNewRevision: "supersede",
};
const rollout: Rollout = { revision: "new", from: "old", plan, phase: "Running", wave: 4, startedAt: start, approvals: [], gates: [] };

/** Where the clusters of the wave under way are; those of the waves before are healthy. */
const states = {
  "all waiting for the first wave": (): ClusterMark => "Waiting",
  "the last wave half released": (index: number): ClusterMark => (index % 2 === 0 ? "Updating" : "Waiting"),
  "all healthy, a check over the last wave": (): ClusterMark => "Healthy",
  "too many failed": (index: number): ClusterMark => (index % 3 === 0 ? "Failed" : "Healthy"),
};

function fleetOf(count: number, markOf: (index: number) => ClusterMark, isFirst: boolean): RolloutCluster[] {
  return Array.from({ length: count }, (_, index): RolloutCluster => {
    const tier = tiers[index % tiers.length] ?? "rest";
    const mark = isFirst || tier === "rest" ? markOf(Math.floor(index / tiers.length)) : "Healthy";
    const isReleased = mark !== "Waiting";
    const health = mark === "Failed" ? "Failed" : mark === "Updating" ? "InProgress" : "Current";
    return {
      name: `cluster-${index}`,
      labels: { tier, region: `r-${index % 50}` },
      mark,
      since: start,
      isPinned: false,
      healthyBefore: "old",
      observed: { isCurrent: true, isSynced: true, health, drifted: 0, failed: 0, message: health === "Current" ? "" : "Deployment shop/web: waits" },
      ...(isReleased && { releasedAt: start, markedWave: tiers.indexOf(tier) }),
    };
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      write: { type: "boolean" },
      clusters: { type: "string", default: "10000" },
      rounds: { type: "string", default: "100" },
    },
  });
  const [count, rounds] = [Number(values.clusters), Number(values.rounds)];
  const figures = Object.entries(states).map(([name, markOf]): Figure => {
    const isFirst = name.includes("first");
    const clusters = fleetOf(count, markOf, isFirst);
    const asked = isFirst ? { ...rollout, wave: 0 } : rollout;
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const at = performance.now();
      nextWave(asked, clusters, start + 300_000 + round);
      times.push(performance.now() - at);
    }
    const value = Math.round(percentile(times, 99) * 10) / 10;
    return { name: `${count} clusters, ${name}, p99`, value, unit: "ms", target: 50, better: "lower" };
  });
  return await reportFigures("next-wave", figures, values);
}

process.exitCode = await main();
