import { describe, expect, it } from "vitest";
import { defaultRulesFor, scaledBy, scaleKey } from "./ignore-defaults.ts";
import { foreignPointers, hasAny, ignoredOf, isIgnoredIn, isLeftTo, nothingIgnored, withoutPaths } from "./ignore.ts";
import { idOf } from "./object-id.ts";

const rule = (more: object) => ({ group: "", kind: "", namespace: "", name: "", paths: [], queries: [], managers: [], ...more });
const id = { group: "apps", kind: "Deployment", namespace: "shop", name: "web" };
const pod = { spec: { template: { spec: { containers: [{ name: "main" }, { name: "istio-proxy", image: "p" }] } } } };

describe("ignore rules", () => {
  it("match by what they name, and everything by what they leave empty", () => {
    expect(ignoredOf([rule({ paths: ["/spec/replicas"] })], id).paths).toEqual(["/spec/replicas"]);
    expect(ignoredOf([rule({ kind: "Deployment", name: "web", paths: ["/b", "/a"] }), rule({ paths: ["/a"] })], id).paths).toEqual(["/a", "/b"]);
    expect(ignoredOf([rule({ kind: "StatefulSet" }), rule({ namespace: "other" })], id)).toBe(nothingIgnored);
  });

  it("are one value for the same rules, so that thousands of objects share it", () => {
    const one = ignoredOf([rule({ paths: ["/a"], managers: ["x"] })], id);
    expect(ignoredOf([rule({ paths: ["/a"], managers: ["x"] })], { ...id, name: "other" })).toBe(one);
  });

  it("cover a pointer and everything below it, but not its neighbours", () => {
    const ignored = isIgnoredIn({ paths: ["/spec/replicas", "/metadata/annotations/*"], queries: [] }, {});
    expect(ignored("/spec/replicas")).toBe(true);
    expect(ignored("/metadata/annotations/a~1b")).toBe(true);
    expect(ignored("/spec/replicasMax")).toBe(false);
    expect(ignored("/spec")).toBe(false);
  });

  it("cover what a query finds in this very object", () => {
    const { paths, queries } = ignoredOf([rule({ queries: ['.spec.template.spec.containers[] | select(.name == "istio-proxy")'] })], id);
    const ignored = isIgnoredIn({ paths, queries }, pod);
    expect(ignored("/spec/template/spec/containers/1/image")).toBe(true);
    expect(ignored("/spec/template/spec/containers/0/image")).toBe(false);
  });

  it("leave fields to managers only where they say so", () => {
    const left = isLeftTo(ignoredOf([rule({ managers: ["scaler"], paths: ["/spec/replicas"] })], id), {});
    expect(left("/spec/replicas", "scaler")).toBe(true);
    expect(left("/spec/replicas", "other")).toBe(false);
    expect(left("/spec/image", "scaler")).toBe(false);
    expect(left("/spec/replicas", "")).toBe(false);
  });

  it("name what is left out of an apply: ignored and not ours, or held by those who may", () => {
    const body = { spec: { replicas: 1, list: [{ name: "a", x: 1 }] } };
    const tuned = { "f:spec": { "f:list": { 'k:{"name":"a"}': { "f:x": {} } } } };
    const live = (ours: object) => ({
      spec: { list: [{ name: "z" }, { name: "a", x: 2 }], replicas: 4 },
      metadata: {
        managedFields: [
          { manager: "tuner", operation: "Update", fieldsV1: tuned },
          { manager: "flotilla", operation: "Apply", fieldsV1: { "f:spec": { "f:other": {}, ...ours } } },
        ],
      },
    });
    const ignored = ignoredOf([rule({ paths: ["/spec/replicas"] }), rule({ managers: ["tuner"] })], id);
    expect(foreignPointers(ignored, body, live({}))).toEqual(["/spec/replicas", "/spec/list/0/x"]);
    expect(foreignPointers(ignored, body, live({ "f:replicas": {} }))).toEqual(["/spec/list/0/x"]);
    // To own that an item is there is not to own what others changed in it.
    const query = ignoredOf([rule({ queries: ['.spec.list[] | select(.name == "a") | .x'] })], id);
    expect(foreignPointers(query, body, live({ "f:list": { 'k:{"name":"a"}': { ".": {}, "f:name": {} } } }))).toEqual(["/spec/list/0/x"]);
  });

  it("take values out of a copy, several items of one list too", () => {
    const object = { spec: { replicas: 1, "a/b": 2, list: [{ x: 1, y: 2 }, { x: 3 }, { x: 4 }], many: [1, 2, 3] } };
    expect(withoutPaths(object, ["/spec/replicas", "/spec/a~1b", "/spec/list/*/x", "/spec/list/0", "/spec/list/2", "/spec/many/*", "/nowhere/at/all"])).toEqual(
      {
        spec: { list: [{}], many: [] },
      },
    );
    expect(object.spec.replicas).toBe(1);
  });

  it("know whether an object has what a pointer names", () => {
    expect(hasAny(pod, ["/spec/template/spec/containers/*/image"])).toBe(true);
    expect(hasAny(pod, ["/spec/template/spec/containers/*/nothing", "/status"])).toBe(false);
  });
});

describe("shipped ignore rules", () => {
  const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web", namespace: "shop" }, spec: { replicas: 2 } };
  const rulesOf = (object: Parameters<typeof defaultRulesFor>[0], off: string[] = [], isScaled = false) => defaultRulesFor(object, idOf(object), off, isScaled);

  it("leave replicas to an autoscaler of the target, and to one that holds them", () => {
    expect(rulesOf(deployment).map(({ managers }) => managers.length > 0)).toEqual([true]);
    expect(rulesOf(deployment, [], true).filter(({ managers }) => managers.length === 0)).toMatchObject([{ paths: ["/spec/replicas"] }]);
    expect(rulesOf(deployment, ["hpa-replicas"], true)).toEqual([]);
  });

  it("concern only objects that set such a field themselves", () => {
    expect(rulesOf({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { status: "x" } })).toEqual([]);
    expect(rulesOf({ apiVersion: "v1", kind: "Service", metadata: { name: "a" }, status: {} })).toHaveLength(1);
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "a" }, rules: [] };
    expect(rulesOf(role)).toEqual([]);
    expect(rulesOf({ ...role, aggregationRule: {} })).toMatchObject([{ paths: ["/rules"] }]);
  });

  it("know what autoscalers scale", () => {
    const hpa = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "a", namespace: "shop" } };
    const target = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
    expect(scaledBy({ ...hpa, spec: { scaleTargetRef: target } })).toBe(scaleKey(idOf(deployment)));
    expect(scaledBy({ ...hpa, apiVersion: "keda.sh/v1alpha1", kind: "ScaledObject", spec: { scaleTargetRef: { name: "web" } } })).toBe(
      scaleKey(idOf(deployment)),
    );
    expect(scaledBy({ ...hpa, spec: {} })).toBeUndefined();
    expect(scaledBy(deployment)).toBeUndefined();
  });
});
