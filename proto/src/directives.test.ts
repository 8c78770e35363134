import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readDirectives, words } from "./directives.ts";

const annotated = (annotations: Record<string, string>) => ({ metadata: { name: "web", annotations } });
const read = (annotations: Record<string, string>) => readDirectives(annotated(annotations)).directives;

describe("readDirectives", () => {
  it("gives the product's defaults to an object that says nothing", () => {
    expect(readDirectives({ metadata: { name: "web" } }).directives).toEqual({
      prune: "enabled",
      ssa: "override",
      reconcile: "enabled",
      force: "never",
      stage: 0,
      hasStage: false,
      keepOnRemoval: false,
      ignoreExtraneous: false,
    });
  });

  it("takes the bundle's defaults where the object says nothing, and none that is not a word", () => {
    expect(readDirectives(annotated({}), { prune: "confirm", ssa: "merge", force: "recreate", adopt: "never" }).directives).toMatchObject({
      prune: "confirm",
      ssa: "merge",
      force: "recreate",
      adopt: "never",
    });
    expect(readDirectives(annotated({ "flotilla.dev/prune": "last" }), { prune: "disabled", ssa: "nonsense" }).directives).toMatchObject({
      prune: "last",
      ssa: "override",
    });
  });

  it.each([
    [{ "flotilla.dev/prune": "confirm" }, { prune: "confirm" }],
    [{ "flotilla.dev/ssa": "ifNotPresent" }, { ssa: "ifNotPresent" }],
    [{ "flotilla.dev/stage": "-3" }, { stage: -3, hasStage: true }],
    [
      { "flotilla.dev/hook": "pre, post", "flotilla.dev/hook-delete-policy": "succeeded,failed" },
      { hook: { phases: ["pre", "post"], deletePolicies: ["succeeded", "failed"] } },
    ],
    [
      { "flotilla.dev/drift": "report", "flotilla.dev/adopt": "if-no-diff" },
      { drift: "report", adopt: "if-no-diff" },
    ],
    [{ "kustomize.toolkit.fluxcd.io/prune": "disabled" }, { prune: "disabled" }],
    [{ "kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent" }, { ssa: "ifNotPresent" }],
    [{ "kustomize.toolkit.fluxcd.io/ssa": "Merge" }, { ssa: "merge" }],
    [{ "kustomize.toolkit.fluxcd.io/force": "Enabled" }, { force: "recreate" }],
    [{ "kustomize.toolkit.fluxcd.io/reconcile": "disabled" }, { reconcile: "disabled" }],
    [{ "argocd.argoproj.io/sync-options": "Prune=false,Delete=false" }, { prune: "disabled", keepOnRemoval: true }],
    [{ "argocd.argoproj.io/sync-options": "PruneLast=true, Force=true,Replace=true" }, { prune: "last", force: "recreate" }],
    [{ "argocd.argoproj.io/sync-wave": "5" }, { stage: 5, hasStage: true }],
    [
      { "argocd.argoproj.io/hook": "PreSync", "argocd.argoproj.io/hook-delete-policy": "HookSucceeded" },
      { hook: { phases: ["pre"], deletePolicies: ["succeeded"] } },
    ],
    [{ "argocd.argoproj.io/hook": "SyncFail" }, { hook: { phases: ["failure"], deletePolicies: ["before-creation"] } }],
    [{ "argocd.argoproj.io/compare-options": "IgnoreExtraneous" }, { ignoreExtraneous: true }],
    [
      { "helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "-5" },
      { hook: { phases: ["pre"], deletePolicies: ["before-creation"] }, stage: -5 },
    ],
    [{ "helm.sh/resource-policy": "keep" }, { prune: "disabled", keepOnRemoval: true }],
  ])("reads %j", (annotations, wanted) => {
    const { directives, notHonoured } = readDirectives(annotated(annotations as Record<string, string>));
    expect(directives).toMatchObject(wanted);
    expect(notHonoured.filter((note) => note.word !== "Replace=true")).toEqual([]);
  });

  it("lets Flotilla's words win over Flux', Flux' over Argo CD's, Argo CD's over Helm's", () => {
    const all = {
      "helm.sh/hook": "post-install",
      "helm.sh/hook-weight": "4",
      "argocd.argoproj.io/hook": "PreSync",
      "argocd.argoproj.io/sync-wave": "3",
      "argocd.argoproj.io/sync-options": "Prune=false",
      "kustomize.toolkit.fluxcd.io/prune": "enabled",
    };
    expect(read(all)).toMatchObject({ hook: { phases: ["pre"] }, stage: 3, prune: "enabled" });
    expect(read({ ...all, "flotilla.dev/stage": "2", "flotilla.dev/prune": "confirm", "flotilla.dev/hook": "failure" })).toMatchObject({
      hook: { phases: ["failure"] },
      stage: 2,
      prune: "confirm",
    });
  });

  it.each([
    ["argocd.argoproj.io/hook", "PreDelete,PostDelete"],
    ["helm.sh/hook", "pre-delete, post-delete"],
    ["flotilla.dev/hook", "pre-delete,post-delete"],
  ])("reads hooks of a removal: %s", (annotation, value) => {
    const { directives, notHonoured } = readDirectives(annotated({ [annotation]: value }));
    expect(directives.hook?.phases).toEqual(["pre-delete", "post-delete"]);
    expect(notHonoured).toEqual([]);
  });

  it("tells which words it does not honour, with what to write instead", () => {
    const { notHonoured, directives } = readDirectives(
      annotated({
        "argocd.argoproj.io/sync-options": "Replace=true,Validate=false",
        "kustomize.toolkit.fluxcd.io/substitute": "disabled",
        "flotilla.dev/prune": "off",
        "flotilla.dev/stage": "first",
        "helm.sh/hook": "post-rollback",
      }),
    );
    expect(directives).toMatchObject({ prune: "enabled", stage: 0, hasStage: false });
    expect(directives.hook).toBeUndefined();
    expect(notHonoured.map(({ annotation, word }) => [annotation, word])).toEqual(
      expect.arrayContaining([
        ["argocd.argoproj.io/sync-options", "Replace=true"],
        ["argocd.argoproj.io/sync-options", "Validate=false"],
        ["kustomize.toolkit.fluxcd.io/substitute", "disabled"],
        ["flotilla.dev/prune", "off"],
        ["flotilla.dev/stage", "first"],
        ["helm.sh/hook", "post-rollback"],
      ]),
    );
    expect(notHonoured.find((note) => note.word === "off")?.hint).toBe("it takes enabled, disabled, confirm, last");
  });

  it("leaves alone annotations that only record something, and those of others", () => {
    const { honoured, notHonoured } = readDirectives(
      annotated({ "flotilla.dev/owner": "shop/web", "argocd.argoproj.io/tracking-id": "x", "example.com/prune": "disabled" }),
    );
    expect([honoured, notHonoured]).toEqual([[], []]);
  });

  it("never throws, and only gives known words, whatever is written", () => {
    const name = fc.constantFrom(
      ...Object.keys(words).map((word) => `flotilla.dev/${word}`),
      "flotilla.dev/stage",
      "kustomize.toolkit.fluxcd.io/ssa",
      "argocd.argoproj.io/sync-options",
      "argocd.argoproj.io/hook",
      "helm.sh/hook-weight",
    );
    const value = fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "disabled", "PreSync,", ",,", "1e3", "Prune=false,Prune=true", "  7 "));
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 6 }), (annotations) => {
        const { directives, honoured, notHonoured } = readDirectives(annotated(annotations));
        expect(words.prune).toContain(directives.prune);
        expect(words.ssa).toContain(directives.ssa);
        expect(Number.isInteger(directives.stage)).toBe(true);
        for (const phase of directives.hook?.phases ?? []) expect(words.hook).toContain(phase);
        for (const note of [...honoured, ...notHonoured]) expect(note.meaning).not.toBe("");
      }),
    );
  });
});
