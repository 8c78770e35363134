import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { crd, deployment, Health, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";

let cluster: KubeCluster;
let agent: TestEngine;

beforeAll(async () => {
  cluster = await startKubeCluster({ name: "health-kinds", controllerManager: true, kubelet: true });
  agent = await startEngine(cluster);
});

afterAll(async () => {
  await agent?.stop();
  await cluster?.stop();
});

const inShop = (apiVersion: string, kind: string, name: string, content: object) => ({
  apiVersion,
  kind,
  metadata: { name, namespace: "default" },
  ...content,
});
const pods = (image: string) => ({ metadata: { labels: { app: "x" } }, spec: { restartPolicy: "Never", containers: [{ name: "main", image }] } });
const service = (name: string, type: string) => inShop("v1", "Service", name, { spec: { type, ports: [{ port: 80 }], selector: { app: name } } });

const objects = [
  inShop("batch/v1", "Job", "done", { spec: { template: pods("example/app:1") } }),
  inShop("batch/v1", "Job", "stuck", { spec: { template: pods("example/fail:1") } }),
  inShop("batch/v1", "Job", "waits", { spec: { suspend: true, template: pods("example/app:1") } }),
  inShop("batch/v1", "CronJob", "nightly", { spec: { schedule: "0 3 * * *", suspend: true, jobTemplate: { spec: { template: pods("example/app:1") } } } }),
  inShop("v1", "PersistentVolumeClaim", "disk", { spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } }),
  service("plain", "ClusterIP"),
  service("public", "LoadBalancer"),
  inShop("networking.k8s.io/v1", "Ingress", "nobody", { spec: { defaultBackend: { service: { name: "plain", port: { number: 80 } } } } }),
  deployment("scaled"),
  inShop("autoscaling/v2", "HorizontalPodAutoscaler", "scaled", {
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "scaled" },
      maxReplicas: 3,
      metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }],
    },
  }),
  inShop("policy/v1", "PodDisruptionBudget", "kept", { spec: { minAvailable: 1, selector: { matchLabels: { app: "scaled" } } } }),
  inShop("policy/v1", "PodDisruptionBudget", "broken", { spec: { minAvailable: 1, selector: { matchLabels: { app: "unpulled" } } } }),
  deployment("unpulled", { image: "example/fail:1" }),
  inShop("v1", "ResourceQuota", "roomy", { spec: { hard: { pods: "100" } } }),
  inShop("coordination.k8s.io/v1", "Lease", "lease", { spec: { holderIdentity: "somebody" } }),
  crd("boats", "Boat"),
  {
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: "v1.away.example" },
    spec: {
      group: "away.example",
      version: "v1",
      groupPriorityMinimum: 100,
      versionPriority: 100,
      service: { namespace: "default", name: "away", port: 443 },
      insecureSkipTLSVerify: true,
    },
  },
];

const expected: readonly (readonly [object: string, health: Health, message: RegExp])[] = [
  ["Job default/done", Health.CURRENT, /^$/],
  ["Job default/stuck", Health.IN_PROGRESS, /1 pods run, 0 of 1 succeeded; pod stuck-\S+: main: ImagePullBackOff/],
  ["Job default/waits", Health.CURRENT, /^suspended$/],
  ["CronJob default/nightly", Health.CURRENT, /^suspended$/],
  ["PersistentVolumeClaim default/disk", Health.CURRENT, /^$/],
  ["Service default/plain", Health.CURRENT, /^$/],
  ["Service default/public", Health.CURRENT, /^$/],
  ["Ingress default/nobody", Health.IN_PROGRESS, /^no ingress controller has given it an address yet/],
  ["Deployment default/scaled", Health.CURRENT, /^$/],
  ["HorizontalPodAutoscaler default/scaled", Health.IN_PROGRESS, /ScalingActive=False \(FailedGetResourceMetric\)/],
  ["PodDisruptionBudget default/kept", Health.CURRENT, /^$/],
  ["PodDisruptionBudget default/broken", Health.IN_PROGRESS, /^0 of 1 pods healthy; pod unpulled-\S+: main: ImagePullBackOff/],
  ["ResourceQuota default/roomy", Health.CURRENT, /^$/],
  ["Lease default/lease", Health.CURRENT, /^$/],
  ["CustomResourceDefinition boats.test.example", Health.CURRENT, /^$/],
  ["APIService v1.away.example", Health.IN_PROGRESS, /Available=False \(ServiceNotFound\)/],
];

describe("the health of built-in kinds, as their own controllers write their status", () => {
  beforeAll(async () => {
    await agent.sync(testTarget("kinds", 1, [{ name: "all", objects }]), 60_000);
  });

  it.each(expected)("of %s", async (object, health, message) => {
    const state = () => agent.objects.get(object);
    await waitFor(() => state()?.health === health && message.test(state()?.message ?? ""), {
      what: `${object} as ${health} ${message}`,
      timeoutMs: 40_000,
    }).catch((error: Error) => {
      throw new Error(`${error.message}; it is ${state()?.health}: ${state()?.message}`, { cause: error });
    });
  });

  it("rolls up to the worst, with counts of each", () => {
    const summary = agent.summary("kinds");
    expect(summary?.health).toBe(Health.IN_PROGRESS);
    const counted = (summary?.healthy ?? 0) + (summary?.healthCounts?.inProgress ?? 0);
    expect([summary?.objects, counted, summary?.healthCounts?.failed]).toEqual([objects.length, objects.length, 0]);
  });
});
