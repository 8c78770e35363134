import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, Health, startEngine, SyncState, testTarget, type TestEngine } from "../agent-fixture.ts";

const job = (name: string, annotations: Record<string, string>, more: { image?: string; suspend?: boolean } = {}) => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name, namespace: "default", annotations },
  spec: {
    backoffLimit: 0,
    suspend: more.suspend ?? false,
    template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: more.image ?? "example/job:1" }] } },
  },
});
const hook = (phase: string, policy?: string) => ({ "flotilla.dev/hook": phase, ...(policy && { "flotilla.dev/hook-delete-policy": policy }) });

await describeWith(kubeTools, "hooks", () => {
  let cluster: KubeCluster;
  const open: TestEngine[] = [];
  const start = async () => {
    const agent = await startEngine(cluster);
    open.push(agent);
    return agent;
  };
  const stop = async (agent: TestEngine) => {
    open.splice(open.indexOf(agent), 1);
    await agent.stop();
  };
  const jobPath = (name: string) => `/apis/batch/v1/namespaces/default/jobs/${name}`;
  const find = (name: string) => cluster.client.find(jobPath(name));
  const findConfigMap = (name: string) => cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`);
  const hookEvents = (agent: TestEngine, about: string) =>
    agent.events.filter((event) => event.reason.startsWith("Hook") && event.message.includes(about)).map((event) => event.reason);
  /** What a Job's controller would say of its end. */
  const end = (name: string, type: "Complete" | "Failed") => {
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const condition = (kind: string) => ({ type: kind, status: "True", reason: "Played", message: "by the test", lastTransitionTime: now, lastProbeTime: now });
    const before = type === "Complete" ? "SuccessCriteriaMet" : "FailureTarget";
    const conditions = [condition(before), condition(type)];
    return cluster.client.mergePatch(`${jobPath(name)}/status`, {
      status: { startTime: now, ...(type === "Complete" && { completionTime: now }), conditions },
    });
  };
  const remove = (name: string) => cluster.client.delete(`${jobPath(name)}?propagationPolicy=Background`);

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "order-hooks", auditLog: true, controllerManager: true, kubelet: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("pre hooks run before, sync hooks during and post hooks after the apply, each when what comes before it has ended", async () => {
    const agent = await start();
    const objects = [
      job("o-post", { "argocd.argoproj.io/hook": "PostSync" }),
      configMap("o-config"),
      job("o-sync", hook("sync")),
      job("o-pre-2", { ...hook("pre"), "flotilla.dev/stage": "2" }),
      job("o-pre-1", { "helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "1" }),
      job("o-fail", hook("failure")),
      job("o-skip", { "argocd.argoproj.io/hook": "Skip" }),
      job("o-never", { "argocd.argoproj.io/hook": "PostDelete" }),
    ];
    await agent.sync(testTarget("order", 1, [{ name: "app", objects }]));
    await waitFor(() => hookEvents(agent, "o-post").includes("HookSucceeded"), { what: "the post hook", timeoutMs: 20_000 });
    await waitFor(() => agent.summary("order")?.health === Health.CURRENT, { what: "health" });
    const created = (await cluster.auditedRequests())
      .filter(({ verb, objectRef, responseStatus }) => verb === "patch" && responseStatus?.code === 201 && /^o-/.test(objectRef?.name ?? ""))
      .map((request) => request.objectRef?.name);
    expect(created.slice(0, 2)).toEqual(["o-pre-1", "o-pre-2"]);
    expect(created.slice(2, 4).sort()).toEqual(["o-config", "o-sync"]);
    expect(created.slice(4)).toEqual(["o-post"]);
    expect(hookEvents(agent, "o-pre-1")).toEqual(["HookStarted", "HookSucceeded"]);
    // What runs no more is neither a drift nor a prune, and the next generation of the same content runs nothing again.
    await agent.sync(testTarget("order", 2, [{ name: "app", objects }]));
    await agent.waitForQuiet();
    expect(hookEvents(agent, "o-pre-1")).toEqual(["HookStarted", "HookSucceeded"]);
    await agent.sync(testTarget("order", 3, [{ name: "app", objects: [...objects, configMap("o-more")] }]));
    await waitFor(() => hookEvents(agent, "o-post").filter((reason) => reason === "HookSucceeded").length === 2, { what: "the hooks of the next content" });
    expect(hookEvents(agent, "o-pre-1")).toEqual(["HookStarted", "HookSucceeded", "HookStarted", "HookSucceeded"]);
    expect(agent.events.filter((event) => ["DriftDetected", "Pruned", "ApplyFailed"].includes(event.reason))).toEqual([]);
  });

  it("a pre hook that fails stops the apply of its bundle, says why, and failure hooks run", async () => {
    const agent = await start();
    const other = { name: "other", objects: [configMap("f-other")] };
    const objects = [job("f-pre", hook("pre"), { suspend: true }), configMap("f-config"), job("f-fail", hook("failure")), job("f-post", hook("post"))];
    await agent.accept(testTarget("failing", 1, [{ name: "app", objects }, other]));
    await waitFor(() => find("f-pre"), { what: "the pre hook" });
    await waitFor(() => /pre hook Job default\/f-pre: the job is suspended/.test(agent.summary("failing")?.message ?? ""), { what: "the hook is named" });
    await end("f-pre", "Failed");
    await agent.waitForEvent("HookFailed", /f-pre failed: Failed=True \(Played\): by the test/);
    await waitFor(() => hookEvents(agent, "f-fail").includes("HookSucceeded"), { what: "the failure hook", timeoutMs: 20_000 });
    await waitFor(() => agent.summary("failing")?.health === Health.FAILED, { what: "the fleet is Failed" });
    expect(agent.summary("failing")?.message).toMatch(/bundle app: pre hook Job default\/f-pre failed/);
    expect(await findConfigMap("f-config")).toBeUndefined();
    expect(await findConfigMap("f-other")).toBeDefined();
    expect(await find("f-post")).toBeUndefined();
    // Mended in Git: another content runs it again.
    await agent.sync(testTarget("failing", 2, [{ name: "app", objects: [job("f-pre", hook("pre")), ...objects.slice(1)] }, other]));
    await waitFor(() => agent.summary("failing")?.health === Health.CURRENT, { what: "health", timeoutMs: 20_000 });
    expect(hookEvents(agent, "f-fail")).toEqual(["HookStarted", "HookSucceeded"]);
  });

  it("a hook that does not end in time has failed", async () => {
    const agent = await start();
    const objects = [job("d-pre", hook("pre"), { suspend: true }), configMap("d-config")];
    await agent.accept(testTarget("deadline", 1, [{ name: "app", deadlines: { hook: { seconds: 1n } }, objects }]));
    expect((await agent.waitForEvent("HookFailed", /d-pre/)).message).toMatch(/no end after 1 s: the job is suspended/);
    expect(await findConfigMap("d-config")).toBeUndefined();
  });

  it("a new revision supersedes a hook that hangs, at once", async () => {
    const agent = await start();
    await agent.accept(testTarget("hang", 1, [{ name: "app", objects: [job("h-pre", hook("pre"), { suspend: true }), configMap("h-config")] }]));
    await waitFor(() => find("h-pre"), { what: "the hook that hangs" });
    const at = performance.now();
    await agent.accept(testTarget("hang", 2, [{ name: "app", objects: [configMap("h-config")] }]));
    await waitFor(() => findConfigMap("h-config"), { what: "the new revision's object", everyMs: 5 });
    expect(performance.now() - at).toBeLessThan(1_000);
    await waitFor(async () => (await find("h-pre")) === undefined, { what: "the hook that Git no longer names is pruned" });
  });

  it("is deleted as its policy says: when it succeeded, when it failed, before it is made again", async () => {
    const agent = await start();
    const setup = {
      ...configMap("p-setup"),
      metadata: { name: "p-setup", namespace: "default", annotations: { ...hook("pre", "succeeded"), "flotilla.dev/stage": "-1" } },
    };
    const pre = [job("p-succeeded", hook("pre", "succeeded")), job("p-kept", hook("pre")), setup];
    const objects = [...pre, job("p-failed", hook("post", "failed"), { suspend: true }), configMap("p-config")];
    await agent.accept(testTarget("policies", 1, [{ name: "app", objects }]));
    await waitFor(() => find("p-failed"), { what: "the post hook", timeoutMs: 20_000 });
    await waitFor(async () => (await find("p-succeeded")) === undefined && (await findConfigMap("p-setup")) === undefined, {
      what: "those that succeeded are deleted",
    });
    const uid = (await find("p-kept"))?.metadata.uid;
    expect(uid).toBeDefined();
    await end("p-failed", "Failed");
    await waitFor(async () => (await find("p-failed")) === undefined, { what: "the one that failed is deleted" });
    await waitFor(() => agent.summary("policies")?.health === Health.FAILED, { what: "the failed hook is told" });
    await agent.accept(testTarget("policies", 2, [{ name: "app", objects: [...pre, configMap("p-config", { a: "2" })] }]));
    await waitFor(async () => ![undefined, uid].includes((await find("p-kept"))?.metadata.uid), { what: "it is made anew", timeoutMs: 20_000 });
    await waitFor(() => agent.summary("policies")?.health === Health.CURRENT, { what: "health", timeoutMs: 20_000 });
  });

  it("an agent that starts again neither runs a finished hook again nor forgets one that runs", async () => {
    let agent = await start();
    const objects = [job("r-pre-1", hook("pre")), job("r-pre-2", { ...hook("pre"), "flotilla.dev/stage": "1" }, { suspend: true }), configMap("r-config")];
    await agent.accept(testTarget("restart", 1, [{ name: "app", objects }]));
    await waitFor(() => hookEvents(agent, "r-pre-2").includes("HookStarted"), { what: "the second hook", timeoutMs: 20_000 });
    const uidOf = async (name: string) => (await find(name))?.metadata.uid;
    const before = await uidOf("r-pre-2");
    await stop(agent);
    await remove("r-pre-1");
    await end("r-pre-2", "Complete");
    agent = await start();
    await waitFor(() => agent.summary("restart")?.sync === SyncState.SYNCED, { what: "the apply goes on", timeoutMs: 20_000 });
    expect(await findConfigMap("r-config")).toBeDefined();
    expect([await uidOf("r-pre-1"), await uidOf("r-pre-2")]).toEqual([undefined, before]);
    expect(hookEvents(agent, "r-pre-1")).toEqual([]);
  });

  it("a hook that somebody deletes before its end has failed, and is not run twice", async () => {
    const agent = await start();
    await agent.accept(testTarget("gone", 1, [{ name: "app", objects: [job("g-pre", hook("pre"), { suspend: true }), configMap("g-config")] }]));
    await waitFor(() => hookEvents(agent, "g-pre").includes("HookStarted"), { what: "the hook" });
    await remove("g-pre");
    await agent.waitForEvent("HookFailed", /g-pre failed: it was deleted before it ended/);
    expect(await find("g-pre")).toBeUndefined();
  });

  it("a hook whose name somebody else has is not touched, and the error says so", async () => {
    const agent = await start();
    await cluster.client.create("/apis/batch/v1/namespaces/default/jobs", job("theirs", {}, { suspend: true }));
    await agent.accept(testTarget("theirs", 1, [{ name: "app", objects: [job("theirs", hook("pre")), configMap("t-config")] }]));
    const told = /there is one of this name already, and it stays: it was there before/;
    await waitFor(() => told.test(agent.objects.get("Job default/theirs")?.message ?? ""), { what: "the error" });
    expect(await find("theirs")).toBeDefined();
    expect(await findConfigMap("t-config")).toBeUndefined();
  });
});
