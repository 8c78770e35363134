import { describe, expect, it } from "vitest";
import { builtInRule, listBuiltIn } from "./health-rules.ts";
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
  [
    "a ReplicationController",
    of("v1", "ReplicationController", { observedGeneration: 1, replicas: 1, availableReplicas: 0, readyReplicas: 0 }),
    "InProgress",
    /0 of 1/,
  ],
  ["a node that is ready", of("v1", "Node", ready("True")), "Current"],
  ["a node that nobody heard of", of("v1", "Node", ready("Unknown", { reason: "NodeStatusUnknown" })), "InProgress", /NodeStatusUnknown/],
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
    of("v1", "Pod", { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes are available" }] }),
    "InProgress",
    /Unschedulable: 0\/3 nodes/,
  ],
  [
    "a pod that ran out of memory again and again",
    of("v1", "Pod", {
      phase: "Running",
      containerStatuses: [
        {
          name: "main",
          restartCount: 4,
          state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s restarting failed container" } },
          lastState: { terminated: { exitCode: 137, reason: "OOMKilled" } },
        },
      ],
    }),
    "Failed",
    /^main: CrashLoopBackOff, last exit code 137 \(OOMKilled\)$/,
  ],
  [
    "a pod whose container ended badly a moment ago",
    of("v1", "Pod", { phase: "Running", containerStatuses: [{ name: "main", state: { terminated: { exitCode: 1, reason: "Error" } } }] }),
    "InProgress",
    /^main: exit code 1$/,
  ],
  ["a pod that was evicted", of("v1", "Pod", { phase: "Failed", reason: "Evicted" }), "Failed", /pod failed: Evicted/],
  [
    "a pod that starts",
    of("v1", "Pod", {
      phase: "Pending",
      conditions: [{ type: "Ready", status: "False", reason: "ContainersNotReady" }],
      containerStatuses: [{ name: "main", state: { waiting: { reason: "ContainerCreating" } } }],
    }),
    "InProgress",
    /ContainersNotReady/,
  ],
  ["a Job that runs", of("batch/v1", "Job", { startTime: "2026-01-01T00:00:00Z", active: 1, ready: 1 }), "InProgress", /1 pods run, 0 of 1 succeeded/],
  [
    "a Job that is done",
    of("batch/v1", "Job", { startTime: "2026-01-01T00:00:00Z", succeeded: 1, conditions: [{ type: "Complete", status: "True" }] }),
    "Current",
  ],
  [
    "a Job that is about to be given up",
    of("batch/v1", "Job", { startTime: "2026-01-01T00:00:00Z", conditions: [{ type: "FailureTarget", status: "True", reason: "DeadlineExceeded" }] }),
    "Failed",
    /DeadlineExceeded/,
  ],
  ["a CronJob", of("batch/v1", "CronJob", {}), "Current"],
  [
    "a CronJob whose last run failed",
    of("batch/v1", "CronJob", { lastScheduleTime: "2026-01-02T00:00:00Z", lastSuccessfulTime: "2026-01-01T00:00:05Z" }),
    "Current",
    /run of 2026-01-02T00:00:00Z did not succeed/,
  ],
  [
    "a CronJob whose run goes on",
    of("batch/v1", "CronJob", { lastScheduleTime: "2026-01-02T00:00:00Z", lastSuccessfulTime: "2026-01-01T00:00:05Z", active: [{ name: "x" }] }),
    "Current",
    /^$/,
  ],
  ["a CronJob that is suspended", of("batch/v1", "CronJob", {}, { suspend: true }), "Current", /suspended/],
  ["a volume that is free", of("v1", "PersistentVolume", { phase: "Available" }), "Current"],
  ["a volume that failed", of("v1", "PersistentVolume", { phase: "Failed", reason: "RecycleFailed" }), "Failed", /RecycleFailed/],
  ["a volume that is made", of("v1", "PersistentVolume", { phase: "Pending" }), "InProgress"],
  ["an Ingress without address", of("networking.k8s.io/v1", "Ingress", { loadBalancer: {} }), "InProgress", /no ingress controller/],
  ["an Ingress with address", of("networking.k8s.io/v1", "Ingress", { loadBalancer: { ingress: [{ hostname: "lb.example.com" }] } }), "Current"],
  ["a NetworkPolicy with whatever status", of("networking.k8s.io/v1", "NetworkPolicy", ready("False")), "Current"],
  ["a range of service addresses", of("networking.k8s.io/v1", "ServiceCIDR", ready("True")), "Current"],
  ["a request for a certificate nobody approved", of("certificates.k8s.io/v1", "CertificateSigningRequest", {}), "InProgress", /approval/],
  [
    "a request for a certificate that was denied",
    of("certificates.k8s.io/v1", "CertificateSigningRequest", { conditions: [{ type: "Denied", status: "True", reason: "Policy" }] }),
    "Failed",
    /Denied=True \(Policy\)/,
  ],
  [
    "a request for a certificate that was signed",
    of("certificates.k8s.io/v1", "CertificateSigningRequest", { certificate: "LS0t", conditions: [{ type: "Approved", status: "True" }] }),
    "Current",
  ],
  [
    "a webhook whose authority is still to be written in",
    {
      ...of("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", undefined, {}, { annotations: { "cert-manager.io/inject-ca-from": "a/b" } }),
      webhooks: [{ clientConfig: {} }],
    },
    "InProgress",
    /caBundle is not written in yet/,
  ],
  [
    "a webhook with its authority",
    {
      ...of("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", undefined, {}, { annotations: { "cert-manager.io/inject-ca-from": "a/b" } }),
      webhooks: [{ clientConfig: { caBundle: "LS0t" } }],
    },
    "Current",
  ],
  [
    "a webhook that needs none",
    { ...of("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"), webhooks: [{ clientConfig: { url: "https://x" } }] },
    "Current",
  ],
  [
    "an admission policy with a doubtful expression",
    of("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", {
      observedGeneration: 1,
      typeChecking: { expressionWarnings: [{ fieldRef: "spec.validations[0].expression", warning: "undefined field 'x'" }] },
    }),
    "Current",
    /undefined field/,
  ],
  [
    "a flow schema without its priority level",
    of("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", { conditions: [{ type: "Dangling", status: "True", reason: "NotFound" }] }),
    "InProgress",
    /Dangling/,
  ],
  ["a migration that failed", of("storagemigration.k8s.io/v1", "StorageVersionMigration", { conditions: [{ type: "Failed", status: "True" }] }), "Failed"],
  ["a migration that is done", of("storagemigration.k8s.io/v1", "StorageVersionMigration", { conditions: [{ type: "Succeeded", status: "True" }] }), "Current"],
  [
    "a volume that cannot be attached",
    of("storage.k8s.io/v1", "VolumeAttachment", { attached: false, attachError: { message: "node is gone" } }),
    "InProgress",
    /node is gone/,
  ],
  ...["ConfigMap", "Secret", "ServiceAccount", "ResourceQuota", "LimitRange", "Endpoints"].map((kind) => [`a ${kind}`, of("v1", kind), "Current"] as const),
  ["a Lease", of("coordination.k8s.io/v1", "Lease"), "Current"],
  ["a claim on a device that nobody uses yet", of("resource.k8s.io/v1", "ResourceClaim", {}), "Current"],
  [
    "a Deployment that may make no pods",
    of("apps/v1", "Deployment", {
      observedGeneration: 1,
      conditions: [{ type: "ReplicaFailure", status: "True", reason: "FailedCreate", message: "exceeded quota: small" }],
    }),
    "InProgress",
    /0 of 1 replicas exist: ReplicaFailure=True \(FailedCreate\): exceeded quota/,
  ],
  ["a Deployment that is paused", of("apps/v1", "Deployment", scaled(2, 1, 2, 2), { replicas: 2, paused: true }), "Current", /paused/],
  [
    "a StatefulSet that a person replaces",
    of(
      "apps/v1",
      "StatefulSet",
      { observedGeneration: 1, replicas: 2, readyReplicas: 2, updatedReplicas: 1, currentRevision: "a", updateRevision: "b" },
      { replicas: 2, updateStrategy: { type: "OnDelete" } },
    ),
    "Current",
    /1 replicas wait to be deleted/,
  ],
  [
    "a StatefulSet that a person replaces, and that is not ready",
    of("apps/v1", "StatefulSet", { observedGeneration: 1, replicas: 2, readyReplicas: 1 }, { replicas: 2, updateStrategy: { type: "OnDelete" } }),
    "InProgress",
  ],
  [
    "a StatefulSet whose pods are ready but not for long enough",
    of(
      "apps/v1",
      "StatefulSet",
      { observedGeneration: 1, replicas: 1, readyReplicas: 1, availableReplicas: 0, currentRevision: "a", updateRevision: "a" },
      { replicas: 1, minReadySeconds: 30 },
    ),
    "InProgress",
    /0 of 1 replicas available/,
  ],
  [
    "a disruption budget that cannot be worked out",
    of("policy/v1", "PodDisruptionBudget", {
      observedGeneration: 1,
      currentHealthy: 1,
      desiredHealthy: 1,
      conditions: [{ type: "DisruptionAllowed", status: "False", reason: "SyncFailed", message: "no scale subresource" }],
    }),
    "InProgress",
    /no scale subresource/,
  ],
  [
    "a custom resource that is not available",
    of("example/v1", "X", { conditions: [{ type: "Available", status: "False", reason: "Starts" }] }),
    "InProgress",
    /Starts/,
  ],
  ["a custom resource that cannot be synced", of("example/v1", "X", { conditions: [{ type: "Synced", status: "False", reason: "ReconcileError" }] }), "Failed"],
  ["a custom resource with a status of its own", of("example/v1", "X", { phase: "Whatever" }), "Current"],
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
    "InProgress",
    /FailedGetResourceMetric/,
  ],
  [
    "an autoscaler that asks for nonsense",
    of("autoscaling/v2", "HorizontalPodAutoscaler", { conditions: [{ type: "ScalingActive", status: "False", reason: "InvalidSelector" }] }),
    "Failed",
  ],
  [
    "an autoscaler of a workload scaled to nothing",
    of("autoscaling/v2", "HorizontalPodAutoscaler", { conditions: [{ type: "ScalingActive", status: "False", reason: "ScalingDisabled" }] }),
    "Current",
  ],
  [
    "an autoscaler of the old version, with conditions in an annotation",
    of(
      "autoscaling/v1",
      "HorizontalPodAutoscaler",
      {},
      {},
      {
        annotations: { "autoscaling.alpha.kubernetes.io/conditions": '[{"type":"AbleToScale","status":"False","reason":"FailedGetScale"}]' },
      },
    ),
    "InProgress",
    /FailedGetScale/,
  ],
  ["an autoscaler nobody looked at", of("autoscaling/v1", "HorizontalPodAutoscaler", {}), "InProgress", /not seen/],
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

  it("waits without end for a Job whose pods run well, and not for one whose pods fail or do not start", () => {
    const job = (status: object) => assessHealth(of("batch/v1", "Job", { startTime: "2026-01-01T00:00:00Z", ...status })).isPatient ?? false;
    expect(job({ active: 1, ready: 1 })).toBe(true);
    expect(job({ active: 1, ready: 0 })).toBe(false);
    expect(job({ active: 1, ready: 1, failed: 2 })).toBe(false);
  });

  it("has a rule or none for every built-in kind on purpose", () => {
    const kinds = listBuiltIn().flatMap(({ group, kinds: names }) => names.map((kind) => `${group}/${kind}`));
    expect(kinds).toContain("batch/Job");
    expect(new Set(kinds).size).toBe(kinds.length);
    // What the tables above judge by a rule of its own has one in the listing.
    const judged = cases.map(([, { apiVersion = "", kind }]) => `${apiVersion.includes("/") ? apiVersion.split("/")[0] : ""}/${kind}`);
    expect(kinds.filter((kind) => !judged.includes(kind))).toEqual([]);
  });

  it("judges no kind of Kubernetes by conditions that it does not know", () => {
    const kinds =
      `/ConfigMap /Endpoints /Event /LimitRange /Namespace /Node /PersistentVolume /PersistentVolumeClaim /Pod /PodTemplate /ReplicationController /ResourceQuota /Secret
      /Service /ServiceAccount admissionregistration.k8s.io/MutatingWebhookConfiguration admissionregistration.k8s.io/ValidatingWebhookConfiguration
      admissionregistration.k8s.io/ValidatingAdmissionPolicy admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding admissionregistration.k8s.io/MutatingAdmissionPolicy
      admissionregistration.k8s.io/MutatingAdmissionPolicyBinding apiextensions.k8s.io/CustomResourceDefinition apiregistration.k8s.io/APIService apps/ControllerRevision apps/DaemonSet
      apps/Deployment apps/ReplicaSet apps/StatefulSet autoscaling/HorizontalPodAutoscaler batch/CronJob batch/Job certificates.k8s.io/CertificateSigningRequest
      coordination.k8s.io/Lease discovery.k8s.io/EndpointSlice events.k8s.io/Event flowcontrol.apiserver.k8s.io/FlowSchema flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration
      networking.k8s.io/Ingress networking.k8s.io/IngressClass networking.k8s.io/NetworkPolicy networking.k8s.io/IPAddress networking.k8s.io/ServiceCIDR node.k8s.io/RuntimeClass
      policy/PodDisruptionBudget rbac.authorization.k8s.io/ClusterRole rbac.authorization.k8s.io/ClusterRoleBinding rbac.authorization.k8s.io/Role rbac.authorization.k8s.io/RoleBinding
      resource.k8s.io/DeviceClass resource.k8s.io/ResourceClaim resource.k8s.io/ResourceClaimTemplate resource.k8s.io/ResourceSlice resource.k8s.io/DeviceTaintRule
      scheduling.k8s.io/PriorityClass storage.k8s.io/CSIDriver storage.k8s.io/CSINode storage.k8s.io/CSIStorageCapacity storage.k8s.io/StorageClass storage.k8s.io/VolumeAttachment
      storage.k8s.io/VolumeAttributesClass`.split(/\s+/);
    expect(kinds.length).toBe(60);
    for (const kind of kinds) {
      const slash = kind.indexOf("/");
      expect(builtInRule(kind.slice(0, slash), kind.slice(slash + 1)), kind).toBeDefined();
    }
    expect(builtInRule("example.org", "Widget")).toBeUndefined();
  });

  it("does not choke on a status of any shape", () => {
    for (const status of [{ conditions: "x" }, { conditions: [null, 1, { type: 5 }] }, { replicas: "many" }]) {
      expect(() => assessHealth(of("apps/v1", "Deployment", { observedGeneration: 1, ...status }))).not.toThrow();
    }
  });
});
