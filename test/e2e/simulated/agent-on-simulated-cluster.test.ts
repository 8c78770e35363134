import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type SimulatedCluster, startSimulatedCluster } from "../../harness/simulated/simulated-cluster.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { Change, configMap, crd, deployment, Health, startEngine, SyncState, type TestEngine, testTarget } from "../agent-fixture.ts";

describe("the agent's engine on a simulated cluster", () => {
  let cluster: SimulatedCluster;
  let agent: TestEngine;
  const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;

  beforeAll(async () => {
    cluster = await startSimulatedCluster({ name: "engine", controllers: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });
  afterEach(async () => {
    await agent.stop();
  });

  it("applies, updates and prunes, and says what it did to each object", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("first", 1, [{ name: "web", objects: [configMap("one"), configMap("two"), configMap("three")] }]));
    expect((await cluster.client.get(path("one"))).metadata.labels).toMatchObject({ "flotilla.dev/fleet": "first" });
    expect(agent.objects.get("ConfigMap default/one")).toMatchObject({ change: Change.CREATED, sync: SyncState.SYNCED, health: Health.CURRENT });
    await agent.sync(testTarget("first", 2, [{ name: "web", objects: [configMap("one", { a: "2" }), configMap("two")] }]));
    expect((await cluster.client.get(path("one"))).data).toEqual({ a: "2" });
    expect(await cluster.client.find(path("three"))).toBeUndefined();
    await agent.waitForEvent("Pruned", /three/);
  });

  it("applies a definition and an object of it, and namespaces before what lies in them", async () => {
    agent = await startEngine(cluster);
    const widget = { apiVersion: "test.example/v1", kind: "Widget", metadata: { name: "w", namespace: "stages" }, spec: { label: "x" } };
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "stages" } };
    await agent.sync(
      testTarget("stages", 1, [{ name: "all", objects: [widget, configMap("in-ns", { a: "1" }, "stages"), namespace, crd("widgets", "Widget")] }]),
    );
    expect((await cluster.client.get("/apis/test.example/v1/namespaces/stages/widgets/w")).spec).toEqual({ label: "x", size: 3 });
  });

  it("leaves fields that a controller holds to it and names it, and takes over from kubectl", async () => {
    agent = await startEngine(cluster);
    await cluster.client.apply(path("held"), configMap("held", { a: "theirs" }), "some-controller");
    await cluster.client.apply(path("manual"), configMap("manual", { a: "by hand" }), "kubectl");
    await agent.accept(testTarget("conflict", 1, [{ name: "web", objects: [configMap("held", { a: "ours" }), configMap("manual", { a: "ours" })] }]));
    expect((await agent.waitForEvent("ApplyFailed", /held/)).message).toMatch(/contested: "some-controller" holds \.data\.a/);
    await agent.waitForEvent("TookOver", /manual from kubectl/);
    expect((await cluster.client.get(path("held"))).data).toEqual({ a: "theirs" });
  });

  it("heals an edit, a deletion and a scaled Deployment, and names field, values and manager", async () => {
    agent = await startEngine(cluster);
    await agent.sync(
      testTarget("heals", 1, [{ name: "web", driftMode: 1, objects: [configMap("edited"), configMap("deleted"), deployment("scaled", { replicas: 2 })] }]),
    );
    await cluster.client.mergePatch(`${path("edited")}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
    await waitFor(async () => (await cluster.client.get(path("edited"))).data.a === "1", { what: "the heal", everyMs: 10 });
    const drift = await agent.waitForEvent("DriftDetected", /edited/);
    expect(drift.drift).toMatchObject([{ path: "/data/a", desired: '"1"', live: '"by hand"', manager: "kubectl-edit" }]);
    await cluster.client.delete(path("deleted"));
    await waitFor(() => cluster.client.find(path("deleted")), { what: "the deleted object again", everyMs: 10 });
    const scaled = "/apis/apps/v1/namespaces/default/deployments/scaled";
    await cluster.client.mergePatch(`${scaled}?fieldManager=kubectl-scale`, { spec: { replicas: 7 } });
    await waitFor(async () => (await cluster.client.get(scaled)).spec.replicas === 2, { what: "the scale healed", everyMs: 10 });
  });

  it("sees workloads become healthy, and says why one does not", async () => {
    agent = await startEngine(cluster);
    await agent.sync(
      testTarget("health", 1, [{ name: "web", objects: [deployment("good", { replicas: 2 }), deployment("bad", { image: "example/fail:1" })] }]),
    );
    await waitFor(() => agent.objects.get("Deployment default/good")?.health === Health.CURRENT, { what: "the good one healthy" });
    await waitFor(() => /ImagePullBackOff|image/i.test(agent.objects.get("Deployment default/bad")?.message ?? ""), { what: "the reason of the bad one" });
    expect(agent.objects.get("Deployment default/bad")?.health).not.toBe(Health.CURRENT);
  });

  it("goes on after its watches were answered 410", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("gone", 1, [{ name: "web", objects: [configMap("watched")] }]));
    cluster.disconnect();
    await cluster.client.mergePatch(path("watched"), { data: { a: "while nobody looked" } });
    cluster.compact();
    await waitFor(async () => (await cluster.client.get(path("watched"))).data.a === "1", { what: "the heal after the break" });
  });

  it("sends nothing while nothing changes", async () => {
    // What the tests before left in the cluster is not its work.
    agent = await startEngine(cluster, { stateNamespace: "steady-state" });
    await agent.sync(testTarget("steady", 1, [{ name: "web", objects: [configMap("calm"), deployment("calm")] }]));
    await waitFor(() => agent.summary("steady")?.health === Health.CURRENT, { what: "everything healthy" });
    await agent.waitForQuiet();
    const sent = agent.sent();
    for (let i = 0; i < 5; i++) await cluster.client.mergePatch(path("calm"), { metadata: { annotations: { "someone/else": String(i) } } });
    await agent.waitForQuiet();
    expect(agent.sent()).toEqual(sent);
  });
});
