import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSource, type GitSource } from "@flotilla/hub/source/open-source";
import { startGitServer, type GitRepository, type GitServer } from "../harness/git-server.ts";
import { waitFor } from "../harness/wait-for.ts";

const sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/libexec/sshd"].find(existsSync);
if (sshd === undefined) console.warn("SKIPPED: repositories over SSH need OpenSSH's sshd (Debian: openssh-server)");

const main = { branch: "main" } as const;

describe.skipIf(sshd === undefined)("a repository over SSH", () => {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-ssh-"));
  let server: ChildProcess;
  let port: number;
  let source: GitSource;
  let forge: GitServer;
  let repository: GitRepository;
  let commit: string;

  beforeAll(async () => {
    for (const name of ["host", "client", "stranger", "other-host"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", join(folder, name)]);
    forge = await startGitServer();
    repository = await forge.createRepository("shop");
    commit = await repository.commit({ "a.yaml": "a: 1\n" });
    port = await freePort();
    server = startSshd(folder, port);
    await waitFor(() => reaches(port), { what: "sshd" });
    mkdirSync(join(folder, "clones"));
    source = await openSource({ root: join(folder, "clones") });
  });

  afterAll(async () => {
    await source.close();
    const gone = once(server, "exit");
    server.kill("SIGKILL");
    await gone;
    await forge.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function url(): string {
    return `ssh://${userInfo().username}@127.0.0.1:${port}${repository.folder}`;
  }

  function credentials(key: string, host: string): { sshPrivateKey: string; knownHosts: string } {
    const [type, hostKey] = readFileSync(join(folder, `${host}.pub`), "utf8").split(" ");
    return { sshPrivateKey: readFileSync(join(folder, key), "utf8"), knownHosts: `[127.0.0.1]:${port} ${type} ${hostKey}\n` };
  }

  it("takes a key and the host's pinned key, and leaves neither on disk", async () => {
    const outcome = await source.fetchRevision({ url: url(), refs: [main], credentials: credentials("client", "host") });
    expect(outcome.ok && outcome.revisions.get("branch:main"), JSON.stringify(outcome)).toMatchObject({ ok: true, revision: { revision: commit } });
    expect(readdirSync(join(folder, "clones", "access"))).toEqual([]);
  });

  it("refuses a host that has another key than the pinned one", async () => {
    expect(await source.fetchRevision({ url: url(), refs: [main], credentials: credentials("client", "other-host") })).toMatchObject({
      ok: false,
      problem: { code: "host-key" },
    });
  });

  it("never trusts an unknown host on first sight", async () => {
    const { sshPrivateKey } = credentials("client", "host");
    expect(await source.fetchRevision({ url: url(), refs: [main], credentials: { sshPrivateKey, knownHosts: "" } })).toMatchObject({
      ok: false,
      problem: { code: "host-key" },
    });
    expect(
      await source.fetchRevision({ url: url(), refs: [main], credentials: { sshPrivateKey, knownHosts: "example.com ssh-ed25519 AAAA\n" } }),
    ).toMatchObject({ ok: false, problem: { code: "host-key" } });
  });

  it("tells a key that the server does not know, and one that is no key", async () => {
    expect(await source.fetchRevision({ url: url(), refs: [main], credentials: credentials("stranger", "host") })).toMatchObject({
      ok: false,
      problem: { code: "auth-refused" },
    });
    const { knownHosts } = credentials("client", "host");
    expect(await source.fetchRevision({ url: url(), refs: [main], credentials: { sshPrivateKey: "not a key", knownHosts } })).toMatchObject({
      ok: false,
      problem: { code: "auth-refused" },
    });
  });

  it("tells a repository that is not there, and a token where a key is needed", async () => {
    expect(await source.fetchRevision({ url: `${url()}x`, refs: [main], credentials: credentials("client", "host") })).toMatchObject({
      ok: false,
      problem: { code: "repository-not-found" },
    });
    expect(await source.fetchRevision({ url: url(), refs: [main], credentials: { password: "token" } })).toMatchObject({
      ok: false,
      problem: { code: "wrong-credentials" },
    });
  });
});

/** An sshd of this test alone: its own keys, one user, nothing but what Git runs. */
function startSshd(folder: string, port: number): ChildProcess {
  writeFileSync(join(folder, "authorized_keys"), readFileSync(join(folder, "client.pub")), { mode: 0o600 });
  const config = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${join(folder, "host")}`,
    `AuthorizedKeysFile ${join(folder, "authorized_keys")}`,
    `PidFile ${join(folder, "sshd.pid")}`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin prohibit-password",
    "SetEnv GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*",
  ];
  writeFileSync(join(folder, "sshd_config"), `${config.join("\n")}\n`);
  // Where sshd separates privileges it wants this folder, which a machine that never ran it lacks.
  if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true });
  return spawn(sshd ?? "", ["-D", "-e", "-f", join(folder, "sshd_config")], { stdio: "ignore" });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function reaches(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } finally {
    socket.destroy();
  }
}
