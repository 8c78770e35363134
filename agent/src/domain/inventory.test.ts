import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeEntries, encodeEntries, shardOf, widen, type InventoryEntry } from "./inventory.ts";

const word = fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}$/);
const entry: fc.Arbitrary<InventoryEntry> = fc.record({
  key: fc.tuple(word, word, word, word).map((parts) => parts.join("/")),
  apiVersion: word,
  bundle: word,
  uid: fc.oneof(fc.constant(""), fc.uuid()),
  desired: fc.oneof(fc.constant(""), word),
  owned: word,
});

describe("the account of an entry", () => {
  it("is kept where there is one, and older rows have none", () => {
    const plain = { key: "/ConfigMap/a/b", apiVersion: "v1", bundle: "web", uid: "1", desired: "d", owned: "o" };
    const entries = [plain, { ...plain, key: "/ConfigMap/a/c", account: "shop/deployer" }];
    expect(decodeEntries(encodeEntries(entries))).toEqual(entries);
    expect(encodeEntries([plain])).toBe('["/ConfigMap/a/b","v1","web","1","d","o"]');
    expect(() => decodeEntries('["/ConfigMap/a/b","v1","web","1","d",{"account":"x/y"}]')).toThrow(/row 1/);
  });
});

describe("the inventory", () => {
  it("reads back what it wrote, whatever the order", () => {
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (e) => e.key }), (entries) => {
        const read = decodeEntries(encodeEntries(entries));
        expect(new Map(read.map((e) => [e.key, e]))).toEqual(new Map(entries.map((e) => [e.key, e])));
        expect(encodeEntries([...entries].reverse())).toBe(encodeEntries(entries));
      }),
    );
  });

  it("never passes for smaller than it is: a damaged row is an error", () => {
    const text = encodeEntries([{ key: "apps/Deployment/a/b", apiVersion: "apps/v1", bundle: "w", uid: "u", desired: "d", owned: "o" }]);
    expect(() => decodeEntries(text.slice(0, -3))).toThrow(/row 1 is not JSON/);
    expect(() => decodeEntries('["a/b/c/d"]')).toThrow(/six cells/);
    expect(() => decodeEntries('["a/b","v1","w","u","d","o"]')).toThrow(/group\/kind\/namespace\/name/);
  });

  it("widened holds every object that will be attempted and forgets none (G8)", () => {
    fc.assert(
      fc.property(fc.array(entry), fc.array(entry), (held, attempts) => {
        const before = new Map(held.map((e) => [e.key, e]));
        const wide = widen(before, attempts);
        for (const [key, value] of before) expect(wide.get(key)).toBe(value);
        for (const { key } of attempts) expect(wide.has(key)).toBe(true);
      }),
    );
  });

  it("keeps an entry in its shard", () => {
    expect(shardOf("apps/Deployment/a/b", 1)).toBe(0);
    expect(shardOf("apps/Deployment/a/b", 7)).toBe(shardOf("apps/Deployment/a/b", 7));
    expect(new Set(Array.from({ length: 100 }, (_, i) => shardOf(`/ConfigMap/a/${i}`, 4))).size).toBe(4);
  });
});
