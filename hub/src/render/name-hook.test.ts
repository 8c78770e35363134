import { describe, expect, it } from "vitest";
import { nameHook } from "./name-hook.ts";

const hook = (generateName: string, annotations: Record<string, string> = { "argocd.argoproj.io/hook": "PreSync" }, image = "a:1") => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { generateName, annotations },
  spec: { template: { spec: { containers: [{ name: "main", image }] } } },
});
const nameOf = (content: unknown) => (content as { metadata: { name?: string } }).metadata.name;

describe("nameHook", () => {
  it("names a hook after what its name is generated from and its content: the same for the same, another when it changes", () => {
    const name = nameOf(nameHook(hook("migrate-")));
    expect(name).toMatch(/^migrate-[0-9a-f]{10}$/);
    expect(nameOf(nameHook(hook("migrate-")))).toBe(name);
    expect(nameOf(nameHook(hook("migrate-", undefined, "a:2")))).not.toBe(name);
  });

  it("keeps the name short enough for what a Job makes of it", () => {
    expect(nameOf(nameHook(hook("m".repeat(100))))).toHaveLength(63);
  });

  it.each([
    ["Helm's", { "helm.sh/hook": "pre-delete" }],
    ["Flotilla's", { "flotilla.dev/hook": "post" }],
  ])("reads %s words", (_of, annotations) => {
    expect(nameOf(nameHook(hook("x-", annotations)))).toMatch(/^x-/);
  });

  it.each([
    ["is no hook", hook("x-", {})],
    ["is one that nothing runs", hook("x-", { "helm.sh/hook": "test" })],
    ["has annotations that are none", { ...hook("x-"), metadata: { generateName: "x-", annotations: ["a"] } }],
    ["is no object", "text"],
  ])("leaves alone what %s", (_what, content) => {
    expect(nameHook(content as never)).toBe(content);
  });

  it("leaves alone a name that is there", () => {
    const named = { ...hook("x-"), metadata: { ...hook("x-").metadata, name: "mine" } };
    expect(nameHook(named)).toBe(named);
  });
});
