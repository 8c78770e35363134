import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Change, configMap, crd, deployment, Health, startEngine, SyncState, testTarget, type TestEngine } from "./agent-fixture.ts";

await describeWith(kubeTools, "the agent applies", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const open: TestEngine[] = [];
  const start = async () => {
    agent = await startEngine(cluster);
    open.push(agent);
    return agent;
  };

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "agent-apply", auditLog: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("applies a first target, an update of it, and prunes what it no longer names", async () => {
    await start();
    await agent.sync(testTarget("first", 1, [{ name: "web", objects: [configMap("one"), configMap("two"), configMap("three")] }]));
    expect((await cluster.client.get("/api/v1/namespaces/default/configmaps/one")).metadata.labels).toMatchObject({ "flotilla.dev/fleet": "first" });
    expect(agent.objects.get("ConfigMap default/one")).toMatchObject({ change: Change.CREATED, sync: SyncState.SYNCED, health: Health.CURRENT });

    await agent.sync(testTarget("first", 2, [{ name: "web", objects: [configMap("one", { a: "2" }), configMap("two")] }]));
    expect((await cluster.client.get("/api/v1/namespaces/default/configmaps/one")).data).toEqual({ a: "2" });
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/three")).toBeUndefined();
    expect(agent.objects.has("ConfigMap default/three")).toBe(false);
    await agent.waitForEvent("Pruned", /three/);
    expect(agent.objects.get("ConfigMap default/one")?.change).toBe(Change.CONFIGURED);
    expect(agent.reports.flatMap((report) => report.phases.map((phase) => phase.phase))).toEqual(
      expect.arrayContaining(["receive", "plan", "apply", "healthy"]),
    );
  });

  it("applies a definition and an object of it from one bundle, and namespaces before what lies in them", async () => {
    await start();
    await agent.sync(
      testTarget("stages", 1, [
        {
          name: "all",
          objects: [
            { apiVersion: "test.example/v1", kind: "Widget", metadata: { name: "w", namespace: "stages" }, spec: { label: "x" } },
            configMap("in-ns", { a: "1" }, "stages"),
            { apiVersion: "v1", kind: "Namespace", metadata: { name: "stages" } },
            crd("widgets", "Widget"),
          ],
        },
      ]),
    );
    expect((await cluster.client.get("/apis/test.example/v1/namespaces/stages/widgets/w")).spec).toEqual({ label: "x", size: 3 });
    expect(agent.events.filter((event) => event.reason === "ApplyFailed")).toEqual([]);
  });

  it("does not let one broken object stop the others, says why it is broken, and prunes nothing meanwhile", async () => {
    await start();
    await agent.sync(testTarget("broken", 1, [{ name: "web", objects: [configMap("b-one"), configMap("b-gone")] }]));
    const bad = { apiVersion: "v1", kind: "Service", metadata: { name: "bad", namespace: "default" }, spec: { ports: [{ port: 123456 }] } };
    await agent.accept(testTarget("broken", 2, [{ name: "web", objects: [configMap("b-one", { a: "2" }), bad, configMap("b-two")] }]));
    const failure = await agent.waitForEvent("ApplyFailed", /bad/);
    expect(failure.message).toMatch(/port/);
    await waitFor(() => agent.objects.get("ConfigMap default/b-two")?.change === Change.CREATED);
    expect(agent.objects.get("Service default/bad")).toMatchObject({ change: Change.FAILED, sync: SyncState.OUT_OF_SYNC });
    expect(agent.summary("broken")).toMatchObject({ sync: SyncState.OUT_OF_SYNC, failed: 1 });
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/b-gone")).toBeDefined();
    await waitFor(() => /prune waits/.test(agent.objects.get("ConfigMap default/b-gone")?.message ?? ""), { what: "the waiting prune is said" });
    const good = { ...bad, spec: { ports: [{ port: 80 }] } };
    await agent.sync(testTarget("broken", 3, [{ name: "web", objects: [configMap("b-one", { a: "2" }), good, configMap("b-two")] }]));
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/b-gone")).toBeUndefined();
  });

  it("reports what admission refuses and goes on when it no longer does", async () => {
    await start();
    await cluster.client.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: "no-red" },
      spec: {
        matchConstraints: { resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] }] },
        validations: [{ expression: "!has(object.data) || !('colour' in object.data) || object.data.colour != 'red'", message: "red is not allowed here" }],
      },
    });
    await cluster.client.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: "no-red" },
      spec: { policyName: "no-red", validationActions: ["Deny"] },
    });
    await waitFor(
      () =>
        cluster.client.create("/api/v1/namespaces/default/configmaps?dryRun=All", configMap("probe", { colour: "red" })).then(
          () => false,
          () => true,
        ),
      { what: "the policy in force" },
    );
    await agent.accept(testTarget("admission", 1, [{ name: "web", objects: [configMap("red", { colour: "red" }), configMap("blue", { colour: "blue" })] }]));
    expect((await agent.waitForEvent("ApplyFailed", /red/)).message).toMatch(/red is not allowed here/);
    await waitFor(() => agent.objects.get("ConfigMap default/blue")?.sync === SyncState.SYNCED);
    await cluster.client.delete("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/no-red");
    await waitFor(() => agent.summary("admission")?.sync === SyncState.SYNCED, { what: "the retry", timeoutMs: 30_000 });
  });

  it("reports what RBAC refuses on that object only, with verb and resource, and goes on when it is granted", async () => {
    const rules = [
      { apiGroups: [""], resources: ["configmaps", "secrets", "namespaces"], verbs: ["*"] },
      { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch"] },
    ];
    const role = (granted: object[]) => ({ apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "limited" }, rules: granted });
    await cluster.client.create("/api/v1/namespaces/default/serviceaccounts", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "limited" } });
    await cluster.client.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", role(rules));
    await cluster.client.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "limited" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "limited" },
      subjects: [{ kind: "ServiceAccount", name: "limited", namespace: "default" }],
    });
    const { status } = await cluster.client.create("/api/v1/namespaces/default/serviceaccounts/limited/token", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {},
    });
    const kubeconfig = join(dirname(cluster.kubeconfig), "limited-kubeconfig");
    await writeFile(kubeconfig, (await readFile(cluster.kubeconfig, "utf8")).replaceAll(cluster.token, status.token as string), { mode: 0o600 });
    agent = await startEngine(cluster, { kubeconfig });
    open.push(agent);
    const service = { apiVersion: "v1", kind: "Service", metadata: { name: "refused", namespace: "default" }, spec: { ports: [{ port: 80 }] } };
    await agent.accept(testTarget("rbac", 1, [{ name: "web", objects: [service, configMap("allowed")] }]));
    expect((await agent.waitForEvent("ApplyFailed", /Service default\/refused/)).message).toMatch(/cannot patch resource "services"/);
    await waitFor(() => agent.objects.get("ConfigMap default/allowed")?.sync === SyncState.SYNCED);
    await cluster.client.replace("/apis/rbac.authorization.k8s.io/v1/clusterroles/limited", role([{ apiGroups: [""], resources: ["*"], verbs: ["*"] }]));
    await waitFor(() => agent.summary("rbac")?.sync === SyncState.SYNCED, { what: "the retry", timeoutMs: 30_000 });
  });

  it("leaves fields that a controller holds to it and names the controller, and takes over from kubectl", async () => {
    await start();
    await cluster.client.apply("/api/v1/namespaces/default/configmaps/held", configMap("held", { a: "theirs" }), "some-controller");
    await cluster.client.apply("/api/v1/namespaces/default/configmaps/manual", configMap("manual", { a: "by hand" }), "kubectl");
    await agent.accept(testTarget("conflict", 1, [{ name: "web", objects: [configMap("held", { a: "ours" }), configMap("manual", { a: "ours" })] }]));
    expect((await agent.waitForEvent("ApplyFailed", /held/)).message).toMatch(/contested: "some-controller" holds \.data\.a/);
    await agent.waitForEvent("TookOver", /manual from kubectl/);
    expect((await cluster.client.get("/api/v1/namespaces/default/configmaps/held")).data).toEqual({ a: "theirs" });
    expect((await cluster.client.get("/api/v1/namespaces/default/configmaps/manual")).data).toEqual({ a: "ours" });
  });

  it("lets a bundle wait for those it depends on, and says for what", async () => {
    await start();
    await agent.accept(
      testTarget("depends", 1, [
        { name: "base", objects: [deployment("slow")] },
        { name: "app", dependsOn: ["base"], objects: [configMap("after")] },
      ]),
    );
    await waitFor(() => /waits for bundle base: Deployment default\/slow/.test(agent.objects.get("ConfigMap default/after")?.message ?? ""), {
      what: "the reason",
    });
    // What waits is told before what it waits for is applied.
    await waitFor(() => cluster.client.find("/apis/apps/v1/namespaces/default/deployments/slow"), { what: "the other bundle" });
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/after")).toBeUndefined();
    await cluster.client.mergePatch("/apis/apps/v1/namespaces/default/deployments/slow/status", {
      status: {
        observedGeneration: 1,
        replicas: 1,
        updatedReplicas: 1,
        readyReplicas: 1,
        availableReplicas: 1,
        conditions: [{ type: "Available", status: "True" }],
      },
    });
    await waitFor(() => cluster.client.find("/api/v1/namespaces/default/configmaps/after"), { what: "the waiting bundle" });
    await waitFor(() => agent.summary("depends")?.health === Health.CURRENT && agent.summary("depends")?.sync === SyncState.SYNCED);
  });

  it("applies 2,000 objects, supersedes a target at once, and is done once with the newest", async () => {
    await start();
    const objects = (value: string) => Array.from({ length: 2_000 }, (_, i) => configMap(`many-${i}`, { value }));
    await agent.accept(testTarget("many", 1, [{ name: "web", objects: objects("1") }]));
    await waitFor(() => (agent.client.sent.PATCH ?? 0) > 300, { what: "a plan in the middle", everyMs: 5 });
    const before = agent.client.sent.PATCH ?? 0;
    await agent.sync(testTarget("many", 2, [{ name: "web", objects: objects("2") }]), 60_000);
    expect((agent.client.sent.PATCH ?? 0) - before).toBeLessThan(2_100);
    const last = await cluster.client.get("/api/v1/namespaces/default/configmaps/many-1999");
    expect(last.data).toEqual({ value: "2" });
    // So many do not fit in one report; each part has the whole summary.
    const told = () => [...agent.objects.keys()].filter((key) => key.includes("/many-")).length;
    await waitFor(() => told() === 2_000, { what: "the last part of the report" });
  });

  it("never reports a value of a Secret, not in drift, not in errors", async () => {
    await start();
    const secret = (password: string) => ({ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace: "default" }, stringData: { password } });
    await agent.sync(testTarget("secrets", 1, [{ name: "web", driftMode: 2, objects: [secret("correct-horse")] }]));
    await cluster.client.mergePatch("/api/v1/namespaces/default/secrets/s", { data: { password: Buffer.from("battery-staple").toString("base64") } });
    const drift = await agent.waitForEvent("DriftReported", /Secret/, 30_000);
    expect(drift.drift[0]?.path).toBe("/data/password");
    expect(drift.drift[0]?.live).toMatch(/hash:/);
    await agent.accept(testTarget("secrets", 2, [{ name: "web", objects: [{ ...secret("x"), type: "kubernetes.io/dockerconfigjson" }] }]));
    await agent.waitForEvent("ApplyFailed");
    const told = JSON.stringify(agent.reports, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    for (const value of ["correct-horse", "battery-staple"]) {
      expect(told).not.toContain(value);
      expect(told).not.toContain(Buffer.from(value).toString("base64"));
    }
  });
});
