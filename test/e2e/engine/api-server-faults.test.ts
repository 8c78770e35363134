import { writeFile, readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";
import { agentRequests, countsOf, type ProxiedCluster, startProxiedCluster } from "./proxied-cluster.ts";

/** Real time divided by ten or more: what is told apart by time is still told apart. */
const quick = { connectDeadlineMs: 1_000, pingIntervalMs: 600, pingDeadlineMs: 400 };

describe("an API server that is slow, throttles, or falls silent", () => {
  let rig: ProxiedCluster;
  let agent: TestEngine | undefined;

  beforeAll(async () => {
    rig = await startProxiedCluster({ name: "faults" });
  });
  afterEach(async () => {
    rig.proxy.heal();
    await agent?.stop();
    agent = undefined;
  });
  afterAll(async () => {
    await rig.stop();
  });

  const names = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `cm-${from + i}`);
  const valueOf = async (name: string) => (await rig.cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`))?.data?.a as string | undefined;
  const edit = (name: string) => rig.cluster.client.mergePatch(`/api/v1/namespaces/default/configmaps/${name}`, { data: { a: "by hand" } });

  it("whose watch is half-open is noticed and watched anew, and what happened meanwhile is seen and healed (fault 10)", async () => {
    agent = await startEngine(rig.cluster, { kubeconfig: rig.kubeconfig, timing: quick });
    await agent.sync(testTarget("halfopen", 1, [{ name: "b", objects: names(3).map((name) => configMap(name)) }]));
    await agent.waitForQuiet();
    const since = Date.now();
    rig.proxy.freeze();
    await edit("cm-0");
    await rig.cluster.client.delete("/api/v1/namespaces/default/configmaps/cm-1");
    await agent.waitForEvent("DriftHealed", /cm-0/);
    await agent.waitForEvent("DriftHealed", /cm-1/);
    expect(await valueOf("cm-0")).toBe("1");
    expect(await valueOf("cm-1")).toBe("1");
    const counts = countsOf(await agentRequests(rig.cluster, since));
    expect(counts["watch configmaps"]).toBeLessThanOrEqual(2);
    expect(counts["list configmaps"] ?? 0).toBeLessThanOrEqual(1);
  });

  it("whose connections all hang is not stormed, and is gone on with when they work (fault 10)", async () => {
    agent = await startEngine(rig.cluster, { kubeconfig: rig.kubeconfig, timing: quick });
    await agent.sync(testTarget("hang", 1, [{ name: "b", objects: names(3, 10).map((name) => configMap(name)) }]));
    await agent.waitForQuiet();
    const before = rig.proxy.connections;
    rig.proxy.hold();
    const sent = agent.sent();
    await edit("cm-10");
    await waitFor(() => rig.proxy.connections > before, { what: "a second try to connect", timeoutMs: 10_000 });
    expect(agent.sent()).toEqual(sent);
    rig.proxy.heal();
    await agent.waitForEvent("DriftHealed", /cm-10/);
  });

  it("that answers twenty times slower gets fewer requests at once, each once, and everything is applied; then it is quick again", async () => {
    agent = await startEngine(rig.cluster, { kubeconfig: rig.kubeconfig });
    await agent.sync(testTarget("slow", 1, [{ name: "b", objects: names(40, 100).map((name) => configMap(name)) }]));
    expect(agent.client.concurrency).toBeGreaterThanOrEqual(8);
    rig.proxy.slowDown(150);
    const since = Date.now();
    await agent.sync(testTarget("slow", 2, [{ name: "b", objects: names(40, 100).map((name) => configMap(name, { a: "2" })) }]), 60_000);
    const requests = await agentRequests(rig.cluster, since);
    expect(requests.filter(({ verb, objectRef }) => verb === "patch" && /^cm-1\d\d$/.test(objectRef?.name ?? ""))).toHaveLength(40);
    expect(agent.client.concurrency).toBeLessThan(8);
    rig.proxy.heal();
    await agent.sync(testTarget("slow", 3, [{ name: "b", objects: names(40, 100).map((name) => configMap(name, { a: "3" })) }]));
    await agent.sync(testTarget("slow", 4, [{ name: "b", objects: names(40, 100).map((name) => configMap(name, { a: "4" })) }]));
    expect(agent.client.concurrency).toBeGreaterThanOrEqual(8);
    expect(await valueOf("cm-120")).toBe("4");
  });
});

describe("an API server that takes two writes at once and answers others with 429", () => {
  let rig: ProxiedCluster;
  let agent: TestEngine | undefined;

  beforeAll(async () => {
    const flags = ["--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=2", "--max-requests-inflight=4"];
    rig = await startProxiedCluster({ name: "throttled", flags });
  });
  afterAll(async () => {
    await agent?.stop();
    await rig.stop();
  });

  it("gets ever fewer of them: the agent waits as it is asked to, finds what the server takes, and applies everything", async () => {
    const { cluster } = rig;
    // Group system:masters is never throttled.
    const kubeconfig = `${cluster.kubeconfig}-ordinary`;
    await cluster.client.create("/api/v1/namespaces/default/serviceaccounts", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "agent" } });
    await cluster.client.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "agent" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "agent", namespace: "default" }],
    });
    const { status } = await cluster.client.create("/api/v1/namespaces/default/serviceaccounts/agent/token", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {},
    });
    await writeFile(kubeconfig, (await readFile(cluster.kubeconfig, "utf8")).replaceAll(cluster.token, status.token as string), { mode: 0o600 });
    agent = await startEngine(cluster, { kubeconfig });
    const objects = Array.from({ length: 400 }, (_, i) => configMap(`throttled-${i}`));
    await agent.sync(testTarget("throttled", 1, [{ name: "b", objects }]), 60_000);
    const codes = (await agentRequests(cluster)).map((request) => request.responseStatus?.code);
    const refused = codes.filter((code) => code === 429).length;
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(40);
    expect(agent.client.concurrency).toBeLessThanOrEqual(3);
    expect(agent.events.filter(({ reason }) => reason === "ApplyFailed")).toEqual([]);
  });
});
