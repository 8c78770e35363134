import { basename, extname } from "node:path";
import { describe, expect, it } from "vitest";
import { readText, repositoryFiles, sourceFiles } from "./repository.ts";

/** The whole top level. A new room needs a line in ARCHITECTURE.md first, then one here. */
const topLevel = {
  folders: [".ci", "agent", "cli", "deploy", "docs", "hub", "proto", "test"],
  files: ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "GLOSSARY.md", "LICENSE", "README.md", "package.json", "tsconfig.base.json", "turbo.json"],
  /** Not for readers: what Git and npm need. */
  machinery: [".gitignore", ".npmrc", "package-lock.json"],
};

/** Words of DESIGN that say nothing about what is inside. */
const emptyWords = ["common", "util", "utils", "helper", "helpers", "types", "manager", "info", "data", "process", "misc"];

describe("the repository", () => {
  it("has exactly this top level", () => {
    const found = new Set(repositoryFiles().map((file) => file.split("/")[0]));
    expect([...found].toSorted()).toEqual([...topLevel.folders, ...topLevel.files, ...topLevel.machinery].toSorted());
  });

  it("has files in kebab-case, named for what is in them", () => {
    const odd = sourceFiles().filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.(config|test|d))*\.(ts|mjs|js)$/.test(basename(file)));
    expect(odd).toEqual([]);
    const empty = sourceFiles().filter((file) => file.split("/").some((part) => emptyWords.includes(basename(part, extname(part)))));
    expect(empty).toEqual([]);
  });

  it("has no barrels", () => {
    const barrels = sourceFiles().filter((file) => basename(file) === "index.ts" || /^export \* from/m.test(readText(file)));
    expect(barrels).toEqual([]);
  });

  // Kubernetes' controller-manager keeps its name.
  it("declares nothing whose name says nothing", () => {
    const declaration = /\b(?:class|interface|type|enum|function)\s+(\w+)/g;
    const empty = sourceFiles().flatMap((file) =>
      [
        ...readText(file)
          .replaceAll(/^import [^;]*;/gms, "")
          .matchAll(declaration),
      ]
        .map((match) => match[1] ?? "")
        .filter((name) => /((?<!Controller)Manager|Helpers?|Utils?|Misc)$/.test(name) || /^(common|helpers?|utils?|misc)$/i.test(name))
        .map((name) => `${file}: ${name}`),
    );
    expect(empty).toEqual([]);
  });

  it("keeps every number that both sides share in one file", () => {
    expect(readText("proto/src/limits.ts")).toMatch(/maxGrpcMessageBytes/);
    const again = sourceFiles().filter((file) => /\bmaxGrpcMessageBytes\s*=\s*\d/.test(readText(file)) && file !== "proto/src/limits.ts");
    expect(again).toEqual([]);
  });
});
