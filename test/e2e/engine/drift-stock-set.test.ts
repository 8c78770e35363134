import { afterAll, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeToolsWithControllers } from "../../harness/tools.ts";
import { ignoreDefaultNames } from "@flotilla/proto/ignore-defaults";
import { stockSets } from "../../fixtures/stock-sets.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { startEngine, type TestEngine } from "../agent-fixture.ts";
import { restartEngine, settle, stockTarget, watchQuietly } from "./quiet-cluster.ts";

/** `npm run bench -- quiet` does the same for ten minutes. */
const spanMs = 8_000;

await describeWith(kubeToolsWithControllers, "drift on a stock set of what popular charts and published trees have", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "stock", controllerManager: true, kubelet: true, auditLog: true });
    agent = await startEngine(cluster);
  });
  afterAll(async () => {
    await agent.stop();
    await cluster.stop();
  });

  it("is none while controllers default, scale, inject, aggregate, allocate and write status, and none after a restart of the agent", async () => {
    await settle(agent, stockTarget("stock"));
    const running = await watchQuietly(cluster, agent, spanMs);
    expect(running).toMatchObject({ told: [], writes: 0 });
    expect(running.disturbances).toBeGreaterThan(30);
    agent = await restartEngine(cluster, agent, "stock");
    expect(await watchQuietly(cluster, agent, spanMs / 2)).toMatchObject({ told: [], writes: 0 });
  }, 240_000);

  it("would be seen without the shipped rules: they are what keeps it quiet", async () => {
    await agent.accept(stockTarget("stock", { generation: 2, ignoreDefaultsOff: ignoreDefaultNames }));
    await waitFor(() => agent.engine.held().some(({ generation }) => generation === 2n), { what: "the new target" });
    // The restarted agent applies again what the rules had left out. (The aggregated rules are fought over from then on: it is not quiet.)
    await agent.waitForEvent("Applied", /configured/, 60_000);
    for (const { disturb } of stockSets) await disturb?.(cluster.client, 101);
    for (const name of [
      "Deployment stock/autoscaled",
      "Deployment stock/meshed",
      "ValidatingWebhookConfiguration stock-webhook",
      "ClusterRole stock-aggregate",
    ])
      await agent.waitForEvent("DriftDetected", new RegExp(name));
  });

  it("is still seen where somebody changes what is ours in such an object", async () => {
    const role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/stock-part";
    await cluster.client.mergePatch(`${role}?fieldManager=kubectl-edit`, { rules: [] });
    await agent.waitForEvent("DriftHealed", /stock-part/);
    const gadget = "/apis/stock.example/v1/namespaces/stock/gadgets/new";
    await cluster.client.mergePatch(`${gadget}?fieldManager=kubectl-edit`, { spec: { parts: [{ name: "a", count: 9 }] } });
    const drift = await agent.waitForEvent("DriftDetected", /Gadget stock\/new/);
    expect(drift.drift.map(({ path }) => path)).toContain("/spec/parts/1");
    await agent.waitForEvent("DriftHealed", /Gadget stock\/new/);
  });
});
