import { describe, expect, it } from "vitest";
import { assessHealth } from "./health.ts";
import type { HealthInput, HealthWord } from "./verdict.ts";

const ready = (status: string, more: object = {}) => ({ conditions: [{ type: "Ready", status, ...more }] });
const scaled = (replicas: number, updated: number, available: number, readyReplicas: number, more: object = {}) => ({
  observedGeneration: 1,
  replicas,
  updatedReplicas: updated,
  availableReplicas: available,
  readyReplicas,
  ...more,
});
const of = (apiVersion: string, kind: string, status?: object, spec: object = {}, metadata: object = {}): HealthInput => ({
  apiVersion,
  kind,
  metadata: { generation: 1, ...metadata },
  spec: spec as Record<string, unknown>,
  ...(status && { status: status as Record<string, unknown> }),
});

const cases: readonly (readonly [string, HealthInput, HealthWord, RegExp?])[] = [
  [
    "an object being deleted",
    of("v1", "ConfigMap", undefined, {}, { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["x/y"] }),
    "Terminating",
    /finalizers x\/y/,
  ],
  [
    "a spec its controller has not seen",
    of("example/v1", "X", { observedGeneration: 1, ...ready("True") }, {}, { generation: 2 }),
    "InProgress",
    /generation 1 of 2/,
  ],
  ["an object without status", of("v1", "ConfigMap"), "Current"],
  ["a custom resource that is ready", of("example/v1", "X", ready("True")), "Current"],
  [
    "a custom resource that is not ready",
    of("example/v1", "X", ready("False", { reason: "Waiting", message: "for a disk" })),
    "InProgress",
    /Ready=False \(Waiting\): for a disk/,
  ],
  ["a stalled custom resource", of("example/v1", "X", { conditions: [{ type: "Stalled", status: "True", reason: "Broken" }] }), "Failed", /Broken/],
  ["a reconciling custom resource", of("example/v1", "X", { conditions: [{ type: "Reconciling", status: "True" }] }), "InProgress"],
  ["a new Deployment", of("apps/v1", "Deployment", {}, { replicas: 1 }), "InProgress", /not seen/],
  [
    "a Deployment rolled out",
    of("apps/v1", "Deployment", scaled(2, 2, 2, 2, { conditions: [{ type: "Available", status: "True" }] }), { replicas: 2 }),
    "Current",
  ],
  ["a Deployment scaled to zero", of("apps/v1", "Deployment", { observedGeneration: 1 }, { replicas: 0 }), "Current"],
  ["a Deployment in the middle", of("apps/v1", "Deployment", scaled(3, 1, 2, 2), { replicas: 2 }), "InProgress", /1 of 2 replicas updated/],
  ["a Deployment with old replicas", of("apps/v1", "Deployment", scaled(3, 2, 2, 2), { replicas: 2 }), "InProgress", /1 old replicas/],
  [
    "a Deployment past its deadline",
    of("apps/v1", "Deployment", { observedGeneration: 1, conditions: [{ type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" }] }),
    "Failed",
    /ProgressDeadlineExceeded/,
  ],
  [
    "a StatefulSet rolled out",
    of(
      "apps/v1",
      "StatefulSet",
      { observedGeneration: 1, replicas: 1, readyReplicas: 1, currentReplicas: 1, currentRevision: "a", updateRevision: "a" },
      { replicas: 1 },
    ),
    "Current",
  ],
  [
    "a StatefulSet being updated",
    of("apps/v1", "StatefulSet", { observedGeneration: 1, replicas: 1, readyReplicas: 1, currentRevision: "a", updateRevision: "b" }, { replicas: 1 }),
    "InProgress",
  ],
  [
    "a StatefulSet updated to its partition",
    of(
      "apps/v1",
      "StatefulSet",
      { observedGeneration: 1, replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: "a", updateRevision: "b" },
      { replicas: 3, updateStrategy: { rollingUpdate: { partition: 2 } } },
    ),
    "Current",
  ],
  [
    "a DaemonSet rolled out",
    of("apps/v1", "DaemonSet", {
      observedGeneration: 1,
      desiredNumberScheduled: 2,
      currentNumberScheduled: 2,
      updatedNumberScheduled: 2,
      numberAvailable: 2,
      numberReady: 2,
    }),
    "Current",
  ],
  ["a DaemonSet on no node", of("apps/v1", "DaemonSet", { observedGeneration: 1, desiredNumberScheduled: 0 }), "Current"],
  [
    "a DaemonSet on its way",
    of("apps/v1", "DaemonSet", { observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1 }),
    "InProgress",
    /1 of 2 pods available/,
  ],
  ["a ReplicaSet", of("apps/v1", "ReplicaSet", { observedGeneration: 1, replicas: 1, availableReplicas: 1, readyReplicas: 1 }, { replicas: 1 }), "Current"],
  [
    "a ReplicaSet that may not make pods",
    of("apps/v1", "ReplicaSet", { observedGeneration: 1, conditions: [{ type: "ReplicaFailure", status: "True", reason: "FailedCreate" }] }),
    "InProgress",
    /FailedCreate/,
  ],
  ["a pod that runs", of("v1", "Pod", { phase: "Running", ...ready("True") }), "Current"],
  ["a pod that is done", of("v1", "Pod", { phase: "Succeeded" }), "Current"],
  [
    "a pod that crashes",
    of("v1", "Pod", { phase: "Running", containerStatuses: [{ name: "main", state: { waiting: { reason: "CrashLoopBackOff" } } }] }),
    "Failed",
    /main: CrashLoopBackOff/,
  ],
  [
    "a pod without its image",
    of("v1", "Pod", { phase: "Pending", initContainerStatuses: [{ name: "init", state: { waiting: { reason: "ImagePullBackOff" } } }] }),
    "Failed",
    /ImagePullBackOff/,
  ],
  [
    "a pod that fits nowhere",
    of("v1", "Pod", { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] }),
    "Failed",
    /Unschedulable/,
  ],
  ["a Job that runs", of("batch/v1", "Job", { startTime: "2026-01-01T00:00:00Z" }), "Current"],
  ["a Job that has not started", of("batch/v1", "Job", {}), "InProgress"],
  [
    "a Job that failed",
    of("batch/v1", "Job", { conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded" }] }),
    "Failed",
    /BackoffLimitExceeded/,
  ],
  ["a Job that is suspended", of("batch/v1", "Job", {}, { suspend: true }), "Current"],
  ["a claim that is bound", of("v1", "PersistentVolumeClaim", { phase: "Bound" }), "Current"],
  ["a claim that waits", of("v1", "PersistentVolumeClaim", { phase: "Pending" }), "InProgress", /Pending/],
  ["a claim that lost its volume", of("v1", "PersistentVolumeClaim", { phase: "Lost" }), "Failed"],
  ["a Service", of("v1", "Service", { loadBalancer: {} }, { type: "ClusterIP" }), "Current"],
  ["a load balancer without address", of("v1", "Service", { loadBalancer: {} }, { type: "LoadBalancer" }), "InProgress"],
  ["a load balancer with address", of("v1", "Service", { loadBalancer: { ingress: [{ ip: "10.0.0.1" }] } }, { type: "LoadBalancer" }), "Current"],
  ["a namespace", of("v1", "Namespace", { phase: "Active" }), "Current"],
  [
    "a definition that is established",
    of("apiextensions.k8s.io/v1", "CustomResourceDefinition", { conditions: [{ type: "Established", status: "True" }] }),
    "Current",
  ],
  [
    "a definition being installed",
    of("apiextensions.k8s.io/v1", "CustomResourceDefinition", { conditions: [{ type: "Established", status: "False", reason: "Installing" }] }),
    "InProgress",
  ],
  [
    "a definition whose names are taken",
    of("apiextensions.k8s.io/v1", "CustomResourceDefinition", { conditions: [{ type: "NamesAccepted", status: "False", reason: "Conflict" }] }),
    "Failed",
    /Conflict/,
  ],
  ["a disruption budget that is kept", of("policy/v1", "PodDisruptionBudget", { observedGeneration: 1, currentHealthy: 2, desiredHealthy: 1 }), "Current"],
  ["a disruption budget that is not", of("policy/v1", "PodDisruptionBudget", { observedGeneration: 1, currentHealthy: 0, desiredHealthy: 1 }), "InProgress"],
  [
    "an autoscaler that scales",
    of("autoscaling/v2", "HorizontalPodAutoscaler", {
      conditions: [
        { type: "AbleToScale", status: "True" },
        { type: "ScalingLimited", status: "True" },
      ],
    }),
    "Current",
  ],
  [
    "an autoscaler without metrics",
    of("autoscaling/v2", "HorizontalPodAutoscaler", { conditions: [{ type: "ScalingActive", status: "False", reason: "FailedGetResourceMetric" }] }),
    "Failed",
  ],
  [
    "an aggregated API that is away",
    of("apiregistration.k8s.io/v1", "APIService", { conditions: [{ type: "Available", status: "False", reason: "MissingEndpoints" }] }),
    "InProgress",
    /MissingEndpoints/,
  ],
];

describe("health", () => {
  for (const [what, object, health, message] of cases) {
    it(`of ${what} is ${health}`, () => {
      const verdict = assessHealth(object);
      expect(verdict.health).toBe(health);
      if (message) expect(verdict.message).toMatch(message);
    });
  }

  it("does not choke on a status of any shape", () => {
    for (const status of [{ conditions: "x" }, { conditions: [null, 1, { type: 5 }] }, { replicas: "many" }]) {
      expect(() => assessHealth(of("apps/v1", "Deployment", { observedGeneration: 1, ...status }))).not.toThrow();
    }
  });
});
