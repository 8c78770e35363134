import { describe, expect, it } from "vitest";
import { inOneLine, podSelectorOf, tellReason, tellWarning, worstPod, type PodSeen } from "./health-reason.ts";

const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web", uid: "d" }, spec: { selector: { matchLabels: { app: "web" } } } };

const pod = (name: string, status: object, more: object = {}): PodSeen =>
  ({
    metadata: { name, uid: name, creationTimestamp: "2026-11-25T02:00:00Z", ownerReferences: [{ kind: "ReplicaSet", name: "web-5f", uid: "r" }], ...more },
    status,
  }) as PodSeen;
const ready = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
const waiting = (reason: string, message = "") => ({ phase: "Pending", containerStatuses: [{ name: "main", state: { waiting: { reason, message } } }] });
const unschedulable = {
  phase: "Pending",
  conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes are available: 1 Insufficient cpu." }],
};
const crashing = {
  phase: "Running",
  containerStatuses: [
    {
      name: "main",
      restartCount: 3,
      state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s" } },
      lastState: { terminated: { exitCode: 137, reason: "OOMKilled" } },
    },
  ],
};

describe("the selector of an object's pods", () => {
  it.each([
    [deployment, "app=web"],
    [
      {
        ...deployment,
        spec: {
          selector: {
            matchLabels: { a: "b" },
            matchExpressions: [
              { key: "tier", operator: "In", values: ["x", "y"] },
              { key: "old", operator: "DoesNotExist" },
            ],
          },
        },
      },
      "a=b,tier in (x,y),!old",
    ],
    [{ apiVersion: "v1", kind: "ReplicationController", spec: { selector: { app: "old" } } }, "app=old"],
    [{ apiVersion: "monitoring.coreos.com/v1", kind: "Prometheus", status: { selector: "prometheus=k8s" } }, "prometheus=k8s"],
    [{ apiVersion: "v1", kind: "Service", spec: { selector: { app: "web" } } }, undefined],
    [{ apiVersion: "v1", kind: "ConfigMap" }, undefined],
  ])("of %j is %s", (object, selector) => {
    expect(podSelectorOf(object)).toBe(selector);
  });
});

describe("the worst pod", () => {
  it("is one that cannot come up, before one that waits, before one that only starts", () => {
    const pods = [
      pod("fine", ready),
      pod("starts", waiting("ContainerCreating")),
      pod("waits", unschedulable),
      pod("broken", waiting("ImagePullBackOff", 'Back-off pulling image "x"')),
    ];
    expect(worstPod(pods, deployment)).toMatchObject({
      pod: { metadata: { name: "broken" } },
      words: 'main: ImagePullBackOff: Back-off pulling image "x"',
      others: 0,
    });
    expect(worstPod(pods.slice(0, 3), deployment)).toMatchObject({ words: "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu." });
    expect(worstPod(pods.slice(0, 2), deployment)).toMatchObject({ words: "pod is Pending", isSilent: true });
    expect(worstPod(pods.slice(0, 1), deployment)).toBeUndefined();
  });

  it("tells how a container ended before", () => {
    expect(worstPod([pod("a", crashing), pod("b", crashing)], deployment)).toMatchObject({
      words: "main: CrashLoopBackOff, last exit code 137 (OOMKilled)",
      others: 1,
    });
  });

  it("is never somebody else's, nor one that is being deleted", () => {
    const strange = pod("strange", crashing, { ownerReferences: [{ kind: "ReplicaSet", name: "webshop-1", uid: "x" }] });
    const bare = pod("bare", crashing, { ownerReferences: [] });
    const ending = pod("ending", crashing, { deletionTimestamp: "2026-11-25T02:00:00Z" });
    expect(worstPod([strange, bare, ending], deployment)).toBeUndefined();
  });
});

describe("the newest warning", () => {
  const event = (reason: string, message: string, lastTimestamp: string, more: object = {}) => ({ type: "Warning", reason, message, lastTimestamp, ...more });

  it("is told with its count, in one line, and cut", () => {
    const events = [
      event("FailedScheduling", "old", "2026-11-25T02:00:00Z"),
      event("FailedMount", "MountVolume.SetUp failed:\n\u001b[31msecret not found", "2026-11-25T02:01:00Z", { count: 7 }),
    ];
    expect(tellWarning(events, "Pod")).toBe("FailedMount ×7: MountVolume.SetUp failed: [31msecret not found");
    expect(tellWarning([event("X", "y".repeat(5_000), "2026-11-25T02:01:00Z")], "Pod").length).toBeLessThan(210);
    expect(tellWarning([], "Pod")).toBe("");
    expect(tellWarning([{ type: "Normal", reason: "Scheduled", message: "x" }], "Pod")).toBe("");
    const waits = { type: "Normal", reason: "WaitForFirstConsumer", message: "waiting for first consumer to be created before binding" };
    expect(tellWarning([waits], "PersistentVolumeClaim")).toBe("WaitForFirstConsumer: waiting for first consumer to be created before binding");
  });

  it("is one that says more than the status does", () => {
    const events = [
      event("Failed", 'Failed to pull image "x": not found', "2026-11-25T02:00:00Z"),
      event("Failed", "Error: ImagePullBackOff", "2026-11-25T02:01:00Z"),
    ];
    expect(tellWarning(events, "Pod")).toBe('Failed: Failed to pull image "x": not found');
  });

  it("about a Secret-like object is its reason only", () => {
    expect(tellWarning([event("UpdateFailed", "value hunter2 is not base64", "2026-11-25T02:00:00Z")], "ExternalSecret")).toBe("UpdateFailed");
  });
});

describe("the reason", () => {
  it("is one line of pod, its warning, or the object's own warning, and what could not be read", () => {
    const worst = worstPod([pod("web-1", waiting("ContainerCreating")), pod("web-2", waiting("ContainerCreating"))], deployment);
    expect(tellReason({ worst, podWarning: "FailedMount: no such volume", warning: "", unread: [] })).toBe(
      "pod web-1 (and 1 more): FailedMount: no such volume",
    );
    expect(tellReason({ worst, podWarning: "", warning: "", unread: ["events"] })).toBe("pod web-1 (and 1 more): pod is Pending; events may not be read here");
    expect(tellReason({ worst: undefined, podWarning: "", warning: "ProvisioningFailed: no class", unread: [] })).toBe("ProvisioningFailed: no class");
    expect(tellReason({ worst: undefined, podWarning: "", warning: "", unread: [] })).toBe("");
    expect(inOneLine("a\u0000b\u2028c", 10)).toBe("a b c");
  });
});
