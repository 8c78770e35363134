import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unpackBody } from "@flotilla/proto/body";
import type { KubeObject } from "@flotilla/proto/digest";
import type { BundleSpec, FleetSpec, OverlaySpec } from "@flotilla/hub/domain/fleet-spec";
import { parseFleet } from "@flotilla/hub/domain/parse-fleet";
import { describeProblem, type Problem } from "@flotilla/hub/domain/problem";
import type { PlacedCluster } from "@flotilla/hub/domain/target";
import { findTool, tools } from "@flotilla/hub/embedded/tools";
import { renderFleet, type KnownBody, type RenderCache } from "@flotilla/hub/render/render-fleet";
import type { RenderedBody } from "@flotilla/hub/render/render-bundle";
import { openRenderTools, type RenderTools } from "@flotilla/hub/render/render-tools";
import { openSurveyMemory } from "@flotilla/hub/render/survey-bundle";
import { treeOf, treeOfFolder } from "@flotilla/hub/render/tree-for-tests";
import { describe, expect, it } from "vitest";
import { describeWith } from "../harness/tools.ts";

const renderTools = openRenderTools({ tool: findTool, versions: { helm: tools.helm.version, kustomize: tools.kustomize.version } });
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const bundle = (more: Partial<BundleSpec> = {}): BundleSpec => ({
  name: "app",
  path: "app",
  dependsOn: [],
  values: {},
  overlays: [],
  combine: "first",
  policy,
  ...more,
});
const fleet = (bundles: readonly BundleSpec[], values = {}): FleetSpec => ({ name: "shop", clusters: {}, values, bundles });
const prod: PlacedCluster = { name: "berlin-1", labels: { env: "prod", region: "eu" } };
const patched = (patches: OverlaySpec["patches"]): BundleSpec["overlays"] => [{ clusters: {}, values: {}, patches }];

async function render(files: Record<string, string>, spec: FleetSpec, clusters = [prod]) {
  const bodies = new Map<string, RenderedBody>();
  const cache: RenderCache = { find: async () => new Map(), save: async (key, body) => void bodies.set(key, body) };
  const result = await renderFleet({
    tree: treeOf(files),
    root: "",
    spec,
    clusters,
    tools: renderTools,
    memory: openSurveyMemory(),
    cache,
    signal: AbortSignal.timeout(60_000),
  });
  const objects = [...bodies.values()].flatMap((body) => unpackBody(body.digest, body.compressed));
  return { ...result, objects, named: (name: string): KubeObject | undefined => objects.find((object) => object.metadata.name === name) };
}

