import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { seededRandom } from "../../harness/random.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, crd, startEngine, SyncState, testTarget, type TestEngine } from "../agent-fixture.ts";

const web = (objects: readonly object[]) => [{ name: "web", objects }];
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
const configMaps = "/api/v1/namespaces/default/configmaps";

await describeWith(kubeTools, "faults that elsewhere deleted production", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const find = (name: string) => cluster.client.find(`${configMaps}/${name}`);
  const requestsTo = async (prefix: string) =>
    (await cluster.auditedRequests()).filter(
      (request) => request.userAgent === "flotilla-agent" && request.objectRef?.name?.startsWith(prefix) && request.objectRef.namespace !== "flotilla-system",
    );
  const deletesOf = async (prefix: string) => (await requestsTo(prefix)).filter((request) => request.verb === "delete");
  const inventoryOf = async (fleet: string) => {
    const shards = (await cluster.client.list("/api/v1/namespaces/flotilla-system/configmaps")).filter((object) =>
      object.metadata.name.startsWith(`flotilla-inventory-${fleet}-`),
    );
    return shards.map((shard) => String(shard.data.entries));
  };

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "deletion-faults", auditLog: true });
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

  it("fault 1: an empty, damaged or lost target deletes nothing, also after a restart that finds only a part of it", async () => {
    await start();
    const objects = names("f1", 4).map((name) => configMap(name));
    await agent.sync(testTarget("f1", 1, web(objects)));
    await agent.accept(testTarget("f1", 2, []));
    await agent.waitForEvent("TargetRefused", /empty/);
    const damaged = testTarget("f1", 3, web(objects.slice(0, 1)));
    (damaged.target.bundles[0] as { objectCount: number }).objectCount = 4;
    await agent.accept(damaged);
    await agent.waitForEvent("TargetRefused", /should have 4 objects/);
    await agent.sync(testTarget("f1", 4, web(objects)));
    await agent.waitForQuiet();
    await agent.stop();
    // What was kept of its bodies is lost, and then its target as well.
    const kept = "/api/v1/namespaces/flotilla-system/secrets";
    const remove = async (prefix: string) => {
      for (const { metadata } of await cluster.client.list(kept)) if (metadata.name.startsWith(prefix)) await cluster.client.delete(`${kept}/${metadata.name}`);
    };
    await remove("flotilla-body-");
    await start();
    await waitFor(() => (agent.summary("f1")?.message ?? "") !== "", { what: "the trouble to be told" });
    await agent.stop();
    await remove("flotilla-target-f1");
    await start();
    expect(await deletesOf("f1-")).toEqual([]);
    await agent.sync(testTarget("f1", 5, web(objects)));
    expect(await deletesOf("f1-")).toEqual([]);
  });

  it("fault 5: whichever object is refused, what was made is in the inventory and nothing is pruned", async () => {
    await start();
    const good = names("f5", 5).map((name) => configMap(name, { a: "1" }));
    await agent.sync(testTarget("f5", 1, web([...good, configMap("f5-old")])));
    for (let refused = 0; refused < good.length; refused++) {
      const fresh = configMap(`f5-new-${refused}`);
      const objects = good.map((object, i) =>
        i === refused ? { ...object, metadata: { ...object.metadata, labels: { "not a label": "!" } } } : { ...object, data: { a: `${refused + 2}` } },
      );
      await agent.accept(testTarget("f5", 2 + refused, web([...objects, fresh])));
      await waitFor(async () => (await find(`f5-new-${refused}`)) !== undefined && (await inventoryOf("f5")).join().includes(`f5-new-${refused}`), {
        what: `the new object beside refused ${refused}`,
      });
      await agent.waitForEvent("ApplyFailed", new RegExp(`f5-${refused}`));
      await waitFor(() => /is not applied/.test(agent.objects.get("ConfigMap default/f5-old")?.message ?? ""), { what: "the prune to wait" });
    }
    expect(await deletesOf("f5-")).toEqual([]);
    // Six would go now: over the budget. One of them stays in Git.
    await agent.sync(testTarget("f5", 9, web([...good, configMap("f5-new-0")])));
    expect((await deletesOf("f5-")).map((request) => request.objectRef?.name).sort()).toEqual([...names("f5-new", 5).slice(1), "f5-old"].sort());
  }, 60_000);

  it("fault 9: what finalizers hold is deleted once for its UID, also over plans and restarts, and holds up nobody", async () => {
    await start();
    const stuck = { ...configMap("f9-stuck"), metadata: { name: "f9-stuck", namespace: "default", finalizers: ["test.example/hold"] } };
    await agent.sync(testTarget("f9", 1, web([stuck, configMap("f9-a"), configMap("f9-gone")])));
    await agent.accept(testTarget("f9", 2, web([configMap("f9-a")])));
    await waitFor(() => /held by finalizers: test.example\/hold/.test(agent.objects.get("ConfigMap default/f9-stuck")?.message ?? ""), {
      what: "the finalizer's name",
    });
    expect(await find("f9-gone")).toBeUndefined();
    await agent.stop();
    await start();
    await agent.accept(testTarget("f9", 3, web([configMap("f9-a", { a: "3" })])));
    await waitFor(async () => (await find("f9-a"))?.data.a === "3");
    await agent.sync(testTarget("other-f9", 1, web([configMap("f9-b")])));
    await agent.waitForQuiet();
    expect((await deletesOf("f9-stuck")).length).toBe(1);
    await cluster.client.mergePatch(`${configMaps}/f9-stuck`, { metadata: { finalizers: null } });
    await waitFor(() => agent.summary("f9")?.sync === SyncState.SYNCED, { what: "the end" });
  });

  it("fault 13: before each DELETE the object is read, and UID and version of that reading are its preconditions", async () => {
    await start();
    await agent.sync(testTarget("f13", 1, web(names("f13", 6).map((name) => configMap(name)))));
    await agent.sync(testTarget("f13", 2, web([configMap("f13-0")])));
    const requests = await requestsTo("f13-");
    const deletes = requests.filter((request) => request.verb === "delete");
    expect(deletes).toHaveLength(5);
    for (const request of deletes) {
      const { uid, resourceVersion } = request.requestObject?.preconditions ?? {};
      expect([uid, resourceVersion].every((condition) => (condition ?? "") !== "")).toBe(true);
      const before = requests.filter(
        (other) =>
          other.verb === "get" && other.objectRef?.name === request.objectRef?.name && other.requestReceivedTimestamp <= request.requestReceivedTimestamp,
      );
      expect(before).not.toEqual([]);
    }
  });

  it("fault 14: a definition of 900 KB is applied without a copy of it in annotations, and 1,700 objects fit into the inventory's shards", async () => {
    await start();
    const huge = crd("hulks", "Hulk", "f14.example");
    const [version] = huge.spec.versions;
    if (version) Object.assign(version.schema.openAPIV3Schema.properties.spec, { description: "x".repeat(900_000) });
    await agent.sync(testTarget("f14", 1, [{ name: "big", objects: [huge] }]));
    const live = await cluster.client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/hulks.f14.example");
    expect(JSON.stringify(live.metadata.annotations).length).toBeLessThan(1_024);
    await agent.sync(
      testTarget("f14", 2, [
        { name: "big", objects: [huge] },
        { name: "many", objects: names("f14", 1_700).map((name) => configMap(name)) },
      ]),
      60_000,
    );
    await agent.waitForQuiet();
    const shards = await inventoryOf("f14");
    expect(shards.length).toBeGreaterThan(2);
    expect(Math.max(...shards.map((shard) => shard.length))).toBeLessThan(1_000_000);
    expect(shards.join("\n").split("\n")).toHaveLength(1_701);
  }, 150_000);

  const seed = Math.floor(Math.random() * 2 ** 31);
  it(`fault 39: deleted and made again by both sides in any order, only our own objects are deleted (seed ${seed})`, async () => {
    await start();
    const random = seededRandom(seed);
    const many = names("f39", 5);
    const theirs = new Set<string>();
    for (let round = 0; round < 6; round++) {
      await agent.sync(testTarget("f39", round * 2 + 1, web([configMap("f39-stays"), ...many.map((name) => configMap(`${name}-${round}`))])));
      const pruned = agent.accept(testTarget("f39", round * 2 + 2, web([configMap("f39-stays")])));
      await Promise.all(
        many.map(async (name) => {
          const mine = `${name}-${round}`;
          await delay(random() * 60);
          await cluster.client.delete(`${configMaps}/${mine}`).catch(() => undefined);
          await delay(random() * 20);
          const made = await cluster.client.create(configMaps, configMap(mine, { by: "hand" })).catch(() => undefined);
          if (made?.metadata.uid) theirs.add(made.metadata.uid);
        }),
      );
      await pruned;
      await waitFor(() => agent.summary("f39")?.sync === SyncState.SYNCED && agent.summary("f39")?.objects === 1, { what: "the prunes to end" });
    }
    for (const request of await deletesOf("f39-"))
      expect(theirs.has(request.requestObject?.preconditions?.uid ?? "") && (request.responseStatus?.code ?? 500) < 300).toBe(false);
    const left = (await cluster.client.list(configMaps)).filter((object) => theirs.has(object.metadata.uid ?? ""));
    expect(left).toHaveLength(theirs.size);
    expect(theirs.size).toBeGreaterThan(10);
  }, 60_000);
});
