import { describe, expect, it } from "vitest";
import { NotedTree, TreeMemory } from "./noted-tree.ts";
import type { SourceTree, TreeFile } from "./source-tree.ts";

/** Files by path; a content that begins with "!" is refused. */
function treeOf(files: Readonly<Record<string, string>>): SourceTree {
  const inside = (folder: string): string[] => Object.keys(files).filter((path) => folder === "" || path.startsWith(`${folder}/`));
  const isRefused = (path: string): boolean => files[path]?.startsWith("!") === true;
  return {
    revision: "local",
    treeId: JSON.stringify(files),
    kindOf: (path) => (isRefused(path) ? undefined : path in files ? "file" : inside(path).length > 0 ? "folder" : undefined),
    refused: (path) => {
      const bad = [path, ...inside(path)].find(isRefused);
      return bad === undefined ? undefined : { code: "symlink", message: `${bad} ${files[bad]}` };
    },
    files: (folder) => inside(folder).map((path): TreeFile => ({ path, bytes: 1, blob: files[path] ?? "" })),
    idOf: (path) => files[path] ?? (inside(path).length > 0 ? JSON.stringify(inside(path).map((file) => [file, files[file]])) : undefined),
    read: async (paths) => new Map(paths.map((path) => [path, Buffer.from(files[path] ?? "")])),
  };
}

const before = { "app/kustomization.yaml": "resources: [../base]", "app/notes.md": "n", "base/a.yaml": "a", "other/b.yaml": "b" };

describe("NotedTree", () => {
  const ask = async (): Promise<NotedTree> => {
    const noted = new NotedTree(treeOf(before));
    noted.kindOf("app");
    noted.kindOf("app/kustomization.yml");
    await noted.read(["app/kustomization.yaml"]);
    noted.files("base");
    noted.idOf("base/a.yaml");
    return noted;
  };
  const isAlike = async (after: Readonly<Record<string, string>>): Promise<boolean> => (await ask()).answers.areOf(treeOf(after));

  it("is alike for a tree that differs only where nobody looked", async () => {
    expect(await isAlike({ ...before, "app/notes.md": "other", "other/b.yaml": "changed", "new.yaml": "" })).toBe(true);
  });

  it.each([
    ["a file that was read changes", { ...before, "app/kustomization.yaml": "resources: []" }],
    ["a file comes into a folder that was listed", { ...before, "base/c.yaml": "c" }],
    ["a file of such a folder changes its name", { "app/kustomization.yaml": before["app/kustomization.yaml"], "app/notes.md": "n", "base/z.yaml": "a" }],
    ["a file comes that was looked for and was not there", { ...before, "app/kustomization.yml": "" }],
    ["a file that was read becomes a symlink", { ...before, "app/kustomization.yaml": "!link" }],
    ["a folder goes", { "base/a.yaml": "a" }],
  ])("is not alike when %s", async (_what, after) => {
    expect(await isAlike(after)).toBe(false);
  });

  it("holds why something is refused against what is refused there later", () => {
    const noted = new NotedTree(treeOf({ "a/x": "!one" }));
    noted.refused("a");
    expect(noted.answers.areOf(treeOf({ "a/x": "!one", b: "" }))).toBe(true);
    expect(noted.answers.areOf(treeOf({ "a/x": "!two" }))).toBe(false);
    expect(noted.answers.areOf(treeOf({ "a/x": "one" }))).toBe(false);
  });

  it("notes a folder once, whatever the number of files read in it", async () => {
    const noted = new NotedTree(treeOf(Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`app/${n}.yaml`, "x"]))));
    const files = noted.files("app").map(({ path }) => path);
    for (const path of files) noted.idOf(path);
    await noted.read(files);
    expect(noted.answers.size).toBe(1);
  });
});

describe("TreeMemory", () => {
  const noted = (path: string): NotedTree => {
    const tree = new NotedTree(treeOf(before));
    tree.idOf(path);
    return tree;
  };

  it("gives a result back for as long as the tree answers alike", () => {
    const memory = new TreeMemory<string>(10);
    memory.remember("base", noted("base"), "rendered");
    expect(memory.recall("base", treeOf({ ...before, "other/b.yaml": "changed" }))).toBe("rendered");
    expect(memory.recall("base", treeOf({ ...before, "base/a.yaml": "changed" }))).toBeUndefined();
    expect(memory.recall("app", treeOf(before))).toBeUndefined();
  });

  it("forgets what was not used for longest when there is too much", () => {
    const memory = new TreeMemory<string>(2);
    memory.remember("a", noted("app"), "a");
    memory.remember("b", noted("base"), "b");
    memory.recall("a", treeOf(before));
    memory.remember("c", noted("other"), "c");
    expect(["a", "b", "c"].map((key) => memory.recall(key, treeOf(before)))).toEqual(["a", undefined, "c"]);
  });
});