const text = (problems: readonly Problem[]): string => problems.map(describeProblem).join("\n");
const deployment = (name: string, more = "") => `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: ${name} }\nspec:\n  replicas: 1\n${more}`;
const configMap = (name: string, value = "x") => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata:\n  key: ${value}\n`;
const chart = (more = "") => `apiVersion: v2\nname: web\nversion: 1.0.0\n${more}`;

await describeWith(["kustomize"], "rendering kustomizations", () => {
  it("builds bases, components and generators", async () => {
    const { problems, objects } = await render(
      {
        "app/kustomization.yaml": "resources: [../base]\ncomponents: [../tls]\nnamePrefix: p-\nconfigMapGenerator: [{ name: c, literals: [a=1] }]\n",
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": deployment("web"),
        "tls/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{ path: tls.yaml }]\n",
        "tls/tls.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { paused: true }\n",
      },
      fleet([bundle({ namespace: "shop" })]),
    );
    expect(text(problems)).toBe("");
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)).toEqual([
      expect.stringMatching(/^ConfigMap shop\/p-c-\w+$/),
      "Deployment shop/p-web",
    ]);
    expect(objects[1]?.["spec"]).toEqual({ replicas: 1, paused: true });
  });

  it("builds at the repository's root", async () => {
    const { objects } = await render({ "kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap("a") }, fleet([bundle({ path: "" })]));
    expect(objects).toHaveLength(1);
  });

  it("replaces names in what it built", async () => {
    const { named } = await render(
      { "app/kustomization.yaml": "resources: [a.yaml]", "app/a.yaml": deployment("a", "  paused: ${paused}\n  host: ${cluster.name}.${domain}\n") },
      fleet([bundle()], { paused: true, domain: "example.com" }),
    );
    expect(named("a")?.["spec"]).toEqual({ replicas: 1, paused: true, host: "berlin-1.example.com" });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      "a file outside its root",
      { "app/kustomization.yaml": "resources: [../other/a.yaml]", "other/a.yaml": configMap("a") },
      /not in or below.*Kustomize reads files only at or below/s,
    ],
    ["an unknown field", { "app/kustomization.yaml": "resourcez: [a.yaml]", "app/a.yaml": configMap("a") }, /unknown field "resourcez"/],
    [
      "a patch without an object",
      { "app/kustomization.yaml": "resources: [a.yaml]\npatches: [{ path: p.yaml }]", "app/a.yaml": configMap("a"), "app/p.yaml": configMap("b") },
      /no matches for Id/,
    ],
    [
      "an object twice",
      { "app/kustomization.yaml": "resources: [a.yaml, b.yaml]", "app/a.yaml": configMap("a"), "app/b.yaml": configMap("a") },
      /already registered id/,
    ],
    ["broken YAML in a resource", { "app/kustomization.yaml": "resources: [a.yaml]", "app/a.yaml": "a: [\n" }, /a\.yaml/],
    ["nothing to build", { "app/kustomization.yaml": "resources: []\nnamespace: x\n" }, /kustomization\.yaml is empty|zero documents/],
  ])("tells %s, without the hub's paths", async (_name, files, says) => {
    const { problems } = await render(files, fleet([bundle()]));
    expect(problems).toHaveLength(1);
    expect(problems[0]?.file).toMatch(/^app/);
    expect(text(problems)).toMatch(says);
    expect(text(problems)).not.toContain(tmpdir() + "/");
  });

  it.each([
    [
      "an executable generator",
      "apiVersion: someteam.example.com/v1\nkind: Evil\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: { path: /bin/sh }\n",
    ],
    [
      "a container as a generator",
      "apiVersion: someteam.example.com/v1\nkind: Evil\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      container: { image: evil }\n",
    ],
    ["a chart inflator", "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: { name: x }\nname: redis\nrepo: https://example.com\n"],
    ["a plugin of the home folder", "apiVersion: someteam.example.com/v1\nkind: SomePlugin\nmetadata: { name: x }\n"],
  ])("runs no code for %s", async (_name, generator) => {
    const { problems, objects } = await render({ "app/kustomization.yaml": "generators: [g.yaml]", "app/g.yaml": generator }, fleet([bundle()]));
    expect(objects).toEqual([]);
    expect(problems).toHaveLength(1);
  });

  it("does not show a patch's secrets when it cannot be applied", async () => {
    const patch = "- op: replace\n  path: /data/absent/deeper\n  value: canary-hunter2-canary\n";
    const { problems } = await render(
      {
        "app/kustomization.yaml": `resources: [a.yaml]\npatches: [{ path: p.yaml, target: { kind: ConfigMap } }]`,
        "app/a.yaml": configMap("a"),
        "app/p.yaml": patch,
      },
      fleet([bundle()]),
    );
    expect(problems).toHaveLength(1);
    expect(text(problems)).not.toContain("canary-hunter2");
  });
});

await describeWith(["kustomize"], "patches of overlays", () => {
  const files = {
    "app/a.yaml": `${deployment("web")}---\n${configMap("c")}---\napiVersion: example.com/v1\nkind: Kafka\nmetadata: { name: k }\nspec: { parts: [1, 2], keep: yes }\n`,
  };

  it("merge strategically, by JSON 6902, and custom resources by JSON merge", async () => {
    const { problems, named } = await render(
      files,
      fleet([
        bundle({
          overlays: patched([
            {
              patch: "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { template: { spec: { containers: [{ name: a, image: b }] } } }\n",
            },
            { target: { kind: "Deployment", name: "w.*" }, patch: "- { op: replace, path: /spec/replicas, value: 5 }\n" },
            { target: { kind: "Kafka" }, patch: '{"apiVersion":"example.com/v1","kind":"Kafka","metadata":{"name":"any"},"spec":{"parts":[3]}}' },
          ]),
        }),
      ]),
    );
    expect(text(problems)).toBe("");
    expect(named("web")?.["spec"]).toEqual({ replicas: 5, template: { spec: { containers: [{ name: "a", image: "b" }] } } });
    expect(named("k")?.["spec"]).toEqual({ parts: [3], keep: true });
  });

  it("tell when they match nothing", async () => {
    const { problems } = await render(files, fleet([bundle({ overlays: patched([{ target: { kind: "Deployment", name: "wbe" }, patch: "[]" }]) })]));
    expect(problems).toEqual([
      expect.objectContaining({ code: "patch-matches-nothing", message: expect.stringContaining("kind Deployment, name wbe"), bundle: "app" }),
    ]);
  });

  it("tell where in fleet.yaml they stand", async () => {
    const fleetFile =
      "kind: Fleet\nspec:\n  bundles:\n    - name: app\n      overlays:\n        - clusters: {}\n          patches:\n            - { target: { kind: Deployment, name: wbe }, patch: [] }\n";
    const { problems } = await render(
      { ...files, "fleet.yaml": fleetFile },
      fleet([bundle({ overlays: patched([{ target: { kind: "Deployment", name: "wbe" }, patch: "[]" }]) })]),
    );
    expect(problems).toEqual([expect.objectContaining({ code: "patch-matches-nothing", file: "fleet.yaml", line: 8, column: 15 })]);
  });

  it("tell when they cannot be applied", async () => {
    const { problems } = await render(
      files,
      fleet([bundle({ overlays: patched([{ target: { kind: "Deployment" }, patch: "- { op: remove, path: /spec/absent }\n" }]) })]),
    );
    expect(problems).toEqual([expect.objectContaining({ code: "patch-failed", bundle: "app" })]);
  });

  it("may use names, and keep quoted text and numbers apart", async () => {
    const odd = `apiVersion: example.com/v1\nkind: Odd\nmetadata: { name: o }\nspec:\n  typed: \${n}\n  quoted: "\${n}"\n  strings: ["1", "yes", "0777", "1_000", "1e3", "~", "null", "1:30", "0o17", "2001-01-01", "", " ", "é"]\n  numbers: [1, 1.5, 1000000000000]\n`;
    const { problems, named } = await render(
      { "app/a.yaml": odd },
      fleet([bundle({ overlays: patched([{ target: { kind: "Odd" }, patch: "- { op: add, path: /spec/added, value: '${n}' }\n" }]) })], { n: 7 }),
    );
    expect(text(problems)).toBe("");
    expect(named("o")?.["spec"]).toMatchObject({
      typed: 7,
      quoted: "7",
      strings: ["1", "yes", "0777", "1_000", "1e3", "~", "null", "1:30", "0o17", "2001-01-01", "", " ", "é"],
      numbers: [1, 1.5, 1_000_000_000_000],
    });
  });

  it("keep saying where an object was written", async () => {
    const { problems } = await render(
      { "app/a.yaml": `${configMap("a")}---\n${configMap("b", "${absent}")}` },
      fleet([bundle({ overlays: patched([{ target: { kind: "ConfigMap" }, patch: "- { op: add, path: /data/x, value: 'y' }\n" }]) })], { some: 1 }),
    );
    expect(problems).toEqual([expect.objectContaining({ code: "unknown-value", file: "app/a.yaml", line: 11 })]);
  });
});

await describeWith(["helm"], "rendering charts", () => {
  const values = "image: web\ncluster: own\n";

  it("templates with merged values, definitions, namespace and release name", async () => {
    const { problems, objects, named } = await render(
      {
        "app/Chart.yaml": chart(),
        "app/values.yaml": `${values}gone: default\n`,
        "app/crds/z.yaml":
          "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: zones.example.com }\nspec: { group: example.com, scope: Cluster, names: { kind: Zone, plural: zones } }\n",
        "app/templates/a.yaml": configMap(
          "a",
          '"{{ .Release.Name }} {{ .Release.Namespace }} {{ .Values.image }} {{ .Values.tag }} {{ .Values.host }} {{ .Values.gone }} ${domain}"',
        ),
        "app/templates/z.yaml": "apiVersion: example.com/v1\nkind: Zone\nmetadata: { name: z }\n",
        "app/templates/NOTES.txt": "hello",
      },
      fleet(
        [
          bundle({
            namespace: "shop",
            values: { tag: "v2", gone: null },
            overlays: [{ clusters: { matchLabels: { env: "prod" } }, values: { tag: "v3" }, patches: [] }],
          }),
        ],
        { host: "${cluster.name}.example.com" },
      ),
    );
    expect(text(problems)).toBe("");
    expect(objects.map(({ kind }) => kind).sort()).toEqual(["ConfigMap", "CustomResourceDefinition", "Zone"]);
    expect(named("a")?.metadata.namespace).toBe("shop");
    expect(named("a")?.["data"]).toEqual({ key: "app shop web v3 berlin-1.example.com  ${domain}" });
    expect(named("z")?.metadata).toEqual({ name: "z" });
  });

  it("templates a chart at the repository's root", async () => {
    const { problems, objects, warnings } = await render(
      { "Chart.yaml": chart(), "templates/a.yaml": configMap("a", "{{ now | quote }}") },
      fleet([bundle({ path: "" })]),
    );
    expect(text(problems)).toBe("");
    expect(objects).toHaveLength(1);
    expect(warnings).toEqual([expect.objectContaining({ file: "templates/a.yaml", line: 5 })]);
  });

  it("renders once for all clusters, unless a template asks for the cluster", async () => {
    const clusters = [prod, { name: "berlin-2", labels: { env: "prod", region: "eu" } }, { name: "oslo-1", labels: { region: "no" } }];
    const base = { "app/Chart.yaml": chart(), "app/templates/a.yaml": configMap("a") };
    expect((await render(base, fleet([bundle()]), clusters)).made).toBe(1);
    const byRegion = { ...base, "app/templates/a.yaml": configMap("a", "{{ .Values.global.flotilla.cluster.labels.region | quote }}") };
    const regional = await render(byRegion, fleet([bundle()]), clusters);
    expect(regional.made).toBe(2);
    expect(regional.objects.map((object) => JSON.stringify(object["data"])).sort()).toEqual([`{"key":"eu"}`, `{"key":"no"}`]);
    expect(
      (await render({ ...base, "app/templates/a.yaml": configMap("a", "{{ .Values.global.flotilla.cluster.name }}") }, fleet([bundle()]), clusters)).made,
    ).toBe(3);
  });

  it("takes dependencies from charts/ and, by file://, from the repository", async () => {
    const library = { "lib/Chart.yaml": "apiVersion: v2\nname: lib\nversion: 0.1.0\n", "lib/templates/l.yaml": configMap("from-lib") };
    const dependency = chart("dependencies:\n  - name: lib\n    version: 0.1.0\n    repository: file://../lib\n");
    const { problems, objects } = await render({ ...library, "app/Chart.yaml": dependency, "app/templates/a.yaml": configMap("a") }, fleet([bundle()]));
    expect(text(problems)).toBe("");
    expect(objects.map(({ metadata }) => metadata.name)).toEqual(["a", "from-lib"]);
  });

  it("tells a dependency that is not there", async () => {
    const { problems } = await render(
      {
        "app/Chart.yaml": chart("dependencies:\n  - name: redis\n    version: 1.x\n    repository: https://charts.example.com\n"),
        "app/templates/a.yaml": configMap("a"),
      },
      fleet([bundle()]),
    );
    expect(text(problems)).toMatch(/^app\/Chart\.yaml:5:5: the chart depends on 'redis'.*; run 'helm dependency build app'/);
  });

  it("keeps hooks that install and delete, leaves out those that test and roll back, and warns of these", async () => {
    const hook = (name: string, kind: string) => configMap(name).replace(`name: ${name}`, `name: ${name}, annotations: { helm.sh/hook: "${kind}" }`);
    const { objects, warnings } = await render(
      {
        "app/Chart.yaml": chart(),
        "app/templates/h.yaml": [hook("a", "pre-install,pre-upgrade"), hook("b", "post-delete"), hook("c", "test"), hook("d", "post-rollback")].join("---\n"),
      },
      fleet([bundle()]),
    );
    expect(objects.map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
    expect(warnings.map(({ message }) => message)).toEqual([expect.stringMatching(/ConfigMap d is a Helm hook.*left out/)]);
  });

  it("warns of templates that differ from run to run", async () => {
    const { warnings } = await render(
      { "app/Chart.yaml": chart(), "app/templates/a.yaml": `# one\n${configMap("a", "{{ randAlphaNum 8 | quote }}")}` },
      fleet([bundle()]),
    );
    expect(warnings).toEqual([expect.objectContaining({ code: "helm-unsteady-template", file: "app/templates/a.yaml", line: 6 })]);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ["a missing value", { "templates/a.yaml": "a: b\nx: {{ .Values.missing.deeper }}\n" }, /^app\/templates\/a\.yaml:2:\d+: .*nil pointer.*give it in values/s],
    ["a template that does not parse", { "templates/a.yaml": "{{ if }}\n" }, /^app\/templates\/a\.yaml:1: /],
    ["a function that is not there", { "templates/a.yaml": "a: {{ nothing }}\n" }, /^app\/templates\/a\.yaml:1: .*function "nothing"/s],
    ["YAML that is none", { "templates/a.yaml": "a: b\n  c: d\n" }, /^app\/templates\/a\.yaml.*YAML/s],
    ["a failure of its own", { "templates/a.yaml": '{{ fail "replicas must be odd" }}\n' }, /^app\/templates\/a\.yaml:1:\d+: .*replicas must be odd/s],
    ["a required value", { "templates/a.yaml": 'a: {{ required "host is required" .Values.host }}\n' }, /host is required/],
    [
      "values that break the chart's schema",
      { "values.schema.json": '{"required": ["host"], "type": "object"}', "templates/a.yaml": configMap("a") },
      /^app\/Chart\.yaml: .*schema/s,
    ],
    [
      "a mistyped kind",
      { "templates/a.yaml": "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: { name: a }\n" },
      /^app\/templates\/a\.yaml:1:1: .*'Deployment'/,
    ],
    ["no objects", { "templates/a.yaml": "{{ if .Values.on }}{{ end }}\n" }, /zero documents/],
    ["a Chart.yaml without a version", { "Chart.yaml": "apiVersion: v2\nname: web\n", "templates/a.yaml": configMap("a") }, /^app\/Chart\.yaml: .*version/s],
    ["an empty Chart.yaml", { "Chart.yaml": "", "templates/a.yaml": configMap("a") }, /^app\/Chart\.yaml: /],
  ])("tells %s with the template's file, without the hub's paths", async (_name, files, says) => {
    const inApp = Object.fromEntries(Object.entries({ "Chart.yaml": chart(), ...files }).map(([path, content]) => [`app/${path}`, content]));
    const { problems } = await render(inApp, fleet([bundle()]));
    expect(text(problems)).toMatch(says);
    expect(text(problems)).not.toContain(tmpdir() + "/");
  });

  it("does not show secret values in what Helm complains of", async () => {
    const { problems } = await render(
      { "app/Chart.yaml": chart(), "app/templates/a.yaml": '{{ fail (printf "no %s" .Values.db.password) }}\n' },
      fleet([bundle({ values: { db: { password: "canary-hunter2" } } })]),
    );
    expect(text(problems)).toMatch(/no …/);
    expect(text(problems)).not.toContain("canary-hunter2");
  });

  it("takes patches as others do", async () => {
    const { named } = await render(
      { "app/Chart.yaml": chart(), "app/templates/a.yaml": deployment("a") },
      fleet([bundle({ overlays: patched([{ target: { kind: "Deployment" }, patch: "- { op: replace, path: /spec/replicas, value: 9 }\n" }]) })]),
    );
    expect(named("a")?.["spec"]).toEqual({ replicas: 9 });
  });

  it("ends a template that never ends, and leaves no folder behind", async () => {
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith("flotilla-render-"));
    const endless = '{{- define "x" }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}{{ include "x" . }}';
    const files = { "app/Chart.yaml": chart(), "app/templates/a.yaml": endless };
    const hurried = { ...renderTools, run: async (...[name, run]: Parameters<typeof renderTools.run>) => renderTools.run(name, { ...run, timeMs: 1_000 }) };
    const result = await renderFleet({
      tree: treeOf(files),
      root: "",
      spec: fleet([bundle()]),
      clusters: [prod],
      tools: hurried,
      memory: openSurveyMemory(),
      signal: AbortSignal.timeout(60_000),
    });
    expect(result.problems).toEqual([expect.objectContaining({ code: "render-timeout", file: "app/Chart.yaml" })]);
    const after = (await readdir(tmpdir())).filter((name) => name.startsWith("flotilla-render-"));
    expect(after.filter((name) => !before.includes(name))).toEqual([]);
  });

  it("ends a template that takes all memory", async () => {
    const greedy = '{{- $x := "xxxxxxxxxxxxxxxx" }}{{- range until 40 }}{{- $x = printf "%s%s" $x $x }}{{- end }}{{ $x }}';
    const { problems } = await render({ "app/Chart.yaml": chart(), "app/templates/a.yaml": greedy }, fleet([bundle()]));
    expect(problems).toEqual([expect.objectContaining({ code: expect.stringMatching(/render-too-large|render-timeout/) })]);
  });
});

