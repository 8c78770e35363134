import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { PruneState } from "@flotilla/proto/gen/report";
import { PruneApprovalSchema } from "@flotilla/proto/gen/target";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, crd, keepTarget, startEngine, SyncState, testTarget, type TestBundle, type TestEngine, type TestTarget } from "../agent-fixture.ts";

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
const web = (objects: readonly object[], more: Partial<TestBundle> = {}) => [{ name: "web", objects, ...more }];
const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const annotated = (object: ReturnType<typeof configMap>, annotations: Record<string, string>) => ({ ...object, metadata: { ...object.metadata, annotations } });

/** The target again, one generation later, with a person's word for a list. */
function approve(wanted: TestTarget, digest: string, revision = wanted.target.revision): TestTarget {
  const pruneApproval = create(PruneApprovalSchema, { revision, digest, approvedBy: "ada" });
  return { target: { ...wanted.target, generation: wanted.target.generation + 1n, pruneApproval }, bodies: wanted.bodies };
}

await describeWith(kubeTools, "deletion that waits for a person", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const find = (name: string) => cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`);
  const deletesOf = async (prefix: string) =>
    (await cluster.auditedRequests()).filter(
      (request) => request.verb === "delete" && request.objectRef?.name?.startsWith(prefix) && (request.responseStatus?.code ?? 0) < 300,
    );
  const heldDigest = async (fleet: string, count: number) => {
    await waitFor(() => agent.summary(fleet)?.prunesHeld === count, { what: `${count} held prunes`, timeoutMs: 15_000 });
    return agent.summary(fleet)?.prunesDigest ?? "";
  };
  const isSynced = (fleet: string) => waitFor(() => agent.summary(fleet)?.sync === SyncState.SYNCED, { what: `fleet ${fleet} in sync`, timeoutMs: 20_000 });

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "deletion-approval", auditLog: true, controllerManager: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });
  const start = async () => {
    // The fleets of other tests are in the cluster too: what leaves a target would rest for them.
    agent = await startEngine(cluster, { handOverMs: 200 });
  };
  afterEach(async () => {
    await agent.stop();
  });

  it("lets exactly the approved list go for exactly its revision, and nothing for another list or revision (fault 4, G6)", async () => {
    await start();
    const many = names("held", 12);
    await agent.sync(testTarget("held", 1, web(many.map((name) => configMap(name)))));
    const smaller = testTarget("held", 2, web(many.slice(0, 4).map((name) => configMap(name))));
    await agent.accept(smaller);
    const digest = await heldDigest("held", 8);
    expect(agent.objects.get("ConfigMap default/held-11")).toMatchObject({ prune: PruneState.HELD });
    // A word for another revision, and one for another list, are void.
    const wrongRevision = approve(smaller, digest, "0".repeat(40));
    await agent.accept(wrongRevision);
    const wrongList = approve(wrongRevision, "f".repeat(64), smaller.target.revision);
    await agent.accept(wrongList);
    await waitFor(() => agent.engine.held().some((held) => held.fleet === "held" && held.generation === wrongList.target.generation));
    await agent.waitForQuiet();
    expect(await deletesOf("held-")).toHaveLength(0);
    // Another revision that drops one more makes another list: the word for the first is void there.
    const other = testTarget("held", 10, web(many.slice(0, 3).map((name) => configMap(name))));
    await agent.accept(approve(other, digest, other.target.revision));
    const otherDigest = await heldDigest("held", 9);
    expect(otherDigest).not.toBe(digest);
    expect(await deletesOf("held-")).toHaveLength(0);
    await agent.accept(approve(approve(other, digest), otherDigest));
    await isSynced("held");
    expect((await deletesOf("held-")).map((request) => request.objectRef?.name).sort()).toEqual(many.slice(3).sort());
  });

  it("goes on with an approved list after a restart in its middle, and asks again for what was not on it", async () => {
    await start();
    const stuck = { ...configMap("mid-5"), metadata: { name: "mid-5", namespace: "default", finalizers: ["test.example/hold"] } };
    const all = [...names("mid", 5).map((name) => configMap(name)), stuck, ...names("more", 3).map((name) => configMap(name)), namespace("mid-ns")];
    await agent.sync(testTarget("mid", 1, web(all)));
    const smaller = testTarget("mid", 2, web(names("more", 3).map((name) => configMap(name))));
    await agent.accept(smaller);
    const digest = await heldDigest("mid", 7);
    // Something of others lies in the namespace: it stays when the rest of the list has gone.
    await cluster.client.create("/api/v1/namespaces/mid-ns/configmaps", configMap("theirs", { a: "1" }, "mid-ns"));
    await agent.accept(approve(smaller, digest));
    await agent.waitForEvent("PruneBlocked", /Namespace mid-ns is not deleted: it holds ConfigMap mid-ns\/theirs/);
    await waitFor(async () => (await find("mid-0")) === undefined);
    await agent.stop();
    await start();
    await waitFor(() => agent.objects.get("Namespace mid-ns")?.prune === PruneState.WAITS, { what: "the namespace that waits" });
    expect(agent.objects.get("ConfigMap default/mid-5")).toMatchObject({ prune: PruneState.TERMINATING });
    expect(agent.summary("mid")?.prunesHeld).toBe(0);
    await cluster.client.delete("/api/v1/namespaces/mid-ns/configmaps/theirs");
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/mid-5", { metadata: { finalizers: null } });
    await waitFor(async () => !(await cluster.client.find("/api/v1/namespaces/mid-ns")), { what: "the namespace's end", timeoutMs: 30_000 });
    await isSynced("mid");
    expect(await deletesOf("mid-5")).toHaveLength(1);
  }, 90_000);

  it("does not have a budget twice for one revision, also not after a restart (G6)", async () => {
    await start();
    const all = names("twice", 14);
    const revision = "a".repeat(40);
    const target = (generation: number, count: number) =>
      testTarget("twice", generation, web(all.slice(0, count).map((name) => configMap(name))), { revision });
    await agent.sync(target(1, 14));
    await agent.sync(target(2, 11));
    await waitFor(async () => (await deletesOf("twice-")).length === 3, { what: "what the budget allows is deleted" });
    agent.client.close();
    await agent.stop();
    await start();
    await agent.accept(target(3, 8));
    await heldDigest("twice", 3);
    expect(agent.summary("twice")?.message).toMatch(/3 of 11 objects would be deleted, 5 are allowed without approval, and 3 were deleted for this revision/);
    await agent.waitForQuiet();
    expect(await deletesOf("twice-")).toHaveLength(3);
    // Two more are within it; another revision has a budget of its own.
    await agent.sync(target(4, 9));
    await agent.sync(testTarget("twice", 5, web(all.slice(0, 5).map((name) => configMap(name)))));
    expect(await deletesOf("twice-")).toHaveLength(9);
  });

  it("fault 4: never prunes a Namespace that holds what others put there, approved or not", async () => {
    await start();
    await agent.sync(testTarget("shared", 1, web([namespace("shared-ns"), configMap("ours", { a: "1" }, "shared-ns"), configMap("shared-stays")])));
    await cluster.client.create("/api/v1/namespaces/shared-ns/secrets", { apiVersion: "v1", kind: "Secret", metadata: { name: "app-two" }, data: {} });
    const smaller = testTarget("shared", 2, web([configMap("shared-stays")]));
    await agent.accept(smaller);
    await agent.accept(approve(smaller, await heldDigest("shared", 2)));
    const blocked = await agent.waitForEvent("PruneBlocked", /shared-ns/);
    expect(blocked.message).toMatch(/it holds Secret shared-ns\/app-two/);
    expect(await cluster.client.find("/api/v1/namespaces/shared-ns/secrets/app-two")).toBeDefined();
    expect(await cluster.client.find("/api/v1/namespaces/shared-ns/configmaps/ours")).toBeUndefined();
    expect(await deletesOf("shared-ns")).toHaveLength(0);
    await cluster.client.delete("/api/v1/namespaces/shared-ns/secrets/app-two");
    await waitFor(async () => !(await cluster.client.find("/api/v1/namespaces/shared-ns")), { what: "the namespace's end", timeoutMs: 30_000 });
  }, 60_000);

  it("fault 4: never prunes a definition while objects of its kind exist, and says which", async () => {
    await start();
    const definition = crd("gizmos", "Gizmo", "approval.example");
    await agent.sync(testTarget("defs", 1, web([definition, configMap("defs-stays")])));
    const path = "/apis/approval.example/v1/namespaces/default/gizmos";
    const theirs = { apiVersion: "approval.example/v1", kind: "Gizmo", metadata: { name: "theirs" }, spec: { label: "x" } };
    await waitFor(
      () =>
        cluster.client.create(path, theirs).then(
          () => true,
          () => false,
        ),
      { what: "the kind to be served" },
    );
    const smaller = testTarget("defs", 2, web([configMap("defs-stays")]));
    await agent.accept(smaller);
    await agent.accept(approve(smaller, await heldDigest("defs", 1)));
    await agent.waitForEvent("PruneBlocked", /objects of its kind exist: Gizmo default\/theirs/);
    await cluster.client.delete(`${path}/theirs`);
    await waitFor(async () => !(await cluster.client.find("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gizmos.approval.example")), {
      what: "the definition's end",
      timeoutMs: 30_000,
    });
  }, 60_000);

  it("fault 41: refuses to delete the agent's own namespace and state, approved or not, and lets go of them", async () => {
    await start();
    const elsewhere = configMap("a-config", { a: "1" }, "flotilla-system");
    await agent.sync(testTarget("own", 1, web([namespace("flotilla-system"), elsewhere, configMap("own-stays")])));
    const smaller = testTarget("own", 2, web([configMap("own-stays")]));
    await agent.accept(smaller);
    await agent.waitForEvent("LetGo", /Namespace flotilla-system is the agent's own and never deleted/);
    // What else lies there is protected: it takes an approval.
    await agent.accept(approve(smaller, await heldDigest("own", 1)));
    await isSynced("own");
    expect(await cluster.client.find("/api/v1/namespaces/flotilla-system")).toBeDefined();
    expect(
      (await cluster.auditedRequests()).filter(
        (request) => request.verb === "delete" && request.objectRef?.resource === "namespaces" && request.objectRef.name === "flotilla-system",
      ),
    ).toEqual([]);
    const state = configMap("flotilla-inventory-own-1-0", { entries: "" }, "flotilla-system");
    await agent.accept(testTarget("own", 5, web([configMap("own-stays"), state])));
    await agent.waitForEvent("ApplyFailed", /agent's own state/);
    await agent.sync(testTarget("own", 6, web([configMap("own-stays")])));
  });

  it("prunes what asks for confirmation only when a person approves, the rest without", async () => {
    await start();
    const asks = annotated(configMap("ask-git"), { "argocd.argoproj.io/sync-options": "Prune=confirm" });
    await agent.sync(testTarget("ask", 1, web([asks, configMap("ask-hand"), configMap("ask-plain"), configMap("ask-stays")])));
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/ask-hand", { metadata: { annotations: { "flotilla.dev/prune": "confirm" } } });
    await waitFor(() => agent.engine.isQuiet);
    const smaller = testTarget("ask", 2, web([configMap("ask-stays")]));
    await agent.accept(smaller);
    const digest = await heldDigest("ask", 2);
    await waitFor(async () => (await find("ask-plain")) === undefined);
    expect(await find("ask-git")).toBeDefined();
    expect(await find("ask-hand")).toBeDefined();
    expect((await agent.waitForEvent("PruneHeld", /ask-/)).message).toMatch(/asks for confirmation/);
    await agent.accept(approve(smaller, digest));
    await isSynced("ask");
    expect(await deletesOf("ask-")).toHaveLength(3);
  });

  it("holds a bundle's objects to the defaults of the bundle, also when the whole bundle has gone", async () => {
    await start();
    const careful = { name: "careful", objects: [configMap("def-kept")], defaults: { prune: "disabled" } };
    const asking = { name: "asking", objects: [configMap("def-asks")], defaults: { prune: "confirm" } };
    await agent.sync(testTarget("defaults", 1, [...web([configMap("def-stays")]), careful, asking]));
    await agent.accept(testTarget("defaults", 2, web([configMap("def-stays")])));
    await agent.waitForEvent("LetGo", /def-kept is no longer in Git and stays/);
    await heldDigest("defaults", 1);
    await agent.stop();
    await start();
    await heldDigest("defaults", 1);
    expect(await find("def-kept")).toBeDefined();
    expect(await find("def-asks")).toBeDefined();
  });

  it("prunes what asks to be the last when all else is gone and everything is healthy", async () => {
    await start();
    const last = annotated(configMap("last-one"), { "argocd.argoproj.io/sync-options": "PruneLast=true" });
    const stuck = { ...configMap("last-stuck"), metadata: { name: "last-stuck", namespace: "default", finalizers: ["test.example/hold"] } };
    await agent.sync(testTarget("last", 1, web([last, stuck, configMap("last-stays")])));
    await agent.accept(testTarget("last", 2, web([configMap("last-stays")])));
    const lastOne = () => agent.objects.get("ConfigMap default/last-one");
    await waitFor(() => lastOne()?.prune === PruneState.WAITS && /last-stuck is to be deleted before/.test(lastOne()?.message ?? ""), {
      what: "the last one to wait",
    });
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/last-stuck", { metadata: { finalizers: null } });
    await isSynced("last");
    const order = (await deletesOf("last-")).map((request) => request.objectRef?.name);
    expect(order).toEqual(["last-stuck", "last-one"]);
  });

  it("fault 3: deletes nothing for a hub that is new, empty, silent or gone back in time", async () => {
    await start();
    await agent.sync(testTarget("rewind", 7, web(names("rw", 3).map((name) => configMap(name)))));
    for (const generation of [1, 6]) await agent.accept(testTarget("rewind", generation, web([configMap("rw-0")])));
    await agent.waitForEvent("TargetRefused", /generation 6: generation 6 is older than 7/);
    await agent.accept(testTarget("rewind", 8, []));
    await agent.accept(testTarget("rewind", 9, web([configMap("rw-0")]), { complete: false }));
    await agent.waitForEvent("TargetRefused", /not complete/);
    await agent.stop();
    // The agent starts again with an empty hub, and then with one that knows only an older target.
    await start();
    await keepTarget(cluster, testTarget("unrelated", 1, web([configMap("unrelated")])));
    await agent.accept(testTarget("rewind", 3, web([configMap("rw-0")])));
    await agent.waitForEvent("TargetRefused", /generation 3/);
    await agent.waitForQuiet();
    expect(await deletesOf("rw-")).toEqual([]);
    for (const name of names("rw", 3)) expect(await find(name)).toBeDefined();
  });
});
