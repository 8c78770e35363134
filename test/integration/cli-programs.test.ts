import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectNoServices, runService } from "../harness/spawn-service.ts";

/** The CLI starts the hub's program for these; no hub runs. */
describe("fleet lint", () => {
  let folder: string;
  const lint = (name: string, ...flags: string[]) => runService("cli", { args: ["lint", join(folder, name), ...flags] });
  const write = async (name: string, files: Record<string, string>) => {
    await mkdir(join(folder, name), { recursive: true });
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, name, file), text);
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-lint-"));
    await write("good", { "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: default }\n" });
    await write("foreign", {
      "web.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  namespace: default
  annotations:
    argocd.argoproj.io/sync-wave: "3"
    argocd.argoproj.io/sync-options: Prune=false,Replace=true
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: other, namespace: argocd }
`,
    });
    await write("bad", { "fleet.yaml": "apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: bad }\nspec:\n  bundels: []\n" });
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    await expectNoServices();
  });

  it("ends with 0 and says so when nothing is wrong", async () => {
    const { status, output } = await lint("good");
    expect(status, output).toBe(0);
    expect(output).toContain("no problems");
  });

  it("ends with 1 and names file, line, column and the nearest name", async () => {
    const { status, stdout } = await lint("bad");
    expect(status).toBe(1);
    expect(stdout).toMatch(/fleet\.yaml:5:3: error: .*bundels/);
    expect(stdout).toContain("bundles");
  });

  it("prints annotations and JSON for machines", async () => {
    expect((await lint("bad", "-o", "github")).stdout).toMatch(/^::error file=fleet\.yaml,line=5,col=3,/m);
    const { problems } = JSON.parse((await lint("bad", "-o", "json")).stdout) as { problems: { file: string; line: number }[] };
    expect(problems[0]).toMatchObject({ file: "fleet.yaml", line: 5 });
  });

  it("and fleet render of a folder tell the same of foreign words, beside what is rendered", async () => {
    const { status, stdout, output } = await runService("cli", { args: ["render", join(folder, "foreign"), "--cluster-labels", "env=prod"] });
    expect(status, output).toBe(0);
    expect(stdout).not.toContain("honoured");
    expect(output).toContain("honoured: argocd.argoproj.io/sync-wave: 3: applied in stage 3 (1 object; web.yaml:7)");
    expect(output).toMatch(/web\.yaml:8: warning: .*'Replace=true' is not honoured/);
  });

  it("says which words of Argo CD it honours and which not, with what happens instead, and what cannot be seen", async () => {
    const { status, stdout, output } = await lint("foreign");
    expect(status, output).toBe(0);
    expect(stdout).toMatch(/web\.yaml:8: warning: argocd\.argoproj\.io\/sync-options: 'Replace=true' is not honoured: objects are applied, never replaced/);
    expect(stdout).toMatch(/web\.yaml:10:1: warning: Application argocd\/other is applied like any object/);
    expect(output).toContain("honoured: argocd.argoproj.io/sync-wave: 3: applied in stage 3 (1 object; web.yaml:7)");
    expect(output).toContain("honoured: argocd.argoproj.io/sync-options: Prune=false: never deleted by Flotilla");
    expect(output).toContain("note: what an Argo CD Application says");
    expect((await lint("foreign", "--strict")).status).toBe(3);
    const read = JSON.parse((await lint("foreign", "-o", "json")).stdout) as { directives: object[]; remarks: string[] };
    expect(read.directives).toContainEqual(
      expect.objectContaining({
        annotation: "argocd.argoproj.io/sync-options",
        word: "Replace=true",
        honoured: false,
        object: "/ConfigMap/default/web",
        file: "web.yaml",
        line: 8,
      }),
    );
    expect(read.remarks).toHaveLength(1);
  });

  it("says what is wrong with a folder that is not there", async () => {
    const { status, output } = await lint("nowhere");
    expect(status).toBe(1);
    expect(output).toContain("is not a folder");
  });
});

describe("fleet hub start and fleet agent run", () => {
  it("hand the program's own refusal and status on", async () => {
    const hub = await runService("cli", { args: ["hub", "start", "--listen", "nonsense"] });
    expect(hub.status, hub.output).toBe(2);
    expect(hub.output).toContain("--listen is 'nonsense'");
    const agent = await runService("cli", { args: ["agent", "run", "--ca-hash", "nonsense"] });
    expect(agent.status, agent.output).toBe(2);
    expect(agent.output).toContain("--ca-hash");
  });
});
