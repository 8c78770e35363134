import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describePublished, publishedTrees } from "../harness/published-trees.ts";
import { kubeToolsWithControllers } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Health, startEngine, SyncState, testTarget, type TestEngine } from "./agent-fixture.ts";

interface Manifest {
  readonly kind: string;
  /** Of a List. */
  readonly items?: readonly Manifest[];
}

function readManifests(folder: string): Manifest[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /\.ya?ml$/.test(entry.name) && entry.name !== "kustomization.yaml",
  );
  return files
    .flatMap((file) => loadAll(readFileSync(join(file.parentPath, file.name), "utf8")) as Manifest[])
    .flatMap((manifest) => manifest?.items ?? manifest ?? []);
}

await describePublished(kubeToolsWithControllers, "the agent on a real-world tree", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "agent-real", controllerManager: true, kubelet: true, auditLog: true });
  });
  afterEach(async () => {
    await agent.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("applies kube-prometheus whole, with its definitions, becomes healthy as far as it can here, and sees no drift in it, also after a restart", async () => {
    agent = await startEngine(cluster);
    const objects = readManifests(join(publishedTrees, "kube-prometheus/manifests"));
    expect(objects.length).toBeGreaterThan(100);
    await agent.sync(testTarget("prometheus", 1, [{ name: "all", objects }]), 90_000);
    // No operator runs here: the pods that these guard or serve are never made.
    const unhealthy = () => [...agent.objects].filter(([, state]) => state.health !== Health.CURRENT).map(([key]) => key);
    const expected = /^(PodDisruptionBudget|APIService|Prometheus|Alertmanager) /;
    await waitFor(() => unhealthy().every((key) => expected.test(key)), { what: "health", timeoutMs: 60_000 }).catch((error: Error) => {
      throw new Error(`${error.message}: ${unhealthy().join(", ")}`, { cause: error });
    });
    await agent.waitForQuiet();
    expect(agent.events.filter((event) => /Drift|Failed|Fight/.test(event.reason)).map((event) => event.message)).toEqual([]);
    const sent = agent.sent();
    await agent.stop();
    agent = await startEngine(cluster);
    await waitFor(() => agent.summary("prometheus")?.sync === SyncState.SYNCED, { what: "the summary after the restart" });
    await agent.waitForQuiet();
    expect(agent.sent().PATCH ?? 0).toBe(0);
    expect(agent.events.filter((event) => /Drift|Failed|Fight/.test(event.reason)).map((event) => event.message)).toEqual([]);
    expect(sent.PATCH).toBeGreaterThan(objects.length);
  }, 240_000);
});
