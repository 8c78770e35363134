import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { RemovalPolicy } from "@flotilla/proto/gen/target";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, startEngine, SyncState, testTarget, type TestBundle, type TestEngine, type TestTarget } from "../agent-fixture.ts";

const bundle = (name: string, objects: readonly string[], more: Partial<TestBundle> = {}) => ({
  name,
  objects: objects.map((object) => configMap(object)),
  ...more,
});

await describeWith(kubeTools, "moving an object", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const find = (name: string) => cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`);
  const ownerOf = async (name: string) => (await find(name))?.metadata.annotations?.["flotilla.dev/owner"];
  const deletesOf = async (prefix: string) =>
    (await cluster.auditedRequests())
      .filter((request) => request.verb === "delete" && request.objectRef?.name?.startsWith(prefix))
      .map((request) => request.objectRef?.name);
  const uidsOf = async (names: readonly string[]) => Promise.all(names.map(async (name) => (await find(name))?.metadata.uid));
  const start = async () => {
    // Long enough for a restart in between.
    agent = await startEngine(cluster, { handOverMs: 4_000 });
  };
  const restart = async () => {
    await agent.stop();
    await start();
  };
  const isSynced = (fleet: string, generation: number) =>
    waitFor(
      () =>
        agent.engine.held().some((held) => held.fleet === fleet && held.generation === BigInt(generation)) && agent.summary(fleet)?.sync === SyncState.SYNCED,
      {
        what: `fleet ${fleet} in sync`,
        timeoutMs: 30_000,
      },
    );

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "moves", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });
  afterEach(async () => {
    await agent.stop();
  });

  it("from one bundle to another, or a bundle to another name, deletes nothing and says where it belongs now", async () => {
    await start();
    await agent.sync(testTarget("inside", 1, [bundle("web", ["in-a", "in-b"]), bundle("api", ["in-c"])]));
    const before = await uidsOf(["in-a", "in-b", "in-c"]);
    await agent.sync(testTarget("inside", 2, [bundle("web", ["in-a"]), bundle("api", ["in-c", "in-b"])]));
    expect(await ownerOf("in-b")).toBe("inside/api");
    await agent.sync(testTarget("inside", 3, [bundle("renamed", ["in-a"]), bundle("api", ["in-c", "in-b"])]));
    expect(await ownerOf("in-a")).toBe("inside/renamed");
    expect(await uidsOf(["in-a", "in-b", "in-c"])).toEqual(before);
    expect(await deletesOf("in-")).toEqual([]);
  });

  const orders = [
    { order: "the old fleet's target first", isOldFirst: true, restarts: false },
    { order: "the old fleet's target first, with a restart in between", isOldFirst: true, restarts: true },
    { order: "the new fleet's target first", isOldFirst: false, restarts: false },
    { order: "the new fleet's target first, with a restart in between", isOldFirst: false, restarts: true },
  ];
  it.for(orders)("a bundle from one fleet to another deletes nothing: $order", async ({ isOldFirst, restarts }) => {
    const id = `${isOldFirst ? "old" : "new"}${restarts ? "-again" : ""}`;
    const [from, to] = [`from-${id}`, `to-${id}`];
    const moving = [`mv-${id}-a`, `mv-${id}-b`];
    await start();
    await agent.sync(testTarget(from, 1, [bundle("stays", [`st-${id}`]), bundle("web", moving)]));
    await agent.sync(testTarget(to, 1, [bundle("base", [`ba-${id}`])]));
    const before = await uidsOf(moving);
    const old = testTarget(from, 2, [bundle("stays", [`st-${id}`])]);
    const next = testTarget(to, 2, [bundle("base", [`ba-${id}`]), bundle("web", moving)]);
    const [first, second] = isOldFirst ? [old, next] : [next, old];
    await agent.accept(first);
    await waitFor(() => agent.engine.held().some((held) => held.fleet === first.target.fleet && held.generation === 2n));
    if (restarts) await restart();
    await agent.accept(second);
    await isSynced(from, 2);
    await isSynced(to, 2);
    await waitFor(async () => (await ownerOf(moving[1] ?? "")) === `${to}/web`, { what: "the new owner" });
    expect(await uidsOf(moving)).toEqual(before);
    expect(await deletesOf(`mv-${id}`)).toEqual([]);
    // It is the new fleet's now: that fleet prunes it.
    await agent.sync(testTarget(to, 3, [bundle("base", [`ba-${id}`]), bundle("web", moving.slice(1))]));
    expect(await find(moving[0] ?? "")).toBeUndefined();
  });

  it.for(orders)("a single object from a bundle of one fleet to one of another deletes nothing: $order", async ({ isOldFirst, restarts }) => {
    const id = `one-${isOldFirst ? "old" : "new"}${restarts ? "-again" : ""}`;
    const [from, to, moving] = [`from-${id}`, `to-${id}`, `mv-${id}`];
    await start();
    await agent.sync(testTarget(from, 1, [bundle("web", [`st-${id}`, moving])]));
    await agent.sync(testTarget(to, 1, [bundle("web", [`ba-${id}`])]));
    const before = await uidsOf([moving]);
    const old = testTarget(from, 2, [bundle("web", [`st-${id}`])]);
    const next = testTarget(to, 2, [bundle("web", [`ba-${id}`, moving])]);
    const [first, second] = isOldFirst ? [old, next] : [next, old];
    await agent.accept(first);
    await waitFor(() => agent.engine.held().some((held) => held.fleet === first.target.fleet && held.generation === 2n));
    if (isOldFirst)
      await waitFor(
        () => /it has just left the target: another fleet may take it over until/.test(agent.objects.get(`ConfigMap default/${moving}`)?.message ?? ""),
        {
          what: "why it is not deleted yet",
        },
      );
    if (restarts) await restart();
    await agent.accept(second);
    await isSynced(from, 2);
    await isSynced(to, 2);
    await waitFor(async () => (await ownerOf(moving)) === `${to}/web`, { what: "the new owner" });
    expect(await uidsOf([moving])).toEqual(before);
    expect(await deletesOf(moving)).toEqual([]);
  });

  it("a single object that nobody takes over is deleted after its rest; where there is no other fleet, at once", async () => {
    const alone = await startEngine(cluster, { stateNamespace: "flotilla-alone" });
    try {
      await alone.sync(testTarget("alone", 1, [bundle("web", ["al-a", "al-b"])]));
      await alone.sync(testTarget("alone", 2, [bundle("web", ["al-a"])]), 5_000);
      expect(await find("al-b")).toBeUndefined();
    } finally {
      await alone.stop();
    }
    await start();
    await agent.sync(testTarget("single", 1, [bundle("web", ["sg-a", "sg-b"])]));
    await agent.accept(testTarget("single", 2, [bundle("web", ["sg-a"])]));
    await waitFor(() => /it has just left the target/.test(agent.objects.get("ConfigMap default/sg-b")?.message ?? ""), { what: "the rest" });
    expect(await find("sg-b")).toBeDefined();
    await isSynced("single", 2);
    expect(await find("sg-b")).toBeUndefined();
  });

  it("a bundle that the hub's claims keep from the new fleet until the old one lets go of it goes over by itself", async () => {
    await start();
    const moving = ["cl-a", "cl-b"];
    const excluded = moving.map((name) => `/ConfigMap/default/${name}`);
    await agent.sync(testTarget("cl-from", 1, [bundle("stays", ["cl-st"]), bundle("web", moving)]));
    await agent.sync(testTarget("cl-to", 1, [bundle("web", [...moving, "cl-ba"], { excluded })]));
    const before = await uidsOf(moving);
    await agent.accept(testTarget("cl-from", 2, [bundle("stays", ["cl-st"])]));
    await waitFor(() => /goes over to fleet cl-to/.test(agent.objects.get("ConfigMap default/cl-a")?.message ?? ""), { what: "the hand-over" });
    await restart();
    await agent.sync(testTarget("cl-to", 2, [bundle("web", [...moving, "cl-ba"])]));
    expect(await uidsOf(moving)).toEqual(before);
    expect(await ownerOf("cl-a")).toBe("cl-to/web");
    await isSynced("cl-from", 2);
    expect(await deletesOf("cl-")).toEqual([]);
  });

  it("a fleet that leaves, with deletion, leaves what another fleet names; and what it orphans may be adopted", async () => {
    await start();
    const leave = (fleet: string, policy: RemovalPolicy): TestTarget => testTarget(fleet, 2, [], { tombstone: { policy, reason: "moved" } });
    await agent.sync(testTarget("lv-from", 1, [bundle("web", ["lv-a", "lv-b"])]));
    await agent.accept(testTarget("lv-to", 1, [bundle("web", ["lv-a", "lv-c"])]));
    await waitFor(() => /belongs to fleet lv-from/.test(agent.objects.get("ConfigMap default/lv-a")?.message ?? ""), { what: "the claim" });
    const [before] = await uidsOf(["lv-a"]);
    await agent.accept(leave("lv-from", RemovalPolicy.DELETE));
    await isSynced("lv-to", 1);
    expect(await uidsOf(["lv-a"])).toEqual([before]);
    expect(await ownerOf("lv-a")).toBe("lv-to/web");
    expect(await find("lv-b")).toBeUndefined();
    expect(await deletesOf("lv-")).toEqual(["lv-b"]);
    await agent.accept(leave("lv-to", RemovalPolicy.ORPHAN));
    await waitFor(() => agent.engine.held().every((held) => held.fleet !== "lv-to"));
    expect(await ownerOf("lv-a")).toBeUndefined();
    expect((await find("lv-a"))?.metadata.labels).toBeUndefined();
    await agent.sync(testTarget("lv-last", 1, [bundle("web", ["lv-a"])]));
    expect(await uidsOf(["lv-a"])).toEqual([before]);
    expect(await ownerOf("lv-a")).toBe("lv-last/web");
  });

  it("a fleet that comes back while it is being removed keeps what was not deleted yet", async () => {
    await start();
    const many = Array.from({ length: 60 }, (_, i) => `back-${i}`);
    await agent.sync(testTarget("back", 1, [bundle("web", many)]));
    await agent.accept(testTarget("back", 2, [], { tombstone: { policy: RemovalPolicy.DELETE, reason: "a slip" } }));
    await waitFor(async () => (await deletesOf("back-")).length > 0, { what: "the first deletion", everyMs: 5 });
    await agent.accept(testTarget("back", 3, [bundle("web", many)]));
    await isSynced("back", 3);
    expect((await deletesOf("back-")).length).toBeLessThan(many.length);
    for (const name of many) expect(await find(name)).toBeDefined();
  });

  it("a rest that ends while the same target is still being applied is not forgotten", async () => {
    agent = await startEngine(cluster, { handOverMs: 200 });
    await agent.sync(testTarget("other", 1, [bundle("web", ["ot-a"])]));
    await agent.sync(testTarget("busy", 1, [bundle("web", ["bs-a", "bs-goes"])]));
    const many = Array.from({ length: 400 }, (_, index) => `bs-${index}`);
    await agent.sync(testTarget("busy", 2, [bundle("web", ["bs-a", ...many])]));
    expect(await find("bs-goes")).toBeUndefined();
  });

  it("a bundle that nobody takes over is deleted after its rest, and says until when it waits", async () => {
    await start();
    await agent.sync(testTarget("rest", 1, [bundle("stays", ["rs-st"]), bundle("web", ["rs-a"])]));
    await agent.accept(testTarget("rest", 2, [bundle("stays", ["rs-st"])]));
    await waitFor(() => /another fleet may take it over until/.test(agent.objects.get("ConfigMap default/rs-a")?.message ?? ""), { what: "the rest" });
    expect(await find("rs-a")).toBeDefined();
    await isSynced("rest", 2);
    expect(await find("rs-a")).toBeUndefined();
  });
});
