import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readJson, readText, repositoryFiles, repositoryRoot } from "./repository.ts";
import { tools } from "@flotilla/hub/embedded/tools";

describe("generated code", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "flotilla-generated-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is what the proto files give (npm run generate)", () => {
    cpSync(join(repositoryRoot, "proto"), join(folder, "proto"), { recursive: true, filter: (path) => !path.includes("node_modules") });
    rmSync(join(folder, "proto/src/gen"), { recursive: true });
    const buf = join(repositoryRoot, "node_modules/.bin/buf");
    const PATH = `${join(repositoryRoot, "node_modules/.bin")}:${process.env.PATH}`;
    execFileSync(buf, ["generate", "proto", "--template", "proto/buf.gen.yaml"], { cwd: folder, env: { ...process.env, PATH } });
    const files = (root: string) =>
      readdirSync(root, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .toSorted();
    const [made, kept] = [join(folder, "proto/src/gen"), join(repositoryRoot, "proto/src/gen")];
    expect(files(kept)).toEqual(files(made));
    for (const file of files(made))
      expect(readFileSync(join(kept, file), "utf8") === readFileSync(join(made, file), "utf8"), `proto/src/gen/${file} is old`).toBe(true);
  });
});

describe("versions that stand in two places", () => {
  it("of the tools are those of their Go modules", () => {
    for (const [name, tool] of Object.entries(tools)) {
      // A program of ours lies in the module of the one whose library it uses.
      const goPackage = tool.goPackage === "./worker" ? tools[tool.moduleFolder].goPackage : tool.goPackage;
      const module = tool.moduleFolder === "kubernetes" ? "k8s.io/kubernetes" : goPackage.replace(/\/cmd\/.*$/, "");
      expect(readText(`hub/tools/${tool.moduleFolder}/go.mod`), name).toContain(`${module} v${tool.version}`);
    }
  });
});

describe("the documents", () => {
  const documents = repositoryFiles().filter((file) => file.endsWith(".md"));

  it("name npm scripts that exist", () => {
    const { scripts } = readJson<{ scripts: Record<string, string> }>("package.json");
    const named = documents.flatMap((file) =>
      [...readText(file).matchAll(/\bnpm (?:run ([\w:-]+)|(test))\b/g)].map((match) => ({ file, script: match[1] ?? match[2] ?? "" })),
    );
    expect(named.filter(({ script }) => !(script in scripts))).toEqual([]);
    expect(new Set(named.map(({ script }) => script))).toContain("demo");
  });

  it("link to files that exist", () => {
    const files = new Set(repositoryFiles());
    const broken = documents.flatMap((file) =>
      [...readText(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map((match) => join(file, "..", match[1] ?? "").replace(/\/$/, ""))
        .filter((target) => !files.has(target) && ![...files].some((known) => known.startsWith(`${target}/`)))
        .map((target) => `${file}: ${target}`),
    );
    expect(broken).toEqual([]);
  });
});
