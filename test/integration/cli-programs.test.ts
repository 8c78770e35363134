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
