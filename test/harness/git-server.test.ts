import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type GitServer, startGitServer } from "./git-server.ts";

const git = (args: string[], cwd?: string) =>
  promisify(execFile)("git", args, { cwd, timeout: 10_000, env: { PATH: process.env.PATH, GIT_TERMINAL_PROMPT: "0", HOME: "/nonexistent" } });

describe("the Git server of the harness", () => {
  let server: GitServer;
  let folder: string;
  beforeAll(async () => {
    server = await startGitServer();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-clone-"));
  });
  afterEach(async () => {
    server.fail({ kind: "none" });
    server.requireToken(undefined);
    await rm(folder, { recursive: true });
  });

  it("serves what was committed, also with odd names, and takes files away again", async () => {
    const repository = await server.createRepository("shop");
    await repository.commit({ "a/b c.txt": "one", 'quo"te': "q", gone: "x", run: { executable: "#!/bin/sh" }, link: { symlink: "run" } });
    const second = await repository.commit({ gone: null }, { message: "Take away" });
    await git(["clone", "--quiet", repository.url, folder]);
    expect(await readFile(join(folder, "a/b c.txt"), "utf8")).toBe("one");
    const listed = await git(["ls-tree", "-r", "HEAD"], folder);
    expect(listed.stdout.split("\n").map((line) => line.slice(0, 6))).toEqual(["100644", "120000", "100644", "100755", ""]);
    expect((await git(["rev-parse", "HEAD"], folder)).stdout.trim()).toBe(second);
  });

  it("takes a push", async () => {
    const repository = await server.createRepository("pushed");
    await repository.commit({ a: "1" });
    await git(["clone", "--quiet", repository.url, folder]);
    await git(["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "pushed"], folder);
    await git(["push", "--quiet"], folder);
    expect(await repository.resolve("main")).toBe((await git(["rev-parse", "HEAD"], folder)).stdout.trim());
  });

  it("refuses without the token, and again when it was revoked", async () => {
    const repository = await server.createRepository("private");
    await repository.commit({ a: "1" });
    server.requireToken("secret");
    await expect(git(["ls-remote", repository.url])).rejects.toThrow(/could not read Username/);
    const withToken = repository.url.replace("//", "//x:secret@");
    expect((await git(["ls-remote", withToken])).stdout).toContain("refs/heads/main");
    server.requireToken("another");
    await expect(git(["ls-remote", withToken])).rejects.toThrow(/Authentication failed/);
  });

  it("answers 500, and cuts a pack in the middle", async () => {
    const repository = await server.createRepository("flaky");
    await repository.commit({ big: Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7919) % 251)) });
    server.fail({ kind: "status", status: 500 });
    await expect(git(["ls-remote", repository.url])).rejects.toThrow(/500/);
    server.fail({ kind: "cut", afterBytes: 600 });
    await expect(git(["clone", "--quiet", repository.url, folder])).rejects.toThrow();
  });

  it("moves branches and tags", async () => {
    const repository = await server.createRepository("refs");
    const first = await repository.commit({ a: "1" });
    const second = await repository.commit({ a: "2" });
    await repository.tag("v1.0.0", { at: first });
    await repository.tag("v1.0.0", { at: second, message: "moved" });
    await repository.createBranch("side", first);
    await repository.forcePush("main", first);
    expect(await Promise.all(["v1.0.0", "side", "main"].map(repository.resolve))).toEqual([second, first, first]);
  });
});
