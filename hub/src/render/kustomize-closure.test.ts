import { describe, expect, it } from "vitest";
import { kustomizeClosure } from "./kustomize-closure.ts";
import { treeOf } from "./tree-for-tests.ts";

const follow = async (files: Record<string, string>, folder = "app", refused = {}) => kustomizeClosure(treeOf(files, refused), folder);

describe("kustomizeClosure", () => {
  it("finds everything that a kustomization reads, and nothing else", async () => {
    const { files, problems } = await follow({
      "app/kustomization.yaml": `
resources: [../base, extra.yaml]
components: [../parts/tls]
patches: [{ path: patch.yaml }, { target: { kind: A }, patch: "text" }]
patchesStrategicMerge: ["kind: A", old.yaml]
patchesJson6902: [{ target: { kind: A }, path: ops.json }]
configMapGenerator: [{ name: a, files: [a.txt, key=b.txt], envs: [c.env] }]
secretGenerator: [{ name: s, files: [s.txt] }]
replacements: [{ path: r.yaml }]
configurations: [conf.yaml]
openapi: { path: schema.json }
`,
      "app/extra.yaml": "",
      "app/patch.yaml": "",
      "app/old.yaml": "",
      "app/ops.json": "",
      "app/a.txt": "",
      "app/b.txt": "",
      "app/c.env": "",
      "app/s.txt": "",
      "app/r.yaml": "",
      "app/conf.yaml": "",
      "app/schema.json": "",
      "app/unread.yaml": "",
      "base/kustomization.yml": "resources: [web.yaml]",
      "base/web.yaml": "",
      "base/unread.yaml": "",
      "parts/tls/Kustomization": "resources: []",
    });
    expect(problems).toEqual([]);
    expect(files.filter((file) => !file.includes("unread"))).toEqual(files);
    expect(files).toHaveLength(15);
  });

  it("stops at kustomizations that lead to each other", async () => {
    const { files } = await follow({ "app/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../app]" });
    expect(files).toEqual(["app/kustomization.yaml", "b/kustomization.yaml"]);
  });

  it.each([
    "https://example.com/base?ref=v1",
    "http://169.254.169.254/latest/meta-data",
    "git@example.com:org/repo.git",
    "ssh://git@example.com/org/repo",
    "git::https://example.com/repo",
    "github.com/org/repo//base?ref=main",
    "example.com/org/repo",
    "file:///etc",
    "oci://example.com/chart",
  ])("refuses the remote base %s", async (base) => {
    const { problems } = await follow({ "app/kustomization.yaml": `kind: Kustomization\nresources:\n  - ${base}\n` });
    expect(problems).toEqual([
      expect.objectContaining({ code: "remote-reference", file: "app/kustomization.yaml", line: 3, column: 5, hint: expect.any(String) }),
    ]);
  });

  it("never shows credentials of a remote base", async () => {
    const { problems } = await follow({ "app/kustomization.yaml": "resources: ['https://user:hunter2@example.com/repo']" });
    expect(JSON.stringify(problems)).not.toContain("hunter2");
  });

  it.each([
    ["a file that is not there", "resources: [absent.yaml]", "missing-path"],
    ["a path out of the repository", "resources: [../../etc/passwd]", "path-outside-repository"],
    ["an absolute path", "resources: [/etc/passwd]", "path-outside-repository"],
    ["a remote file of a generator", "configMapGenerator: [{ name: a, files: ['https://example.com/x'] }]", "remote-reference"],
    ["charts", "helmCharts: [{ name: redis, repo: 'https://example.com' }]", "remote-reference"],
    ["a folder without a kustomization", "resources: [../empty]", "missing-path"],
    ["a folder where a file is wanted", "patches: [{ path: ../empty }]", "missing-path"],
    ["an empty kustomization", "", "zero-documents"],
    ["YAML that is none", "resources: [a", "invalid-yaml"],
  ])("refuses %s", async (_name, text, code) => {
    const { problems } = await follow({ "app/kustomization.yaml": text, "empty/notes.txt": "" });
    expect(problems).toEqual([expect.objectContaining({ code, file: "app/kustomization.yaml" })]);
  });

  it("refuses what the tree refuses, with its reason", async () => {
    const tree = treeOf({ "app/kustomization.yaml": "resources: [leak.yaml]" }, { "app/leak.yaml": "is a symlink" });
    const { problems } = await kustomizeClosure(tree, "app");
    expect(problems).toEqual([expect.objectContaining({ code: "symlink", file: "app/leak.yaml" })]);
  });

  it.each(["/etc/passwd", "/etc/nonexistent", "../../../etc/passwd", "key=/etc/passwd", "https://example.com/x", "file:///etc/passwd"])(
    "gives one answer for %s in a generator, whether it exists or not",
    async (reference) => {
      const generator = `apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: { name: x }\nfiles:\n  - ${reference}\n`;
      const beside = await follow({ "app/kustomization.yaml": "generators: [g.yaml]", "app/g.yaml": generator });
      expect(beside.problems).toEqual([
        expect.objectContaining({ code: expect.stringMatching(/remote-reference|path-outside-repository/), file: "app/g.yaml", line: 5 }),
      ]);
      const inline = await follow({ "app/kustomization.yaml": JSON.stringify({ generators: [generator] }) });
      expect(inline.problems).toEqual([expect.objectContaining({ file: "app/kustomization.yaml", line: 1 })]);
      expect(JSON.stringify([beside.problems, inline.problems])).not.toMatch(/passwd|nonexistent/);
    },
  );

  it("lets transformers name fields and files of the repository", async () => {
    const transformer =
      "apiVersion: builtin\nkind: LabelTransformer\nmetadata: { name: x }\nlabels: { a: b }\nfieldSpecs: [{ path: /metadata/labels, create: true }]\n---\napiVersion: builtin\nkind: PatchTransformer\nmetadata: { name: y }\npath: patch.yaml\n";
    const { problems } = await follow({ "app/kustomization.yaml": "transformers: [t.yaml]", "app/t.yaml": transformer, "app/patch.yaml": "" });
    expect(problems).toEqual([]);
  });
});
