import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, Health, startEngine, testTarget, type TestBundle, type TestEngine } from "../agent-fixture.ts";

let cluster: KubeCluster;
let agent: TestEngine;

beforeAll(async () => {
  cluster = await startKubeCluster({ name: "health-checks" });
  await cluster.client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
  await waitFor(() => cluster.client.find(widgets), { what: "widgets being served" });
  agent = await startEngine(cluster);
});

afterAll(async () => {
  await agent?.stop();
  await cluster?.stop();
});

const widgets = "/apis/test.example/v1/namespaces/default/widgets";
const definition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.test.example" },
  spec: {
    group: "test.example",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            },
          },
        },
      },
    ],
  },
};
const widget = (name: string) => ({ apiVersion: "test.example/v1", kind: "Widget", metadata: { name, namespace: "default" }, spec: { size: 2 } });
const bundle = (name: string, more: Partial<TestBundle> = {}): TestBundle => ({ name: "web", objects: [widget(name)], ...more });

/** What a controller of widgets would write. */
const writeStatus = (name: string, status: object) => cluster.client.mergePatch(`${widgets}/${name}/status`, { status });

async function becomes(name: string, health: Health, message: RegExp): Promise<void> {
  const state = () => agent.objects.get(`Widget default/${name}`);
  await waitFor(() => state()?.health === health && message.test(state()?.message ?? ""), {
    what: `Widget ${name} as ${health} ${message}`,
    everyMs: 10,
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it is health ${state()?.health}: ${state()?.message}`, { cause: error });
  });
}

describe("health checks of fleet.yaml", () => {
  const healthChecks = [{ kind: "Widget", inProgress: "status.phase == 'Working'", failed: "status.phase == 'Broken'", current: "status.ready >= spec.size" }];

  it("judge live objects by their expressions, as the objects change", async () => {
    await agent.sync(testTarget("judged", 1, [bundle("judged", { healthChecks })]));
    await becomes("judged", Health.IN_PROGRESS, /not yet status\.ready >= spec\.size/);
    await writeStatus("judged", { phase: "Working" });
    await becomes("judged", Health.IN_PROGRESS, /status\.phase == 'Working'/);
    await writeStatus("judged", { phase: "Up", ready: 2 });
    await becomes("judged", Health.CURRENT, /^$/);
    expect(agent.summary("judged")?.health).toBe(Health.CURRENT);
    await writeStatus("judged", { phase: "Broken" });
    await becomes("judged", Health.FAILED, /status\.phase == 'Broken'/);
    expect((await agent.waitForEvent("HealthChanged", /Widget default\/judged failed/)).bundle).toBe("web");
  });

  it("that are new judge also what was seen before them, without writing anything", async () => {
    await agent.sync(testTarget("later", 1, [bundle("later")]));
    await becomes("later", Health.CURRENT, /^$/);
    await agent.waitForQuiet();
    const before = agent.sent();
    await agent.sync(testTarget("later", 2, [bundle("later", { healthChecks: [{ kind: "Widget", current: "status.ready == true" }] })]));
    await becomes("later", Health.IN_PROGRESS, /not yet status\.ready == true/);
    await agent.sync(testTarget("later", 3, [bundle("later")]));
    await becomes("later", Health.CURRENT, /^$/);
    await agent.waitForQuiet();
    // The agent's own state is written; of the objects one is read, once for each change of its checks.
    const written = await cluster.client.get(`${widgets}/later`);
    expect(written.metadata.generation).toBe(1);
    expect((agent.sent().GET ?? 0) - (before.GET ?? 0)).toBeLessThanOrEqual(4);
  });

  it("that cannot be evaluated make their own objects Unknown, say why, and hold nothing else up", async () => {
    const checks = [{ kind: "Widget", current: "nosuch.function(1)" }];
    await agent.sync(testTarget("odd", 1, [bundle("odd", { healthChecks: checks, objects: [widget("odd"), configMap("beside")] })]));
    await becomes("odd", Health.UNKNOWN, /health check current: .*nosuch/);
    expect(agent.objects.get("ConfigMap default/beside")).toMatchObject({ health: Health.CURRENT });
  });

  it("hold a bundle that depends on theirs until they say Current", async () => {
    const waiting: TestBundle = { name: "after", dependsOn: ["web"], objects: [configMap("after")] };
    await agent.accept(testTarget("ordered", 1, [bundle("ordered", { healthChecks }), waiting]));
    await becomes("ordered", Health.IN_PROGRESS, /not yet/);
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/after")).toBeUndefined();
    await writeStatus("ordered", { ready: 2 });
    await waitFor(() => cluster.client.find("/api/v1/namespaces/default/configmaps/after"), { what: "the bundle that waited" });
  });
});
