import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findTool, tools } from "@flotilla/hub/embedded/tools";
import { openRenderTools } from "@flotilla/hub/render/render-tools";
import { acceptDrift } from "@flotilla/hub/sync/accept-drift";
import { afterAll, beforeAll, expect, it } from "vitest";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { describeWith } from "../harness/tools.ts";

const renderTools = openRenderTools({ tool: findTool, versions: { helm: tools.helm.version, kustomize: tools.kustomize.version } });

const fleetFile = (bundle: string, more = "") =>
  `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\nspec:\n  clusters: {}\n${more}  bundles:\n    - name: app\n${bundle}`;
const deployment = (replicas: string) =>
  `# The web.\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: ${replicas} # enough\n  template: { spec: { containers: [{ name: web, image: "web:1" }] } }\n`;
const replicas = { path: "/spec/replicas", members: ["f:spec", "f:replicas"], live: "1" };
const image = {
  path: "/spec/template/spec/containers/3/image",
  members: ["f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}', "f:image"],
  live: '"web:2"',
};
const released = (count = 3) => ({ spec: { replicas: count, template: { spec: { containers: [{ name: "web", image: "web:1" }] } } } });

await describeWith(["kustomize", "helm"], "accepting a drift", () => {
  let folder: string;
  let count = 0;
  beforeAll(async () => void (folder = await scratchFolder("accept")));
  afterAll(() => removeFolder(folder));

  const accept = async (files: Readonly<Record<string, string>>, more: object = {}) => {
    const own = join(folder, String((count += 1)));
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(own, path)), { recursive: true });
      await writeFile(join(own, path), text);
    }
    return acceptDrift({
      folder: own,
      cluster: { name: "berlin-1", labels: { env: "prod", "flotilla.dev/cluster": "berlin-1" } },
      drift: { bundle: "app", object: "apps/Deployment/default/web", fields: [replicas], released: released(), ...more },
      tools: renderTools,
      signal: AbortSignal.timeout(30_000),
    });
  };
  const kustomized = (own: string, more: Readonly<Record<string, string>> = {}) => ({
    "fleet.yaml": fleetFile("      path: prod\n"),
    "prod/kustomization.yaml": own,
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": deployment("3"),
    ...more,
  });

  it("edits the one document of plain YAML, comments kept, for a scalar and for an item of a list", async () => {
    const web = deployment("3");
    const other = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\n";
    const files = { "fleet.yaml": fleetFile(""), "app/other.yaml": other, "app/web.yaml": `${other.replace("web", "first")}---\n${web}` };
    const { changes, problems, warnings } = await accept(files, { fields: [replicas, image] });
    expect([problems, warnings]).toEqual([[], []]);
    const after = files["app/web.yaml"].replace("replicas: 3", "replicas: 1").replace("web:1", "web:2");
    expect(changes).toEqual([{ file: "app/web.yaml", before: files["app/web.yaml"], after }]);
  });

  it("edits the folder of the overlay that the cluster gets", async () => {
    const bundle = "      overlays:\n        - clusters: { matchLabels: { env: prod } }\n          path: prod\n";
    const { changes } = await accept({ "fleet.yaml": fleetFile(bundle), "app/web.yaml": deployment("9"), "prod/web.yaml": deployment("3") });
    expect(changes.map(({ file }) => file)).toEqual(["prod/web.yaml"]);
  });

  it("gives the kustomization a patch, which finds the object under its own name, and extends it the next time", async () => {
    const own = "# prod\nresources: [../base]\nnamePrefix: eu-\n";
    const object = { object: "apps/Deployment/default/eu-web" };
    const first = await accept(kustomized(own), object);
    expect(first.problems).toEqual([]);
    const [change] = first.changes;
    expect(change).toMatchObject({ file: "prod/kustomization.yaml", before: own });
    expect(change?.after).toBe(
      `${own}patches:\n  - target:\n      group: apps\n      kind: Deployment\n      name: web\n    patch: |\n      - op: replace\n        path: /spec/replicas\n        value: 1\n`,
    );
    const second = await accept(kustomized(change?.after ?? ""), { ...object, released: released(1), fields: [image, { ...replicas, live: "5" }] });
    expect(second.problems).toEqual([]);
    expect(second.changes[0]?.after).toContain("path: /spec/template/spec/containers/0/image");
    expect(second.changes[0]?.after).toContain("value: 5");
    expect(second.changes[0]?.after.match(/target:/g)).toHaveLength(1);
  });

  it("edits what the kustomization's own images and replicas say, and patches only the rest", async () => {
    const own = "resources: [../base]\nimages:\n  - name: web # pinned\n    newTag: '1'\nreplicas:\n  - { name: web, count: 3 }\nnameSuffix: -eu\n";
    const object = { object: "apps/Deployment/default/web-eu" };
    const { problems, changes } = await accept(kustomized(own), { ...object, fields: [replicas, image] });
    expect(problems).toEqual([]);
    expect(changes.map(({ after }) => after)).toEqual([own.replace("newTag: '1'", "newTag: '2'").replace("count: 3", "count: 1")]);
    const moved = await accept(kustomized(own), { ...object, fields: [{ ...image, live: '"registry.example:5000/web:2"' }] });
    expect(moved.problems).toEqual([]);
    expect(moved.changes[0]?.after).toContain("newName: registry.example:5000/web");
    const digest = `sha256:${"a".repeat(64)}`;
    const pinned = await accept(kustomized(own), { ...object, fields: [{ ...image, live: JSON.stringify(`web@${digest}`) }] });
    expect(pinned.problems).toEqual([]);
    expect(pinned.changes[0]?.after).toContain(`digest: ${digest}`);
    expect(pinned.changes[0]?.after).not.toContain("newTag");
  });

  it.each<[string, Readonly<Record<string, string>>, object, string, RegExp]>([
    ["what a chart gives", { "fleet.yaml": fleetFile(""), "app/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "app/templates/web.yaml": deployment("3") }, {}, "from-chart", /Helm chart/],
    ["what a value gives", { "fleet.yaml": fleetFile("", "  values: { n: 3 }\n"), "app/web.yaml": deployment("${n}") }, {}, "from-values", /\$\{n\}/],
    ["what a value gives inside a kustomization", { ...kustomized("resources: [../base]\n", { "base/web.yaml": deployment("3").replace("web:1", "web:${tag}") }), "fleet.yaml": fleetFile("      path: prod\n", '  values: { tag: "1" }\n') }, { fields: [image] }, "from-values", /web:\$\{tag\}/],
    ["what a patch of fleet.yaml gives", { "fleet.yaml": fleetFile("      overlays:\n        - clusters: {}\n          patches:\n            - patch: { apiVersion: apps/v1, kind: Deployment, metadata: { name: web }, spec: { replicas: 3 } }\n"), "app/web.yaml": deployment("9") }, {}, "from-overlay", /patch of an overlay/],
    ["a file that changed since", { "fleet.yaml": fleetFile(""), "app/web.yaml": deployment("4") }, {}, "changed-since", /is 4 in this folder, and 3 in what the cluster got/],
    ["an object that is not there any more", { "fleet.yaml": fleetFile(""), "app/web.yaml": deployment("3").replace("name: web", "name: api") }, {}, "changed-since", /no Deployment default\/web/],
    ["a bundle that is not there any more", { "fleet.yaml": fleetFile("    - name: more\n"), "app/web.yaml": deployment("3"), "more/web.yaml": deployment("3").replace("name: web", "name: other") }, { bundle: "gone" }, "unknown-bundle", /no bundle 'gone'/],
    ["what Git says already", { "fleet.yaml": fleetFile(""), "app/web.yaml": deployment("1") }, {}, "accepted-already", /says 1 in this folder already/],
    ["what something later sets again", kustomized("resources: [../base]\nreplicas: [{ name: web, count: 3 }, { name: web, count: 3 }]\n"), {}, "not-effective", /does not reach the cluster/],
    ["what a generator makes", { ...kustomized("resources: [../base]\n", { "base/kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{ name: settings, literals: [a=x] }]\n" }) }, { object: "/ConfigMap/default/settings-5642bm9b6f", released: { data: { a: "x" } }, fields: [{ path: "/data/a", members: [], live: '"y"' }] }, "from-generator", /made by configMapGenerator 'settings' of base\/kustomization.yaml: its name holds a hash/],
    ["what cannot be rendered at all", { "fleet.yaml": fleetFile(""), "app/web.yaml": "kind: [" }, {}, "invalid-yaml", /./],
  ])("refuses %s, and says why and what to do", async (_what, files, more, code, message) => {
    const { problems, changes } = await accept(files, more);
    expect(changes).toEqual([]);
    expect(problems[0]).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(problems[0]?.hint).toBeTruthy();
  }); // prettier-ignore

  it("takes text that looks like a reference as text or refuses it, and never lets it mean something else", async () => {
    const map = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata: { a: x }\n";
    const drift = { object: "/ConfigMap/default/web", released: { data: { a: "x" } }, fields: [{ path: "/data/a", members: [], live: '"${n}"' }] };
    const { problems } = await accept({ "fleet.yaml": fleetFile("", "  values: { n: 3 }\n"), "app/web.yaml": map }, drift);
    expect(problems[0]?.code).toBe("not-effective");
    expect((await accept({ "fleet.yaml": fleetFile(""), "app/web.yaml": map }, drift)).changes[0]?.after).toContain("${n}");
  });

  it("leaves alone what an anchor shares with others", async () => {
    const shared = `kind: List\napiVersion: v1\nitems:\n- { apiVersion: v1, kind: ConfigMap, metadata: { name: a }, data: { x: &v one } }\n- { apiVersion: v1, kind: ConfigMap, metadata: { name: b }, data: { x: *v } }\n`;
    for (const name of ["a", "b"]) {
      const drift = { object: `/ConfigMap/default/${name}`, released: { data: { x: "one" } }, fields: [{ path: "/data/x", members: [], live: '"two"' }] };
      expect((await accept({ "fleet.yaml": fleetFile(""), "app/all.yaml": shared }, drift)).problems).toMatchObject([{ code: "not-in-place" }]);
    }
  });

  it("tells what else the change would alter", async () => {
    const generated = kustomized("resources: [../base]\nreplacements:\n- source: { kind: Deployment, name: web, fieldPath: spec.replicas }\n  targets: [{ select: { name: copy }, fieldPaths: [spec.replicas] }]\n", {
      "base/web.yaml": `${deployment("3")}---\n${deployment("3").replace("name: web }\nspec", "name: copy }\nspec")}`,
    }); // prettier-ignore
    expect((await accept(generated)).warnings).toMatchObject([{ code: "also-changes", message: "this changes Deployment default/copy too" }]);
  });
});
