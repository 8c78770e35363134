import { describe, expect, it } from "vitest";
import { hashOwned, isHeldByOthers, otherOwnerOf, pointerOfMembers, walkOwned } from "./owned-fields.ts";
import { isIgnoredIn } from "./ignore.ts";

const owned = {
  "f:spec": {
    "f:replicas": {},
    "f:containers": { 'k:{"name":"main"}': { ".": {}, "f:name": {}, "f:image": {} } },
    "f:finalizers": { 'v:"a"': {} },
    "f:emptyDir": {},
  },
};
const live = (spec: object, rows: object[] = []) => ({
  kind: "X",
  metadata: { managedFields: [{ manager: "flotilla", operation: "Apply", fieldsV1: owned }, ...rows] },
  spec,
});
const spec = {
  replicas: 2,
  containers: [
    { name: "side", image: "s" },
    { name: "main", image: "m:1" },
  ],
  finalizers: ["a", "b"],
  emptyDir: {},
};
const never = () => false;

describe("owned fields", () => {
  it("are told apart from what only the status is held for", () => {
    const rows = (...others: object[]) => [{ manager: "flotilla", operation: "Apply", fieldsV1: owned }, ...others];
    expect(isHeldByOthers(rows())).toBe(false);
    expect(isHeldByOthers(rows({ manager: "kube-controller-manager", operation: "Update", subresource: "status", fieldsV1: {} }))).toBe(false);
    expect(isHeldByOthers(rows({ manager: "autoscaler", operation: "Update", subresource: "scale", fieldsV1: {} }))).toBe(true);
    expect(isHeldByOthers(undefined)).toBe(false);
  });

  it("are found in keyed lists, sets and maps, with their pointers", () => {
    const leaves = [...walkOwned(owned, { spec })].map(({ pointer, value }) => [pointer, value]);
    expect(leaves).toContainEqual(["/spec/containers/1/image", "m:1"]);
    expect(leaves).toContainEqual(["/spec/finalizers/0", "a"]);
    expect(leaves).toContainEqual(["/spec/replicas", 2]);
  });

  it("hash the same when only others' fields or the order of keyed lists change", () => {
    const before = hashOwned(live(spec), never);
    const reordered = { ...spec, containers: [...spec.containers].reverse().map((c) => ({ ...c, added: 1 })), finalizers: ["b", "a"], extra: true };
    expect(hashOwned(live(reordered), never)).toBe(before);
  });

  it("hash differently when a value of ours changes, goes away, or is no longer ours", () => {
    const before = hashOwned(live(spec), never);
    expect(hashOwned(live({ ...spec, replicas: 3 }), never)).not.toBe(before);
    expect(hashOwned(live({ ...spec, containers: [] }), never)).not.toBe(before);
    expect(hashOwned({ metadata: { managedFields: [] } }, never)).toBe("");
  });

  it("leave out what is ignored", () => {
    const ignored = isIgnoredIn({ paths: ["/spec/replicas", "/spec/containers/*/image"], queries: [] }, {});
    expect(hashOwned(live({ ...spec, replicas: 9 }), ignored)).toBe(hashOwned(live(spec), ignored));
    expect(hashOwned(live({ ...spec, finalizers: [] }), ignored)).not.toBe(hashOwned(live(spec), ignored));
  });

  it("name the newest other manager of a field", () => {
    const rows = [
      { manager: "old", operation: "Update", time: "2026-01-01T00:00:00Z", fieldsV1: { "f:spec": { "f:replicas": {} } } },
      { manager: "new", operation: "Update", time: "2026-02-01T00:00:00Z", fieldsV1: { "f:spec": {} } },
    ];
    expect(otherOwnerOf(live(spec, rows).metadata.managedFields, ["f:spec", "f:replicas"])).toEqual({
      manager: "new",
      operation: "Update",
      subresource: "",
      time: "2026-02-01T00:00:00Z",
    });
    expect(otherOwnerOf(live(spec).metadata.managedFields, ["f:spec", "f:replicas"])).toBeUndefined();
  });

  it("lead to a pointer in another object of the same shape, whose lists may be in another order", () => {
    const image = ["f:spec", "f:containers", 'k:{"name":"main"}', "f:image"];
    expect(pointerOfMembers(image, { spec })).toBe("/spec/containers/1/image");
    expect(pointerOfMembers(image, { spec: { containers: [{ name: "main", image: "x" }] } })).toBe("/spec/containers/0/image");
    expect(pointerOfMembers(image, { spec: { containers: [] } })).toBeUndefined();
    expect(pointerOfMembers(["f:spec", "."], { spec })).toBeUndefined();
  });
});
