import { sha256 } from "@flotilla/proto/digest";
import { decodeEntries, encodeEntries, shardOf, type Inventory, type InventoryEntry } from "../domain/inventory.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import { stateLimits } from "../limits.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObject, StateObjects } from "./state-objects.ts";

const annotation = { fleet: "flotilla.dev/inventory-of", set: "flotilla.dev/inventory-set", shards: "flotilla.dev/inventory-shards" } as const;

interface WrittenSet {
  /** Grows with every change of the number of shards: a set is written whole before the one before it is removed. */
  readonly set: number;
  readonly shards: number;
  /** SHA-256 of what each shard holds. */
  readonly written: (string | undefined)[];
}

/**
 * Inventories in ConfigMaps, sharded by object key. Inside a set an entry never changes its shard, so shards may be written
 * one by one; when a set gets too small for its entries a new set is written first and the old one removed after, and a
 * set that is not whole does not count. A shard whose content is the same is not written.
 */
export class InventoryStore {
  readonly #objects: StateObjects;
  readonly #sets = new Map<string, WrittenSet>();

  constructor(objects: StateObjects) {
    this.#objects = objects;
  }

  /**
   * Every inventory kept. One that cannot be read whole is given as the error that says why: it must not pass for empty.
   */
  async load(): Promise<Map<string, Map<ObjectKey, InventoryEntry> | KubeError>> {
    const kept = await this.#objects.list("ConfigMap", "inventory", { metadataOnly: false });
    const byFleet = Map.groupBy(kept, (object) => object.metadata.annotations?.[annotation.fleet] ?? "");
    this.#sets.clear();
    const inventories = new Map<string, Map<ObjectKey, InventoryEntry> | KubeError>();
    for (const [fleet, objects] of byFleet) inventories.set(fleet, await this.#read(fleet, objects));
    return inventories;
  }

  /** Write what changed. When resolved, a restart finds exactly these entries. */
  async save(fleet: string, inventory: Inventory): Promise<void> {
    const known = this.#sets.get(fleet);
    const wanted = Math.max(1, Math.ceil(inventory.size / stateLimits.entriesPerShard));
    const fits = known !== undefined && inventory.size <= known.shards * stateLimits.entriesPerShard * 1.25;
    const set: WrittenSet = fits ? known : { set: (known?.set ?? 0) + 1, shards: wanted, written: Array<undefined>(wanted).fill(undefined) };
    await this.#write(fleet, set, inventory);
    this.#sets.set(fleet, set);
    if (known && known !== set) await this.#removeSet(fleet, known);
  }

  /** Forget a fleet's inventory. */
  async remove(fleet: string): Promise<void> {
    const known = this.#sets.get(fleet);
    if (known) await this.#removeSet(fleet, known);
    this.#sets.delete(fleet);
  }

  async #write(fleet: string, set: WrittenSet, inventory: Inventory): Promise<void> {
    const shards = Array.from({ length: set.shards }, (): InventoryEntry[] => []);
    for (const entry of inventory.values()) shards[shardOf(entry.key, set.shards)]?.push(entry);
    await Promise.all(shards.map((entries, shard) => this.#writeShard(fleet, set, shard, entries)));
  }

  async #writeShard(fleet: string, set: WrittenSet, shard: number, entries: readonly InventoryEntry[]): Promise<void> {
    const text = encodeEntries(entries);
    if (text.length > stateLimits.maxShardBytes)
      throw new KubeError("unusable", `inventory shard ${shard} of fleet ${fleet} has ${text.length} bytes, over the ${stateLimits.maxShardBytes} that fit`);
    const digest = sha256(text);
    if (set.written[shard] === digest) return;
    // What is there while the write is under way is not known: another write must not be skipped.
    set.written[shard] = undefined;
    const notes = { [annotation.fleet]: fleet, [annotation.set]: String(set.set), [annotation.shards]: String(set.shards) };
    await this.#objects.put("ConfigMap", "inventory", nameOf(fleet, set.set, shard), notes, { entries: text });
    set.written[shard] = digest;
  }

  async #read(fleet: string, objects: readonly StateObject[]): Promise<Map<ObjectKey, InventoryEntry> | KubeError> {
    const bySet = Map.groupBy(objects, (object) => Number(object.metadata.annotations?.[annotation.set] ?? "0"));
    const whole = [...bySet]
      .filter(([, shards]) => shards.length === Number(shards[0]?.metadata.annotations?.[annotation.shards]))
      .sort(([a], [b]) => b - a)[0];
    if (!whole) return new KubeError("unusable", `the inventory of fleet ${fleet} is not whole: ${objects.map((object) => object.metadata.name).join(", ")}`);
    const [set, shards] = whole;
    try {
      const written = Array<string | undefined>(shards.length).fill(undefined);
      const entries = shards.flatMap(({ metadata, data }) => {
        const text = data?.entries ?? "";
        written[Number(metadata.name.slice(metadata.name.lastIndexOf("-") + 1))] = sha256(text);
        return decodeEntries(text);
      });
      this.#sets.set(fleet, { set, shards: shards.length, written });
      for (const [other, rest] of bySet) if (other !== set) await this.#removeSet(fleet, { set: other, shards: rest.length, written: [] });
      return new Map(entries.map((entry) => [entry.key, entry]));
    } catch (cause) {
      return new KubeError("unusable", `the inventory of fleet ${fleet} cannot be read: ${(cause as Error).message}`, { cause });
    }
  }

  async #removeSet(fleet: string, set: WrittenSet): Promise<void> {
    for (let shard = 0; shard < set.shards; shard++) await this.#objects.remove("ConfigMap", nameOf(fleet, set.set, shard));
  }
}

function nameOf(fleet: string, set: number, shard: number): string {
  return `flotilla-inventory-${fleet}-${set}-${shard}`;
}
