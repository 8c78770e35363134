import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";
import { configMap, startEngine, SyncState, testTarget, type TestEngine } from "./agent-fixture.ts";

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

await describeWith(kubeTools, "the agent prunes", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const find = (name: string) => cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`);
  const deletes = async () => (await cluster.auditedRequests()).filter((request) => request.verb === "delete" && request.objectRef?.namespace === "default");

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "agent-prune", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });
  const start = async () => {
    agent = await startEngine(cluster, { handOverMs: 200 });
  };
  afterEach(async () => {
    await agent.stop();
  });

  it("holds prunes over the budget as a whole, applies go on, and lets them go when the list fits again", async () => {
    await start();
    const many = names("held", 20);
    await agent.sync(testTarget("held", 1, [{ name: "web", objects: many.map((name) => configMap(name)) }]));
    await agent.accept(testTarget("held", 2, [{ name: "web", objects: [...many.slice(0, 14), "held-new"].map((name) => configMap(name, { a: "2" })) }]));
    const held = await agent.waitForEvent("PruneHeld");
    expect(held.message).toMatch(/6 of 21 objects would be deleted, 5 are allowed|6 of 20 objects would be deleted, 5 are allowed/);
    await waitFor(async () => agent.summary("held")?.prunesHeld === 6 && (await find("held-new")) !== undefined);
    expect(agent.summary("held")).toMatchObject({ sync: SyncState.OUT_OF_SYNC, prunesHeld: 6 });
    expect(agent.summary("held")?.prunesDigest).toMatch(/^[0-9a-f]{64}$/);
    expect((await find("held-0"))?.data).toEqual({ a: "2" });
    for (const name of many.slice(14)) expect(await find(name)).toBeDefined();
    // A person deletes one of them: five fit.
    await cluster.client.delete("/api/v1/namespaces/default/configmaps/held-19");
    await waitFor(() => agent.summary("held")?.sync === SyncState.SYNCED, { what: "the rest of the prunes" });
    for (const name of many.slice(14)) expect(await find(name)).toBeUndefined();
  });

  it("never prunes a protected kind by itself", async () => {
    await start();
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "precious" } };
    await agent.sync(testTarget("protected", 1, [{ name: "web", objects: [namespace, configMap("p-one"), configMap("p-two")] }]));
    await agent.accept(testTarget("protected", 2, [{ name: "web", objects: [configMap("p-one")] }]));
    expect((await agent.waitForEvent("PruneHeld")).message).toMatch(/Namespace precious is of a protected kind/);
    await agent.waitForQuiet();
    expect(await cluster.client.find("/api/v1/namespaces/precious")).toBeDefined();
    expect(await find("p-two")).toBeDefined();
  });

  it("refuses empty, incomplete, damaged and older targets, and deletes nothing for them", async () => {
    await start();
    const before = (await deletes()).length;
    const good = testTarget("refused", 5, [{ name: "web", objects: names("r", 3).map((name) => configMap(name)) }]);
    await agent.sync(good);
    await agent.accept(testTarget("refused", 6, []));
    await agent.waitForEvent("TargetRefused", /empty/);
    await agent.accept(testTarget("refused", 6, [{ name: "web", objects: [configMap("r-0")] }], { complete: false }));
    await agent.waitForEvent("TargetRefused", /not complete/);
    await agent.accept(testTarget("refused", 4, [{ name: "web", objects: [configMap("r-0")] }]));
    await agent.waitForEvent("TargetRefused", /older/);
    const damaged = testTarget("refused", 7, [{ name: "web", objects: [configMap("r-0"), configMap("r-1")] }]);
    (damaged.target.bundles[0] as { objectCount: number }).objectCount = 9;
    await agent.accept(damaged);
    await agent.waitForEvent("TargetRefused", /should have 9 objects/);
    await waitFor(() => agent.summary("refused")?.sync === SyncState.OUT_OF_SYNC && /target refused/.test(agent.summary("refused")?.message ?? ""));
    expect((await deletes()).length).toBe(before);
    expect(agent.engine.held().find((held) => held.fleet === "refused")?.generation).toBe(5n);
    for (const name of names("r", 3)) expect(await find(name)).toBeDefined();
  });

  it("tells the hub of a target from the moment that it came, also before it is followed", async () => {
    await start();
    const target = (generation: number) => testTarget("newest", generation, [{ name: "web", objects: [configMap(`newest-${generation}`)] }]);
    await agent.sync(target(1));
    await agent.accept(target(2));
    const told = (held: readonly { fleet: string; generation: bigint }[]) => held.find(({ fleet }) => fleet === "newest")?.generation;
    expect(told(agent.engine.accepted())).toBe(2n);
    await waitFor(() => told(agent.engine.held()) === 2n);
  });

  it("deletes only the object it applied: made again by somebody, claimed by another, or guarded by annotation, it stays", async () => {
    await start();
    await agent.sync(
      testTarget("same-uid", 1, [
        { name: "web", driftMode: 2, objects: ["u-again", "u-claimed", "u-guarded", "u-plain", "u-stays"].map((name) => configMap(name)) },
      ]),
    );
    await cluster.client.delete("/api/v1/namespaces/default/configmaps/u-again");
    await cluster.client.create("/api/v1/namespaces/default/configmaps", configMap("u-again", { by: "hand" }));
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/u-claimed", { metadata: { annotations: { "flotilla.dev/owner": "other/web" } } });
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/u-guarded", { metadata: { annotations: { "flotilla.dev/prune": "disabled" } } });
    await agent.sync(testTarget("same-uid", 2, [{ name: "web", objects: [configMap("u-stays")] }]));
    expect((await find("u-again"))?.data).toEqual({ by: "hand" });
    expect(await find("u-claimed")).toBeDefined();
    expect(await find("u-guarded")).toBeDefined();
    expect(await find("u-plain")).toBeUndefined();
    expect(agent.events.filter((event) => event.reason === "LetGo")).toHaveLength(3);
  });

  it("deletes what finalizers hold once, says so, and forgets it when it is gone", async () => {
    await start();
    const stuck = { ...configMap("f-stuck"), metadata: { name: "f-stuck", namespace: "default", finalizers: ["test.example/hold"] } };
    await agent.sync(testTarget("finalizer", 1, [{ name: "web", objects: [stuck, configMap("f-stays")] }]));
    await agent.accept(testTarget("finalizer", 2, [{ name: "web", objects: [configMap("f-stays")] }]));
    await waitFor(() => /finalizers/.test(agent.objects.get("ConfigMap default/f-stuck")?.message ?? ""), { what: "the reason" });
    await agent.accept(testTarget("finalizer", 3, [{ name: "web", objects: [configMap("f-stays", { a: "2" })] }]));
    await waitFor(async () => (await find("f-stays"))?.data.a === "2");
    await agent.waitForQuiet();
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/f-stuck", { metadata: { finalizers: null } });
    await waitFor(() => !agent.objects.has("ConfigMap default/f-stuck") && agent.summary("finalizer")?.sync === SyncState.SYNCED, { what: "the end" });
    expect((await deletes()).filter((request) => request.objectRef?.name === "f-stuck")).toHaveLength(1);
  }, 60_000);

  it("lets go of objects that another fleet owns, and skips them with a word", async () => {
    await start();
    await agent.sync(testTarget("excluded", 1, [{ name: "web", objects: [configMap("x-mine"), configMap("x-theirs")] }]));
    await agent.sync(
      testTarget("excluded", 2, [
        { name: "web", objects: [configMap("x-mine", { a: "2" }), configMap("x-theirs", { a: "2" })], excluded: ["/ConfigMap/default/x-theirs"] },
      ]),
    );
    expect((await find("x-theirs"))?.data).toEqual({ a: "1" });
    expect(agent.objects.get("ConfigMap default/x-theirs")?.message).toMatch(/skipped/);
    await agent.sync(testTarget("excluded", 3, [{ name: "web", objects: [configMap("x-mine", { a: "2" })] }]));
    expect(await find("x-theirs")).toBeDefined();
  });

  it("leaves a fleet by tombstone: keeps objects by default, deletes them on demand, protected kinds never", async () => {
    await start();
    const objects = ["t-one", "t-two"].map((name) => configMap(name));
    await agent.sync(testTarget("leaving", 1, [{ name: "web", objects }]));
    await agent.accept(testTarget("leaving", 2, [], { tombstone: { policy: 1, reason: "the fleet was deleted" } }));
    await waitFor(() => agent.reports.some((report) => report.fleet === "leaving" && report.removed));
    expect(await find("t-one")).toBeDefined();
    await waitFor(() => agent.engine.held().every((held) => held.fleet !== "leaving"));
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "t-precious" } };
    await agent.sync(testTarget("leaving", 3, [{ name: "web", objects: [...objects, namespace] }]));
    await agent.accept(testTarget("leaving", 4, [], { tombstone: { policy: 2, reason: "for good" } }));
    await waitFor(() => agent.engine.held().every((held) => held.fleet !== "leaving"));
    expect(await find("t-one")).toBeUndefined();
    expect(await cluster.client.find("/api/v1/namespaces/t-precious")).toBeDefined();
    const state = await cluster.client.list("/api/v1/namespaces/flotilla-system/configmaps");
    expect(state.filter((object) => object.metadata.name.includes("leaving"))).toEqual([]);
  });
});
