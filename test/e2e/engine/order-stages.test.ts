import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";
import { configMap, crd, deployment, Health, startEngine, SyncState, testTarget, type TestEngine } from "../agent-fixture.ts";

const staged = <T extends { metadata: object }>(object: T, stage: number | string, annotation = "flotilla.dev/stage"): T => ({
  ...object,
  metadata: { ...object.metadata, annotations: { [annotation]: String(stage) } },
});

await describeWith(kubeTools, "stages", () => {
  let cluster: KubeCluster;
  const open: TestEngine[] = [];
  const start = async () => {
    const agent = await startEngine(cluster);
    open.push(agent);
    return agent;
  };
  const findConfigMap = (name: string) => cluster.client.find(`/api/v1/namespaces/default/configmaps/${name}`);
  const path = (name: string) => `/apis/apps/v1/namespaces/default/deployments/${name}`;
  /** What a deployment's controller would say when all its replicas are there. */
  const becomeReady = async (name: string) => {
    const { metadata } = await cluster.client.get(path(name));
    const status = { observedGeneration: metadata.generation, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
    await cluster.client.mergePatch(`${path(name)}/status`, { status });
  };

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "order-stages", auditLog: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("the next stage begins when the one before is applied and healthy, whoever's annotation names it", async () => {
    const agent = await start();
    const objects = [
      staged(configMap("s-last"), 5, "helm.sh/hook-weight"),
      configMap("s-default"),
      staged(deployment("s-db"), -1, "argocd.argoproj.io/sync-wave"),
      staged(configMap("s-first"), -2),
    ];
    await agent.accept(
      testTarget("stages", 1, [
        { name: "app", objects },
        { name: "other", objects: [configMap("s-other")] },
      ]),
    );
    await waitFor(() => agent.objects.get("ConfigMap default/s-other")?.sync === SyncState.SYNCED, { what: "the other bundle" });
    await waitFor(() => cluster.client.find(path("s-db")), { what: "stage -1" });
    const told = /bundle app: in stage -1: Deployment default\/s-db: not seen by its controller yet/;
    await waitFor(() => told.test(agent.summary("stages")?.message ?? ""), { what: "the blocking object is named" });
    expect(agent.objects.get("ConfigMap default/s-default")?.message).toMatch(/waits for stage -1: Deployment default\/s-db/);
    expect(agent.summary("stages")).toMatchObject({ health: Health.IN_PROGRESS, sync: SyncState.OUT_OF_SYNC });
    expect(await findConfigMap("s-first")).toBeDefined();
    expect(await findConfigMap("s-default")).toBeUndefined();
    await becomeReady("s-db");
    await waitFor(() => agent.summary("stages")?.sync === SyncState.SYNCED, { what: "all stages" });
    const created = (await cluster.auditedRequests())
      .filter(
        ({ verb, objectRef, responseStatus }) => verb === "patch" && /^s-(first|db|default|last)$/.test(objectRef?.name ?? "") && responseStatus?.code === 201,
      )
      .map((request) => request.objectRef?.name);
    expect(created).toEqual(["s-first", "s-db", "s-default", "s-last"]);
    await waitFor(() => agent.summary("stages")?.health === Health.CURRENT, { what: "health" });
  });

  it("a change goes through the stages again, and what is unchanged stays", async () => {
    const agent = await start();
    const target = (generation: number, image: string, value: string) =>
      testTarget("again", generation, [{ name: "app", objects: [deployment("a-db", { image }), staged(configMap("a-later", { a: value }), 1)] }]);
    await agent.accept(target(1, "example/app:1", "1"));
    await waitFor(() => cluster.client.find(path("a-db")), { what: "the deployment" });
    await becomeReady("a-db");
    await waitFor(() => agent.summary("again")?.sync === SyncState.SYNCED, { what: "generation 1" });
    await agent.accept(target(2, "example/app:2", "2"));
    await waitFor(() => /waits for stage 0/.test(agent.objects.get("ConfigMap default/a-later")?.message ?? ""), { what: "the later stage waits" });
    expect((await findConfigMap("a-later"))?.data).toEqual({ a: "1" });
    await becomeReady("a-db");
    await waitFor(async () => (await findConfigMap("a-later"))?.data.a === "2", { what: "the later stage" });
  });

  it("a stage that is not healthy in time is late: status and event name the object, and it goes on when it comes after all", async () => {
    const agent = await start();
    const bundle = { name: "app", deadlines: { stage: { seconds: 1n } }, objects: [deployment("l-db"), staged(configMap("l-later"), 1)] };
    await agent.accept(testTarget("late", 1, [bundle]));
    const event = await agent.waitForEvent("DeadlineExceeded");
    expect(event.message).toMatch(/bundle app: in stage 0 for longer than 1 s: Deployment default\/l-db: not seen by its controller yet/);
    await waitFor(() => agent.summary("late")?.health === Health.FAILED, { what: "the late fleet is Failed" });
    expect(agent.summary("late")?.message).toMatch(/Deployment default\/l-db/);
    await becomeReady("l-db");
    await waitFor(() => agent.summary("late")?.health === Health.CURRENT && agent.summary("late")?.sync === SyncState.SYNCED, { what: "it recovers" });
  });

  it("a new revision supersedes a stage that waits, at once", async () => {
    const agent = await start();
    await agent.accept(testTarget("super", 1, [{ name: "app", objects: [deployment("u-db"), staged(configMap("u-later"), 1)] }]));
    await waitFor(() => /waits for stage 0/.test(agent.objects.get("ConfigMap default/u-later")?.message ?? ""), { what: "the stage waits" });
    const at = performance.now();
    await agent.accept(testTarget("super", 2, [{ name: "app", objects: [configMap("u-now"), deployment("u-db", { image: "example/app:2" })] }]));
    await waitFor(() => findConfigMap("u-now"), { what: "the new revision's object", everyMs: 5 });
    expect(performance.now() - at).toBeLessThan(1_000);
  });

  it("definitions are established before what uses them, two hundred times over, without an error and without holding up others (fault 8)", async () => {
    const agent = await start();
    const plurals = Array.from({ length: 200 }, (_, index) => `gears${index}`);
    const bundles = plurals.map((plural, index) => ({
      name: `gear-${index}`,
      objects: [
        { apiVersion: "order.example/v1", kind: `Gear${index}`, metadata: { name: "one", namespace: "default" }, spec: { label: "x" } },
        crd(plural, `Gear${index}`, "order.example"),
        configMap(`gear-sibling-${index}`),
      ],
    }));
    await agent.sync(testTarget("gears", 1, bundles), 60_000);
    expect(agent.events.filter((event) => event.reason === "ApplyFailed")).toEqual([]);
    for (const plural of plurals) expect(await cluster.client.find(`/apis/order.example/v1/namespaces/default/${plural}/one`), plural).toBeDefined();
  });

  it("a definition that is not established in time is named, and holds up only what uses it", async () => {
    const agent = await start();
    // Its kind is taken: the API server accepts the definition and never establishes it.
    await agent.sync(testTarget("taken-a", 1, [{ name: "app", objects: [crd("takens", "Taken", "taken.example")] }]));
    const clash = crd("takenagains", "Taken", "taken.example");
    const user = { apiVersion: "taken.example/v2", kind: "Taken", metadata: { name: "t", namespace: "default" } };
    await agent.accept(
      testTarget("taken-b", 1, [{ name: "app", deadlines: { definitions: { seconds: 1n } }, objects: [clash, user, configMap("t-sibling")] }]),
    );
    await waitFor(() => findConfigMap("t-sibling"), { what: "the sibling" });
    const event = await agent.waitForEvent("DeadlineExceeded", /takenagains/);
    expect(event.message).toMatch(
      /waiting for definitions for longer than 1 s: Taken default\/t: waits for CustomResourceDefinition takenagains.taken.example: /,
    );
    await waitForValue(
      () => Promise.resolve(agent.summary("taken-b")),
      (summary) => summary?.health === Health.FAILED && /NamesAccepted=False/.test(summary.message),
      { what: "the summary tells why", timeoutMs: 60_000 },
    );
    expect(agent.objects.get("ConfigMap default/t-sibling")?.sync).toBe(SyncState.SYNCED);
  });
});
