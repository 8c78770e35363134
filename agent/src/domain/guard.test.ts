import { readDirectives } from "@flotilla/proto/directives";
import { describe, expect, it } from "vitest";
import { decodeGuard, encodeGuard, guardOf, liveGuardOf, strictest, unguarded } from "./guard.ts";

const read = (annotations: Record<string, string>, defaults = {}) => guardOf(readDirectives({ metadata: { name: "x", annotations } }, defaults).directives);

describe("a guard", () => {
  it.for([
    [{}, ""],
    [{ "flotilla.dev/prune": "confirm" }, "confirm"],
    [{ "kustomize.toolkit.fluxcd.io/prune": "disabled" }, "disabled"],
    [{ "kustomize.toolkit.fluxcd.io/reconcile": "disabled" }, "disabled paused"],
    [{ "argocd.argoproj.io/sync-options": "PruneLast=true,Delete=false" }, "last keep"],
    [{ "argocd.argoproj.io/compare-options": "IgnoreExtraneous" }, "disabled"],
    [{ "helm.sh/resource-policy": "keep" }, "disabled keep"],
  ] as const)("says of %j: %s", ([annotations, words]) => {
    expect(encodeGuard(read(annotations))).toBe(words);
    expect(liveGuardOf({ annotations: { "flotilla.dev/owner": "shop/web", ...annotations } })).toBe(read(annotations));
  });

  it("takes the bundle's default for objects that say nothing", () => {
    expect(read({}, { prune: "confirm" }).prune).toBe("confirm");
    expect(read({ "flotilla.dev/prune": "enabled" }, { prune: "confirm" }).prune).toBe("enabled");
  });

  it("is the strictest of what Git says and what somebody wrote on the object", () => {
    expect(strictest(decodeGuard("last keep"), decodeGuard("confirm"))).toBe(decodeGuard("confirm keep"));
    expect(strictest(decodeGuard("disabled"), unguarded)).toBe(decodeGuard("disabled"));
    expect(strictest(unguarded, decodeGuard("last"))).toBe(decodeGuard("last"));
  });

  it("does not take unknown words for none", () => {
    expect(() => decodeGuard("perhaps")).toThrow('"perhaps" is not a guard');
  });
});
