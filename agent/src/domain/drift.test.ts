import { describe, expect, it } from "vitest";
import { driftFields, isAccepted } from "./drift.ts";
import { ignoredOf, nothingIgnored } from "./ignore.ts";

const key = new Uint8Array(32);
const never = nothingIgnored;
const anything = { group: "", kind: "ConfigMap", namespace: "", name: "web" };
const rule = (more: object) => ({ group: "", kind: "", namespace: "", name: "", paths: [], queries: [], managers: [], ...more });
const fieldsV1 = { "f:data": { "f:a": {}, "f:b": {} }, "f:spec": { "f:containers": { 'k:{"name":"main"}': { "f:name": {}, "f:image": {}, "f:env": {} } } } };
const applied = (kind: string) => ({
  kind,
  metadata: { managedFields: [{ manager: "flotilla", operation: "Apply", fieldsV1 }] },
  data: { a: "1", b: "2" },
  spec: { containers: [{ name: "main", image: "x:1", env: [{ name: "A" }] }] },
});

describe("drift", () => {
  it("names path, both values and the manager", () => {
    const live = {
      ...applied("ConfigMap"),
      data: { a: "1", b: "edited" },
      metadata: { managedFields: [{ manager: "kubectl-edit", operation: "Update", time: "2026-01-02T03:04:05Z", fieldsV1: { "f:data": { "f:b": {} } } }] },
    };
    expect(driftFields(applied("ConfigMap"), live, never, key)).toEqual([
      {
        ...{ path: "/data/b", desired: '"2"', live: '"edited"', manager: "kubectl-edit", operation: "Update", subresource: "", time: "2026-01-02T03:04:05Z" },
        members: ["f:data", "f:b"],
      },
    ]);
  });

  it("is accepted when a new revision has all that was found, wherever its list item stands now", () => {
    const containers = [{ name: "main", image: "x:2", env: [{ name: "A" }] }];
    const drift = driftFields(applied("ConfigMap"), { ...applied("ConfigMap"), spec: { containers } }, never, key);
    expect(drift).toMatchObject([{ path: "/spec/containers/0/image", members: ["f:spec", "f:containers", 'k:{"name":"main"}', "f:image"] }]);
    const moved = [{ name: "first", image: "x:1" }, ...containers];
    expect(isAccepted(drift, { ...applied("ConfigMap"), spec: { containers: moved } }, key)).toBe(true);
    expect(isAccepted(drift, applied("ConfigMap"), key)).toBe(false);
    expect(isAccepted([...drift, ...drift], { ...applied("ConfigMap"), spec: { containers: [] } }, key)).toBe(false);
  });

  it("is accepted by hashes where the kind is Secret-like, and never by a value that was cut", () => {
    const found = { ...applied("Secret"), data: { a: "1", b: "found" } };
    const drift = driftFields(applied("Secret"), found, never, key);
    expect(drift).toMatchObject([{ members: [] }]);
    expect(isAccepted(drift, found, key)).toBe(true);
    expect(isAccepted(drift, applied("Secret"), key)).toBe(false);
    const long = { ...applied("ConfigMap"), data: { a: "1", b: "x".repeat(1_000) } };
    expect(isAccepted(driftFields(applied("ConfigMap"), long, never, key), long, key)).toBe(false);
  });

  it("tells a list item that is gone as one difference", () => {
    const live = { ...applied("ConfigMap"), spec: { containers: [] } };
    const [field, ...more] = driftFields(applied("ConfigMap"), live, never, key);
    expect(field).toMatchObject({ path: "/spec/containers/0", live: "" });
    expect(more).toEqual([]);
  });

  it("shows values of Secret-like kinds as keyed hashes only", () => {
    for (const kind of ["Secret", "SealedSecret"]) {
      const fields = driftFields(applied(kind), { ...applied(kind), data: { a: "hunter2", b: "2" } }, never, key);
      expect(fields).toHaveLength(1);
      expect(JSON.stringify(fields)).not.toContain("hunter2");
      expect(fields[0]?.desired).toMatch(/^"hash:[0-9a-f]{16}"$/);
      expect(fields[0]?.live).not.toBe(fields[0]?.desired);
    }
  });

  it("leaves out ignored paths and what is the same", () => {
    expect(
      driftFields(applied("ConfigMap"), { ...applied("ConfigMap"), data: { a: "9", b: "2" } }, ignoredOf([rule({ paths: ["/data/a"] })], anything), key),
    ).toEqual([]);
    expect(driftFields(applied("ConfigMap"), applied("ConfigMap"), never, key)).toEqual([]);
  });

  it("leaves a field to the manager who may hold it, and to nobody else", () => {
    const live = {
      ...applied("ConfigMap"),
      data: { a: "1", b: "scaled" },
      metadata: { managedFields: [{ manager: "scaler", operation: "Update", fieldsV1: { "f:data": { "f:b": {} } } }] },
    };
    const left = (more: object) => driftFields(applied("ConfigMap"), live, ignoredOf([rule(more)], anything), key);
    expect(left({ managers: ["scaler"] })).toEqual([]);
    expect(left({ managers: ["scaler"], paths: ["/data/b"] })).toEqual([]);
    expect(left({ managers: ["scaler"], paths: ["/data/a"] })).toHaveLength(1);
    expect(left({ managers: ["other"] })).toHaveLength(1);
  });

  it("resolves queries in what was applied, whatever the order in the live object", () => {
    const live = { ...applied("ConfigMap"), spec: { containers: [{ name: "injected" }, { name: "main", image: "x:2", env: [] }] } };
    const ignored = ignoredOf([rule({ queries: ['.spec.containers[] | select(.name == "main") | .image'] })], anything);
    expect(driftFields(applied("ConfigMap"), live, ignored, key).map(({ path }) => path)).toEqual(["/spec/containers/0/env"]);
  });

  it("cuts long values and many fields", () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f:k${i}`, {}]));
    const wide = {
      kind: "ConfigMap",
      metadata: { managedFields: [{ manager: "flotilla", operation: "Apply", fieldsV1: { "f:data": many } }] },
      data: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, "x".repeat(1_000)])),
    };
    const fields = driftFields(wide, { ...wide, data: {} }, never, key);
    expect(fields).toHaveLength(20);
    expect(fields[0]?.desired.length).toBeLessThanOrEqual(256);
  });
});
