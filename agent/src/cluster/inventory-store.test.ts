import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { InventoryEntry } from "../domain/inventory.ts";
import { InventoryStore } from "./inventory-store.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObject, StateObjects } from "./state-objects.ts";

/** ConfigMaps in memory, whose writes end with a power cut after a while. */
class MemoryObjects {
  readonly kept = new Map<string, StateObject>();
  writesLeft = Infinity;
  writes = 0;

  put(_holder: string, _kind: string, name: string, annotations: Record<string, string>, data: Record<string, string>): Promise<void> {
    return this.#write(() => this.kept.set(name, { metadata: { name, annotations }, data }));
  }
  remove(_holder: string, name: string): Promise<void> {
    return this.#write(() => this.kept.delete(name));
  }
  list(): Promise<StateObject[]> {
    return Promise.resolve([...this.kept.values()]);
  }
  #write(act: () => void): Promise<void> {
    if (this.writesLeft-- <= 0) return Promise.reject(new Error("power cut"));
    this.writes += 1;
    act();
    return Promise.resolve();
  }
}

const storeOn = (objects: MemoryObjects) => new InventoryStore(objects as unknown as StateObjects);
const entries = (names: Iterable<number>, uid = "u") =>
  new Map(
    [...names].map((n) => [
      `/ConfigMap/n/${n}`,
      { key: `/ConfigMap/n/${n}`, apiVersion: "v1", bundle: "b", uid, desired: "d", owned: "o" } satisfies InventoryEntry,
    ]),
  );
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

async function read(objects: MemoryObjects): Promise<Map<string, InventoryEntry>> {
  const inventory = (await storeOn(objects).load()).get("shop");
  if (inventory instanceof KubeError) throw inventory;
  return inventory ?? new Map();
}

describe("inventories in ConfigMaps", () => {
  it("are read back whole, over one shard or many", async () => {
    for (const count of [0, 1, 800, 5_000]) {
      const objects = new MemoryObjects();
      await storeOn(objects).save("shop", entries(range(count)));
      expect(await read(objects)).toEqual(entries(range(count)));
      for (const { data } of objects.kept.values()) expect(data?.entries?.length).toBeLessThan(1_000_000);
    }
  });

  it("are not written when nothing changed, and only the shard that did", async () => {
    const objects = new MemoryObjects();
    const store = storeOn(objects);
    const inventory = entries(range(3_000));
    await store.save("shop", inventory);
    const before = objects.writes;
    await store.save("shop", inventory);
    expect(objects.writes).toBe(before);
    inventory.delete("/ConfigMap/n/7");
    await store.save("shop", inventory);
    expect(objects.writes).toBe(before + 1);
    const again = storeOn(objects);
    await again.load();
    await again.save("shop", inventory);
    expect(objects.writes).toBe(before + 1);
  });

  it("never lose an entry to a power cut between writes, also while the number of shards changes (G8)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 30 }), async (sizes, writes) => {
        const objects = new MemoryObjects();
        let kept = entries([]);
        await storeOn(objects).save("shop", kept);
        objects.writesLeft = writes;
        for (const size of sizes) {
          const store = storeOn(objects);
          await store.load().catch(() => undefined);
          const next = new Map([...kept, ...entries(range(size))]);
          const done = await store.save("shop", next).then(
            () => true,
            () => false,
          );
          if (!done) break;
          kept = next;
        }
        objects.writesLeft = Infinity;
        const found = await read(objects);
        for (const key of kept.keys()) expect(found.has(key)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("that are not whole are an error, never a smaller inventory (G5)", async () => {
    const objects = new MemoryObjects();
    await storeOn(objects).save("shop", entries(range(3_000)));
    objects.kept.delete([...objects.kept.keys()][1] ?? "");
    expect((await storeOn(objects).load()).get("shop")).toMatchObject({ message: expect.stringMatching(/inventory of fleet shop is not whole/) as string });
  });
});
