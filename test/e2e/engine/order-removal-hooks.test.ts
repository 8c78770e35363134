import { create } from "@bufbuild/protobuf";
import { CommandSchema } from "@flotilla/proto/gen/link";
import { RemovalPolicy } from "@flotilla/proto/gen/target";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, startEngine, testTarget, type StartOptions, type TestBundle, type TestEngine } from "../agent-fixture.ts";

const job = (name: string, annotations: Record<string, string>, isHeld = false) => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name, namespace: "default", annotations },
  spec: {
    backoffLimit: 0,
    suspend: isHeld,
    template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "example/job:1" }] } },
  },
});
const hook = (phase: string, more: Record<string, string> = {}) => ({ "flotilla.dev/hook": phase, ...more });
const removal = (fleet: string, generation: number, policy: RemovalPolicy = RemovalPolicy.DELETE) =>
  testTarget(fleet, generation, [], { tombstone: { policy, reason: "test" } });

await describeWith(kubeTools, "hooks of a removal", () => {
  let cluster: KubeCluster;
  const open: TestEngine[] = [];
  const start = async (options: StartOptions = { handOverMs: 100 }) => {
    const agent = await startEngine(cluster, options);
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
  const stateOf = (fleet: string) => cluster.client.find(`/api/v1/namespaces/flotilla-system/configmaps/flotilla-order-${fleet}`);
  /** What a Job's controller would say of its end. */
  const end = (name: string, type: "Complete" | "Failed") => {
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const condition = (kind: string) => ({ type: kind, status: "True", reason: "Played", message: "by the test", lastTransitionTime: now, lastProbeTime: now });
    const conditions = [condition(type === "Complete" ? "SuccessCriteriaMet" : "FailureTarget"), condition(type)];
    return cluster.client.mergePatch(`${jobPath(name)}/status`, {
      status: { startTime: now, ...(type === "Complete" && { completionTime: now }), conditions },
    });
  };
  const removed = (agent: TestEngine, fleet: string) =>
    waitFor(() => agent.reports.some((report) => report.fleet === fleet && report.removed), { what: `fleet ${fleet} is removed`, timeoutMs: 20_000 });
  /** "made" and "deleted", in the API server's order. */
  const acts = async (prefix: string) =>
    (await cluster.auditedRequests())
      .filter(({ verb, objectRef, responseStatus, userAgent }) => {
        const isMade = verb === "patch" && responseStatus?.code === 201;
        return userAgent === "flotilla-agent" && objectRef?.name?.startsWith(prefix) && (isMade || (verb === "delete" && (responseStatus?.code ?? 500) < 300));
      })
      .map(({ verb, objectRef }) => `${verb === "delete" ? "deleted" : "made"} ${objectRef?.name}`);

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "removal-hooks", auditLog: true, controllerManager: true, kubelet: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("run before and after a fleet's objects are deleted, by stage, in Argo CD's, Helm's and our words; nothing of it stays", async () => {
    const agent = await start();
    const objects = [
      configMap("a-config"),
      job("a-pre-2", hook("pre-delete", { "flotilla.dev/stage": "2" })),
      job("a-pre-1", { "helm.sh/hook": "pre-delete", "helm.sh/hook-weight": "1" }),
      job("a-post", { "argocd.argoproj.io/hook": "PostDelete" }),
    ];
    await agent.sync(testTarget("all", 1, [{ name: "app", objects }]));
    await agent.waitForQuiet();
    expect(await acts("a-")).toEqual(["made a-config"]);
    await agent.accept(removal("all", 2));
    await removed(agent, "all");
    const seen = await acts("a-");
    expect(seen.slice(0, 5)).toEqual(["made a-config", "made a-pre-1", "made a-pre-2", "deleted a-config", "made a-post"]);
    expect(seen.slice(5).sort()).toEqual(["deleted a-post", "deleted a-pre-1", "deleted a-pre-2"]);
    for (const name of ["a-pre-1", "a-pre-2", "a-post"]) await waitFor(async () => (await find(name)) === undefined, { what: `${name} is gone` });
    await waitFor(async () => (await stateOf("all")) === undefined, { what: "the order's state is gone" });
  });

  it("do not run when the fleet leaves its objects", async () => {
    const agent = await start();
    const objects = [configMap("b-config"), job("b-pre", hook("pre-delete")), job("b-post", hook("post-delete"))];
    await agent.sync(testTarget("orphan", 1, [{ name: "app", objects }]));
    await agent.accept(removal("orphan", 2, RemovalPolicy.ORPHAN));
    await removed(agent, "orphan");
    expect(await acts("b-")).toEqual(["made b-config"]);
    expect(await stateOf("orphan")).toBeUndefined();
  });

  it("one that fails keeps every object of the fleet, says why, and goes on when it is run again", async () => {
    const agent = await start();
    const bundles: TestBundle[] = [
      { name: "app", objects: [configMap("c-config"), job("c-pre", hook("pre-delete"), true)] },
      { name: "other", objects: [configMap("c-other")] },
    ];
    await agent.sync(testTarget("failing", 1, bundles));
    await agent.accept(removal("failing", 2));
    await waitFor(() => find("c-pre"), { what: "the hook" });
    await waitFor(() => /not deleted yet: bundle app: waits for pre-delete hook Job default\/c-pre/.test(agent.summary("failing")?.message ?? ""), {
      what: "the hook that is waited for is named",
    });
    await end("c-pre", "Failed");
    await agent.waitForEvent("HookFailed", /pre-delete hook Job default\/c-pre failed: .*by the test/);
    await waitFor(() => /pre-delete hook Job default\/c-pre failed/.test(agent.summary("failing")?.message ?? ""), { what: "why" });
    expect([await findConfigMap("c-config"), await findConfigMap("c-other")]).not.toContain(undefined);
    const before = (await find("c-pre"))?.metadata.uid;
    await agent.engine.command(
      create(CommandSchema, { id: crypto.randomUUID(), kind: { case: "sync", value: { fleet: "failing", objects: ["Job/default/c-pre"] } } }),
    );
    await waitFor(async () => ![undefined, before].includes((await find("c-pre"))?.metadata.uid), { what: "it runs again" });
    expect(await findConfigMap("c-config")).toBeDefined();
    await end("c-pre", "Complete");
    await removed(agent, "failing");
    expect([await findConfigMap("c-config"), await findConfigMap("c-other")]).toEqual([undefined, undefined]);
  });

  it("one that does not end in time has failed, and the fleet may come back", async () => {
    const agent = await start();
    const bundle: TestBundle = {
      name: "app",
      deadlines: { hook: { seconds: 1n } },
      objects: [configMap("d-config"), job("d-pre", hook("pre-delete", { "flotilla.dev/hook-delete-policy": "failed" }), true)],
    };
    await agent.sync(testTarget("late", 1, [bundle]));
    await agent.accept(removal("late", 2));
    expect((await agent.waitForEvent("HookFailed", /d-pre/)).message).toMatch(/no end after 1 s: the job is suspended/);
    await waitFor(async () => (await find("d-pre")) === undefined, { what: "it is deleted, as its policy says" });
    await agent.sync(testTarget("late", 3, [bundle]));
    expect(await findConfigMap("d-config")).toBeDefined();
    // The next removal runs it again.
    await agent.accept(removal("late", 4));
    await waitFor(() => find("d-pre"), { what: "the hook of the next removal" });
    await end("d-pre", "Complete");
    await removed(agent, "late");
    expect(await findConfigMap("d-config")).toBeUndefined();
  });

  it("run when a bundle leaves the target, for that bundle alone; what only moves to another bundle runs none", async () => {
    const agent = await start();
    const keeps: TestBundle = { name: "keeps", objects: [configMap("e-stays"), job("e-never", hook("pre-delete"))] };
    const leaves = (name: string): TestBundle => ({
      name,
      objects: [configMap("e-config"), job("e-pre", hook("pre-delete"), true), job("e-post", hook("post-delete"))],
    });
    await agent.sync(testTarget("bundles", 1, [keeps, leaves("old")]));
    await agent.sync(testTarget("bundles", 2, [keeps, leaves("new")]));
    await agent.waitForQuiet();
    expect((await acts("e-")).sort()).toEqual(["made e-config", "made e-stays"]);
    await agent.accept(testTarget("bundles", 3, [keeps]));
    await waitFor(() => find("e-pre"), { what: "the hook" });
    await waitFor(() => /pre-delete hook Job default\/e-pre/.test(agent.objects.get("ConfigMap default/e-config")?.message ?? ""), {
      what: "what waits says why",
    });
    expect(await findConfigMap("e-config")).toBeDefined();
    await end("e-pre", "Complete");
    await waitFor(async () => (await acts("e-")).includes("deleted e-post"), { what: "the end", timeoutMs: 20_000 });
    expect((await acts("e-")).slice(2)).toEqual(["made e-pre", "deleted e-config", "made e-post", expect.any(String), expect.any(String)]);
    await agent.waitForQuiet();
    expect((await stateOf("bundles"))?.data).not.toMatchObject({ order: expect.stringContaining("e-post") });
    expect(await find("e-never")).toBeUndefined();
  });

  it("go on after a restart at any step: none runs twice, none is forgotten", async () => {
    let agent = await start();
    const objects = [configMap("f-config"), job("f-pre", hook("pre-delete"), true), job("f-post", hook("post-delete"), true)];
    await agent.sync(testTarget("restart", 1, [{ name: "app", objects }]));
    await stop(agent);
    agent = await start();
    await agent.accept(removal("restart", 2));
    await agent.waitForEvent("HookStarted", /f-pre/);
    await stop(agent);
    await end("f-pre", "Complete");
    agent = await start();
    await agent.waitForEvent("HookStarted", /f-post/, 20_000);
    expect(await findConfigMap("f-config")).toBeUndefined();
    await stop(agent);
    await end("f-post", "Complete");
    agent = await start();
    await removed(agent, "restart");
    const made = (await acts("f-")).filter((act) => act.startsWith("made"));
    expect(made).toEqual(["made f-config", "made f-pre", "made f-post"]);
  });

  it("wait until what finalizers hold is gone", async () => {
    const agent = await start();
    await agent.sync(testTarget("held", 1, [{ name: "app", objects: [configMap("g-config"), job("g-post", hook("post-delete"))] }]));
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/g-config", { metadata: { finalizers: ["test.example/hold"] } });
    await agent.accept(removal("held", 2));
    await waitFor(() => /ConfigMap default\/g-config is to be gone before: deleted, and held by finalizers/.test(agent.summary("held")?.message ?? ""), {
      what: "what is waited for is named",
    });
    expect(await find("g-post")).toBeUndefined();
    await cluster.client.mergePatch("/api/v1/namespaces/default/configmaps/g-config", { metadata: { finalizers: null } });
    await removed(agent, "held");
    expect(await acts("g-post")).toEqual(["made g-post", "deleted g-post"]);
  });
});