await describeWith(["kustomize"], "rendering kustomizations again", () => {
  const files = {
    "app/kustomization.yaml": "resources: [../base]\ncomponents: [../tls]\nconfigMapGenerator: [{ name: c, files: [settings.txt] }]\n",
    "app/settings.txt": "one",
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": deployment("web"),
    "base/notes.md": "not read by anybody",
    "tls/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{ path: tls.yaml }]\n",
    "tls/tls.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { paused: true }\n",
    "plain/a.yaml": configMap("a"),
  };
  const spec = fleet([bundle(), bundle({ name: "plain", path: "plain" })]);

  /** A renderer that has rendered `files` once and remembers it, as a hub does. */
  async function openRenderer() {
    const known = new Map<string, KnownBody>();
    const memory = openSurveyMemory();
    const cache: RenderCache = {
      find: async (keys) => new Map(keys.flatMap((key) => [known.get(key)].flatMap((body) => (body === undefined ? [] : [[key, body] as const])))),
      save: async (key, { compressed, ...body }) => void known.set(key, { ...body, bodyBytes: compressed.length }),
    };
    const renderAgain = async (changes: Record<string, string>, versions = renderTools.versions) => {
      const tree = treeOf({ ...files, ...changes });
      const signal = AbortSignal.timeout(60_000);
      const found = await renderFleet({ tree, root: "", spec, clusters: [prod], tools: { ...renderTools, versions }, memory, cache, signal });
      return { made: found.made, problems: text(found.problems), reads: tree.reads, digest: found.rendered.find((body) => body.bundle === "app")?.digest };
    };
    return { first: await renderAgain({}), renderAgain };
  }

  it.each([
    ["its own file", { "app/kustomization.yaml": files["app/kustomization.yaml"].replace("name: c", "name: d") }],
    ["a file of its base", { "base/web.yaml": deployment("web").replace("replicas: 1", "replicas: 2") }],
    ["what its base names", { "base/kustomization.yaml": "resources: [web.yaml, more.yaml]\n", "base/more.yaml": configMap("more") }],
    ["a patch of its component", { "tls/tls.yaml": files["tls/tls.yaml"].replace("true", "false") }],
    ["a file that a generator reads", { "app/settings.txt": "two" }],
  ])("renders one whose inputs changed, and only that: %s", async (_what, changes) => {
    const { first, renderAgain } = await openRenderer();
    expect(first).toMatchObject({ made: 2, problems: "" });
    const second = await renderAgain(changes);
    expect(second).toMatchObject({ made: 1, problems: "" });
    expect(second.digest).not.toBe(first.digest);
    expect(second.reads).not.toContain("plain/a.yaml");
  });

  it("reads and renders nothing for a change that no kustomization reads, and keeps the digest", async () => {
    const { first, renderAgain } = await openRenderer();
    expect(await renderAgain({ "base/notes.md": "changed", "README.md": "new" })).toEqual({ made: 0, problems: "", reads: [], digest: first.digest });
  });

  it("renders again with another version of kustomize", async () => {
    const { renderAgain } = await openRenderer();
    expect((await renderAgain({}, { ...renderTools.versions, kustomize: "5.99.0" })).made).toBe(1);
    expect((await renderAgain({}, { ...renderTools.versions, helm: "4.99.0" })).made).toBe(0);
  });

  it("sees that a second kustomization stands beside the first", async () => {
    const { renderAgain } = await openRenderer();
    const gone = await renderAgain({ "app/kustomization.yml": "resources: []\n" });
    expect(gone.problems).toMatch(/both kustomization\.yaml and kustomization\.yml/);
  });
});

