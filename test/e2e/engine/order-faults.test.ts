import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { authorityOf, createAuthority } from "@flotilla/hub/stream/certificate-authority";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, deployment, Health, keepTarget, startEngine, SyncState, testTarget, type TestEngine } from "../agent-fixture.ts";

const engineProcess = fileURLToPath(new URL("../agent-engine-process.ts", import.meta.url));

await describeWith(kubeTools, "order under faults", () => {
  let cluster: KubeCluster;
  const open: TestEngine[] = [];
  const start = async () => {
    const agent = await startEngine(cluster);
    open.push(agent);
    return agent;
  };
  const path = (name: string, namespace = "default") => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
  const find = (name: string, namespace?: string) => cluster.client.find(path(name, namespace));
  const deploymentPath = (name: string) => `/apis/apps/v1/namespaces/default/deployments/${name}`;
  const becomeReady = async (name: string) => {
    const { metadata } = await cluster.client.get(deploymentPath(name));
    const status = { observedGeneration: metadata.generation, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
    await cluster.client.mergePatch(`${deploymentPath(name)}/status`, { status });
  };
  const messageOf = (agent: TestEngine, name: string) => agent.objects.get(`ConfigMap default/${name}`)?.message ?? "";

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "order-faults", auditLog: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("a bundle waits until the expression over another's live objects holds, and says which one it is", async () => {
    const agent = await start();
    const expression = "bundle.applied == bundle.objects && objects['Deployment/default/r-db'].status.?readyReplicas.orValue(0) > 0";
    const db = { name: "db", objects: [deployment("r-db"), deployment("r-slow")] };
    const app = { name: "app", dependsOn: ["db"], readiness: [{ bundle: "db", expression }], objects: [configMap("r-app")] };
    await agent.accept(testTarget("ready", 1, [app, db]));
    await waitFor(() => messageOf(agent, "r-app").includes("waits for bundle db: not ready: bundle.applied"), { what: "the expression is told" });
    await becomeReady("r-db");
    // The other Deployment never becomes healthy: only what the expression says counts.
    await waitFor(() => find("r-app"), { what: "the bundle goes on" });
  });

  it("a dependency that takes too long is late, and is named with the object that blocks", async () => {
    const agent = await start();
    const deadlines = { dependsOn: { seconds: 1n } };
    const bundles = [
      { name: "db", objects: [deployment("t-db")] },
      { name: "app", dependsOn: ["db"], deadlines, objects: [configMap("t-app")] },
    ];
    await agent.accept(testTarget("too-long", 1, bundles));
    const event = await agent.waitForEvent("DeadlineExceeded");
    expect(event.message).toMatch(/bundle app: waiting for other bundles for longer than 1 s: waits for bundle db: Deployment default\/t-db/);
  });

  it("a webhook whose port is closed for half a minute holds up only what it is asked about, which is applied soon after it answers (fault 8)", async () => {
    const agent = await start();
    const authority = await authorityOf(await createAuthority());
    const { keyPem, chainPem } = await authority.issueServer(["127.0.0.1"]);
    const server = createServer({ key: keyPem, cert: chainPem }, (request, response) => {
      void (async () => {
        let text = "";
        for await (const chunk of request) text += String(chunk);
        const { uid } = (JSON.parse(text) as { request: { uid: string } }).request;
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true } }));
      })();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const webhook = {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "closed" },
      webhooks: [
        {
          name: "closed.test.example",
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
          failurePolicy: "Fail",
          objectSelector: { matchLabels: { asked: "yes" } },
          rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] }],
          clientConfig: { url: `https://127.0.0.1:${port}/`, caBundle: Buffer.from(authority.caPem).toString("base64") },
        },
      ],
    };
    await cluster.client.create("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", webhook);
    const asked = (name: string) => ({ ...configMap(name), metadata: { name, namespace: "default", labels: { asked: "yes" } } });
    await waitFor(
      () =>
        cluster.client.create("/api/v1/namespaces/default/configmaps?dryRun=All", asked("probe")).then(
          () => false,
          () => true,
        ),
      { what: "the webhook in force" },
    );
    await agent.accept(testTarget("webhook", 1, [{ name: "app", objects: [asked("w-asked"), configMap("w-sibling")] }]));
    await waitFor(() => find("w-sibling"), { what: "the sibling" });
    await waitFor(() => /failed calling webhook/.test(messageOf(agent, "w-asked")), { what: "the reason", timeoutMs: 20_000 });
    const closedUntil = Date.now() + 30_000;
    await waitFor(() => Date.now() > closedUntil, { what: "half a minute of a closed port", timeoutMs: 40_000 });
    expect(await find("w-asked")).toBeUndefined();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    await waitFor(() => agent.summary("webhook")?.sync === SyncState.SYNCED, { what: "it converges", timeoutMs: 60_000 });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await cluster.client.delete("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/closed");
  });

  it("an object held by a foreign finalizer is deleted once, is told as Terminating, and holds up nothing in other namespaces (fault 9)", async () => {
    const agent = await start();
    const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
    const base = [namespace("held"), namespace("free")];
    await agent.sync(
      testTarget("fin", 1, [{ name: "app", objects: [...base, configMap("stuck", { a: "1" }, "held"), configMap("other", { a: "1" }, "free")] }]),
    );
    await cluster.client.mergePatch(path("stuck", "held"), { metadata: { finalizers: ["test.example/never"] } });
    await agent.accept(testTarget("fin", 2, [{ name: "app", objects: [...base, configMap("other", { a: "2" }, "free")] }]));
    await waitFor(async () => (await find("stuck", "held"))?.metadata.deletionTimestamp, { what: "the delete" });
    await waitFor(() => /finalizers/.test(agent.objects.get("ConfigMap held/stuck")?.message ?? ""), { what: "the finalizer is told" });
    await agent.accept(
      testTarget("fin", 3, [{ name: "app", objects: [...base, configMap("other", { a: "3" }, "free"), configMap("more", { a: "1" }, "free")] }]),
    );
    await waitFor(async () => (await find("other", "free"))?.data.a === "3" && (await find("more", "free")), { what: "the other namespace" });
    const deletes = (await cluster.auditedRequests()).filter(
      ({ verb, objectRef, stage }) => verb === "delete" && objectRef?.name === "stuck" && stage === "ResponseComplete",
    );
    expect(deletes).toHaveLength(1);
    await cluster.client.mergePatch(path("stuck", "held"), { metadata: { finalizers: null } });
    await waitFor(() => agent.summary("fin")?.sync === SyncState.SYNCED, { what: "all is gone" });
  });

  it("a namespace that is being deleted takes nothing, is told so, holds up no other namespace, and is made again when it is gone (fault 9)", async () => {
    const agent = await start();
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "ending" } };
    const inside = configMap("inside", { a: "1" }, "ending");
    const target = (generation: number, a: string) =>
      testTarget("ending", generation, [{ name: "app", objects: [namespace, inside, configMap("late", { a }, "ending"), configMap("e-other", { a })] }]);
    await agent.sync(testTarget("ending", 1, [{ name: "app", objects: [namespace, inside, configMap("e-other", { a: "1" })] }]));
    await cluster.client.delete("/api/v1/namespaces/ending");
    await waitFor(async () => (await cluster.client.get("/api/v1/namespaces/ending")).metadata.deletionTimestamp, { what: "the namespace being deleted" });
    for (const [generation, a] of ["2", "3"].entries()) {
      await agent.accept(target(generation + 2, a));
      await waitFor(async () => (await find("e-other"))?.data.a === a, { what: "the other namespace" });
    }
    await waitFor(() => /being terminated/.test(agent.objects.get("ConfigMap ending/late")?.message ?? ""), { what: "the reason is told" });
    await waitFor(() => agent.objects.get("Namespace ending")?.health === Health.TERMINATING, { what: "the namespace told as Terminating" });
    // Nobody runs the namespace controller here: its last step is the test's.
    await cluster.client.replace("/api/v1/namespaces/ending/finalize", { ...namespace, spec: { finalizers: [] } });
    await waitFor(async () => (await find("late", "ending"))?.data.a === "3", { what: "the namespace made again with what belongs in it", timeoutMs: 60_000 });
    await waitFor(() => agent.summary("ending")?.sync === SyncState.SYNCED, { what: "it converges", timeoutMs: 60_000 });
    const deletes = (await cluster.auditedRequests()).filter(({ verb, userAgent, objectRef }) => {
      return verb === "delete" && userAgent === "flotilla-agent" && (objectRef?.namespace === "ending" || objectRef?.name === "ending");
    });
    expect(deletes).toEqual([]);
  });

  it("deletes go backwards through the stages, each when the later one is gone", async () => {
    const agent = await start();
    const staged = (name: string, stage: number) => ({
      ...configMap(name),
      metadata: { name, namespace: "default", annotations: { "flotilla.dev/stage": String(stage) } },
    });
    const kept = Array.from({ length: 3 }, (_, index) => configMap(`k-${index}`));
    await agent.sync(testTarget("back", 1, [{ name: "app", objects: [...kept, staged("p-low", -1), staged("p-mid", 0), staged("p-high", 2)] }]));
    await cluster.client.mergePatch(path("p-high"), { metadata: { finalizers: ["test.example/slow"] } });
    await agent.accept(testTarget("back", 2, [{ name: "app", objects: kept }]));
    await waitFor(() => /ConfigMap default\/p-high of a later stage is to be gone before/.test(messageOf(agent, "p-low")), { what: "the wait is told" });
    expect([await find("p-mid"), await find("p-low")]).not.toContain(undefined);
    await cluster.client.mergePatch(path("p-high"), { metadata: { finalizers: null } });
    await waitFor(async () => (await find("p-low")) === undefined, { what: "the lowest stage is gone" });
    const order = (await cluster.auditedRequests())
      .filter(({ verb, objectRef }) => verb === "delete" && /^p-/.test(objectRef?.name ?? ""))
      .map(({ objectRef }) => objectRef?.name);
    expect([...new Set(order)]).toEqual(["p-high", "p-mid", "p-low"]);
  });

  it.for(["before-start-hook", "after-start-hook"])("an agent killed at %s runs the hook once, and leaves no orphan", async (failpoint) => {
    const fleet = `kill-${failpoint}`;
    const job = {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: fleet, namespace: "default", annotations: { "flotilla.dev/hook": "pre" } },
      spec: { suspend: true, template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "example/job:1" }] } } },
    };
    await keepTarget(cluster, testTarget(fleet, 1, [{ name: "app", objects: [job, configMap(`${fleet}-config`)] }]));
    const child = fork(engineProcess, [cluster.kubeconfig], { env: { ...process.env, FLOTILLA_FAILPOINT: `${failpoint}:1` }, stdio: "inherit", execArgv: [] });
    const [, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    expect(signal).toBe("SIGKILL");
    const agent = await start();
    await waitFor(() => agent.events.some(({ reason, message }) => reason === "HookStarted" && message.includes(fleet)), { what: "the hook" });
    const made = (await cluster.auditedRequests()).filter(
      ({ verb, objectRef, responseStatus }) => verb === "patch" && objectRef?.name === fleet && responseStatus?.code === 201,
    );
    expect(made).toHaveLength(1);
    // Git takes it back: what the killed agent made is known, and goes.
    await agent.accept(testTarget(fleet, 2, [{ name: "app", objects: [configMap(`${fleet}-config`)] }]));
    await waitFor(async () => (await cluster.client.find(`/apis/batch/v1/namespaces/default/jobs/${fleet}`)) === undefined, { what: "the hook is pruned" });
  });
});
