import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { rawClient, type RawClient } from "../../harness/simulated/raw-client.ts";
import { type SimulatedCluster, startSimulatedCluster } from "../../harness/simulated/simulated-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { cases, type Step, widgetDefinition } from "./cases.ts";
import { neutral } from "./neutral.ts";

/** One contract for the real kube-apiserver and the simulated one. What a test says of one must hold for the other, word by word. */

const group = "contract.example";
const definitionPath = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.${group}`;

function placed<T>(value: T, namespace: string): T {
  return JSON.parse(JSON.stringify(value).replaceAll("NS", namespace).replaceAll("GROUP", group)) as T;
}

async function defineWidgets(client: RawClient): Promise<void> {
  await client.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", placed(widgetDefinition, ""));
  await waitFor(async () => (await client.send("GET", `/apis/${group}/v1/namespaces/default/widgets`)).status === 200, { what: "the kind served" });
}

await describeWith(kubeTools, "the simulated API server answers like the real one", () => {
  let real: KubeCluster;
  let simulated: SimulatedCluster;
  let clients: readonly [RawClient, RawClient];

  beforeAll(async () => {
    [real, simulated] = await Promise.all([startKubeCluster({ name: "contract" }), startSimulatedCluster({ name: "contract" })]);
    clients = [rawClient(real), rawClient(simulated)];
    await Promise.all(clients.map(defineWidgets));
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await Promise.all([real.stop(), simulated.stop()]);
  });

  it.each(Object.entries(cases))("%s", async (_, steps) => {
    const namespace = `case-${Object.values(cases).indexOf(steps)}`;
    await Promise.all(clients.map((client) => client.send("POST", "/api/v1/namespaces", { metadata: { name: namespace } })));
    for (const step of placed(steps, namespace) as Step[]) {
      const [expected, found] = await Promise.all(clients.map((client) => client.send(step.method, step.path, step.body, step.type)));
      expect(neutral(found!), `${step.method} ${step.path} ${JSON.stringify(step.body)}`).toEqual(neutral(expected!));
    }
  });

  it("serves a definition with the same conditions and owners", async () => {
    const [expected, found] = await Promise.all(clients.map((client) => client.send("GET", definitionPath)));
    expect(neutral(found!)).toEqual(neutral(expected!));
  });
});

await describeWith(kubeTools, "both API servers", () => {
  let real: KubeCluster;
  let simulated: SimulatedCluster;
  beforeAll(async () => {
    [real, simulated] = await Promise.all([startKubeCluster({ name: "both" }), startSimulatedCluster({ name: "both" })]);
  });
  afterAll(() => Promise.all([real.stop(), simulated.stop()]));

  describe.each(["real", "simulated"])("%s", (which) => {
    let client: RawClient;
    const configMaps = "/api/v1/namespaces/default/configmaps";
    const make = (name: string, labels: object = {}) => client.send("POST", configMaps, { metadata: { name, labels } });
    const version = async () => ((await client.send("GET", `${configMaps}?limit=1`)).body.metadata as { resourceVersion: string }).resourceVersion;

    beforeAll(() => {
      client = rawClient(which === "real" ? real : simulated);
    });
    afterAll(() => client.close());

    it("lists page by page, by labels and by fields", async () => {
      for (const name of ["p-1", "p-2", "p-3", "p-4", "p-5"]) await make(name, { page: "yes", odd: String(Number(name.slice(2)) % 2) });
      const seen: string[] = [];
      let next: string | undefined = "";
      const remaining: unknown[] = [];
      do {
        const { body } = await client.send(
          "GET",
          `${configMaps}?limit=2&fieldSelector=metadata.name!=kube-root-ca.crt&labelSelector=page%3Dyes&continue=${next}`,
        );
        seen.push(...(body.items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name));
        next = (body.metadata as { continue?: string }).continue;
        remaining.push((body.metadata as { remainingItemCount?: number }).remainingItemCount);
      } while (next);
      expect(seen).toEqual(["p-1", "p-2", "p-3", "p-4", "p-5"]);
      // A list by selector does not say how many are left.
      expect(remaining).toEqual([undefined, undefined, undefined]);
      const names = async (query: string) =>
        ((await client.send("GET", `${configMaps}?${query}`)).body.items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name);
      expect(await names("fieldSelector=metadata.name%3Dp-3")).toEqual(["p-3"]);
      expect(await names("labelSelector=page%3Dyes,odd!%3D1")).toEqual(["p-2", "p-4"]);
      expect(await names("labelSelector=odd+in+(1),page")).toEqual(["p-1", "p-3", "p-5"]);
      expect((await client.send("GET", `${configMaps}?continue=nonsense&limit=1`)).status).toBe(400);
    });

    it("watches from a version: what came, changed, left the selection and went", async () => {
      const from = await version();
      const watching = client.watch(`${configMaps}?watch=1&labelSelector=watched&resourceVersion=${from}&timeoutSeconds=20`, 5);
      await make("w-1", { watched: "yes" });
      await make("w-2");
      await client.send("PATCH", `${configMaps}/w-1`, { data: { a: "1" } }, "application/merge-patch+json");
      await client.send("PATCH", `${configMaps}/w-2`, { metadata: { labels: { watched: "yes" } } }, "application/merge-patch+json");
      await client.send("PATCH", `${configMaps}/w-2`, { metadata: { labels: null } }, "application/merge-patch+json");
      await client.send("DELETE", `${configMaps}/w-1`);
      const events = (await watching) as { type: string; object: { metadata: { name: string } } }[];
      expect(events.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual([
        "ADDED w-1",
        "MODIFIED w-1",
        "ADDED w-2",
        "DELETED w-2",
        "DELETED w-1",
      ]);
    });

    it("begins the text of an event with what the agent reads without parsing", async () => {
      const from = await version();
      await make("w-text");
      const [event] = await client.watch(`${configMaps}?watch=1&resourceVersion=${from}&timeoutSeconds=20`, 1);
      expect(JSON.stringify(event)).toMatch(
        /^\{"type":"ADDED","object":\{"kind":"ConfigMap","apiVersion":"v1","metadata":\{"name":"w-text","namespace":"default","uid":"[^"]+","resourceVersion":"\d+"/,
      );
    });

    it("ends a watch when it was asked to", async () => {
      const from = await version();
      const began = Date.now();
      expect(await client.watch(`${configMaps}?watch=1&resourceVersion=${from}&timeoutSeconds=1`, 99)).toEqual([]);
      expect(Date.now() - began).toBeLessThan(5_000);
    });

    it("refuses a version of the future", async () => {
      const { status, body } = await client.send("GET", `${configMaps}?resourceVersion=999999999`);
      expect({ status, reason: body.reason }).toEqual({ status: 504, reason: "Timeout" });
    });

    it("tells kinds in aggregated discovery, new ones too", async () => {
      await defineWidgets(client);
      const { body } = await client.send("GET", `/apis/${group}/v1`);
      expect(body).toMatchObject({ kind: "APIResourceList", groupVersion: `${group}/v1` });
      expect((body.resources as { name: string; kind: string; namespaced: boolean }[])[0]).toMatchObject({ name: "widgets", kind: "Widget", namespaced: true });
    });
  });
});
