import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuditedRequest, type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { deployment, Health, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";
import { agentAccount, createAccount, grant, grantState } from "./account-kubeconfig.ts";

let cluster: KubeCluster;
let agent: TestEngine;

beforeAll(async () => {
  cluster = await startKubeCluster({ name: "health-why", controllerManager: true, kubelet: true, auditLog: true });
  agent = await startEngine(cluster);
});

afterAll(async () => {
  await agent?.stop();
  await cluster?.stop();
});

const state = (name: string) => agent.objects.get(name);

/** Waits until an object says why it is not well. */
async function says(name: string, why: RegExp, timeoutMs = 25_000): Promise<void> {
  await waitFor(() => why.test(state(name)?.message ?? ""), { what: `${name} saying ${why}`, timeoutMs, everyMs: 20 }).catch((error: Error) => {
    throw new Error(`${error.message}; it says ${state(name)?.message}`, { cause: error });
  });
}

const withNodeSelector = (name: string, nodeSelector: Record<string, string>) => {
  const object = deployment(name);
  return { ...object, spec: { ...object.spec, template: { ...object.spec.template, spec: { ...object.spec.template.spec, nodeSelector } } } };
};

const statefulSet = (name: string, namespace: string) => ({
  apiVersion: "apps/v1",
  kind: "StatefulSet",
  metadata: { name, namespace },
  spec: {
    serviceName: name,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "example/app:1", securityContext: { privileged: true } }] } },
  },
});

/** Requests of the agent about pods and events: it asks for them for unhealthy objects only. */
async function looks(): Promise<AuditedRequest[]> {
  const requests = await cluster.auditedRequests();
  return requests.filter(({ userAgent, objectRef }) => userAgent === "flotilla-agent" && (objectRef?.resource === "pods" || objectRef?.resource === "events"));
}

describe("why something is not healthy", () => {
  it("is told in one line: the failing pod's reason, with exit code and what killed it, or why it finds no node", async () => {
    const objects = [
      deployment("fine"),
      deployment("unpulled", { image: "example/fail:1" }),
      deployment("crashing", { image: "example/crash:1" }),
      deployment("greedy", { image: "example/oom:1", replicas: 2 }),
      withNodeSelector("homeless", { disk: "ssd" }),
    ];
    await agent.sync(testTarget("ill", 1, [{ name: "web", objects }]));
    await says(
      "Deployment default/unpulled",
      /^0 of 1 replicas available; pod unpulled-\S+: main: ImagePullBackOff: Back-off pulling image "example\/fail:1"$/,
    );
    await says("Deployment default/crashing", /; pod crashing-\S+: main: CrashLoopBackOff, last exit code 1$/);
    await says("Deployment default/greedy", /; pod greedy-\S+ \(and 1 more\): main: CrashLoopBackOff, last exit code 137 \(OOMKilled\)$/);
    await says("Deployment default/homeless", /; pod homeless-\S+: Unschedulable: 0\/1 nodes are available/);
    expect(state("Deployment default/fine")).toMatchObject({ health: Health.CURRENT, message: "" });
    // It reaches the bundle's and the fleet's one line too.
    await waitFor(() => /pod \S+: main: |Unschedulable/.test(agent.summary("ill")?.message ?? ""), { what: "the fleet's line" });
    const asked = await looks();
    expect(asked.filter(({ requestURI }) => requestURI.includes("fine"))).toEqual([]);
  });

  it("is the newest warning of a pod whose own status tells nothing, cut and without control characters", async () => {
    const pods = await cluster.client.list("/api/v1/namespaces/default/pods?labelSelector=app%3Dunpulled");
    const event = (name: string, reason: string, message: string, lastTimestamp: string) => ({
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace: "default" },
      involvedObject: { apiVersion: "v1", kind: "Pod", namespace: "default", name: pods[0]?.metadata.name, uid: pods[0]?.metadata.uid },
      type: "Warning",
      reason,
      message,
      lastTimestamp,
      count: 4,
    });
    await cluster.client.create(
      "/api/v1/namespaces/default/events",
      event("pull", "Failed", `Failed to pull image:\nmanifest unknown\u001b[31m${"x".repeat(900)}`, "2026-11-25T02:00:00Z"),
    );
    await cluster.client.create("/api/v1/namespaces/default/events", event("back-off", "Failed", "Error: ImagePullBackOff", "2026-11-25T02:05:00Z"));
    await says("Deployment default/unpulled", /ImagePullBackOff.*; Failed ×4: Failed to pull image: manifest unknown \[31mx+…/);
    expect(state("Deployment default/unpulled")?.message.length).toBeLessThanOrEqual(512);
    expect(state("Deployment default/unpulled")?.message).not.toMatch(/[\u0000-\u001f]/);
  });

  it("is the object's own newest warning where it has no pods to tell of", async () => {
    await cluster.client.create("/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "strict", labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    await agent.sync(testTarget("strict", 1, [{ name: "db", objects: [statefulSet("privileged", "strict")] }]));
    await says("StatefulSet strict/privileged", /^0 of 1 replicas exist; FailedCreate.*violates PodSecurity "restricted/);
  });

  it("is gone when the object is healthy, and nothing is asked any more", async () => {
    const cure = [deployment("unpulled"), deployment("crashing"), deployment("fine")];
    await agent.accept(testTarget("ill", 2, [{ name: "web", objects: cure, pruneBudget: { objects: 10, percent: 0 } }]));
    await waitFor(() => cure.every(({ metadata }) => state(`Deployment default/${metadata.name}`)?.health === Health.CURRENT), {
      what: "health",
      timeoutMs: 40_000,
    });
    for (const { metadata } of cure) expect(state(`Deployment default/${metadata.name}`)?.message).toBe("");
    await agent.accept(
      testTarget("strict", 2, [{ name: "db", objects: [deployment("instead", { namespace: "default" })], pruneBudget: { objects: 10, percent: 0 } }]),
    );
    await waitFor(() => state("Deployment default/instead")?.health === Health.CURRENT, { what: "the other fleet's health" });
    await agent.waitForQuiet();
    // An object that is ill now and is explained is the clock: whatever was waiting to be asked before it would have been.
    const before = (await looks()).length;
    await agent.sync(testTarget("clock", 1, [{ name: "web", objects: [deployment("clock", { image: "example/fail:2" })] }]));
    await says("Deployment default/clock", /pod clock-/);
    const since = (await looks()).slice(before);
    const pods = await cluster.client.list("/api/v1/namespaces/default/pods?labelSelector=app%3Dclock");
    // A stateful set is not deleted without an approval: it is ill still, and may be asked about.
    const held = await cluster.client.get("/apis/apps/v1/namespaces/strict/statefulsets/privileged");
    const ill = ["app%3Dclock", "app%3Dprivileged", ...[...pods, held].map(({ metadata }) => metadata.uid ?? "none")];
    const ofOthers = since.filter(({ requestURI }) => !ill.some((part) => requestURI.includes(part)));
    expect(ofOthers.map(({ requestURI }) => requestURI)).toEqual([]);
    expect(since.length).toBeLessThanOrEqual(8);
  });

  it("says so when pods and events may not be read", async () => {
    await agent.stop();
    const kubeconfig = await createAccount(cluster, "flotilla-system", "flotilla-agent");
    await grantState(cluster);
    await grant(cluster, "", "deployments", [{ apiGroups: ["apps"], resources: ["deployments"], verbs: ["*"] }], agentAccount);
    agent = await startEngine(cluster, { kubeconfig });
    await says("Deployment default/clock", /0 of 1 replicas available; pods and events may not be read here$/);
  });
});
