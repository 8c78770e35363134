import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packEvents, type StoredEvent, unpackEvents } from "./event-pack.ts";
import { packSetOf, packsInAll } from "./pack-set.ts";

const text = fc.oneof(fc.constantFrom("", "shop", "berlin-1", "Healed"), fc.string({ unit: "binary" }));
const event: fc.Arbitrary<Omit<StoredEvent, "id">> = fc.record({
  at: fc.date({ noInvalidDate: true }),
  fleet: text,
  cluster: text,
  bundle: text,
  object_id: text,
  reason: text,
  severity: fc.constantFrom("Normal", "Warning"),
  message: text,
  revision: text,
  trace_id: text,
});
const events = fc
  .array(fc.tuple(event, fc.integer({ min: 1, max: 2 ** 40 })), { maxLength: 50 })
  .map((rows) => rows.reduce<StoredEvent[]>((before, [row, distance]) => [...before, { ...row, id: (before.at(-1)?.id ?? 0) + distance }], []));

describe("a pack of events", () => {
  it("gives back what was put in", () => {
    fc.assert(
      fc.property(events, (given) => {
        expect(unpackEvents(packEvents(given))).toEqual(given);
      }),
    );
  });

  it("takes a small part of what its events take as JSON, as events are", () => {
    const alike = Array.from({ length: 256 }, (_, index): StoredEvent => ({
      id: 1_000 + index,
      at: new Date(1_700_000_000_000 + index * 37),
      fleet: "shop",
      cluster: `sim-${index % 50}`,
      bundle: `app-${index % 100}`,
      object_id: `v1/ConfigMap/default/app-${index % 100}`,
      reason: "Applied",
      severity: "Normal",
      message: "1 object applied",
      revision: "a".repeat(40),
      trace_id: "b".repeat(32),
    }));
    expect(packEvents(alike).length).toBeLessThan(JSON.stringify(alike).length / 20);
  });

  it("is refused when it is damaged, cut, or no pack at all", () => {
    const body = packEvents([
      { id: 1, at: new Date(0), fleet: "", cluster: "", bundle: "", object_id: "", reason: "", severity: "Normal", message: "", revision: "", trace_id: "" },
    ]);
    for (const bad of [body.subarray(0, body.length - 2), Buffer.from("nothing"), Buffer.alloc(0)]) expect(() => unpackEvents(bad)).toThrow();
  });
});

describe("a pack of a newer hub", () => {
  it("says that it is one", () => {
    const newer = zstdCompressSync(JSON.stringify({ version: 2, ids: [], ats: [], texts: [] }));
    expect(() => unpackEvents(newer)).toThrow("packed as version 2, and this hub reads version 1");
  });
});

describe("sets of packs", () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 4_095 }), { maxLength: 200 });

  it("hold what they were made of, and together what all of them hold", () => {
    fc.assert(
      fc.property(fc.array(numbers, { minLength: 1, maxLength: 3 }), (lists) => {
        const all = (lists[0] ?? []).filter((pack) => lists.every((list) => list.includes(pack))).sort((a, b) => a - b);
        expect(packsInAll(lists.map(packSetOf))).toEqual(all);
      }),
    );
  });
});
