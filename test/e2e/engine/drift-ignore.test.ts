import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, deployment, startEngine, SyncState, testTarget, type TestBundle, type TestEngine } from "../agent-fixture.ts";

const [heal, report] = [1, 2] as const;

await describeWith(kubeTools, "drift: ignore rules, modes and what is told", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const configMaps = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
  const deployments = (name: string) => `/apis/apps/v1/namespaces/default/deployments/${name}`;
  /** Writes of the agent to objects of fleets that change something: dry runs only ask. */
  const writes = async () =>
    (await cluster.auditedRequests()).filter(
      (request) =>
        /^(create|update|patch|delete)$/.test(request.verb) &&
        request.userAgent === "flotilla-agent" &&
        !request.requestURI.includes("dryRun") &&
        request.objectRef?.namespace === "default",
    );
  const bundle = (objects: readonly object[], more: Partial<TestBundle> = {}): TestBundle => ({ name: "web", driftMode: heal, objects, ...more });

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "drift-ignore", auditLog: true });
  });
  afterAll(() => cluster.stop());
  beforeEach(async () => {
    agent = await startEngine(cluster);
  });
  afterEach(() => agent.stop());

  it("leaves what a query names, wherever it stands in its list, and heals its neighbours", async () => {
    const ignore = [{ kind: "Deployment", queries: ['.spec.template.spec.containers[] | select(.name == "side") | .image'] }];
    const web = deployment("queried");
    web.spec.template.spec.containers.push({ name: "side", image: "side:1", ports: [] });
    await agent.sync(testTarget("queried", 1, [bundle([web], { ignore })]));
    const before = (await writes()).length;
    await cluster.client.mergePatch(`${deployments("queried")}?fieldManager=tuner`, {
      spec: { template: { spec: { containers: [{ name: "side", image: "side:tuned" }, web.spec.template.spec.containers[0]] } } },
    });
    await agent.waitForQuiet();
    expect((await writes()).length).toBe(before);
    await cluster.client.mergePatch(`${deployments("queried")}?fieldManager=tuner`, { spec: { replicas: 4 } });
    await agent.waitForEvent("DriftHealed", /queried/);
    const live = await cluster.client.get(deployments("queried"));
    expect(live.spec.replicas).toBe(1);
    expect(live.spec.template.spec.containers.find((one: { name: string }) => one.name === "side").image).toBe("side:tuned");
  });

  it("leaves fields to the managers that may hold them, writes nothing, and does not take them back with a new revision", async () => {
    const ignore = [{ managers: ["tuner"] }];
    await agent.sync(testTarget("managers", 1, [bundle([configMap("managed", { a: "1", b: "1" })], { ignore })]));
    const before = (await writes()).length;
    await cluster.client.mergePatch(`${configMaps("managed")}?fieldManager=tuner`, { data: { a: "tuned" } });
    await agent.waitForQuiet();
    expect((await writes()).length).toBe(before);
    await agent.sync(testTarget("managers", 2, [bundle([configMap("managed", { a: "2", b: "2" })], { ignore })]));
    expect((await cluster.client.get(configMaps("managed"))).data).toEqual({ a: "tuned", b: "2" });
    await cluster.client.mergePatch(`${configMaps("managed")}?fieldManager=kubectl-edit`, { data: { b: "by hand" } });
    await agent.waitForEvent("DriftHealed", /managed/);
    expect((await cluster.client.get(configMaps("managed"))).data).toEqual({ a: "tuned", b: "2" });
    const drifts = agent.events.filter((event) => event.reason === "DriftDetected");
    expect(drifts).toHaveLength(1);
    expect(drifts[0]?.drift[0]).toMatchObject({ path: "/data/b", manager: "kubectl-edit", operation: "Update", subresource: "" });
    expect(Math.abs(Number(drifts[0]?.drift[0]?.changedAt?.seconds ?? 0n) - Date.now() / 1000)).toBeLessThan(60);
  });

  it("leaves replicas to an autoscaler, in the target or by hand of its controller, unless that is turned off", async () => {
    const hpa = {
      apiVersion: "autoscaling/v2",
      kind: "HorizontalPodAutoscaler",
      metadata: { name: "auto", namespace: "default" },
      spec: { minReplicas: 2, maxReplicas: 9, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "auto" }, metrics: [] },
    };
    const held = deployment("held", { replicas: 2 });
    const off = deployment("off", { replicas: 2 });
    await agent.sync(
      testTarget("scaled", 1, [
        { ...bundle([deployment("auto", { replicas: 2 }), held, deployment("by-hand", { replicas: 2 })]), name: "web" },
        { ...bundle([hpa]), name: "policy" },
        { ...bundle([off], { ignoreDefaultsOff: ["hpa-replicas"] }), name: "strict" },
      ]),
    );
    const before = (await writes()).length;
    const scale = (name: string, manager: string) => cluster.client.mergePatch(`${deployments(name)}/scale?fieldManager=${manager}`, { spec: { replicas: 7 } });
    await scale("auto", "any-autoscaler");
    await scale("held", "kube-controller-manager");
    await agent.waitForQuiet();
    expect((await writes()).length).toBe(before);
    expect((await cluster.client.get(deployments("auto"))).spec.replicas).toBe(7);
    expect((await cluster.client.get(deployments("held"))).spec.replicas).toBe(7);
    await scale("off", "kube-controller-manager");
    const drift = await agent.waitForEvent("DriftDetected", /Deployment default\/off/);
    expect(drift.drift[0]).toMatchObject({
      path: "/spec/replicas",
      desired: "2",
      live: "7",
      manager: "kube-controller-manager",
      subresource: "scale",
      operation: "Update",
    });
    await waitFor(async () => (await cluster.client.get(deployments("off"))).spec.replicas === 2);
    // Nobody's autoscaler has it: who scales it by hand is no autoscaler.
    await scale("by-hand", "kubectl");
    await agent.waitForEvent("DriftHealed", /Deployment default\/by-hand/);
    expect((await cluster.client.get(deployments("by-hand"))).spec.replicas).toBe(2);
    expect(agent.events.filter((event) => /auto/.test(event.message) && /Drift/.test(event.reason))).toEqual([]);
  });

  it("follows an object's own word before its bundle's, in either direction", async () => {
    const told = (name: string, drift: string) => {
      const object = configMap(name);
      return { ...object, metadata: { ...object.metadata, annotations: { "flotilla.dev/drift": drift } } };
    };
    await agent.sync(
      testTarget("modes", 1, [
        { name: "healed", driftMode: heal, objects: [told("only-told", "report")] },
        { name: "reported", driftMode: report, objects: [told("still-healed", "heal"), told("careful", "heal-unless-drifted")] },
      ]),
    );
    for (const name of ["only-told", "still-healed", "careful"]) await cluster.client.mergePatch(configMaps(name), { data: { a: "by hand" } });
    await agent.waitForEvent("DriftReported", /only-told/);
    await agent.waitForEvent("DriftHealed", /still-healed/);
    await agent.waitForEvent("DriftReported", /careful/);
    await agent.waitForQuiet();
    expect((await cluster.client.get(configMaps("only-told"))).data.a).toBe("by hand");
    expect((await cluster.client.get(configMaps("careful"))).data.a).toBe("by hand");
    await cluster.client.delete(configMaps("careful"));
    await waitFor(() => cluster.client.find(configMaps("careful")), { what: "the deleted object again" });
    expect(agent.summary("modes")?.sync).toBe(SyncState.OUT_OF_SYNC);
  });

  it("never tells a value of a Secret, also not of stringData, in drift, fights or messages", async () => {
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "hidden", namespace: "default" }, stringData: { password: "from-git-canary" } };
    await agent.sync(testTarget("secret", 1, [bundle([secret])]));
    const path = "/api/v1/namespaces/default/secrets/hidden";
    for (let i = 1; i <= 6; i++) {
      await cluster.client.mergePatch(`${path}?fieldManager=thief`, { stringData: { password: `live-canary-${i}` } });
      if (i < 6) await waitFor(() => agent.events.filter((event) => event.reason === "DriftHealed").length === i, { what: `heal ${i}`, timeoutMs: 30_000 });
    }
    const fight = await agent.waitForEvent("Fight", /fought over/, 30_000);
    expect(fight.drift[0]).toMatchObject({ path: "/data/password", manager: "thief" });
    const told = JSON.stringify([...agent.events, ...agent.objects.values()], (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    for (const canary of ["from-git-canary", "live-canary"]) {
      expect(told).not.toContain(canary);
      expect(told).not.toContain(Buffer.from(canary).toString("base64").slice(0, 12));
    }
    expect(fight.message).toMatch(/Git says "hash:[0-9a-f]{16}", "thief" writes "hash:[0-9a-f]{16}"/);
  });
});
