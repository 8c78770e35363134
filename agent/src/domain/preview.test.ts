import { randomBytes } from "node:crypto";
import { maxDriftFieldsPerObject, maxDryRunObjects } from "@flotilla/proto/limits";
import { describe, expect, it } from "vitest";
import { boundForesight, type Foreseen, foreseenFields, wouldChange } from "./preview.ts";

const key = randomBytes(32);
/** An object of which we hold the data's fields. */
const held = (kind: string, data: Record<string, string>, more: object = {}) => ({
  apiVersion: "v1",
  kind,
  metadata: {
    name: "a",
    namespace: "default",
    resourceVersion: "7",
    managedFields: [
      {
        manager: "flotilla",
        operation: "Apply",
        apiVersion: "v1",
        fieldsType: "FieldsV1",
        time: "2026-11-25T12:00:00Z",
        fieldsV1: { "f:data": Object.fromEntries(Object.keys(data).map((name) => [`f:${name}`, {}])) },
      },
    ],
    ...more,
  },
  data,
});
const foreseen = (name: string, more: Partial<Foreseen> = {}): Foreseen => ({
  object: `/ConfigMap/default/${name}`,
  bundle: "web",
  action: "configure",
  message: "",
  fields: [],
  moreFields: 0,
  ...more,
});

describe("the fields that would change", () => {
  it("are those that are new, those that are another, and those that we give up", () => {
    const fields = foreseenFields(held("ConfigMap", { same: "1", other: "1", gone: "1" }), held("ConfigMap", { same: "1", other: "2", added: "1" }), key);
    expect([...fields].sort((left, right) => (left.path < right.path ? -1 : 1))).toEqual([
      { path: "/data/added", before: "", after: '"1"' },
      { path: "/data/gone", before: '"1"', after: "" },
      { path: "/data/other", before: '"1"', after: '"2"' },
    ]);
  });

  it("of a Secret have hashes, which tell equal from other values in one preview", () => {
    const value = (text: string) => Buffer.from(text).toString("base64");
    const fields = foreseenFields(held("Secret", { a: value("one") }), held("Secret", { a: value("two") }), key);
    expect(fields).toHaveLength(1);
    expect(fields[0]?.before).toMatch(/hash:[0-9a-f]{16}/);
    expect(fields[0]?.before).not.toBe(fields[0]?.after);
    expect(JSON.stringify(fields)).not.toContain(value("one"));
    const again = foreseenFields(held("Secret", { a: value("one") }), held("Secret", { a: value("two") }), randomBytes(32));
    expect(again[0]?.before).not.toBe(fields[0]?.before);
  });
});

describe("whether an apply would write", () => {
  it("looks neither at versions nor at times, but at who holds what", () => {
    const live = held("ConfigMap", { a: "1" });
    expect(wouldChange(live, held("ConfigMap", { a: "1" }, { resourceVersion: "9", generation: 3 }))).toBe(false);
    const later = structuredClone(live);
    later.metadata.managedFields[0]!.time = "2026-11-26T12:00:00Z";
    expect(wouldChange(live, later)).toBe(false);
    later.metadata.managedFields[0]!.manager = "another";
    expect(wouldChange(live, later)).toBe(true);
    expect(wouldChange(live, held("ConfigMap", { a: "2" }))).toBe(true);
  });
});

describe("what one answer holds", () => {
  it("is counted where it does not fit, and the effect stands for the whole", () => {
    const all = Array.from({ length: maxDryRunObjects + 7 }, (_, index) => foreseen(`a-${index}`));
    const bounded = boundForesight(all, 3);
    expect([bounded.objects.length, bounded.leftOut, bounded.unchanged]).toEqual([maxDryRunObjects, 7, 3]);
    expect(boundForesight([...all.slice(0, -1), foreseen("another")], 3).effect).not.toBe(bounded.effect);
    expect(boundForesight(all, 4).effect).toBe(bounded.effect);
  });

  it("has a bounded number of fields for each object, and none when there is no room for them", () => {
    const many = Array.from({ length: maxDriftFieldsPerObject + 5 }, (_, index) => ({ path: `/data/${index}`, before: "", after: '"1"' }));
    expect(boundForesight([foreseen("a", { fields: many })], 0).objects[0]).toMatchObject({ moreFields: 5 });
    const large = foreseen("b", { fields: [{ path: "/data/a", before: "", after: "x".repeat(2 * 1024 * 1024) }] });
    const [first, second] = boundForesight([large, foreseen("c", { fields: many.slice(0, 2) })], 0).objects;
    expect([first?.fields.length, first?.moreFields, second?.fields.length]).toEqual([0, 1, 2]);
  });
});
