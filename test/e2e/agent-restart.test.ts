import { afterAll, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";
import { configMap, crd, deployment, startEngine, SyncState, testTarget } from "./agent-fixture.ts";

await describeWith(kubeTools, "the agent starts again", () => {
  let cluster: KubeCluster;
  const agentWrites = async () =>
    (await cluster.auditedRequests()).filter((request) => /^(create|update|patch|delete)$/.test(request.verb) && request.userAgent === "flotilla-agent");

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "agent-restart", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("goes on without the hub, and writes nothing when nothing changed", async () => {
    const first = await startEngine(cluster);
    const objects = [
      configMap("one"),
      deployment("two"),
      crd("gadgets", "Gadget"),
      { apiVersion: "test.example/v1", kind: "Gadget", metadata: { name: "g", namespace: "default" }, spec: { label: "x" } },
    ];
    await first.sync(testTarget("restart", 3, [{ name: "web", objects }]));
    await first.waitForQuiet();
    const before = await waitForValue(
      async () => (await agentWrites()).length,
      (count) => count >= (first.sent().PATCH ?? 0) + (first.sent().POST ?? 0),
      { what: "the audit log" },
    );
    await first.stop();
    const second = await startEngine(cluster);
    await waitFor(() => second.summary("restart")?.sync === SyncState.SYNCED, { what: "the summary after the restart" });
    await second.waitForQuiet();
    expect(second.engine.held()).toMatchObject([{ fleet: "restart", generation: 3n }]);
    expect(second.sent()).toEqual({ GET: second.sent().GET });
    expect((await agentWrites()).length).toBe(before);
    expect(second.reports.flatMap((report) => report.phases)).toEqual([]);
    // What changed while it was away is healed.
    await second.stop();
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/one", { data: { a: "meanwhile" } });
    const third = await startEngine(cluster);
    await waitFor(async () => (await cluster.client.get("/api/v1/namespaces/default/configmaps/one")).data.a === "1", { timeoutMs: 5_000 });
    await third.stop();
  });

  it("survives its API server's kill -9 and sees what happened meanwhile", async () => {
    const agent = await startEngine(cluster);
    await agent.sync(testTarget("outage", 1, [{ name: "web", objects: [configMap("o-one")] }]));
    await cluster.kill9ApiServer();
    await cluster.restart();
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/o-one", { data: { a: "edited" } });
    await waitFor(async () => (await cluster.client.get("/api/v1/namespaces/default/configmaps/o-one")).data.a === "1", { timeoutMs: 20_000 });
    await agent.sync(testTarget("outage", 2, [{ name: "web", objects: [configMap("o-one", { a: "2" })] }]));
    await agent.stop();
  });
});
