import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FetchOutcome } from "@flotilla/hub/source/fetch-revision";
import { openSource, type GitSource } from "@flotilla/hub/source/open-source";
import { startGitServer, type GitRepository, type GitServer } from "../harness/git-server.ts";
import { seededRandom } from "../harness/random.ts";
import { startTcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";

const main = { branch: "main" } as const;

describe("a repository over smart HTTP", () => {
  let root: string;
  let source: GitSource;
  let server: GitServer;
  let repository: GitRepository;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "flotilla-clones-"));
    source = await openSource({ root });
    server = await startGitServer();
    repository = await server.createRepository("shop");
  });

  afterEach(async () => {
    await source.close();
    await server.stop();
    rmSync(root, { recursive: true, force: true });
  });

  function fetchMain(more: Partial<Parameters<GitSource["fetchRevision"]>[0]> = {}): Promise<FetchOutcome> {
    return source.fetchRevision({ url: repository.url, refs: [main], ...more });
  }

  function revisionOf(outcome: FetchOutcome): string | undefined {
    const found = outcome.ok ? outcome.revisions.get("branch:main") : undefined;
    return found?.ok === true ? found.revision.revision : undefined;
  }

  it("costs one ls-remote when nothing changed, and fetches when something did", async () => {
    const first = await repository.commit({ "a.yaml": "a: 1\n" });
    expect(revisionOf(await fetchMain())).toBe(first);
    const before = server.requests.length;
    expect(revisionOf(await fetchMain())).toBe(first);
    // Capabilities, then the one ref: `git ls-remote` over protocol 2, and no fetch.
    expect(server.requests.length - before).toBe(2);
    const second = await repository.commit({ "a.yaml": "a: 2\n" });
    expect(revisionOf(await fetchMain())).toBe(second);
  });

  it("takes a token, shows it nowhere, and says when it was revoked", async () => {
    const token = "canary-3f9a-token";
    const credentials = { username: "ci", password: token };
    await repository.commit({ "a.yaml": "a: 1\n" });
    server.requireToken(token);
    const none = await fetchMain();
    expect(none).toMatchObject({ ok: false, problem: { code: "auth-refused", message: expect.stringContaining("none were given") as string } });
    const first = revisionOf(await fetchMain({ credentials }));
    expect(first).toBeDefined();

    server.fail({ kind: "hang" });
    const stop = new AbortController();
    const hanging = fetchMain({ credentials, signal: stop.signal });
    const lines = await waitFor(() => gitCommandLines(repository.url), { what: "a Git command that hangs" });
    expect(lines.join("\n")).not.toContain(token);
    expect(lines.join("\n")).not.toContain(Buffer.from(`ci:${token}`).toString("base64"));
    stop.abort();
    await hanging;
    server.fail({ kind: "none" });

    server.requireToken("another");
    const revoked = await fetchMain({ credentials });
    expect(revoked).toMatchObject({ ok: false, problem: { code: "auth-refused", hint: expect.stringContaining("revoked") as string } });
    expect(JSON.stringify(revoked)).not.toContain(token);
    expect(await source.openTree(repository.url, first ?? "")).toMatchObject({ ok: true });
    expect(filesHolding(root, token)).toEqual([]);
  });

  it("stops a server that hangs, with everything that Git started, while other repositories go on", async () => {
    await repository.commit({ "a.yaml": "a: 1\n" });
    const other = await startGitServer();
    try {
      const elsewhere = await other.createRepository("other");
      const commit = await elsewhere.commit({ "b.yaml": "b: 1\n" });
      server.fail({ kind: "hang" });
      const stop = new AbortController();
      const hanging = fetchMain({ signal: stop.signal });
      await waitFor(() => gitCommandLines(repository.url));
      const outcome = await source.fetchRevision({ url: elsewhere.url, refs: [main] });
      expect(revisionOf(outcome)).toBe(commit);
      stop.abort();
      expect(await hanging).toMatchObject({ ok: false, problem: { code: "git-stopped" } });
      await waitFor(() => gitCommandLines(repository.url) === undefined, { what: "the end of every Git process" });
    } finally {
      await other.stop();
    }
  });

  it("keeps the last good commit when the connection is cut in the middle of a pack", async () => {
    const first = await repository.commit({ "a.yaml": "a: 1\n" });
    await fetchMain();
    const second = await repository.commit({ "big.bin": noise(500_000) });
    server.fail({ kind: "cut", afterBytes: 50_000 });
    expect(await fetchMain()).toMatchObject({ ok: false, problem: { code: "connection-cut" } });
    expect(await source.openTree(repository.url, first)).toMatchObject({ ok: true });
    server.fail({ kind: "none" });
    expect(revisionOf(await fetchMain())).toBe(second);
  });

  it.each([
    [500, "unreachable"],
    [503, "unreachable"],
    [404, "repository-not-found"],
    [403, "auth-refused"],
    [302, "repository-moved"],
  ])("tells an answer of %i", async (status, code) => {
    server.fail({ kind: "status", status });
    const outcome = await fetchMain();
    expect(outcome).toMatchObject({ ok: false, problem: { code } });
    expect(JSON.stringify(outcome)).not.toContain(root);
  });

  it("follows no redirect, and takes no credentials along", async () => {
    const asked: (string | undefined)[] = [];
    const thief = createServer((request, response) => {
      asked.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    thief.listen(0, "127.0.0.1");
    await once(thief, "listening");
    const target = `http://127.0.0.1:${(thief.address() as AddressInfo).port}`;
    const redirecting = createServer((request, response) => void response.writeHead(301, { location: `${target}${request.url}` }).end());
    redirecting.listen(0, "127.0.0.1");
    await once(redirecting, "listening");
    const outcome = await source.fetchRevision({
      url: `http://127.0.0.1:${(redirecting.address() as AddressInfo).port}/a.git`,
      refs: [main],
      credentials: { password: "canary-token" },
    });
    expect(outcome).toMatchObject({ ok: false, problem: { code: "repository-moved" } });
    expect(asked).toEqual([]);
    thief.close();
    redirecting.close();
  });

  it("says that a server cannot be reached, or does not speak Git", async () => {
    await server.stop();
    expect(await fetchMain()).toMatchObject({ ok: false, problem: { code: "unreachable" } });
    const page = createServer((_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>sign in</html>"));
    page.listen(0, "127.0.0.1");
    await once(page, "listening");
    const outcome = await source.fetchRevision({ url: `http://127.0.0.1:${(page.address() as AddressInfo).port}/a.git`, refs: [main] });
    expect(JSON.stringify(outcome.ok && outcome.revisions.get("branch:main"))).toContain("web page");
    page.close();
    server = await startGitServer();
  });

  it("names the nearest branch, and an empty repository", async () => {
    expect(await fetchMain()).toMatchObject({ ok: true });
    const empty = await fetchMain();
    expect(empty.ok && empty.revisions.get("branch:main")).toMatchObject({ ok: false, problem: { code: "empty-repository" } });
    await repository.commit({ "a.yaml": "a: 1\n" });
    const missing = await source.fetchRevision({ url: repository.url, refs: [{ branch: "mian" }] });
    expect(missing.ok && missing.revisions.get("branch:mian")).toMatchObject({ ok: false, problem: { code: "unknown-ref", hint: "did you mean 'main'?" } });
  });

  it("tells a force push, a moved tag and a deleted branch (fault 32)", async () => {
    const first = await repository.commit({ "a.yaml": "a: 1\n" });
    const second = await repository.commit({ "a.yaml": "a: 2\n" });
    await repository.tag("stable", { message: "annotated" });
    const refs = [main, { tag: "stable" }] as const;
    const now = await source.fetchRevision({ url: repository.url, refs });
    expect(now.ok && [...now.revisions.values()].map((found) => found.ok && found.revision.revision)).toEqual([second, second]);
    const aside = await repository.commit({ "a.yaml": "a: 3\n" }, { parent: first });
    await repository.tag("stable", { at: first, message: "moved" });
    const previous = new Map([
      ["branch:main", { commit: second }],
      ["tag:stable", { commit: second }],
    ]);
    const moved = await source.fetchRevision({ url: repository.url, refs, previous });
    expect(moved.ok && moved.revisions.get("branch:main")).toMatchObject({ ok: true, revision: { revision: aside, rewound: true } });
    expect(moved.ok && moved.revisions.get("tag:stable")).toMatchObject({ ok: true, revision: { revision: first, rewound: true } });
    await repository.git(["reflog", "expire", "--expire=now", "--all"]);
    await repository.git(["gc", "--quiet", "--prune=now"]);
    expect(await source.openTree(repository.url, second)).toMatchObject({ ok: true });
    await repository.createBranch("trunk");
    await repository.deleteBranch("main");
    const deleted = await source.fetchRevision({ url: repository.url, refs: [main] });
    expect(deleted.ok && deleted.revisions.get("branch:main")).toMatchObject({ ok: false, problem: { code: "unknown-ref" } });
  });

  it("follows the highest version, also when its tag goes away", async () => {
    const first = await repository.commit({ "a.yaml": "a: 1\n" });
    await repository.tag("v1.0.0");
    const second = await repository.commit({ "a.yaml": "a: 2\n" });
    await repository.tag("v1.1.0", { message: "annotated" });
    const range = { semver: "1.x" } as const;
    const high = await source.fetchRevision({ url: repository.url, refs: [range] });
    expect(high.ok && high.revisions.get("semver:1.x")).toMatchObject({ ok: true, revision: { revision: second, tag: "v1.1.0" } });
    await repository.deleteTag("v1.1.0");
    const low = await source.fetchRevision({ url: repository.url, refs: [range], previous: new Map([["semver:1.x", { commit: second, tag: "v1.1.0" }]]) });
    expect(low.ok && low.revisions.get("semver:1.x")).toMatchObject({ ok: true, revision: { revision: first, rewound: true } });
  });

  it("fetches an older commit that is asked for on a machine that never had it", async () => {
    const first = await repository.commit({ "a.yaml": "a: 1\n" });
    await repository.commit({ "a.yaml": "a: 2\n" });
    await fetchMain();
    const opened = await source.openTree(repository.url, first);
    expect(opened.ok && opened.tree.files("").length).toBe(1);
    expect(await source.openTree(repository.url, "4".repeat(40))).toMatchObject({ ok: false, problem: { code: "unknown-ref" } });
  });

  it("stays within the bytes a clone may take", async () => {
    await repository.commit({ "big.bin": noise(4_000_000) });
    const target = new URL(repository.url);
    const proxy = await startTcpProxy({ target: { host: target.hostname, port: Number(target.port) } });
    proxy.limitRate(2_000_000);
    const outcome = await source.fetchRevision({ url: `http://127.0.0.1:${proxy.port}${target.pathname}`, refs: [main], cloneBytesMax: 500_000 });
    expect(outcome).toMatchObject({ ok: false, problem: { code: "repository-too-big" } });
    await proxy.stop();
  });

  it("comes back whole after kill -9 at any moment of a fetch (fault 33)", async () => {
    const expected = noise(300_000);
    await repository.commit({ "a.yaml": "a: 0\n" });
    const random = seededRandom(7);
    for (let round = 0; round < 20; round += 1) {
      const commit = await repository.commit({ "big.bin": Buffer.concat([expected, Buffer.from(String(round))]), [`f${round}.yaml`]: "x: 1\n" });
      const child = fetchInChild(root, repository.url);
      await once(child.stdout, "data");
      await delay(Math.floor(random() * 150));
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      await waitFor(() => gitCommandLines(repository.url) === undefined, { what: "the end of the killed process's Git" });
      const fresh = await openSource({ root });
      const outcome = await fresh.fetchRevision({ url: repository.url, refs: [main] });
      expect(revisionOf(outcome), `round ${round}: ${JSON.stringify(outcome)}`).toBe(commit);
      const opened = await fresh.openTree(repository.url, commit);
      if (!opened.ok) throw new Error(opened.problem.message);
      const content = (await opened.tree.read(["big.bin"])).get("big.bin");
      expect(Buffer.from(content ?? []).equals(Buffer.concat([expected, Buffer.from(String(round))]))).toBe(true);
      await fresh.close();
    }
  });

  it("says that the disk is full, and goes on when it is not", async ({ skip }) => {
    const small = join(root, "small");
    mkdirSync(small);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small], { stdio: "ignore" });
    } catch {
      skip("a small disk needs the right to mount a tmpfs");
    }
    try {
      const cramped = await openSource({ root: small });
      await repository.commit({ "big.bin": noise(3_000_000) });
      const full = await cramped.fetchRevision({ url: repository.url, refs: [main] });
      expect(full).toMatchObject({ ok: false, problem: { code: "disk-full", hint: expect.stringContaining("free space") as string } });
      expect(JSON.stringify(full)).not.toContain(small);
      const light = await repository.commit({ "big.bin": null, "a.yaml": "a: 1\n" });
      expect(revisionOf(await cramped.fetchRevision({ url: repository.url, refs: [main] }))).toBe(light);
      await cramped.close();
    } finally {
      execFileSync("umount", [small]);
    }
  });
});

function noise(bytes: number): Buffer {
  const random = seededRandom(bytes);
  return Buffer.from(Array.from({ length: bytes }, () => Math.floor(random() * 256)));
}

/** Command lines of Git processes that work on this URL; undefined when there are none. */
function gitCommandLines(url: string): string[] | undefined {
  const lines: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      if (line.includes(url)) lines.push(line);
    } catch {
      // The process ended between the listing and the look.
    }
  }
  return lines.length === 0 ? undefined : lines;
}

function filesHolding(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

/** A hub's fetch in a process of its own; says "begin" when the fetch begins. */
function fetchInChild(root: string, url: string): ReturnType<typeof spawn> & { stdout: NodeJS.ReadableStream } {
  const script = `
    const { openSource } = await import(${JSON.stringify(import.meta.resolve("@flotilla/hub/source/open-source"))});
    const source = await openSource({ root: ${JSON.stringify(root)} });
    console.log("begin");
    for (;;) await source.fetchRevision({ url: ${JSON.stringify(url)}, refs: [{ branch: "main" }] });
  `;
  return spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] }) as ReturnType<typeof spawn> & {
    stdout: NodeJS.ReadableStream;
  };
}
