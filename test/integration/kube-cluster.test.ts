import { afterAll, beforeAll, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { describeWith, kubeToolsWithControllers } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

const podTemplate = (app: string, image: string) => ({ metadata: { labels: { app } }, spec: { containers: [{ name: "main", image }] } });
const workload = (kind: string, name: string, image: string, more: object = {}) => ({
  apiVersion: "apps/v1",
  kind,
  metadata: { name },
  spec: { selector: { matchLabels: { app: name } }, template: podTemplate(name, image), ...more },
});

await describeWith(kubeToolsWithControllers, "a control plane of the harness", () => {
  let cluster: KubeCluster;
  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "harness", controllerManager: true, kubelet: true, auditLog: true });
  });
  afterAll(() => cluster.stop());
  const apps = "/apis/apps/v1/namespaces/default";

  it("runs Deployments, DaemonSets, StatefulSets with volumes, and Jobs", async () => {
    const claim = { metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } };
    await cluster.client.create(`${apps}/deployments`, workload("Deployment", "web", "nginx:1", { replicas: 2 }));
    await cluster.client.create(`${apps}/daemonsets`, workload("DaemonSet", "each", "nginx:1"));
    await cluster.client.create(`${apps}/statefulsets`, workload("StatefulSet", "db", "postgres:1", { serviceName: "db", volumeClaimTemplates: [claim] }));
    const job = {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: "once" },
      spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] } } },
    };
    await cluster.client.create("/apis/batch/v1/namespaces/default/jobs", job);
    const status = async (path: string) => (await cluster.client.get(path)).status;
    await waitFor(async () => (await status(`${apps}/deployments/web`)).readyReplicas === 2, { what: "the Deployment" });
    await waitFor(async () => (await status(`${apps}/daemonsets/each`)).numberReady === 1, { what: "the DaemonSet" });
    await waitFor(async () => (await status(`${apps}/statefulsets/db`)).readyReplicas === 1, { what: "the StatefulSet" });
    await waitFor(async () => (await status("/apis/batch/v1/namespaces/default/jobs/once")).succeeded === 1, { what: "the Job" });
  });

  it("lets an image fail", async () => {
    await cluster.client.create(`${apps}/deployments`, workload("Deployment", "broken", "registry.example.com/fail:1"));
    const reason = await waitFor(async () => {
      const [pod] = await cluster.client.list("/api/v1/namespaces/default/pods?labelSelector=app%3Dbroken");
      return pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason as string | undefined;
    });
    expect(reason).toBe("ImagePullBackOff");
  });

  it("collects garbage and finishes namespaces", async () => {
    await cluster.client.create("/api/v1/namespaces", { metadata: { name: "short-lived" } });
    await cluster.client.delete("/api/v1/namespaces/short-lived");
    await cluster.client.delete(`${apps}/deployments/web?propagationPolicy=Background`);
    await waitFor(async () => (await cluster.client.list("/api/v1/namespaces/default/pods?labelSelector=app%3Dweb")).length === 0, { what: "the pods' end" });
    await waitFor(async () => !(await cluster.client.find("/api/v1/namespaces/short-lived")), { what: "the namespace's end" });
  });

  it("says who asked for what, and keeps its objects over kill -9", async () => {
    await cluster.client.create("/api/v1/namespaces/default/configmaps", { metadata: { name: "kept" }, data: { a: "1" } });
    await cluster.kill9ApiServer();
    await cluster.restart();
    expect((await cluster.client.get("/api/v1/namespaces/default/configmaps/kept")).data).toEqual({ a: "1" });
    const created = (await cluster.auditedRequests()).find(
      (request) => request.verb === "create" && request.objectRef?.resource === "configmaps" && request.user.username === "admin",
    );
    expect(created?.responseStatus?.code).toBe(201);
  });
});

