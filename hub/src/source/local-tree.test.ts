import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RefusedPathError } from "../domain/source-tree.ts";
import { openLocalTree } from "./local-tree.ts";

describe("openLocalTree", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "flotilla-tree-"));
    mkdirSync(join(folder, "apps/web"), { recursive: true });
    mkdirSync(join(folder, ".git"));
    writeFileSync(join(folder, ".git/config"), "secret");
    writeFileSync(join(folder, "apps/web/a.yaml"), "a: 1\n");
    writeFileSync(join(folder, "apps/b.yaml"), "b: 1\n");
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("answers as the commit would", async () => {
    const tree = openLocalTree(folder);
    expect(tree.files("").map(({ path }) => path)).toEqual(["apps/b.yaml", "apps/web/a.yaml"]);
    expect(tree.kindOf("")).toBe("folder");
    expect(tree.kindOf("apps")).toBe("folder");
    expect(tree.kindOf("apps/b.yaml")).toBe("file");
    expect(tree.kindOf("apps/b.yaml/c")).toBeUndefined();
    expect(tree.kindOf("none")).toBeUndefined();
    expect(tree.files("none")).toEqual([]);
    // git hash-object of "b: 1\n".
    expect(tree.idOf("apps/b.yaml")).toMatch(/^[0-9a-f]{40}$/);
    expect(Buffer.from((await tree.read(["apps/b.yaml"])).get("apps/b.yaml") ?? []).toString()).toBe("b: 1\n");
  });

  it("has ids that change with the content and with nothing else", () => {
    const before = openLocalTree(folder);
    const ids = [before.idOf("apps"), before.idOf("apps/web"), before.treeId];
    writeFileSync(join(folder, ".git/config"), "other");
    writeFileSync(join(folder, "apps/b.yaml"), "b: 2\n");
    const after = openLocalTree(folder);
    expect(after.idOf("apps")).not.toBe(ids[0]);
    expect(after.idOf("apps/web")).toBe(ids[1]);
    expect(after.treeId).not.toBe(ids[2]);
  });

  it("follows no symlink, wherever it leads", async () => {
    symlinkSync("/etc", join(folder, "apps/etc"));
    symlinkSync("b.yaml", join(folder, "apps/link.yaml"));
    const tree = openLocalTree(folder);
    expect(tree.refused("apps/web")).toBeUndefined();
    expect(tree.refused("apps")).toMatchObject({ code: "symlink" });
    expect(tree.refused("apps/etc/passwd")).toMatchObject({ code: "symlink", file: "apps/etc" });
    expect(() => tree.files("apps")).toThrow(RefusedPathError);
    await expect(tree.read(["apps/etc/passwd"])).rejects.toThrow(RefusedPathError);
    await expect(tree.read(["apps/link.yaml"])).rejects.toThrow(RefusedPathError);
  });

  it("stays inside, and gives the same answer whether something is outside or not", async () => {
    const tree = openLocalTree(folder);
    for (const path of ["../x", "apps/../../etc/passwd", "/etc/passwd", "apps\\b.yaml", "a\u0000b"]) {
      expect(tree.kindOf(path)).toBeUndefined();
      expect(tree.refused(path)).toBeDefined();
      await expect(tree.read([path])).rejects.toThrow(RefusedPathError);
    }
  });
});
