import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";
import { configMap, crd, deployment, keepTarget, startEngine, SyncState, testTarget } from "./agent-fixture.ts";

const engineProcess = fileURLToPath(new URL("agent-engine-process.ts", import.meta.url));

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

  const failpoints: [string, number][] = [
    ["before-widen-inventory", 1],
    ["after-widen-inventory", 1],
    ["after-apply-object", 1],
    ["after-apply-object", 4],
    ["after-apply-before-inventory", 1],
    ["after-prune-object", 1],
    ["before-record-report", 1],
  ];
  it.for(failpoints)("leaves no orphan when killed at %s (hit %i)", async ([name, hit]) => {
    const fleet = `kill-${name}-${hit}`;
    const of = (names: readonly string[], value: string) => [{ name: "web", objects: names.map((suffix) => configMap(`${fleet}-${suffix}`, { value })) }];
    const before = testTarget(fleet, 1, of(["a", "b", "c", "old-1", "old-2"], "1"));
    const after = testTarget(fleet, 2, of(["a", "b", "c", "new-1", "new-2", "new-3"], "2"));
    const setup = await startEngine(cluster);
    await setup.sync(before);
    await setup.stop();
    await keepTarget(cluster, after);
    await runUntilKilled(`${name}:${hit}`);
    // The target changes once more before the agent is back: what the killed one made must not be forgotten.
    const last = testTarget(fleet, 3, of(["a", "b", "new-3"], "3"));
    await keepTarget(cluster, last);
    const agent = await startEngine(cluster);
    await waitFor(() => agent.summary(fleet)?.sync === SyncState.SYNCED, { what: `fleet ${fleet} in sync` });
    await agent.waitForQuiet();
    await agent.stop();
    const left = (await cluster.client.list("/api/v1/namespaces/default/configmaps")).filter((object) => object.metadata.name.startsWith(`${fleet}-`));
    expect(left.map((object) => object.metadata.name.slice(fleet.length + 1)).sort()).toEqual(["a", "b", "new-3"]);
    expect(new Set(left.map((object) => object.data.value))).toEqual(new Set(["3"]));
    const inventory = (await cluster.client.list("/api/v1/namespaces/flotilla-system/configmaps")).find((object) =>
      object.metadata.name.startsWith(`flotilla-inventory-${fleet}-`),
    );
    expect(String(inventory?.data.entries).split("\n")).toHaveLength(3);
  });

  async function runUntilKilled(failpoint: string): Promise<void> {
    const child = fork(engineProcess, [cluster.kubeconfig], { env: { ...process.env, FLOTILLA_FAILPOINT: failpoint }, stdio: "inherit", execArgv: [] });
    const [, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    expect(signal).toBe("SIGKILL");
  }
});
