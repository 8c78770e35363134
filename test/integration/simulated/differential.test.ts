import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { rawClient, type RawClient } from "../../harness/simulated/raw-client.ts";
import { type SimulatedCluster, startSimulatedCluster } from "../../harness/simulated/simulated-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { type Step, widgetDefinition } from "./cases.ts";
import { neutral } from "./neutral.ts";

/**
 * Random writes by several managers, on both API servers: after each step answer, object, owners and refusals are the same. One
 * seed in every run of the tests, so that they say the same twice; others with SIMULATED_SEED, more runs with SIMULATED_RUNS.
 */

const group = "random.example";
const runs = Number(process.env.SIMULATED_RUNS ?? "12");
const seed = Number(process.env.SIMULATED_SEED ?? "577042");

const managers = fc.constantFrom("kubectl", "flotilla", "hpa");
const words = fc.constantFrom("1", "2", "");
const texts = fc.dictionary(fc.constantFrom("a", "b", "c"), words, { maxKeys: 3 });
const metadata = fc.record({ labels: texts, annotations: texts }, { requiredKeys: [] });

const configMaps = fc.record({ metadata, data: texts }, { requiredKeys: ["metadata"] });

const ports = fc.uniqueArray(
  fc.record({ containerPort: fc.constantFrom(80, 81), protocol: fc.constantFrom("TCP", "UDP") }, { requiredKeys: ["containerPort"] }),
  {
    selector: ({ containerPort, protocol = "TCP" }) => `${containerPort}${protocol}`,
    maxLength: 3,
  },
);
const environment = fc.uniqueArray(fc.record({ name: fc.constantFrom("A", "B", "C"), value: words }), { selector: ({ name }) => name, maxLength: 3 });
const container = fc.record(
  { name: fc.constantFrom("main", "side"), image: fc.constantFrom("x:1", "x:2", "y"), ports, env: environment, args: fc.array(words, { maxLength: 2 }) },
  { requiredKeys: ["name", "image"] },
);
const deployments = fc.record({
  metadata,
  spec: fc
    .record(
      {
        replicas: fc.nat(3),
        paused: fc.boolean(),
        strategy: fc.constantFrom({}, { type: "Recreate" }, { type: "RollingUpdate" }),
        containers: fc.uniqueArray(container, { selector: ({ name }) => name, minLength: 1, maxLength: 2 }),
      },
      { requiredKeys: ["containers"] },
    )
    .map(({ containers, ...spec }) => ({
      ...spec,
      selector: { matchLabels: { app: "x" } },
      template: { metadata: { labels: { app: "x" } }, spec: { containers } },
    })),
});

const servicePorts = fc.uniqueArray(
  fc.record(
    { name: fc.constantFrom("a", "b", "c"), port: fc.constantFrom(80, 81, 82), targetPort: fc.constantFrom("web", 8_080) },
    { requiredKeys: ["name", "port"] },
  ),
  { comparator: (a, b) => a.name === b.name || a.port === b.port, minLength: 1, maxLength: 3 },
);
const services = fc.record({
  metadata,
  spec: fc.record({ ports: servicePorts, selector: texts, sessionAffinity: fc.constantFrom("None", "ClientIP") }, { requiredKeys: ["ports"] }),
});

const widgets = fc.record({
  metadata,
  spec: fc.record(
    {
      size: fc.nat(4),
      label: words,
      ports: fc.uniqueArray(fc.record({ name: fc.constantFrom("a", "b", "c"), port: fc.nat(2) }, { requiredKeys: ["name"] }), {
        selector: ({ name }) => name,
        maxLength: 3,
      }),
      tags: fc.uniqueArray(fc.constantFrom("x", "y", "z"), { maxLength: 3 }),
      free: fc.dictionary(fc.constantFrom("a", "b"), fc.oneof(words, fc.array(words, { maxLength: 2 }), texts), { maxKeys: 2 }),
    },
    { requiredKeys: [] },
  ),
});

interface Subject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly path: string;
  readonly objects: fc.Arbitrary<object>;
}

const subjects: Readonly<Record<string, Subject>> = {
  ConfigMaps: { apiVersion: "v1", kind: "ConfigMap", path: "/api/v1/namespaces/default/configmaps", objects: configMaps },
  Deployments: { apiVersion: "apps/v1", kind: "Deployment", path: "/apis/apps/v1/namespaces/default/deployments", objects: deployments },
  Services: { apiVersion: "v1", kind: "Service", path: "/api/v1/namespaces/default/services", objects: services },
  "custom resources": { apiVersion: `${group}/v1`, kind: "Widget", path: `/apis/${group}/v1/namespaces/default/widgets`, objects: widgets },
};

type Act = "apply" | "force" | "merge" | "delete" | "create" | "replace";

function stepOf({ apiVersion, kind, path }: Subject, name: string, act: Act, manager: string, object: object): Step {
  const named = { apiVersion, kind, ...object, metadata: { ...(object as { metadata?: object }).metadata, name } };
  const query = `fieldManager=${manager}`;
  if (act === "apply" || act === "force")
    return { method: "PATCH", path: `${path}/${name}?${query}&force=${act === "force"}`, body: named, type: "application/apply-patch+yaml" };
  if (act === "merge") return { method: "PATCH", path: `${path}/${name}?${query}`, body: object, type: "application/merge-patch+json" };
  if (act === "replace") return { method: "PUT", path: `${path}/${name}?${query}`, body: named };
  if (act === "create") return { method: "POST", path: `${path}?${query}`, body: named };
  return { method: "DELETE", path: `${path}/${name}` };
}

await describeWith(kubeTools, "random writes of several managers come to the same on both API servers", () => {
  let real: KubeCluster;
  let simulated: SimulatedCluster;
  let clients: readonly RawClient[];
  let run = 0;

  beforeAll(async () => {
    [real, simulated] = await Promise.all([startKubeCluster({ name: "differential" }), startSimulatedCluster({ name: "differential" })]);
    clients = [rawClient(real), rawClient(simulated)];
    const definition: unknown = JSON.parse(JSON.stringify(widgetDefinition).replaceAll("GROUP", group));
    for (const client of clients) {
      await client.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
      await waitFor(async () => (await client.send("GET", `/apis/${group}/v1/namespaces/default/widgets`)).status === 200, { what: "the kind served" });
    }
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await Promise.all([real.stop(), simulated.stop()]);
  });

  it.each(Object.entries(subjects))(`of %s (seed ${seed}, ${runs} runs)`, async (_, subject) => {
    const acts = fc.constantFrom<Act>("apply", "apply", "apply", "force", "force", "merge", "merge", "replace", "create", "delete");
    const steps = fc.array(fc.tuple(acts, managers, subject.objects), { minLength: 4, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const name = `r-${(run += 1)}`;
        for (const [act, manager, object] of sequence) {
          const step = stepOf(subject, name, act, manager, object);
          const [expected, found] = await Promise.all(clients.map((client) => client.send(step.method, step.path, step.body, step.type)));
          expect(neutral(found!), `${step.method} ${step.path} ${JSON.stringify(step.body)}`).toEqual(neutral(expected!));
        }
      }),
      { seed, numRuns: runs, endOnFailure: process.env.SIMULATED_SHRINK === undefined },
    );
  });
});
