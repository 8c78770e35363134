import { agentNamespace } from "@flotilla/proto/names";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";
import { configMap, crd, keepTarget, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";
import { agentRequests, countsOf, type ProxiedCluster, startProxiedCluster } from "./proxied-cluster.ts";

/** More than the watches of one connection. */
const kinds = 62;

describe("an API server that ends, forgets, or goes back in time", () => {
  let rig: ProxiedCluster;
  let agent: TestEngine | undefined;

  beforeAll(async () => {
    rig = await startProxiedCluster({ name: "restarts", ownEtcd: true });
  });
  afterEach(async () => {
    rig.proxy.heal();
    await agent?.stop();
    agent = undefined;
  });
  afterAll(async () => {
    await rig.stop();
  });

  const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
  const live = (name: string) => rig.cluster.client.find(path(name));
  const maps = (...names: string[]) => names.map((name) => configMap(name));
  /** Writes that concern nobody, 400 of them, eight at a time. */
  const lengthenHistory = async () => {
    const chains = Array.from({ length: 8 }, async (_, i) => {
      const name = `noise-${i}`;
      if (!(await live(name))) await rig.cluster.client.create("/api/v1/namespaces/default/configmaps", configMap(name));
      for (let round = 0; round < 50; round++) await rig.cluster.client.mergePatch(path(name), { data: { round: String(round) } });
    });
    await Promise.all(chains);
  };
  const custom = (i: number) => ({ apiVersion: "test.example/v1", kind: `Kind${i}`, metadata: { name: "one", namespace: "default" }, spec: { size: 1 } });

  it("that answers 410 because its history was compacted is listed again, and what was deleted or made again meanwhile is told apart by UID (fault 11)", async () => {
    const { cluster, proxy } = rig;
    agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
    await agent.sync(testTarget("gone", 1, [{ name: "b", objects: maps("kept", "deleted", "remade") }]));
    await agent.waitForQuiet();
    const since = Date.now();
    // Nothing of what follows arrives, and the connection is told to be broken only when the API server is back.
    proxy.hold();
    proxy.freeze();
    const before = (await live("remade"))?.metadata.uid;
    await cluster.client.delete(path("deleted"));
    await cluster.client.delete(path("remade"));
    await cluster.client.create("/api/v1/namespaces/default/configmaps", configMap("remade", { other: "1" }));
    const remade = (await live("remade"))?.metadata.uid;
    expect(remade).not.toBe(before);
    // The watch cache of a new API server begins here, and etcd knows nothing older.
    await cluster.kill9ApiServer();
    await cluster.etcd.compact();
    await cluster.restart();
    proxy.heal();
    await agent.waitForEvent("DriftHealed", /default\/deleted/);
    await agent.waitForEvent("DriftHealed", /default\/remade/);
    expect((await live("deleted"))?.data).toEqual({ a: "1" });
    expect((await live("remade"))?.data).toEqual({ a: "1", other: "1" });
    expect((await live("remade"))?.metadata.uid).toBe(remade);
    const requests = await agentRequests(cluster, since);
    const ofAll = (verb: string) =>
      requests.filter((request) => request.verb === verb && request.objectRef?.resource === "configmaps" && !request.objectRef.namespace);
    // Resumed, refused by an event "410 Gone", listed, watched from there.
    expect([ofAll("watch").length, ofAll("list").length]).toEqual([2, 1]);
    expect(requests.filter(({ verb }) => verb === "delete")).toEqual([]);
  });

  it(
    "whose etcd was restored to the past gets back what was lost, loses again what was pruned, and nothing else (fault 13)",
    { timeout: 240_000 },
    async () => {
      const { cluster } = rig;
      agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
      await agent.sync(testTarget("past", 1, [{ name: "b", objects: maps("always", "changed", "pruned") }]));
      await agent.waitForQuiet();
      await cluster.kill9ApiServer();
      const backup = await cluster.etcd.backUp();
      await cluster.restart();
      const after = [...maps("always", "later"), configMap("changed", { a: "2" })];
      await agent.sync(testTarget("past", 2, [{ name: "b", objects: after }]));
      await waitFor(async () => (await live("pruned")) === undefined, { what: "the prune" });
      // A history that is longer than what follows the restore: the versions seen lie in its future.
      await lengthenHistory();
      await agent.waitForQuiet();
      const uid = (await live("always"))?.metadata.uid;

      await cluster.kill9ApiServer();
      await cluster.etcd.restore(backup);
      const restoredAt = Date.now();
      await cluster.restart();
      await agent.waitForEvent("WentBack", undefined, 30_000);
      await waitFor(async () => (await live("later")) !== undefined, { what: "the object that was lost" });
      await waitFor(async () => (await live("changed"))?.data?.a === "2", { what: "the newest content" });
      // It rests first: another fleet in the cluster may be about to take it over.
      await waitFor(async () => (await live("pruned")) === undefined, { what: "the prune, again", timeoutMs: 60_000 });
      await agent.waitForQuiet();
      expect((await live("always"))?.metadata.uid).toBe(uid);
      const requests = await agentRequests(cluster, restoredAt);
      const names = (verb: string) => requests.filter((request) => request.verb === verb).map(({ objectRef }) => objectRef?.name);
      expect(names("delete")).toEqual(["pruned"]);
      expect(names("patch").filter((name) => name === "always")).toEqual([]);
      expect(countsOf(requests)["list configmaps"]).toBeLessThanOrEqual(4);

      // What the agent keeps in the cluster is the newest again: one that starts now goes on with it.
      await agent.stop();
      agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
      await waitFor(() => agent?.summary("past")?.objects === 3, { what: "the fleet, from what was kept" });
      await agent.waitForQuiet();
      expect((await live("changed"))?.data?.a).toBe("2");
      expect(await live("pruned")).toBeUndefined();
    },
  );

  it(
    "whose etcd was restored to before a hook ran does not have it run twice, and one that starts later knows that too (fault 13)",
    { timeout: 240_000 },
    async () => {
      const { cluster } = rig;
      agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
      const hooked = (of: string) => ({
        name: "b",
        objects: [
          configMap("plain-hooked", { a: of }),
          { ...configMap("ran"), metadata: { name: "ran", namespace: "default", annotations: { "flotilla.dev/hook": "pre", "test.example/of": of } } },
        ],
      });
      await agent.sync(testTarget("hooked", 1, [hooked("1")]));
      await agent.waitForQuiet();
      await cluster.kill9ApiServer();
      const backup = await cluster.etcd.backUp();
      await cluster.restart();
      await agent.sync(testTarget("hooked", 2, [hooked("2")]));
      await waitFor(() => agent?.events.filter(({ reason, message }) => reason === "HookSucceeded" && /ran/.test(message)).length === 2, {
        what: "the second run",
      });
      await lengthenHistory();
      await agent.waitForQuiet();
      await cluster.kill9ApiServer();
      await cluster.etcd.restore(backup);
      const restoredAt = Date.now();
      await cluster.restart();
      await agent.waitForEvent("WentBack", undefined, 30_000);
      await waitFor(async () => (await live("plain-hooked"))?.data?.a === "2", { what: "the newest content" });
      await agent.waitForQuiet();
      await agent.stop();
      agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
      await waitFor(() => agent?.summary("hooked") !== undefined, { what: "the fleet, from what was kept" });
      await agent.waitForQuiet();
      const runs = (await agentRequests(cluster, restoredAt)).filter(({ verb, objectRef }) => verb === "patch" && objectRef?.name === "ran");
      expect(runs).toEqual([]);
    },
  );

  it("killed with 60 kinds watched is asked at most twice for each of them in the ten seconds after it is back (fault 12)", async () => {
    const { cluster } = rig;
    const startedAt = Date.now();
    agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
    const definitions = Array.from({ length: kinds }, (_, i) => crd(`kind${i}s`, `Kind${i}`));
    const objects = Array.from({ length: kinds }, (_, i) => custom(i));
    await agent.sync(testTarget("kinds", 1, [{ name: "b", objects: [...definitions, ...objects, ...maps("plain")] }]), 90_000);
    await agent.waitForQuiet();
    const watchedSince = async (time: number) => Object.keys(countsOf(await agentRequests(cluster, time))).filter((name) => /^watch kind/.test(name)).length;
    await waitForValue(
      () => watchedSince(startedAt),
      (count) => count === kinds,
      { what: "every kind watched", timeoutMs: 40_000 },
    );
    const killedAt = Date.now();
    await cluster.kill9ApiServer();
    await cluster.restart();
    const backAt = Date.now();
    await cluster.client.mergePatch(path("plain"), { data: { a: "by hand" } });
    await cluster.client.mergePatch("/apis/test.example/v1/namespaces/default/kind7s/one", { spec: { size: 9 } });
    await agent.waitForEvent("DriftHealed", /plain/);
    await agent.waitForEvent("DriftHealed", /Kind7/);
    await waitForValue(
      () => watchedSince(killedAt),
      (count) => count === kinds,
      { what: "every kind watched again", timeoutMs: 40_000 },
    );
    const requests = await agentRequests(cluster, killedAt, backAt + 10_000);
    const byKind = Map.groupBy(
      requests.filter(({ verb }) => verb === "watch" || verb === "list"),
      ({ objectRef }) => objectRef?.resource ?? "-",
    );
    for (let i = 0; i < kinds; i++) {
      const own = byKind.get(`kind${i}s`) ?? [];
      const told = own
        .map(({ verb, responseStatus, requestReceivedTimestamp }) => `${verb} ${responseStatus?.code} at ${Date.parse(requestReceivedTimestamp) - backAt} ms`)
        .join(", ");
      // A server that is slow to start answers 503 long before it is ready: no ten seconds, wherever they begin, see more than two requests. And a kind of
      // a definition has its storage opened by the first request, which is answered "come back in a second", on a busy machine after the kind was listed anew.
      for (const first of own.map((request) => Date.parse(request.requestReceivedTimestamp))) {
        const within = own.filter(({ requestReceivedTimestamp: at }) => Date.parse(at) >= first && Date.parse(at) < first + 10_000);
        const refused = within.filter(({ responseStatus }) => responseStatus?.code === 429).length;
        expect(within.length - Math.min(1, refused), `kind ${i}: ${told}`).toBeLessThanOrEqual(2);
      }
    }
    // And those that ask for the newest version, for all of them; one that has just begun may refuse twice.
    const [clock = [], own = []] = [true, false].map((isClock) =>
      byKind.get("configmaps")?.filter(({ objectRef }) => (objectRef?.namespace === agentNamespace) === isClock),
    );
    expect(own.length).toBeLessThanOrEqual(2);
    expect(clock.length).toBeLessThanOrEqual(3);
    expect(byKind.get("secrets")).toBeUndefined();
  });

  it("takes objects of nearly a megabyte, and remembers thousands of them, within what etcd allows (fault 14)", async () => {
    const { cluster } = rig;
    const big = crd("bigs", "Big");
    const description = "x".repeat(900_000);
    const schema = big.spec.versions[0]?.schema.openAPIV3Schema as { description?: string };
    schema.description = description;
    const many = Array.from({ length: 2_000 }, (_, i) => configMap(`a-name-that-is-longer-than-most-are-in-a-cluster-${i}`));
    const target = testTarget("huge", 1, [{ name: "b", objects: [big, ...many] }]);
    await keepTarget(cluster, target);
    agent = await startEngine(cluster, { kubeconfig: rig.kubeconfig });
    await waitFor(() => agent?.summary("huge")?.objects === 2_001 && agent.summary("huge")?.sync === 1, { what: "everything applied", timeoutMs: 60_000 });
    const found = await cluster.client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bigs.test.example");
    expect(JSON.stringify(found.metadata.annotations ?? {}).length).toBeLessThan(1_024);
    const shards = (await cluster.client.list("/api/v1/namespaces/flotilla-system/configmaps")).filter(({ metadata }) => /inventory-huge/.test(metadata.name));
    expect(shards.length).toBeGreaterThan(1);
    for (const shard of shards) expect(JSON.stringify(shard).length).toBeLessThan(1_000_000);
  });
});
