import { describe, expect, it } from "vitest";
import { collectBatches } from "./collect-batches.ts";

const bounds = { itemsMax: 3, bytesMax: 100, lingerMs: 20, ms: 1_000 };

async function all<T>(batches: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const batch of batches) found.push(batch);
  return found;
}

async function* source(items: readonly number[], end?: Promise<unknown>): AsyncGenerator<number> {
  yield* items;
  await end;
}

describe("collectBatches", () => {
  it("keeps order, and bounds by number and by size", async () => {
    expect(await all(collectBatches(source([1, 2, 3, 4, 5]), bounds, () => 1))).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
    expect(await all(collectBatches(source([60, 60, 1, 200, 1]), bounds, (size) => size))).toEqual([[60, 60], [1, 200], [1]]);
  });

  it("gives a batch when nothing more comes for a while", async () => {
    let finish = (): void => undefined;
    const end = new Promise<void>((resolve) => (finish = resolve));
    const batches = collectBatches(source([1, 2], end), bounds, () => 1);
    expect((await batches.next()).value).toEqual([1, 2]);
    finish();
    expect((await batches.next()).done).toBe(true);
  });

  it("fails as its source does, after what came before", async () => {
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error("the broker is gone");
    }
    const batches = collectBatches(broken(), bounds, () => 1);
    expect((await batches.next()).value).toEqual([1]);
    await expect(batches.next()).rejects.toThrow("the broker is gone");
  });
});
