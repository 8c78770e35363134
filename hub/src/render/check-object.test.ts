import { describe, expect, it } from "vitest";
import { checkObject } from "./check-object.ts";

const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "a" } };

describe("checkObject", () => {
  it.each([
    deployment,
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "a", labels: { a: "b" }, annotations: null } },
    { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "system:reader" } },
    { apiVersion: "monitoring.coreos.com/v1", kind: "Prometheus", metadata: { name: "k8s" } },
    { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name: "a" } },
    { apiVersion: "batch/v1beta3", kind: "Wonder", metadata: { name: "a" } },
    { apiVersion: "admissionregistration.k8s.io/v1beta1", kind: "ValidatingAdmissionPolicy", metadata: { name: "a" } },
  ])("has nothing to say about $apiVersion $kind", (object) => {
    expect(checkObject(object)).toEqual([]);
  });

  it.each<[string, object, string, RegExp]>([
    ["a mistyped kind", { ...deployment, kind: "Deploymnet" }, "unknown-kind", /'Deployment'/],
    ["a kind in lower case", { ...deployment, kind: "deployment" }, "unknown-kind", /'Deployment'/],
    ["a kind of another group", { ...deployment, apiVersion: "v1" }, "wrong-api-version", /Deployment is in apps\/v1/],
    ["a group that does not exist", { ...deployment, apiVersion: "app/v1" }, "wrong-api-version", /apps\/v1/],
    ["a version that does not exist", { ...deployment, apiVersion: "apps/v2" }, "wrong-api-version", /apps\/v1/],
    ["a version that is none", { ...deployment, apiVersion: "apps/one" }, "wrong-api-version", /apps\/v1/],
    ["a version that was removed", { ...deployment, apiVersion: "apps/v1beta1" }, "removed-api-version", /use apps\/v1/],
    ["an Ingress of old", { ...deployment, apiVersion: "extensions/v1beta1", kind: "Ingress" }, "removed-api-version", /networking\.k8s\.io\/v1/],
    ["no apiVersion", { kind: "Deployment", metadata: { name: "a" } }, "missing-api-version", /manifest/],
    ["a mistyped apiVersion", { apiversion: "v1", kind: "Pod", metadata: { name: "a" } }, "missing-api-version", /'apiVersion' where 'apiversion'/],
    ["no kind", { apiVersion: "v1", metadata: { name: "a" } }, "missing-kind", /manifest/],
    ["a number for an apiVersion", { ...deployment, apiVersion: 1 }, "wrong-api-version", /apps\/v1/],
    ["no name", { ...deployment, metadata: {} }, "missing-name", /metadata\.name/],
    ["no metadata", { apiVersion: "v1", kind: "Pod" }, "missing-name", /name/],
    ["a generated name", { ...deployment, metadata: { generateName: "a-" } }, "generate-name", /metadata\.name/],
    ["a name that is a number", { ...deployment, metadata: { name: 1 } }, "wrong-name", /quotes/],
    ["a name with a slash", { ...deployment, metadata: { name: "a/b" } }, "wrong-name", /without/],
    ["a namespace that is none", { ...deployment, metadata: { name: "a", namespace: "A_b" } }, "wrong-namespace", /lower-case/],
    ["a label that is true", { ...deployment, metadata: { name: "a", labels: { on: true } } }, "text-wanted", /quotes/],
    ["annotations that are a list", { ...deployment, metadata: { name: "a", annotations: ["a"] } }, "text-wanted", /map|pairs/],
    ["a number in a ConfigMap", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { port: 80 } }, "text-wanted", /quotes/],
    ["Kustomize's own file", { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization" }, "unknown-kind", /kustomization\.yaml/],
  ])("tells %s and the remedy", (_name, object, code, hint) => {
    const [complaint] = checkObject(object as never);
    expect(complaint).toMatchObject({ code });
    expect(complaint?.hint).toMatch(hint);
  });

  it("says since when a version is gone", () => {
    expect(checkObject({ ...deployment, apiVersion: "apps/v1beta1" })[0]?.message).toBe("apps/v1beta1 Deployment was removed in Kubernetes 1.16");
  });

  it("tells everything at once", () => {
    expect(checkObject({ apiVersion: "v1", kind: "Pdo", metadata: { labels: { a: 1 } } }).map(({ code }) => code)).toEqual([
      "unknown-kind",
      "missing-name",
      "text-wanted",
    ]);
  });
});
