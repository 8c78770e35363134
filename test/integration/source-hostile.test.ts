import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSource, type GitSource } from "@flotilla/hub/source/open-source";
import { RefusedPathError } from "@flotilla/hub/domain/source-tree";
import { startGitServer, type GitRepository, type GitServer } from "../harness/git-server.ts";

interface Entry {
  readonly mode: string;
  readonly name: string | Buffer;
  readonly id: string;
}

/** Trees as no honest Git makes them, served by a server that does not check. */
describe("hostile trees", () => {
  const root = mkdtempSync(join(tmpdir(), "flotilla-hostile-"));
  let source: GitSource;
  let server: GitServer;
  let repository: GitRepository;
  let text: string;
  let emptyTree: string;

  beforeAll(async () => {
    source = await openSource({ root });
    server = await startGitServer();
    repository = await server.createRepository("hostile");
    await repository.commit({ "a.yaml": "a: 1\n" });
    text = (await repository.git(["hash-object", "-w", "--stdin"], "canary: 1\n")).trim();
    emptyTree = (await repository.git(["hash-object", "-w", "-t", "tree", "--stdin"], "")).trim();
  });

  afterAll(async () => {
    await source.close();
    await server.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function treeOf(entries: readonly Entry[]): Promise<string> {
    const raw = Buffer.concat(entries.flatMap(({ mode, name, id }) => [Buffer.from(`${mode} `), Buffer.from(name), Buffer.from([0]), Buffer.from(id, "hex")]));
    return (await repository.git(["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], raw)).trim();
  }

  async function linkTo(target: string): Promise<string> {
    return (await repository.git(["hash-object", "-w", "--stdin"], target)).trim();
  }

  /** Push a tree to a branch of its own, and say what becomes of it when everything in it is read. */
  async function take(entries: readonly Entry[]): Promise<string> {
    const commit = (await repository.git(["commit-tree", "-m", "hostile", await treeOf(entries)])).trim();
    const branch = `b${commit}`;
    await repository.git(["update-ref", `refs/heads/${branch}`, commit]);
    const outcome = await source.fetchRevision({ url: repository.url, refs: [{ branch }] });
    if (!outcome.ok) return outcome.problem.code;
    const opened = await source.openTree(repository.url, commit);
    if (!opened.ok) return opened.problem.code;
    try {
      await opened.tree.read(opened.tree.files("").map(({ path }) => path));
      return "read";
    } catch (error) {
      if (error instanceof RefusedPathError) return error.problem.code;
      throw error;
    }
  }

  const file =
    (name: string | Buffer, mode = "100644"): (() => Promise<Entry>) =>
    async () => ({ mode, name, id: text });
  const link = (name: string, target: string) => async (): Promise<Entry> => ({ mode: "120000", name, id: await linkTo(target) });
  const folder = (name: string) => async (): Promise<Entry> => ({ mode: "40000", name, id: await treeOf([await file("inner.yaml")()]) });

  const corpus: [string, (() => Promise<Entry>)[]][] = [
    ["a symlink to /etc/passwd", [link("a", "/etc/passwd")]],
    ["a symlink to the process's environment", [link("a", "/proc/self/environ")]],
    ["a symlink to another clone", [link("a", "../../other/clone")]],
    ["a symlink to itself", [link("a", "a")]],
    ["a symlink to the folder above", [link("a", "..")]],
    ["a symlink to a file beside it", [link("a", "b.yaml"), file("b.yaml")]],
    ["a symlink to nothing", [link("a", "")]],
    ["a symlink with a long target", [link("a", "x/".repeat(3_000))]],
    ["a symlink named kustomization.yaml", [link("kustomization.yaml", "/etc/hostname")]],
    ["a symlink named fleet.yaml", [link("fleet.yaml", "/etc/hostname")]],
    ["a submodule", [async () => ({ mode: "160000", name: "mod", id: "1".repeat(40) })]],
    ["a symlinked .gitmodules", [link(".gitmodules", "/etc/passwd")]],
    ["..", [folder("..")]],
    [".", [folder(".")]],
    [".git", [folder(".git")]],
    [".GIT", [folder(".GIT")]],
    [".Git as a file", [file(".Git")]],
    ["git~1", [folder("git~1")]],
    ["GIT~1", [folder("GIT~1")]],
    [".git with a trailing space", [folder(".git ")]],
    [".git with a trailing dot", [folder(".git.")]],
    [".git with a stream", [folder(".git::$INDEX_ALLOCATION")]],
    [".git with an ignored character", [folder(".g\u200cit")]],
    [".git with another ignored character", [folder("\ufeff.git")]],
    ["a slash in a name", [file("a/b")]],
    ["a path that leads out in one name", [file("../../etc/cron.d/x")]],
    ["an absolute name", [file("/etc/cron.d/x")]],
    ["a backslash", [file("..\\..\\x")]],
    ["a newline", [file("a\nb")]],
    ["an escape sequence", [file("a\u001b[2Jb")]],
    ["a delete character", [file("a\u007fb")]],
    ["a name that is not UTF-8", [file(Buffer.from([0x61, 0xff, 0xfe]))]],
    ["an empty name", [file("")]],
    ["two files of one name", [file("a.yaml"), file("a.yaml")]],
    ["a file and a folder of one name", [file("a"), folder("a")]],
    ["names out of order", [file("b"), file("a")]],
    ["a device", [file("a", "60000")]],
    ["a file that is a folder", [async () => ({ mode: "100644", name: "a", id: emptyTree })]],
    ["a folder that is a file", [file("a", "40000")]],
    ["an object that is not there", [async () => ({ mode: "100644", name: "a", id: "2".repeat(40) })]],
    ["a null object", [async () => ({ mode: "100644", name: "a", id: "0".repeat(40) })]],
    ["a very long name", [file("n".repeat(5_000))]],
  ];

  it("is a corpus of more than forty", () => expect(corpus.length).toBeGreaterThanOrEqual(40));

  it.each(corpus)("refuses %s", async (_name, entries) => {
    const verdict = await take(await Promise.all(entries.map((entry) => entry())));
    expect(verdict).not.toBe("read");
  });

  it("gives the same answer whether a link's target exists or not", async () => {
    expect(await take([await link("a", "/etc/passwd")()])).toBe(await take([await link("a", "/etc/not-there")()]));
  });

  it("reads odd modes as the plain files that Git takes them for: no mode is ever set on a disk", async () => {
    expect(await take([await file("a", "104755")(), await file("b", "100000")()])).toBe("read");
  });

  it("still takes honest trees from the same server", async () => {
    expect(await take([await file("a.yaml")(), await folder("b")()])).toBe("read");
  });
});