await describeWith(kubeToolsWithControllers, "two control planes on one etcd", () => {
  it("do not see each other's objects, and enforce Pod Security where asked", async () => {
    const [open, strict] = await Promise.all([startKubeCluster({ name: "open" }), startKubeCluster({ name: "strict", podSecurity: "restricted" })]);
    try {
      const pod = { metadata: { name: "root" }, spec: { containers: [{ name: "main", image: "nginx" }] } };
      await open.client.create("/api/v1/namespaces/default/pods", pod);
      await expect(strict.client.create("/api/v1/namespaces/default/pods", pod)).rejects.toThrow(/violates PodSecurity "restricted/);
      expect(await strict.client.list("/api/v1/namespaces/default/pods")).toEqual([]);
    } finally {
      await Promise.all([open.stop(), strict.stop()]);
    }
  });
});

await describeWith(["kube-apiserver", "etcd"], "an API server that is handed on", () => {
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "ships.sea.example.com" },
    spec: {
      group: "sea.example.com",
      scope: "Namespaced",
      names: { kind: "Ship", plural: "ships" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", properties: { deck: { type: "string" } } } } }],
    },
  };
  const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const ships = "/apis/sea.example.com/v1/namespaces/default/ships";
  const adminRole = "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin";
  const configMaps = "/api/v1/namespaces/default/configmaps";
  const denied = {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "deny" },
    webhooks: [
      {
        name: "deny.example.com",
        clientConfig: { url: "https://127.0.0.1:1/" },
        rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }],
        sideEffects: "None",
        admissionReviewVersions: ["v1"],
      },
    ],
  };

  it("knows nothing of the test before: objects, kinds, webhooks, changes to what it had by itself, requests", async () => {
    const first = await startKubeCluster({ name: "first", auditLog: true });
    const clean = (await first.client.list("/api/v1/namespaces")).length;
    await first.client.create(definitions, definition);
    await waitFor(() => first.client.create(ships, { apiVersion: "sea.example.com/v1", kind: "Ship", metadata: { name: "one" }, deck: "oak" }), {
      what: "a Ship",
    });
    await first.client.create("/api/v1/namespaces", { metadata: { name: "held", finalizers: ["example.com/held"] } });
    await first.client.create("/api/v1/namespaces/held/configmaps", { metadata: { name: "kept", finalizers: ["example.com/held"] } });
    await first.client.delete(adminRole);
    await first.client.mergePatch("/api/v1/namespaces/default", { metadata: { labels: { edited: "yes" } } });
    await first.client.create("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", denied);
    await waitFor(
      async () =>
        first.client.create(configMaps, { metadata: { generateName: "refused-" } }).then(
          () => false,
          () => true,
        ),
      { what: "the webhook's word" },
    );
    const pid = first.apiServerPid;
    await first.stop();

    const second = await startKubeCluster({ name: "second", auditLog: true });
    try {
      expect(second.apiServerPid).toBe(pid);
      expect(await second.client.list("/api/v1/namespaces")).toHaveLength(clean);
      expect(await second.client.list(configMaps)).toEqual([]);
      expect(await second.client.find(`${definitions}/ships.sea.example.com`)).toBeUndefined();
      expect(await second.client.find(adminRole)).toBeDefined();
      expect((await second.client.get("/api/v1/namespaces/default")).metadata.labels).not.toHaveProperty("edited");
      await second.client.create(configMaps, { metadata: { name: "allowed" } });
      expect((await second.auditedRequests()).filter(({ verb }) => verb === "delete")).toEqual([]);
      // The same kind with another schema, and what was stored of it before is gone.
      await second.client.create(definitions, { ...definition, spec: { ...definition.spec, names: { ...definition.spec.names, shortNames: ["sh"] } } });
      await waitFor(() => second.client.create(ships, { apiVersion: "sea.example.com/v1", kind: "Ship", metadata: { name: "two" } }), { what: "a Ship again" });
      expect((await second.client.list(ships)).map(({ metadata }) => metadata.name)).toEqual(["two"]);
    } finally {
      await second.stop();
    }
  });

  it("is not one that a test killed", async () => {
    const struck = await startKubeCluster({ name: "struck" });
    await struck.kill9ApiServer();
    await struck.restart();
    const pid = struck.apiServerPid;
    await struck.stop();
    const next = await startKubeCluster({ name: "next" });
    try {
      expect(next.apiServerPid).not.toBe(pid);
    } finally {
      await next.stop();
    }
  });
});
