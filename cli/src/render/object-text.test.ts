import { describe, expect, it } from "vitest";
import { meansObject, objectText } from "./object-text.ts";

describe("an object's id", () => {
  it.each([
    ["/ConfigMap/shop/web", "ConfigMap shop/web"],
    ["apps/Deployment/shop/web", "Deployment shop/web"],
    ["/Namespace//shop", "Namespace shop"],
    ["rbac.authorization.k8s.io/ClusterRole//view", "ClusterRole view"],
    ["cert-manager.io/Certificate/shop/web", "Certificate.cert-manager.io shop/web"],
    ["shop", "shop"],
    ["", ""],
  ])("%s is shown as '%s'", (id, text) => {
    expect(objectText(id)).toBe(text);
    expect(meansObject(id, text)).toBe(true);
  });

  it.each(["web", "shop/web", "Deployment/web", "deployment/shop/web", "Deployment shop/web", "deployment.apps/shop/web", "apps/Deployment/shop/web"])(
    "is meant by %s",
    (typed) => expect(meansObject("apps/Deployment/shop/web", typed)).toBe(true),
  );

  it.each(["we", "shop", "Service/shop/web", "web/shop", "", "/"])("is not meant by '%s'", (typed) => {
    expect(meansObject("apps/Deployment/shop/web", typed)).toBe(false);
  });
});
