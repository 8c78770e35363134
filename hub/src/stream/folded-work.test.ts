import { expect, it, vi } from "vitest";
import { FoldedWork } from "./folded-work.ts";

const log = { debug() {}, info() {}, warn: vi.fn(), error() {} };
const options = { name: "test", foldMs: 1, batchMax: 3, retryMs: 1, log };

it("does what comes together at once, each key once and as it was last, in bounded batches", async () => {
  const batches: string[][] = [];
  const work = new FoldedWork<string>({ ...options, work: async (items) => void batches.push(items) });
  for (const [key, item] of [
    ["a", "a1"],
    ["b", "b1"],
    ["a", "a2"],
    ["c", "c1"],
    ["d", "d1"],
  ] as const)
    work.add(key, item);
  await vi.waitUntil(() => batches.length === 2);
  expect(batches).toEqual([["b1", "a2", "c1"], ["d1"]]);
});

it("tries a failed batch again, and what came meanwhile is newer than it", async () => {
  const done: string[] = [];
  let fails = 1;
  const work: FoldedWork<string> = new FoldedWork<string>({
    ...options,
    work: async (items) => {
      if (fails-- > 0) {
        work.add("a", "a2");
        throw new Error("no");
      }
      done.push(...items);
    },
  });
  work.add("a", "a1");
  work.add("b", "b1");
  await vi.waitUntil(() => done.length === 2);
  expect(done.sort()).toEqual(["a2", "b1"]);
  expect(log.warn).toHaveBeenCalled();
});

it("forgets the oldest beyond its bound, finishes what waits at its close, and takes nothing afterwards", async () => {
  const done: string[] = [];
  const work = new FoldedWork<string>({ ...options, foldMs: 60_000, itemsMax: 2, work: async (items) => void done.push(...items) });
  for (const key of ["a", "b", "c"]) work.add(key, key);
  await work.close();
  work.add("d", "d");
  expect(done).toEqual(["b", "c"]);
});
