import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GitSource, openSource } from "@flotilla/hub/source/open-source";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type GitRepository, type GitServer, startGitServer } from "../harness/git-server.ts";

describe("a revert branch", () => {
  let root: string;
  let source: GitSource;
  let server: GitServer;
  let repository: GitRepository;
  let good: string;
  let tip: string;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "flotilla-revert-"));
    source = await openSource({ root: join(root, "clones") });
    server = await startGitServer();
    repository = await server.createRepository("fleets");
    good = await repository.commit({ "shop/fleet.yaml": "a", "shop/web/web.yaml": "1", "shop/gone.yaml": "old", "shop-2/web.yaml": "x", "README.md": "one" });
    tip = await repository.commit({ "shop/web/web.yaml": "2", "shop/gone.yaml": null, "shop/new/added.yaml": "n", "shop-2/web.yaml": "y", "README.md": "two" });
  });
  afterEach(async () => {
    await source.close();
    await server.stop();
    rmSync(root, { recursive: true, force: true });
  });

  const revert = (more: Partial<Parameters<GitSource["revertPath"]>[0]> = {}) =>
    source.revertPath({ url: repository.url, branch: "main", path: "shop", revision: good, name: "revert-shop", message: "Revert fleet shop\n", ...more });
  const filesOf = async (commit: string): Promise<Record<string, string>> => {
    const names = (await repository.git(["ls-tree", "-r", "--name-only", commit])).trim().split("\n");
    return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await repository.git(["show", `${commit}:${name}`])] as const)));
  };

  it("has the fleet's folder as it was on top of the branch, and everything else as it is", async () => {
    const reverted = await revert();
    if (!reverted.ok) throw new Error(reverted.problem.message);
    expect(reverted).toMatchObject({ base: tip, problem: undefined });
    expect(await repository.resolve("revert-shop")).toBe(reverted.commit);
    expect(await repository.resolve("main")).toBe(tip);
    expect(await filesOf(reverted.commit)).toEqual({
      "shop/fleet.yaml": "a",
      "shop/web/web.yaml": "1",
      "shop/gone.yaml": "old",
      "shop-2/web.yaml": "y",
      "README.md": "two",
    });
    expect((await repository.git(["log", "-1", "--format=%P %an %s", reverted.commit])).trim()).toBe(`${tip} Flotilla Revert fleet shop`);
  });

  it("is all of the repository where the fleet is", async () => {
    const reverted = await revert({ path: "" });
    if (!reverted.ok) throw new Error(reverted.problem.message);
    expect(await filesOf(reverted.commit)).toEqual(await filesOf(good));
  });

  it("that may not be pushed is a patch which gives the same", async () => {
    await repository.git(["config", "http.receivepack", "false"]);
    const reverted = await revert();
    if (!reverted.ok) throw new Error(reverted.problem.message);
    expect(reverted.problem).toMatchObject({ message: expect.stringMatching(/^the branch could not be pushed: /), hint: expect.stringContaining("git am") });
    await expect(repository.resolve("revert-shop")).rejects.toThrow();
    const work = join(root, "work");
    const git = (...args: string[]) => execFileSync("git", ["-C", work, ...args], { encoding: "utf8", stdio: "pipe" });
    execFileSync("git", ["clone", "-q", repository.folder, work], { stdio: "pipe" });
    await writeFile(join(root, "patch"), reverted.patch);
    git("-c", "user.name=a", "-c", "user.email=a@b", "am", join(root, "patch"));
    expect(git("show", "HEAD:shop/web/web.yaml")).toBe("1");
    expect(git("show", "HEAD:shop-2/web.yaml")).toBe("y");
    expect(() => git("show", "HEAD:shop/new/added.yaml")).toThrow();
  });

  it("goes neither over a branch that is there nor onto the one that is followed", async () => {
    await repository.createBranch("revert-shop", good);
    const over = await revert();
    if (!over.ok) throw new Error(over.problem.message);
    // Also where it could be moved forward.
    expect(over.problem?.code).toBe("branch-exists");
    expect(await repository.resolve("revert-shop")).toBe(good);
    expect(await revert({ name: "main" })).toMatchObject({ ok: false, problem: { code: "bad-ref" } });
    expect(await revert({ name: "--force" })).toMatchObject({ ok: false, problem: { code: "bad-ref" } });
  });

  it("is not made where there is nothing to revert, or no such revision", async () => {
    expect(await revert({ revision: tip })).toMatchObject({ ok: false, problem: { code: "nothing-to-revert" } });
    expect(await revert({ revision: "1".repeat(40) })).toMatchObject({ ok: false, problem: { code: "unknown-ref" } });
    expect(await revert({ branch: "nowhere" })).toMatchObject({ ok: false, problem: { code: "unknown-ref" } });
  });
});