await describeWith(["kustomize", "kustomize-worker"], "kustomizations built by a program that stays", () => {
  const web = deployment(
    "web",
    "  selector: { matchLabels: { app: web } }\n  template: { metadata: { labels: { app: web } }, spec: { containers: [{ name: web, image: web }] } }\n",
  );
  const kustomizations: readonly (readonly [string, Record<string, string>])[] = [
    [
      "a plain one",
      { "app/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: p-\nnamespace: shop\ncommonAnnotations: { a: b }\n", "app/a.yaml": configMap("a") },
    ],
    [
      "a base, a component, generators",
      {
        "app/kustomization.yaml":
          "resources: [../base]\ncomponents: [../tls]\nconfigMapGenerator: [{ name: c, files: [s.txt], envs: [e.env] }]\nsecretGenerator: [{ name: s, literals: [a=b] }]\n",
        "app/s.txt": "one\n",
        "app/e.env": "A=1\nB=2\n",
        "base/kustomization.yaml": "resources: [web.yaml]\nimages: [{ name: web, newTag: v2 }]\n",
        "base/web.yaml": web,
        "tls/kustomization.yaml":
          'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{ target: { kind: Deployment }, patch: "- { op: replace, path: /spec/replicas, value: 7 }" }]\n',
      },
    ],
    [
      "notes of where things come from, labels, replacements, an order",
      {
        "app/kustomization.yaml": `resources: [../base, a.yaml]
buildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]
labels: [{ pairs: { team: shop }, includeSelectors: true }]
sortOptions: { order: legacy }
replacements: [{ source: { kind: ConfigMap, name: a, fieldPath: data.key }, targets: [{ select: { kind: Deployment }, fieldPaths: [spec.replicas] }] }]
`,
        "app/a.yaml": configMap("a", '"3"'),
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": web,
      },
    ],
    [
      "a strategic patch with a schema of its own",
      {
        "app/kustomization.yaml": "resources: [a.yaml]\nopenapi: { path: schema.json }\npatches: [{ path: p.yaml }]\n",
        "app/schema.json": JSON.stringify({
          definitions: {
            "v1.Shelf": {
              type: "object",
              properties: {
                spec: {
                  type: "object",
                  properties: {
                    books: { type: "array", "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge", items: { type: "object" } },
                  },
                },
              },
              "x-kubernetes-group-version-kind": [{ group: "example.com", kind: "Shelf", version: "v1" }],
            },
          },
        }),
        "app/a.yaml": "apiVersion: example.com/v1\nkind: Shelf\nmetadata: { name: s }\nspec: { books: [{ name: a, pages: 1 }, { name: b, pages: 2 }] }\n",
        "app/p.yaml": "apiVersion: example.com/v1\nkind: Shelf\nmetadata: { name: s }\nspec: { books: [{ name: b, pages: 3 }] }\n",
      },
    ],
    [
      "the same patch without a schema",
      {
        "app/kustomization.yaml": "resources: [a.yaml]\npatches: [{ path: p.yaml }]\n",
        "app/a.yaml": "apiVersion: example.com/v1\nkind: Shelf\nmetadata: { name: s }\nspec: { books: [{ name: a, pages: 1 }, { name: b, pages: 2 }] }\n",
        "app/p.yaml": "apiVersion: example.com/v1\nkind: Shelf\nmetadata: { name: s }\nspec: { books: [{ name: b, pages: 3 }] }\n",
      },
    ],
    ["one at the repository's root", { "kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("a") }],
    [
      "an error",
      { "app/kustomization.yaml": "resources: [a.yaml]\npatches: [{ path: p.yaml }]\n", "app/a.yaml": configMap("a"), "app/p.yaml": configMap("b") },
    ],
  ];

  const renderWith = async (using: RenderTools, files: Record<string, string>, signal = AbortSignal.timeout(60_000)) => {
    const spec = fleet([bundle({ path: "kustomization.yaml" in files ? "" : "app" })]);
    const found = await renderFleet({ tree: treeOf(files), root: "", spec, clusters: [prod], tools: using, memory: openSurveyMemory(), signal });
    return { problems: text(found.problems), digests: found.rendered.map(({ digest }) => digest) };
  };

  it("come out as from kustomize itself, one after the other", async () => {
    const file = await findTool("kustomize-worker");
    const staying = openRenderTools({ tool: findTool, worker: () => file, versions: renderTools.versions, atOnce: 1 });
    let built = 0;
    const counted: RenderTools = {
      ...staying,
      async buildInWorker(build) {
        const output = await staying.buildInWorker(build);
        if (output !== undefined) built += 1;
        return output;
      },
    };
    try {
      // Twice: what one build leaves behind must not be seen in the next.
      for (const [name, files] of [...kustomizations, ...kustomizations.toReversed()]) {
        const expected = await renderWith(renderTools, files);
        expect(expected.problems === "", `${name}: ${expected.problems}`).toBe(name !== "an error");
        expect(await renderWith(counted, files), name).toEqual(expected);
      }
      // All but the error and the one whose schema would stay.
      expect(built).toBe((kustomizations.length - 2) * 2);
    } finally {
      staying.close();
    }
  });

  it("are built by kustomize itself where the program ends, is not there, or says something else", async () => {
    const [, files] = kustomizations[0] ?? ["", {}];
    const expected = await renderWith(renderTools, files);
    for (const worker of ["/bin/false", "/bin/cat", "/usr/bin/yes", "/nonexistent/worker", undefined]) {
      const broken = openRenderTools({ tool: findTool, worker: () => worker, versions: renderTools.versions });
      expect(await renderWith(broken, files), String(worker)).toEqual(expected);
      broken.close();
    }
  });

  it("end with the sync that wanted them", async () => {
    const [, files] = kustomizations[0] ?? ["", {}];
    const silent = openRenderTools({ tool: findTool, worker: () => "/bin/cat", versions: renderTools.versions });
    await expect(renderWith(silent, files, AbortSignal.abort(new Error("the hub stops")))).rejects.toThrow("the hub stops");
    silent.close();
  });
});

await describeWith(["helm", "kustomize"], "the demo's fleet", () => {
  it("renders as it is written", async () => {
    const folder = join(import.meta.dirname, "../fixtures/shop");
    const parsed = parseFleet(readFileSync(join(folder, "fleet.yaml"), "utf8"));
    if (!parsed.ok) throw new Error(text(parsed.problems));
    const clusters = [
      { name: "a", labels: { shop: "true", env: "prod" } },
      { name: "b", labels: { shop: "true", env: "staging" } },
      { name: "c", labels: { shop: "false", env: "prod" } },
    ];
    const { problems, rendered, inputsOf, made } = await renderFleet({
      tree: treeOfFolder(folder),
      root: "",
      spec: parsed.spec,
      clusters,
      tools: renderTools,
      memory: openSurveyMemory(),
      signal: AbortSignal.timeout(60_000),
    });
    expect(text(problems)).toBe("");
    expect(made).toBe(6);
    const counts = (cluster: string) =>
      parsed.spec.bundles.map(({ name }) => rendered.find((body) => body.bundle === name && body.inputs === inputsOf(cluster, name))?.objectCount);
    expect(counts("a")).toEqual([26, 13, 9]);
    expect(counts("b")).toEqual([26, 13, 9]);
    expect(counts("c")).toEqual([undefined, undefined, undefined]);
  });
});

describe("without its program", () => {
  it("says which one is missing", async () => {
    const missing = openRenderTools({ tool: async (name) => Promise.reject(new Error(`${name} was not found`)), versions: { helm: "1", kustomize: "1" } });
    const files = { "app/Chart.yaml": chart(), "app/templates/a.yaml": configMap("a") };
    await expect(
      renderFleet({
        tree: treeOf(files),
        root: "",
        spec: fleet([bundle()]),
        clusters: [prod],
        tools: missing,
        memory: openSurveyMemory(),
        signal: AbortSignal.timeout(10_000),
      }),
    ).rejects.toThrow("helm was not found");
  });
});
