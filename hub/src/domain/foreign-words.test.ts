import type { KubeObject } from "@flotilla/proto/digest";
import { describe, expect, it } from "vitest";
import { findDirectives, remarksOfForeignWords, warnOfDeliverer, warnOfDirectives } from "./foreign-words.ts";

const object = (annotations: Record<string, string>, more: Partial<KubeObject> = {}): KubeObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "shop", annotations },
  ...more,
});

describe("annotations of other programs", () => {
  it("are told word by word: honoured with what they do, or not with what happens instead", () => {
    const found = findDirectives(
      object({
        "argocd.argoproj.io/sync-options": "Prune=false,Replace=true",
        "argocd.argoproj.io/sync-wave": "2",
        "kustomize.toolkit.fluxcd.io/force": "enabled",
      }),
    );
    expect(found.map(({ annotation, word, honoured }) => [annotation.split("/")[1], word, honoured])).toEqual([
      ["force", "enabled", true],
      ["sync-options", "Prune=false", true],
      ["sync-wave", "2", true],
      ["sync-options", "Replace=true", false],
    ]);
    expect(found.every(({ object: id }) => id === "apps/Deployment/shop/web")).toBe(true);
  });

  it("that nobody here reads are told too; their programs' own notes are not", () => {
    expect(
      findDirectives(
        object({ "argocd.argoproj.io/some-new-thing": "x", "argocd.argoproj.io/tracking-id": "y", "kustomize.toolkit.fluxcd.io/checksum": "z", other: "w" }),
      ),
    ).toEqual([expect.objectContaining({ annotation: "argocd.argoproj.io/some-new-thing", honoured: false })]);
  });

  it("warn once per word, however many objects say it", () => {
    const findings = ["a", "b", "c"].flatMap((name) =>
      findDirectives(
        object(
          { "argocd.argoproj.io/sync-options": "Replace=true" },
          { metadata: { name, annotations: { "argocd.argoproj.io/sync-options": "Replace=true" } } },
        ),
      ),
    );
    const [warning, ...others] = warnOfDirectives(findings.map((finding) => ({ ...finding, file: "app/a.yaml", line: 6 })));
    expect(others).toEqual([]);
    expect(warning).toMatchObject({ code: "directive-not-honoured", file: "app/a.yaml", line: 6, hint: expect.any(String) });
    expect(warning?.message).toContain("'Replace=true' is not honoured");
    expect(warning?.message).toContain("2 more objects say so");
  });

  it("of ours that are misspelt warn as well", () => {
    expect(warnOfDirectives(findDirectives(object({ "flotilla.dev/prune": "never" })))).toHaveLength(1);
  });

  it("come from a program whose other settings nobody can see here", () => {
    expect(remarksOfForeignWords(findDirectives(object({ "argocd.argoproj.io/sync-wave": "1" })))[0]).toContain("Application");
    expect(remarksOfForeignWords(findDirectives(object({ "kustomize.toolkit.fluxcd.io/prune": "disabled" })))[0]).toContain("Kustomization");
    expect(remarksOfForeignWords(findDirectives(object({ "flotilla.dev/prune": "disabled" })))).toEqual([]);
  });
});

describe("objects by which other programs deliver", () => {
  it.each([
    ["argoproj.io/v1alpha1", "Application", "Argo CD"],
    ["kustomize.toolkit.fluxcd.io/v1", "Kustomization", "Flux"],
    ["helm.toolkit.fluxcd.io/v2", "HelmRelease", "Flux"],
  ])("are warned of: %s %s", (apiVersion, kind, program) => {
    expect(warnOfDeliverer(object({}, { apiVersion, kind }))?.message).toContain(program);
  });

  it("are not those of the same name elsewhere", () => {
    expect(warnOfDeliverer(object({}, { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization" }))).toBeUndefined();
    expect(warnOfDeliverer(object({}, { apiVersion: "argoproj.io/v1alpha1", kind: "Rollout" }))).toBeUndefined();
  });
});
