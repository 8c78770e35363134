import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockedBy, inApplyOrder, stageOf } from "./apply-order.ts";

const id = (kind: string, group = "") => ({ id: { group, kind, namespace: "", name: kind } });
const ready = { applied: true, healthy: true, reason: "" };

describe("apply order", () => {
  it("has definitions, namespaces, and then the rest with webhooks last", () => {
    const kinds = [
      id("MutatingWebhookConfiguration", "admissionregistration.k8s.io"),
      id("Deployment", "apps"),
      id("Service"),
      id("ConfigMap"),
      id("ServiceAccount"),
      id("Namespace"),
      id("CustomResourceDefinition", "apiextensions.k8s.io"),
    ];
    expect(inApplyOrder(kinds).map((object) => object.id.kind)).toEqual([
      "CustomResourceDefinition",
      "Namespace",
      "ServiceAccount",
      "ConfigMap",
      "Service",
      "Deployment",
      "MutatingWebhookConfiguration",
    ]);
    expect(stageOf(id("Namespace", "other.example").id)).toBe("rest");
  });

  it("keeps every object and the order of equals", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ kind: fc.constantFrom("Namespace", "Service", "Deployment"), n: fc.integer() })), (objects) => {
        const given = objects.map(({ kind, n }) => ({ ...id(kind), n }));
        const ordered = inApplyOrder(given);
        expect(ordered).toHaveLength(given.length);
        for (const kind of ["Namespace", "Service", "Deployment"])
          expect(ordered.filter((o) => o.id.kind === kind)).toEqual(given.filter((o) => o.id.kind === kind));
      }),
    );
  });
});

describe("a bundle that depends on others", () => {
  const bundles = [
    { name: "a", dependsOn: [] },
    { name: "b", dependsOn: ["a"] },
    { name: "x", dependsOn: ["y"] },
    { name: "y", dependsOn: ["x"] },
    { name: "z", dependsOn: ["gone"] },
  ];
  const [a, b, x, , z] = bundles as [(typeof bundles)[0], (typeof bundles)[0], (typeof bundles)[0], (typeof bundles)[0], (typeof bundles)[0]];

  it("waits until they are applied and healthy, and says for which object", () => {
    expect(blockedBy(a, bundles, new Map())).toBeUndefined();
    expect(blockedBy(b, bundles, new Map())).toMatch(/waits for bundle a/);
    expect(blockedBy(b, bundles, new Map([["a", { ...ready, healthy: false, reason: "Deployment web: 0 of 1 replicas" }]]))).toBe(
      "waits for bundle a: Deployment web: 0 of 1 replicas",
    );
    expect(blockedBy(b, bundles, new Map([["a", ready]]))).toBeUndefined();
  });

  it("never goes on in a cycle or for a bundle that is not there, and names it", () => {
    const all = new Map(["x", "y", "gone"].map((name) => [name, ready]));
    expect(blockedBy(x, bundles, all)).toBe("bundles depend on each other: x → y → x");
    expect(blockedBy(z, bundles, all)).toMatch(/gone, which is not in the target/);
  });
});
