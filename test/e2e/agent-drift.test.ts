import { KubeClient, type KubeAnswer, type KubeRequest } from "@flotilla/agent/cluster/kube-client";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";
import { configMap, deployment, startEngine, SyncState, testTarget, type TestEngine } from "./agent-fixture.ts";

/** Holds back the answers to writes of one object until `meanwhile` is over. */
class SlowAnswers extends KubeClient {
  path = "";
  meanwhile: () => Promise<unknown> = async () => undefined;

  override async request(request: KubeRequest): Promise<KubeAnswer> {
    const answer = await super.request(request);
    if (request.method !== "PATCH" || request.path !== this.path) return answer;
    this.path = "";
    await this.meanwhile();
    return answer;
  }
}

const [heal, report, unlessDrifted] = [1, 2, 3] as const;

await describeWith(kubeTools, "the agent answers drift", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
  const writes = async () =>
    (await cluster.auditedRequests()).filter((request) => /^(create|update|patch|delete)$/.test(request.verb) && request.userAgent === "flotilla-agent");

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "agent-drift", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });
  afterEach(async () => {
    await agent.stop();
  });

  it("heals an edit and a deletion in under two seconds, and names field, values and manager", async () => {
    agent = await startEngine(cluster);
    await agent.sync(
      testTarget("heals", 1, [{ name: "web", driftMode: heal, objects: [configMap("edited"), configMap("deleted"), deployment("scaled", { replicas: 2 })] }]),
    );
    const edited = Date.now();
    await cluster.client.mergePatch(`${path("edited")}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
    await waitFor(async () => (await cluster.client.get(path("edited"))).data.a === "1", { what: "the heal", timeoutMs: 2_000, everyMs: 10 });
    expect(Date.now() - edited).toBeLessThan(2_000);
    const drift = await agent.waitForEvent("DriftDetected", /edited/);
    expect(drift.drift).toMatchObject([{ path: "/data/a", desired: '"1"', live: '"by hand"', manager: "kubectl-edit" }]);
    await agent.waitForEvent("DriftHealed", /edited/);

    await cluster.client.delete(path("deleted"));
    await waitFor(() => cluster.client.find(path("deleted")), { what: "the deleted object again", timeoutMs: 2_000, everyMs: 10 });
    await agent.waitForEvent("DriftDetected", /deleted by somebody/);

    await cluster.client.mergePatch("/apis/apps/v1/namespaces/default/deployments/scaled?fieldManager=kubectl-scale", { spec: { replicas: 7 } });
    await waitFor(async () => (await cluster.client.get("/apis/apps/v1/namespaces/default/deployments/scaled")).spec.replicas === 2, {
      timeoutMs: 2_000,
      everyMs: 10,
    });
    await waitFor(() => agent.summary("heals")?.sync === SyncState.SYNCED);
  });

  it.each(["edit", "deletion"])(
    "heals a change by hand (%s) that was made, and told by the watch, before the API server's answer to the agent's own apply came in",
    async (act) => {
      let client: SlowAnswers | undefined;
      agent = await startEngine(cluster, { makeClient: (...args) => (client = new SlowAnswers(...args)) });
      const target = (generation: number, a: string) =>
        testTarget(`between-${act}`, generation, [{ name: "web", driftMode: heal, objects: [configMap(`between-${act}`, { a }), configMap(`later-${act}`)] }]);
      await agent.sync(target(1, "1"));
      await agent.waitForQuiet();
      Object.assign(client ?? {}, {
        path: path(`between-${act}`),
        async meanwhile() {
          if (act === "deletion") await cluster.client.delete(path(`between-${act}`));
          else await cluster.client.mergePatch(`${path(`between-${act}`)}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
          // One watch tells both in order: when the second is answered, the first was seen.
          await cluster.client.mergePatch(`${path(`later-${act}`)}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
          await agent.waitForEvent("DriftDetected", /later/);
        },
      });
      await agent.accept(target(2, "2"));
      await agent.waitForEvent("DriftHealed", /between/);
      expect((await cluster.client.get(path(`between-${act}`))).data.a).toBe("2");
      await waitFor(() => agent.summary(`between-${act}`)?.sync === SyncState.SYNCED, { what: "it converges" });
    },
  );

  it("reports a change by hand that was made, and told by the watch, while a dry run of the same object was under way", async () => {
    let client: SlowAnswers | undefined;
    agent = await startEngine(cluster, { makeClient: (...args) => (client = new SlowAnswers(...args)) });
    const merged = configMap("during", { a: "1", b: "1" });
    const object = { ...merged, metadata: { ...merged.metadata, annotations: { "flotilla.dev/ssa": "merge" } } };
    await agent.sync(testTarget("during", 1, [{ name: "web", driftMode: report, objects: [object, configMap("after")] }]));
    await agent.waitForQuiet();
    const edit = (data: object) => cluster.client.mergePatch(`${path("during")}?fieldManager=kubectl-edit`, { data });
    await edit({ a: "by hand" });
    await agent.waitForEvent("DriftReported", /during/);
    await agent.waitForQuiet();
    Object.assign(client ?? {}, {
      path: path("during"),
      async meanwhile() {
        await edit({ b: "by hand" });
        // One watch tells both in order: when the second is answered, the first was seen.
        await cluster.client.mergePatch(`${path("after")}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
        await agent.waitForEvent("DriftReported", /after/);
      },
    });
    await edit({ a: "1" });
    await waitFor(() => agent.events.some(({ reason, drift }) => reason === "DriftReported" && drift.some(({ path }) => path === "/data/b")), {
      what: "the second edit is reported",
    });
    await cluster.client.mergePatch(path("during"), { data: { b: "1" } });
    await cluster.client.mergePatch(path("after"), { data: { a: "1" } });
    await waitFor(() => agent.summary("during")?.drifted === 0, { what: "nothing differs any more" });
  });

  it("heals an object whose label was taken away, by which it is watched", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("label", 1, [{ name: "web", objects: [configMap("labelled")] }]));
    await cluster.client.mergePatch(path("labelled"), { metadata: { labels: { "flotilla.dev/fleet": null } } });
    await waitFor(async () => (await cluster.client.get(path("labelled"))).metadata.labels?.["flotilla.dev/fleet"] === "label", { timeoutMs: 3_000 });
  });

  it("only reports in report mode, and says when the drift is gone", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("reports", 1, [{ name: "web", driftMode: report, objects: [configMap("reported", { a: "1", b: "1" })] }]));
    await cluster.client.mergePatch(`${path("reported")}?fieldManager=kubectl-edit`, { data: { b: null, c: "not ours" } });
    const drift = await agent.waitForEvent("DriftReported");
    expect(drift.drift).toMatchObject([{ path: "/data/b", desired: '"1"', live: "" }]);
    await waitFor(() => agent.summary("reports")?.drifted === 1);
    expect(agent.summary("reports")?.sync).toBe(SyncState.OUT_OF_SYNC);
    expect((await cluster.client.get(path("reported"))).data).toEqual({ a: "1", c: "not ours" });
    await agent.sync(testTarget("reports", 2, [{ name: "web", driftMode: report, objects: [configMap("reported", { a: "1", b: "2" })] }]));
    expect((await cluster.client.get(path("reported"))).data).toEqual({ a: "1", b: "2", c: "not ours" });
  });

  it("goes on seeing a field that somebody changed and changed back, and writes no value for that", async () => {
    agent = await startEngine(cluster);
    const ignore = [{ group: "", kind: "ConfigMap", paths: ["/data/b"] }];
    await agent.sync(testTarget("back", 1, [{ name: "web", driftMode: report, ignore, objects: [configMap("back", { a: "1", b: "1" })] }]));
    const edit = (data: object) => cluster.client.mergePatch(`${path("back")}?fieldManager=kubectl-edit`, { data });
    for (const [round, a] of ["2", "3"].entries()) {
      await edit({ a });
      await waitFor(() => agent.objects.get("ConfigMap default/back")?.drift[0]?.live === `"${a}"`, { what: `the edit to ${a} is seen` });
      await edit({ a: "1" });
      await waitFor(() => agent.events.filter(({ reason }) => reason === "DriftEnded").length === round + 1, { what: `the end of ${a}` });
    }
    // What is ignored stays with whom it is, whatever else is made ours again.
    await edit({ b: "theirs" });
    await edit({ a: "4" });
    await waitFor(() => agent.objects.get("ConfigMap default/back")?.drift[0]?.live === '"4"', { what: "the edit to 4 is seen" });
    await edit({ a: "1" });
    await waitFor(() => agent.objects.get("ConfigMap default/back")?.drift.length === 0, { what: "the end of 4" });
    await agent.waitForQuiet();
    expect((await cluster.client.get(path("back"))).data).toEqual({ a: "1", b: "theirs" });
    await edit({ a: "5" });
    await waitFor(() => agent.objects.get("ConfigMap default/back")?.drift[0]?.live === '"5"', { what: "the edit to 5 is seen" });
    await edit({ a: "1" });
    await waitFor(() => agent.objects.get("ConfigMap default/back")?.drift.length === 0, { what: "the end of 5" });
  });

  it("does not overwrite what was changed by hand when the bundle asks for that", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("careful", 1, [{ name: "web", driftMode: unlessDrifted, objects: [configMap("kept"), configMap("free")] }]));
    await cluster.client.mergePatch(path("kept"), { data: { a: "by hand" } });
    await agent.waitForEvent("DriftReported", /kept/);
    await agent.accept(
      testTarget("careful", 2, [{ name: "web", driftMode: unlessDrifted, objects: [configMap("kept", { a: "2" }), configMap("free", { a: "2" })] }]),
    );
    await waitFor(async () => (await cluster.client.get(path("free"))).data.a === "2");
    await agent.waitForQuiet();
    expect((await cluster.client.get(path("kept"))).data).toEqual({ a: "by hand" });
    await waitFor(() => /by hand/.test(agent.objects.get("ConfigMap default/kept")?.message ?? ""));
  });

  it("ignores the paths it is told to, and leaves them to whom they belong when it applies", async () => {
    agent = await startEngine(cluster);
    const ignore = [{ group: "apps", kind: "Deployment", paths: ["/spec/replicas"] }];
    const scaled = "/apis/apps/v1/namespaces/default/deployments/auto";
    await agent.sync(testTarget("ignores", 1, [{ name: "web", ignore, objects: [deployment("auto", { replicas: 1 })] }]));
    const before = (await writes()).length;
    await cluster.client.mergePatch(`${scaled}?fieldManager=autoscaler`, { spec: { replicas: 5 } });
    await cluster.client.mergePatch(`${path("nothing")}`, {}).catch(() => undefined);
    await agent.waitForQuiet();
    expect((await cluster.client.get(scaled)).spec.replicas).toBe(5);
    expect((await writes()).length).toBe(before);
    await agent.sync(testTarget("ignores", 2, [{ name: "web", ignore, objects: [deployment("auto", { replicas: 1, image: "example/app:2" })] }]));
    const live = await cluster.client.get(scaled);
    expect(live.spec.template.spec.containers[0].image).toBe("example/app:2");
    expect(live.spec.replicas).toBe(5);
  });

  it("corrects a fight at most five times, then reports it once with the other side's name", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("fights", 1, [{ name: "web", objects: [configMap("fought"), configMap("bystander")] }]));
    const stop = new AbortController();
    let value = 0;
    const fight = async () => {
      while (!stop.signal.aborted) {
        if ((await cluster.client.get(path("fought"))).data.a === "1")
          await cluster.client.mergePatch(`${path("fought")}?fieldManager=rival`, { data: { a: `rival ${value++}` } });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const fighting = fight();
    const started = Date.now();
    await cluster.client.mergePatch(path("bystander"), { data: { a: "edited" } });
    await waitFor(async () => (await cluster.client.get(path("bystander"))).data.a === "1", { timeoutMs: 2_000, everyMs: 10 });
    const event = await agent.waitForEvent("Fight", /rival/, 60_000);
    expect(Date.now() - started).toBeGreaterThan(8_000);
    stop.abort();
    await fighting;
    expect(event.drift[0]?.manager).toBe("rival");
    expect(value).toBe(6);
    expect(agent.events.filter((other) => other.reason === "Fight")).toHaveLength(1);
    expect(agent.objects.get("ConfigMap default/fought")?.message).toMatch(/fight/);
    // The other side gives in: the agents of later tests count the same corrections, and would wait for the end of the fight.
    await cluster.client.mergePatch(`${path("fought")}?fieldManager=rival`, { data: { a: "1" } });
    await waitFor(() => agent.objects.get("ConfigMap default/fought")?.message === "", { what: "the end of the fight" });
  }, 90_000);

  it("sends nothing while nothing changes, not even when others write what is not ours", async () => {
    agent = await startEngine(cluster);
    await agent.sync(testTarget("steady", 1, [{ name: "web", objects: [configMap("calm"), deployment("calm")] }]));
    await agent.waitForQuiet();
    const [sent, reported] = [agent.sent(), agent.reports.length];
    for (let i = 0; i < 20; i++) await cluster.client.mergePatch(path("calm"), { metadata: { annotations: { "someone/else": String(i) } } });
    const seen = (await cluster.client.get(path("calm"))).metadata.resourceVersion;
    // The watch has told the last of them when a change of ours after it has come and gone.
    expect(seen).toBeDefined();
    await agent.waitForQuiet();
    expect(agent.sent()).toEqual(sent);
    expect(agent.reports.length).toBe(reported);
  });
});
