import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RefusedPathError } from "../domain/source-tree.ts";
import { TreeIndex, type TreeEntry } from "./tree-index.ts";
import { refusePath } from "./unsafe-path.ts";

const id = "a".repeat(40);
const file = (path: string, bytes = 1, mode = "100644"): TreeEntry => ({ mode, id, bytes, path });
const folder = (path: string): TreeEntry => file(path, 0, "040000");

describe("refusePath", () => {
  const hostile = [
    "../a",
    "a/../b",
    "./a",
    "a/./b",
    "/etc/passwd",
    "a//b",
    "a/",
    "a\\b",
    "..\\a",
    "a\u0000b",
    "a\nb",
    "a\u001b[31m",
    "a\u007f",
    ".git",
    ".GIT/config",
    "a/.git/hooks/x",
    ".Git",
    "git~1",
    "GIT~2/config",
    ".git ",
    ".git.",
    ".git . .",
    ".git::$INDEX_ALLOCATION/config",
    ".git:stream",
    ".g\u200cit",
    "\u200d.git",
    ".gi\ufefft/config",
    ".g\u202eit",
    "\ufffd",
    "x".repeat(256),
    "a/".repeat(600) + "b",
    Array.from({ length: 33 }, () => "d").join("/"),
    "",
  ];

  it.each(hostile)("refuses %j", (path) => {
    expect(refusePath(path)).toBeTypeOf("string");
  });

  it.each([
    "a.yaml",
    "deploy/base/kustomization.yaml",
    ".gitignore",
    ".github/a.yaml",
    "gitops/a",
    "café.yaml",
    "日本/語.yaml",
    "a b.yaml",
    "-rf",
    ".gitattributes",
    "a..b",
  ])("takes %j", (path) => {
    expect(refusePath(path)).toBeUndefined();
  });
});

describe("TreeIndex", () => {
  it("finds the files of a folder and of no other that begins alike", () => {
    const index = new TreeIndex(id, [file("apps-x/a"), folder("apps"), file("apps/a"), file("apps/b/c"), folder("apps/b"), file("apps.yaml"), file("apps0")]);
    expect(index.files("apps").map(({ path }) => path)).toEqual(["apps/a", "apps/b/c"]);
    expect(index.files("").length).toBe(5);
    expect(index.files("nothing")).toEqual([]);
  });

  it("refuses symlinks, submodules and strange modes, with file and reason", () => {
    const index = new TreeIndex(id, [file("ok/a"), folder("ok"), file("link", 4, "120000"), file("mod", 0, "160000"), file("odd", 0, "100000")]);
    expect(index.refused("link")).toMatchObject({ code: "symlink", file: "link", message: expect.stringContaining("never followed") as string });
    expect(index.refused("mod/inner/file")).toMatchObject({ code: "submodule", file: "mod" });
    expect(index.refused("odd")).toMatchObject({ code: "unsafe-path" });
    expect(index.refused("ok")).toBeUndefined();
    expect(index.kindOf("link")).toBeUndefined();
    expect(() => index.files("")).toThrow(RefusedPathError);
  });

  it("bounds one file, and what one folder holds", () => {
    expect(new TreeIndex(id, [file("a", 17 * 1024 ** 2)]).refused("")).toMatchObject({ code: "file-too-large", file: "a" });
    const wide = Array.from({ length: 20_001 }, (_, n) => file(`d/f${n}`));
    expect(new TreeIndex(id, [folder("d"), ...wide]).refused("d")).toMatchObject({ code: "tree-too-big" });
    const heavy = Array.from({ length: 9 }, (_, n) => file(`d/f${n}`, 16 * 1024 ** 2));
    expect(new TreeIndex(id, [folder("d"), ...heavy]).refused("d")).toMatchObject({ code: "tree-too-big" });
    expect(new TreeIndex(id, [folder("d"), ...heavy, folder("e"), file("e/a")]).refused("e")).toBeUndefined();
  });

  it("agrees with a plain filter on every set of paths", () => {
    const part = fc.constantFrom("a", "b", "ab", "a.b", "a-b", "a0");
    const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(fc.uniqueArray(path), path, (paths, asked) => {
        const index = new TreeIndex(
          id,
          paths.map((name) => file(name)),
        );
        expect(index.files(asked).map((found) => found.path)).toEqual(paths.filter((name) => name.startsWith(`${asked}/`)).toSorted());
      }),
    );
  });
});
