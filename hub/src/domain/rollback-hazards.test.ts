import type { KubeObject } from "@flotilla/proto/digest";
import { describe, expect, it } from "vitest";
import { parseQuantity } from "./parse-quantity.ts";
import { rollbackHazards } from "./rollback-hazards.ts";

const object = (kind: string, more: object, apiVersion = "v1"): KubeObject =>
  ({ apiVersion, kind, metadata: { name: "x", namespace: "shop" }, ...more }) as KubeObject;
const messages = (now: KubeObject, before: KubeObject): string[] => rollbackHazards([now], [before]).map(({ message }) => message.replace(/^[^:]*: /, ""));
const claim = (storage: string): KubeObject => object("PersistentVolumeClaim", { spec: { resources: { requests: { storage } } } });
const crd = (...names: string[]): KubeObject =>
  object("CustomResourceDefinition", { spec: { versions: names.map((name, index) => ({ name, storage: index === 0 })) } }, "apiextensions.k8s.io/v1");

describe("what a rollback cannot do", () => {
  it("is nothing where an object changes what may change, comes or goes", () => {
    const deployment = (image: string) =>
      object("Deployment", { spec: { replicas: 1, selector: { matchLabels: { a: "b" } }, template: { image } } }, "apps/v1");
    expect(rollbackHazards([deployment("web:2")], [deployment("web:1")])).toEqual([]);
    expect(rollbackHazards([deployment("web:2")], [])).toEqual([]);
    expect(rollbackHazards([], [claim("1Gi")])).toEqual([]);
  });

  it("is to make a claim smaller, whatever the units", () => {
    expect(messages(claim("2Gi"), claim("1024Mi"))).toEqual(["a claim cannot shrink from 2Gi to 1024Mi"]);
    expect(messages(claim("1Gi"), claim("1024Mi"))).toEqual([]);
    expect(messages(claim("1Gi"), claim("2Gi"))).toEqual([]);
  });

  it("is to take a version from a definition", () => {
    expect(messages(crd("v2", "v1"), crd("v1"))).toEqual(["version v2, in which its objects are stored, would be lost"]);
    expect(messages(crd("v1", "v2beta1"), crd("v1"))).toEqual(["version v2beta1 would be lost"]);
    expect(messages(crd("v1"), crd("v1", "v2"))).toEqual([]);
  });

  it("is to change a field that cannot be changed", () => {
    const set = (serviceName: string) => object("StatefulSet", { spec: { serviceName } }, "apps/v1");
    expect(messages(set("b"), set("a"))).toEqual(["/spec/serviceName cannot be changed"]);
    const frozen = (a: string) => object("ConfigMap", { immutable: true, data: { a } });
    expect(messages(frozen("2"), frozen("1"))).toEqual(["/data cannot be changed: it is immutable"]);
    expect(messages(object("Service", { spec: { clusterIP: "10.0.0.1" } }), object("Service", { spec: {} }))).toEqual([]);
  });

  it("is nothing where the object says that it may be made again", () => {
    const job = (image: string) => {
      const made = object("Job", { spec: { template: { image } } }, "batch/v1");
      return { ...made, metadata: { ...made.metadata, annotations: { "flotilla.dev/force": "recreate" } } } as KubeObject;
    };
    expect(messages(job("b"), job("a"))).toEqual([]);
  });
});

describe("a quantity", () => {
  it.each([
    ["10Gi", 10 * 2 ** 30],
    ["500m", 0.5],
    ["1.5", 1.5],
    ["1e3", 1_000],
    [2, 2],
    ["12 apples", undefined],
    [undefined, undefined],
    ["", undefined],
  ])("%s is %s", (text, value) => expect(parseQuantity(text)).toBe(value));
});
