import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { listTree, nothingListed, parseFolder } from "./list-tree.ts";
import type { ObjectReader } from "./object-reader.ts";

type Folder = { readonly [name: string]: Folder | string };

/** A folder as Git writes it, kept with all that is in it by its id, and what was asked of them. */
function clone() {
  const trees = new Map<string, Buffer>();
  const blobs = new Map<string, number>();
  const asked: string[] = [];
  const hash = (type: string, content: Buffer): Buffer => createHash("sha1").update(`${type} ${content.length}\0`).update(content).digest();
  const written = new Map<Folder, Buffer>();
  const write = (folder: Folder): Buffer => {
    const known = written.get(folder);
    if (known !== undefined) return known;
    const entries = Object.entries(folder).map(([name, inside]) => {
      const id = typeof inside === "string" ? hash("blob", Buffer.from(inside)) : write(inside);
      if (typeof inside === "string") blobs.set(id.toString("hex"), inside.length);
      return Buffer.concat([Buffer.from(`${typeof inside === "string" ? "100644" : "40000"} ${name}\0`), id]);
    });
    const content = Buffer.concat(entries);
    const id = hash("tree", content);
    trees.set(id.toString("hex"), content);
    written.set(folder, id);
    return id;
  };
  const ask = <T>(from: ReadonlyMap<string, T>, ids: readonly string[]): T[] =>
    ids.map((id) => {
      asked.push(id);
      const found = from.get(id);
      if (found === undefined) throw new Error(`${id} is not there`);
      return found;
    });
  const reader = { readTrees: async (ids: readonly string[]) => ask(trees, ids), sizesOf: async (ids: readonly string[]) => ask(blobs, ids) };
  return { commit: (folder: Folder) => write(folder).toString("hex"), reader: reader as unknown as ObjectReader, asked };
}

describe("listTree", () => {
  it("lists files and folders with their paths and sizes", async () => {
    const { commit, reader } = clone();
    const found = await listTree(reader, commit({ "a.yaml": "one", apps: { shop: { "b.yaml": "four" }, "c.yaml": "" } }), nothingListed);
    expect(found?.entries.map(({ mode, path, bytes }) => [mode, path, bytes])).toEqual([
      ["100644", "a.yaml", 3],
      ["040000", "apps", 0],
      ["040000", "apps/shop", 0],
      ["100644", "apps/shop/b.yaml", 4],
      ["100644", "apps/c.yaml", 0],
    ]);
  });

  it("asks only for the folders above what changed, and for the new file's size", async () => {
    const { commit, reader, asked } = clone();
    const apps = (text: string): Folder =>
      Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`app-${n}`, { "a.yaml": n === 7 ? text : "same", [`b-${n}.yaml`]: `${n}` }]));
    const first = await listTree(reader, commit({ apps: apps("old"), other: { x: "x" } }), nothingListed);
    const root = commit({ apps: apps("changed"), other: { x: "x" } });
    asked.length = 0;
    const second = await listTree(reader, root, first?.listed ?? nothingListed);
    // The root, apps, app-7, and the file.
    expect(asked).toHaveLength(4);
    expect(second?.entries.find(({ path }) => path === "apps/app-7/a.yaml")?.bytes).toBe("changed".length);
    expect(second?.entries).toEqual((await listTree(reader, root, nothingListed))?.entries);
  });

  it("reads a folder once that stands in many places", async () => {
    const { commit, reader, asked } = clone();
    const shared: Folder = { "a.yaml": "a" };
    const found = await listTree(reader, commit(Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`copy-${n}`, shared]))), nothingListed);
    expect(found?.entries).toHaveLength(100);
    expect(asked).toHaveLength(3);
  });

  it("ends at a tree that unfolds to more than may be there, though few folders are kept", async () => {
    const { commit, reader } = clone();
    let bomb: Folder = { f: "x" };
    for (let depth = 0; depth < 8; depth += 1) bomb = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`d${n}`, bomb]));
    expect(await listTree(reader, commit(bomb), nothingListed)).toBeUndefined();
  });

  it("does not go down for ever: what lies too deep is listed up to where it is refused", async () => {
    const { commit, reader } = clone();
    let deep: Folder = { f: "x" };
    for (let depth = 0; depth < 60; depth += 1) deep = { d: deep };
    const found = await listTree(reader, commit(deep), nothingListed);
    expect(found?.entries.at(-1)?.path.split("/")).toHaveLength(33);
  });

  it.each([
    ["100644", "100644"],
    ["100664", "100644"],
    ["104755", "100755"],
    ["40000", "040000"],
    ["120000", "120000"],
    ["160000", "160000"],
    ["20644", "160000"],
  ])("takes the mode %s for %s, as Git does", (written, read) => {
    const id = "ab".repeat(20);
    const content = Buffer.concat([Buffer.from(`${written} a\0`), Buffer.from(id, "hex")]);
    expect(parseFolder(content, id)[0]?.mode).toBe(read);
  });

  it("reads names whatever they hold, and says when a tree is cut off", () => {
    const id = "ab".repeat(20);
    const written = Buffer.concat([Buffer.from("100755 a b\tc\n.yaml\0"), Buffer.from(id, "hex")]);
    expect(parseFolder(written, id)).toEqual([{ mode: "100755", id, name: "a b\tc\n.yaml", reason: "its name holds a control character" }]);
    expect(() => parseFolder(written.subarray(0, -1), id)).toThrow(/cut off/);
  });
});
