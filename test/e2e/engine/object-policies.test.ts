import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { Change, configMap, deployment, startEngine, SyncState, testTarget, type TestBundle, type TestEngine } from "../agent-fixture.ts";

interface Writable {
  metadata: object;
}
const web = (objects: readonly object[], more: Partial<TestBundle> = {}) => [{ name: "web", objects, ...more }];
const annotated = <T extends Writable>(object: T, annotations: Record<string, string>): T => ({ ...object, metadata: { ...object.metadata, annotations } });
const configMaps = "/api/v1/namespaces/default/configmaps";

await describeWith(kubeTools, "what objects ask of their apply", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const find = (name: string) => cluster.client.find(`${configMaps}/${name}`);
  const stateOf = (name: string) => agent.objects.get(`ConfigMap default/${name}`);
  const inventoryOf = async (fleet: string) => {
    const shards = (await cluster.client.list("/api/v1/namespaces/flotilla-system/configmaps")).filter((object) =>
      object.metadata.name.startsWith(`flotilla-inventory-${fleet}-`),
    );
    return shards.flatMap((shard) => String(shard.data.entries).split("\n")).join("\n");
  };
  const writesTo = async (name: string) =>
    (await cluster.auditedRequests()).filter(
      (request) => /^(create|update|patch|delete)$/.test(request.verb) && request.objectRef?.name === name && request.userAgent === "flotilla-agent",
    );

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "object-policies", auditLog: true, controllerManager: true });
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

  it("ssa merge: fields that others hold stay theirs, all others are applied, and an edit by hand is kept", async () => {
    await start();
    const wanted = (a: string, b: string) => annotated(configMap("merged", { a, b }), { "kustomize.toolkit.fluxcd.io/ssa": "Merge" });
    await cluster.client.create(`${configMaps}`, configMap("merged", { a: "theirs", c: "theirs" }));
    await agent.sync(testTarget("merge", 1, web([wanted("git", "git")])));
    expect((await find("merged"))?.data).toEqual({ a: "theirs", b: "git", c: "theirs" });
    await agent.sync(testTarget("merge", 2, web([wanted("git-2", "git-2")])));
    expect((await find("merged"))?.data).toEqual({ a: "theirs", b: "git-2", c: "theirs" });
    await cluster.client.mergePatch(`${configMaps}/merged`, { data: { b: "by hand" } });
    await agent.waitForQuiet();
    await waitFor(() => agent.summary("merge")?.sync === SyncState.SYNCED);
    expect((await find("merged"))?.data).toMatchObject({ b: "by hand" });
  });

  it("ssa ifNotPresent: makes what is missing, again when it is deleted, never changes it, and prunes only its own", async () => {
    await start();
    const once = (name: string, a: string) => annotated(configMap(name, { a }), { "flotilla.dev/ssa": "ifNotPresent" });
    await cluster.client.create(configMaps, configMap("once-theirs", { a: "theirs" }));
    await agent.sync(testTarget("once", 1, web([once("once-ours", "1"), once("once-theirs", "1"), configMap("once-stays")])));
    expect((await find("once-ours"))?.data).toEqual({ a: "1" });
    await agent.sync(testTarget("once", 2, web([once("once-ours", "2"), once("once-theirs", "2"), configMap("once-stays")])));
    await cluster.client.mergePatch(`${configMaps}/once-ours`, { data: { a: "by hand" } });
    await agent.waitForQuiet();
    expect((await find("once-ours"))?.data).toEqual({ a: "by hand" });
    expect((await find("once-theirs"))?.data).toEqual({ a: "theirs" });
    expect((await find("once-theirs"))?.metadata.labels).toBeUndefined();
    expect(stateOf("once-ours")?.message).toMatch(/never changed/);
    await cluster.client.delete(`${configMaps}/once-ours`);
    await waitFor(async () => (await find("once-ours"))?.data.a === "2", { what: "made again" });
    await agent.waitForQuiet();
    await agent.stop();
    await start();
    await waitFor(() => agent.summary("once")?.sync === SyncState.SYNCED, { what: "in sync after a restart" });
    await agent.sync(testTarget("once", 3, web([configMap("once-stays")])));
    expect(await find("once-ours")).toBeUndefined();
    expect(await find("once-theirs")).toBeDefined();
    expect(await writesTo("once-theirs")).toEqual([]);
  });

  it("ssa ignore and reconcile disabled: neither applied nor pruned, in sync, also when the annotation is only on the live object", async () => {
    await start();
    const ignored = annotated(configMap("ign-git"), { "flotilla.dev/ssa": "ignore" });
    const disabled = annotated(configMap("dis-git"), { "kustomize.toolkit.fluxcd.io/reconcile": "disabled" });
    const stays = configMap("dis-stays");
    await agent.sync(testTarget("dis", 1, web([ignored, disabled, configMap("dis-hand"), stays])));
    expect(await find("ign-git")).toBeUndefined();
    expect(await find("dis-git")).toBeUndefined();
    expect(agent.summary("dis")?.message).toBe("");
    const pause = (value: string | null) =>
      cluster.client.mergePatch(`${configMaps}/dis-hand`, { metadata: { annotations: { "kustomize.toolkit.fluxcd.io/reconcile": value } } });
    await pause("disabled");
    await waitFor(() => /annotation in the cluster/.test(stateOf("dis-hand")?.message ?? ""), { what: "the pause to be seen" });
    await cluster.client.mergePatch(`${configMaps}/dis-hand`, { data: { a: "by hand" } });
    await agent.sync(testTarget("dis", 2, web([ignored, disabled, configMap("dis-hand", { a: "2" }), stays])));
    await agent.waitForQuiet();
    expect((await find("dis-hand"))?.data).toEqual({ a: "by hand" });
    await pause(null);
    await waitFor(async () => (await find("dis-hand"))?.data.a === "2", { what: "the end of the pause" });
    await pause("disabled");
    await waitFor(() => /annotation in the cluster/.test(stateOf("dis-hand")?.message ?? ""));
    await agent.sync(testTarget("dis", 3, web([stays])));
    expect(await find("dis-hand")).toBeDefined();
    expect(agent.events.some((event) => event.reason === "LetGo" && /dis-hand/.test(event.message))).toBe(true);
  });

  it("ignoreExtraneous: what is no longer in Git stays and does not make the fleet out of sync", async () => {
    await start();
    const extra = annotated(configMap("extra"), { "argocd.argoproj.io/compare-options": "IgnoreExtraneous" });
    await agent.sync(testTarget("extra", 1, web([extra, configMap("extra-stays")])));
    await agent.sync(testTarget("extra", 2, web([configMap("extra-stays")])));
    expect(await find("extra")).toBeDefined();
  });

  it("names the field that cannot be changed in place, and makes the object again only where it is asked to", async () => {
    await start();
    const selector = (app: string, annotations = {}) => {
      const object = deployment("immutable");
      const labels = { app };
      return annotated(
        { ...object, spec: { ...object.spec, selector: { matchLabels: labels }, template: { ...object.spec.template, metadata: { labels } } } },
        annotations,
      );
    };
    await agent.sync(testTarget("force", 1, web([selector("one"), configMap("force-gone")])));
    const path = "/apis/apps/v1/namespaces/default/deployments/immutable";
    const before = (await cluster.client.get(path)).metadata.uid;
    await agent.accept(testTarget("force", 2, web([selector("two")])));
    const failed = await agent.waitForEvent("ApplyFailed", /immutable/);
    expect(failed.message).toMatch(/spec\.selector cannot be changed in place \(immutable\): undo the change in Git, or .* flotilla\.dev\/force: recreate/);
    expect(await find("force-gone")).toBeDefined();
    await agent.sync(testTarget("force", 3, web([selector("two", { "kustomize.toolkit.fluxcd.io/force": "enabled" })])));
    const after = await cluster.client.get(path);
    expect(after.metadata.uid).not.toBe(before);
    expect(after.spec.selector.matchLabels).toEqual({ app: "two" });
    await agent.waitForEvent("Recreated", /spec\.selector/);
    expect((await writesTo("immutable")).filter((request) => request.verb === "delete")).toHaveLength(1);
    expect(await inventoryOf("force")).toContain(after.metadata.uid);
  });

  it("never deletes what holds data to make it again, nor what is guarded, nor what somebody else made in its place", async () => {
    await start();
    const claim = (storage: string, mode: string) => ({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "precious", namespace: "default", annotations: { "flotilla.dev/force": "recreate" } },
      spec: { accessModes: [mode], resources: { requests: { storage } }, storageClassName: "none" },
    });
    const frozen = (name: string, a: string, annotations: Record<string, string>) => ({
      ...annotated(configMap(name, { a }), { "flotilla.dev/force": "recreate", ...annotations }),
      immutable: true,
    });
    await agent.sync(
      testTarget(
        "data",
        1,
        web([claim("1Gi", "ReadWriteOnce"), frozen("frozen-guarded", "1", { "flotilla.dev/prune": "disabled" }), frozen("frozen", "1", {})]),
      ),
    );
    const uid = (await find("frozen"))?.metadata.uid;
    await agent.accept(
      testTarget(
        "data",
        2,
        web([claim("1Gi", "ReadOnlyMany"), frozen("frozen-guarded", "2", { "flotilla.dev/prune": "disabled" }), frozen("frozen", "2", {})]),
      ),
    );
    expect((await agent.waitForEvent("ApplyFailed", /precious/)).message).toMatch(/not deleted to be made again, because PersistentVolumeClaim/);
    expect((await agent.waitForEvent("ApplyFailed", /frozen-guarded/)).message).toMatch(/annotations ask that it is not deleted/);
    await waitFor(async () => (await find("frozen"))?.data.a === "2", { what: "the frozen map made again" });
    expect((await find("frozen"))?.metadata.uid).not.toBe(uid);
    expect((await find("frozen-guarded"))?.data).toEqual({ a: "1" });
    await agent.accept(testTarget("data", 3, web([claim("1Gi", "ReadWriteOnce"), configMap("data-stays")])));
    await agent.waitForEvent("PruneHeld", /.*/, 1_000).catch(() => undefined);
    await agent.sync(testTarget("data", 4, web([claim("1Gi", "ReadWriteOnce"), configMap("data-stays")])));
  });

  it("what could not be changed is in sync at once when Git takes the change back, and nothing more is asked for it", async () => {
    await start();
    const frozen = (a: string) => ({ ...configMap("undone", { a }), immutable: true });
    await agent.sync(testTarget("undone", 1, web([frozen("1"), configMap("undone-beside")])));
    await agent.accept(testTarget("undone", 2, web([frozen("2"), configMap("undone-beside")])));
    await agent.waitForEvent("ApplyFailed", /undone/);
    // The third try was in vain: the next comes in three seconds or more.
    const tries = async () => (await writesTo("undone")).length;
    await waitFor(async () => (await tries()) === 4, { what: "three tries of the change" });
    await agent.sync(testTarget("undone", 3, web([frozen("1"), configMap("undone-beside")])));
    expect(stateOf("undone")).toMatchObject({ sync: SyncState.SYNCED, change: Change.UNCHANGED });
    expect(await tries()).toBe(4);
  });

  it("adopt: always takes over and says so, if-no-diff only what is equal, never leaves it alone; a claim of others stands", async () => {
    await start();
    const adopt = (name: string, word: string, a = "1") => annotated(configMap(name, { a }), { "flotilla.dev/adopt": word });
    for (const name of ["ad-always", "ad-equal", "ad-differs", "ad-never", "ad-claimed"])
      await cluster.client.create(`${configMaps}?fieldManager=kubectl-create`, configMap(name, { a: name === "ad-differs" ? "9" : "1" }));
    await cluster.client.mergePatch(`${configMaps}/ad-claimed`, { metadata: { annotations: { "flotilla.dev/owner": "elsewhere/app" } } });
    const objects = [
      configMap("ad-always", { a: "2" }),
      adopt("ad-equal", "if-no-diff"),
      adopt("ad-differs", "if-no-diff"),
      configMap("ad-claimed", { a: "2" }),
      configMap("ad-gone"),
    ];
    const careful = { name: "careful", objects: [configMap("ad-never", { a: "2" }), configMap("ad-new")], defaults: { adopt: "never" } };
    await agent.accept(testTarget("adopt", 1, [...web(objects), careful]));
    await agent.waitForEvent("Adopted", /ad-always was there before/);
    await agent.waitForEvent("Adopted", /ad-equal/);
    expect((await agent.waitForEvent("NotAdopted", /ad-differs/)).message).toMatch(/differs at .data.a \(adopt: if-no-diff\)/);
    await agent.waitForEvent("NotAdopted", /ad-never .*adopt: never/);
    await agent.waitForEvent("NotAdopted", /ad-claimed .*belongs to elsewhere\/app/);
    await agent.waitForQuiet();
    expect((await find("ad-always"))?.data).toEqual({ a: "2" });
    expect((await find("ad-equal"))?.metadata.labels).toEqual({ "flotilla.dev/fleet": "adopt" });
    for (const [name, a] of [
      ["ad-differs", "9"],
      ["ad-never", "1"],
      ["ad-claimed", "1"],
    ] as const) {
      expect(await find(name)).toMatchObject({ data: { a } });
      expect((await find(name))?.metadata.labels).toBeUndefined();
      expect(stateOf(name)).toMatchObject({ sync: SyncState.OUT_OF_SYNC });
      expect(await inventoryOf("adopt")).not.toContain(name);
    }
    expect(agent.events.filter((event) => event.reason === "Adopted" && /ad-new|ad-gone/.test(event.message))).toEqual([]);
    // What was left alone holds up no prune, and is not pruned itself.
    await agent.accept(testTarget("adopt", 2, [...web(objects.slice(0, 4)), careful]));
    await waitFor(async () => (await find("ad-gone")) === undefined, { what: "the prune" });
    await agent.sync(testTarget("adopt", 3, web([configMap("ad-always", { a: "2" }), adopt("ad-equal", "if-no-diff")])));
    for (const name of ["ad-differs", "ad-never", "ad-claimed"]) expect(await find(name)).toBeDefined();
    // When the claim is given up, it is taken over with the next plan.
    await cluster.client.mergePatch(`${configMaps}/ad-claimed`, { metadata: { annotations: { "flotilla.dev/owner": null } } });
    await agent.sync(testTarget("adopt", 4, web([configMap("ad-always", { a: "2" }), configMap("ad-claimed", { a: "2" })])));
    expect((await find("ad-claimed"))?.data).toEqual({ a: "2" });
  });
});
