import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { findTool, findToolWithoutBuild, isWantedVersion, ToolMissingError, tools } from "./tools.ts";

describe("finding a program", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-tools-"));
    vi.stubEnv("FLOTILLA_HELM", undefined);
    vi.stubEnv("KUBEBUILDER_ASSETS", undefined);
    vi.stubEnv("XDG_CACHE_HOME", join(folder, "cache"));
    vi.stubEnv("PATH", join(folder, "bin"));
    vi.stubEnv("FLOTILLA_NO_BUILD", "1");
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  async function install(place: string, version: string = tools.helm.version): Promise<string> {
    const file = join(folder, place);
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, `#!/bin/sh\necho v${version}\n`);
    await chmod(file, 0o755);
    return file;
  }

  it("takes the variable before everything, KUBEBUILDER_ASSETS before PATH, PATH before the cache", async () => {
    const cached = await install(`cache/flotilla/tools/helm/${tools.helm.version}/helm`);
    expect(await findToolWithoutBuild("helm")).toBe(cached);
    const onPath = await install("bin/helm");
    expect(await findToolWithoutBuild("helm")).toBe(onPath);
    const asset = await install("assets/helm");
    vi.stubEnv("KUBEBUILDER_ASSETS", join(folder, "assets"));
    expect(await findToolWithoutBuild("helm")).toBe(asset);
    const named = await install("named/helm-4", "9.9.9");
    vi.stubEnv("FLOTILLA_HELM", named);
    expect(await findToolWithoutBuild("helm")).toBe(named);
  });

  it("passes over a renderer of another version, because its output could differ", async () => {
    await install("bin/helm", "4.3.0");
    expect(await findToolWithoutBuild("helm")).toBeUndefined();
  });

  it("refuses a variable that names no program, instead of taking another one", async () => {
    await install("bin/helm");
    vi.stubEnv("FLOTILLA_HELM", "/nowhere/helm");
    await expect(findToolWithoutBuild("helm")).rejects.toThrow(/FLOTILLA_HELM is \/nowhere\/helm/);
  });

  it("names every way when none leads to it", async () => {
    const failure = await findTool("helm").catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ToolMissingError);
    for (const way of ["FLOTILLA_HELM", "KUBEBUILDER_ASSETS", "PATH", join("cache", "flotilla"), "Go 1.26"]) expect((failure as Error).message).toContain(way);
  });

  it("says that there is no Go when there is none", async () => {
    vi.stubEnv("FLOTILLA_NO_BUILD", "");
    await expect(findTool("helm")).rejects.toThrow(/no Go on PATH/);
  });
});

describe("a program's version", () => {
  it.each([
    ["Kubernetes v1.36.3", "1.36.3", "same version", true],
    ["nats-server: v2.15.1", "2.15.1", "same major", true],
    ["nats-server: v2.16.0", "2.15.1", "same major", true],
    ["nats-server: v2.9.25", "2.15.1", "same major", false],
    ["nats-server: v3.0.0", "2.15.1", "same major", false],
    ["v4.3.2", "4.3.1", "same version", false],
    ["(devel)", "4.3.1", "same version", false],
  ] as const)("%s for %s (%s): %s", (answer, wanted, accepts, expected) => {
    expect(isWantedVersion(answer, wanted, accepts)).toBe(expected);
  });
});
