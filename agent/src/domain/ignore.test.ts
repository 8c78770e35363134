import { describe, expect, it } from "vitest";
import { ignoredPaths, isIgnoredBy, withoutPaths } from "./ignore.ts";

const rule = (more: object) => ({ group: "", kind: "", namespace: "", name: "", paths: ["/spec/replicas"], ...more });
const id = { group: "apps", kind: "Deployment", namespace: "shop", name: "web" };

describe("ignore rules", () => {
  it("match by what they name, and everything by what they leave empty", () => {
    expect(ignoredPaths([rule({})], id)).toEqual(["/spec/replicas"]);
    expect(ignoredPaths([rule({ kind: "Deployment", name: "web", paths: ["/b", "/a"] }), rule({ paths: ["/a"] })], id)).toEqual(["/a", "/b"]);
    expect(ignoredPaths([rule({ kind: "StatefulSet" }), rule({ namespace: "other" })], id)).toEqual([]);
  });

  it("cover a pointer and everything below it, but not its neighbours", () => {
    const ignored = isIgnoredBy(["/spec/replicas", "/metadata/annotations/*"]);
    expect(ignored("/spec/replicas")).toBe(true);
    expect(ignored("/metadata/annotations/a~1b")).toBe(true);
    expect(ignored("/spec/replicasMax")).toBe(false);
    expect(ignored("/spec")).toBe(false);
  });

  it("take values out of a copy", () => {
    const object = { spec: { replicas: 1, "a/b": 2, list: [{ x: 1, y: 2 }, { x: 3 }] } };
    expect(withoutPaths(object, ["/spec/replicas", "/spec/a~1b", "/spec/list/*/x", "/nowhere/at/all"])).toEqual({ spec: { list: [{ y: 2 }, {}] } });
    expect(object.spec.replicas).toBe(1);
  });
});
