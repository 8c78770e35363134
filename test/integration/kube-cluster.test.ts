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
