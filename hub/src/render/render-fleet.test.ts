import { describe, expect, it } from "vitest";
import type { BundleSpec, FleetSpec } from "../domain/fleet-spec.ts";
import { describeProblem } from "../domain/problem.ts";
import type { PlacedCluster } from "../domain/target.ts";
import { unpackBody } from "@flotilla/proto/body";
import type { RenderedBody } from "./render-bundle.ts";
import { renderFleet, type KnownBody, type RenderCache } from "./render-fleet.ts";
import type { RenderTools } from "./render-tools.ts";
import { openSurveyMemory } from "./survey-bundle.ts";
import { treeOf } from "./tree-for-tests.ts";

/** Plain manifests need no program. */
const noTools: RenderTools = {
  versions: { helm: "1", kustomize: "1" },
  run: async () => Promise.reject(new Error("no tool here")),
  buildInWorker: async () => undefined,
  close: () => undefined,
};
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const bundle = (name: string, more: Partial<BundleSpec> = {}): BundleSpec => ({
  name,
  path: name,
  dependsOn: [],
  values: {},
  overlays: [],
  combine: "first",
  policy,
  ...more,
});
const fleet = (bundles: readonly BundleSpec[], values = {}): FleetSpec => ({ name: "shop", clusters: {}, values, bundles });
const one: PlacedCluster = { name: "one", labels: { env: "prod" } };
const configMap = (name: string, value = "x") => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata:\n  key: ${value}\n`;

async function render(
  files: Record<string, string>,
  spec: FleetSpec,
  more: { clusters?: readonly PlacedCluster[]; cache?: RenderCache; everyOverlay?: boolean; root?: string; refused?: Record<string, string> } = {},
) {
  const { clusters = [one], refused, ...rest } = more;
  return renderFleet({
    tree: treeOf(files, refused),
    root: "",
    spec,
    clusters,
    tools: noTools,
    memory: openSurveyMemory(),
    signal: new AbortController().signal,
    ...rest,
  });
}

function memoryCache(): RenderCache & { readonly bodies: Map<string, RenderedBody> } {
  const bodies = new Map<string, RenderedBody>();
  const knownOf = ({ digest, objectCount, compressed, objectIds, warnings }: RenderedBody): KnownBody => ({
    digest,
    objectCount,
    bodyBytes: compressed.length,
    objectIds,
    warnings,
  });
  const find = async (keys: readonly string[]): Promise<Map<string, KnownBody>> =>
    new Map(keys.flatMap((key) => [bodies.get(key)].flatMap((body) => (body === undefined ? [] : [[key, knownOf(body)] as const]))));
  return { bodies, find, save: async (key, body) => void bodies.set(key, body) };
}

async function objectsOf(files: Record<string, string>, spec: FleetSpec, clusters = [one]) {
  const cache = memoryCache();
  const { problems } = await render(files, spec, { cache, clusters });
  return { problems, objects: [...cache.bodies.values()].flatMap((body) => unpackBody(body.digest, body.compressed)) };
}

describe("renderFleet", () => {
  it("renders three times for a thousand clusters in three environments", async () => {
    const clusters = Array.from({ length: 1_000 }, (_, index) => ({
      name: `c${index}`,
      labels: { env: ["prod", "staging", "dev"][index % 3] ?? "", region: `r${index % 7}` },
    }));
    const overlays = ["prod", "staging", "dev"].map((env) => ({ clusters: { matchLabels: { env } }, values: { env }, patches: [] }));
    const fleetSpec = fleet([bundle("app", { overlays })], { domain: "example.com" });
    const { made, rendered, inputsOf } = await render({ "app/a.yaml": configMap("a", "${env}.${domain}") }, fleetSpec, { clusters });
    expect(made).toBe(3);
    expect(rendered).toHaveLength(3);
    expect(new Set(clusters.map(({ name }) => inputsOf(name, "app"))).size).toBe(3);
  });

  it("renders once per cluster only where a manifest asks for the cluster", async () => {
    const clusters = Array.from({ length: 10 }, (_, index) => ({ name: `c${index}`, labels: {} }));
    const { made } = await render({ "app/a.yaml": configMap("a", "${cluster.name}"), "base/b.yaml": configMap("b") }, fleet([bundle("app"), bundle("base")]), {
      clusters,
    });
    expect(made).toBe(11);
  });

  it("gives clusters of one shape one map of their inputs, and others their own", async () => {
    const clusters = ["a", "b", "c", "d"].map((name, index) => ({ name, labels: { env: index < 2 ? "prod" : "test" } }));
    const overlays = [{ clusters: { matchLabels: { env: "prod" } }, values: { size: "large" }, patches: [] }];
    const bundles = [bundle("app", { overlays, values: { size: "small" } }), bundle("base")];
    const files = { "app/a.yaml": configMap("a", "${size}"), "base/b.yaml": configMap("b") };
    const { inputsIn, inputsOf } = await render(files, fleet(bundles), { clusters });
    expect(inputsIn("a")).toBe(inputsIn("b"));
    expect(inputsIn("c")).toBe(inputsIn("d"));
    expect(inputsOf("a", "app")).not.toBe(inputsOf("c", "app"));
    expect(inputsOf("a", "base")).toBe(inputsOf("c", "base"));
    const asked = await render({ ...files, "base/b.yaml": configMap("b", "${cluster.name}") }, fleet(bundles), { clusters });
    expect(new Set(clusters.map(({ name }) => asked.inputsOf(name, "base"))).size).toBe(4);
    expect(new Set(clusters.map(({ name }) => asked.inputsOf(name, "app"))).size).toBe(2);
  });

  it("renders nothing twice: not the same content, not for another commit, not for a change elsewhere", async () => {
    const cache = memoryCache();
    const files = { "app/a.yaml": configMap("a"), "other/b.yaml": configMap("b") };
    const spec = fleet([bundle("app"), bundle("other")]);
    expect((await render(files, spec, { cache })).made).toBe(2);
    expect((await render(files, spec, { cache })).made).toBe(0);
    expect((await render({ ...files, "app/README.md": "more", "notes.txt": "" }, spec, { cache })).made).toBe(0);
    expect((await render({ ...files, "app/a.yaml": configMap("a", "y") }, spec, { cache })).made).toBe(1);
    expect((await render(files, fleet(spec.bundles, { unused: 1 }), { cache })).made).toBe(2);
    expect((await render(files, fleet(spec.bundles, { unused: 2 }), { cache })).made).toBe(0);
  });

  it("gives equal bodies for equal objects, however they are written", async () => {
    const [a, b] = await Promise.all([
      render({ "app/1.yaml": `${configMap("a")}---\n${configMap("b")}` }, fleet([bundle("app")])),
      render(
        {
          "app/x/b.json":
            '{"kind":"ConfigMap","apiVersion":"v1","data":{"key":"x"},"metadata":{"namespace":"default","name":"b","creationTimestamp":null},"status":{}}',
          "app/y.yml": configMap("a"),
        },
        fleet([bundle("app")]),
      ),
    ]);
    expect(a.rendered[0]?.digest).toBe(b.rendered[0]?.digest);
  });

  it("gives objects their namespace, unless their kind has none", async () => {
    const crd =
      "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: zones.example.com }\nspec: { group: example.com, scope: Cluster, names: { kind: Zone, plural: zones } }\n";
    const files = {
      "app/a.yaml": configMap("a"),
      "app/b.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: b, namespace: nonsense }\n",
      "app/c.yaml": "apiVersion: example.com/v1\nkind: Zone\nmetadata: { name: c }\n",
      "app/d.yaml": "apiVersion: example.com/v1\nkind: Other\nmetadata: { name: d, namespace: own }\n",
      "defs/crd.yaml": crd,
    };
    const { rendered } = await render(files, fleet([bundle("app", { namespace: "shop" }), bundle("defs")]));
    expect(rendered.flatMap(({ objectIds }) => objectIds).sort()).toEqual([
      "/ConfigMap/shop/a",
      "/Namespace//b",
      "apiextensions.k8s.io/CustomResourceDefinition//zones.example.com",
      "example.com/Other/own/d",
      "example.com/Zone//c",
    ]);
  });

  it("leaves out what only a server sets", async () => {
    const text =
      "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n  uid: 1-2\n  resourceVersion: '5'\n  creationTimestamp: null\n  managedFields: []\n  annotations: { kubectl.kubernetes.io/last-applied-configuration: '{}' }\nspec: { template: { metadata: { creationTimestamp: null, labels: { a: b } } } }\nstatus: { replicas: 1 }\n";
    const { objects } = await objectsOf({ "app/a.yaml": text }, fleet([bundle("app")]));
    expect(objects).toEqual([
      { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "a", namespace: "default" }, spec: { template: { metadata: { labels: { a: "b" } } } } },
    ]);
  });

  it("reads plain folders without what is hidden, without fleet.yaml and without other files", async () => {
    const files = { "fleet.yaml": "kind: Fleet", ".github/ci.yaml": "on: push", "notes.md": "#", "sub/.hidden/x.yaml": "x", "sub/a.yaml": configMap("a") };
    const { rendered, problems } = await render(files, fleet([bundle("all", { path: "" })]));
    expect(problems).toEqual([]);
    expect(rendered[0]?.objectIds).toEqual(["/ConfigMap/default/a"]);
  });

  it("replaces names with their types, and says where an unknown one stands", async () => {
    const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec:\n  replicas: ${replicas}\n  host: ${domian}\n";
    const spec = fleet([bundle("app", { values: { replicas: 3, domain: "example.com" } })]);
    const { problems } = await objectsOf({ "app/a.yaml": text }, spec);
    expect(problems.map(describeProblem)).toEqual([expect.stringMatching(/^app\/a\.yaml:6:3: there is no value 'domian'; did you mean 'domain'\?/)]);
    const { objects } = await objectsOf({ "app/a.yaml": text.replace("domian", "domain") }, spec);
    expect(objects[0]?.["spec"]).toEqual({ replicas: 3, host: "example.com" });
  });

  it("leaves references alone where nobody gave values, where an object says so, and where the bundle does", async () => {
    const dashboard = configMap("a", "${datasource}");
    const annotated = dashboard.replace("name: a", "name: a, annotations: { flotilla.dev/substitute: disabled }");
    const given = { domain: "example.com" };
    expect((await render({ "app/a.yaml": dashboard }, fleet([bundle("app")]))).problems).toEqual([]);
    expect((await render({ "app/a.yaml": annotated }, fleet([bundle("app")], given))).problems).toEqual([]);
    expect((await render({ "app/a.yaml": dashboard }, fleet([bundle("app", { substitute: false })], given))).problems).toEqual([]);
    expect((await render({ "app/a.yaml": dashboard }, fleet([bundle("app")], given))).problems).toHaveLength(1);
  });

  it("holds only the clusters that lack a label", async () => {
    const clusters = [one, { name: "two", labels: {} }];
    const { problems, held, rendered } = await render({ "app/a.yaml": configMap("a", "${cluster.labels.env}") }, fleet([bundle("app")]), { clusters });
    expect(problems).toEqual([]);
    expect(rendered).toHaveLength(1);
    expect([...held].map(([cluster, found]) => [cluster, found[0]?.message])).toEqual([["two", "the cluster has no label 'env'"]]);
  });

  it.each<[string, Record<string, string>, string, RegExp]>([
    ["invalid YAML", { "app/a.yaml": "a: [\n" }, "invalid-yaml", /^app\/a\.yaml:\d/],
    [
      "a kind that is not",
      { "app/a.yaml": "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: { name: a }\n" },
      "unknown-kind",
      /^app\/a\.yaml:2:1: .*'Deploymnet'; did you mean 'Deployment'\?/,
    ],
    [
      "an object twice",
      { "app/a.yaml": configMap("a"), "app/b.yaml": `# b\n${configMap("a")}` },
      "duplicate-object",
      /^app\/b\.yaml:2:1: ConfigMap default\/a is already in app\/a\.yaml:1/,
    ],
    [
      "an object too large",
      { "app/a.yaml": configMap("a", "x".repeat(1_600_000)) },
      "object-too-large",
      /^app\/a\.yaml:1:1: ConfigMap default\/a has \d+ bytes/,
    ],
    ["no manifests", { "app/notes.txt": "" }, "zero-documents", /zero documents/],
    ["only empty documents", { "app/a.yaml": "---\n# nothing\n" }, "zero-documents", /zero documents/],
    ["nothing at the path", { "apps/a.yaml": configMap("a") }, "missing-path", /there is nothing at app/],
    ["a kustomization inside", { "app/a.yaml": configMap("a"), "app/sub/kustomization.yaml": "" }, "nested-bundle", /^app\/sub\/kustomization\.yaml/],
    ["a chart beside a kustomization", { "app/Chart.yaml": "", "app/kustomization.yaml": "" }, "ambiguous-bundle", /both Chart\.yaml and kustomization\.yaml/],
    ["a file that is no manifest", { "app/values.yaml": "replicas: 1\n" }, "missing-api-version", /^app\/values\.yaml:1:1: the document has no apiVersion/],
  ])("tells %s with its file and line", async (_name, files, code, says) => {
    const { problems, rendered } = await render(files, fleet([bundle("app")]));
    expect(rendered).toEqual([]);
    expect(problems[0]).toMatchObject({ code, bundle: "app", hint: expect.any(String) });
    expect(problems.map(describeProblem)[0]).toMatch(says);
  });

  it("tells what the tree refuses", async () => {
    const { problems } = await render({ "app/a.yaml": configMap("a") }, fleet([bundle("app")]), { refused: { "app/leak.yaml": "is a symlink" } });
    expect(problems).toEqual([expect.objectContaining({ code: "symlink", file: "app/leak.yaml", bundle: "app" })]);
  });

  it("refuses a path out of the repository", async () => {
    const { problems } = await render({ "fleet/app/a.yaml": "" }, fleet([bundle("app", { path: "../../etc" })]), { root: "fleet" });
    expect(problems[0]?.code).toBe("path-outside-repository");
  });

  it("tells the problems of all bundles at once, each once", async () => {
    const clusters = [one, { name: "two", labels: { env: "dev" } }];
    const overlays = [{ clusters: { matchLabels: { env: "dev" } }, values: { a: 1 }, patches: [] }];
    const { problems } = await render({ "app/a.yaml": "a: [", "b/b.yaml": "kind: X" }, fleet([bundle("app", { overlays, values: { a: 2 } }), bundle("b")]), {
      clusters,
    });
    expect(problems.map(({ bundle: name }) => name)).toEqual(["app", "b"]);
  });

  it("warns of Secrets in plain text without showing them", async () => {
    const { warnings } = await render(
      { "app/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { password: canary-hunter2 }\n" },
      fleet([bundle("app")]),
    );
    expect(warnings).toEqual([expect.objectContaining({ code: "plain-secret", file: "app/a.yaml", line: 1 })]);
    expect(JSON.stringify(warnings)).not.toContain("canary-hunter2");
  });

  it("looks at bundles before the first cluster joins, and at every overlay when it is asked to", async () => {
    const overlays = [{ clusters: { matchLabels: { env: "prod" } }, path: "prod", values: { n: 1 }, patches: [] }];
    const files = { "app/a.yaml": configMap("a", "x${n}"), "prod/b.yaml": "a: [" };
    expect((await render({ "app/a.yaml": "a: [" }, fleet([bundle("app")]), { clusters: [] })).problems).toHaveLength(1);
    expect((await render(files, fleet([bundle("app", { overlays })]), { clusters: [] })).problems).toEqual([]);
    expect((await render(files, fleet([bundle("app", { overlays })]), { clusters: [], everyOverlay: true })).problems.map(({ file }) => file)).toEqual([
      "prod/b.yaml",
    ]);
  });
});
