import { describe, expect, it } from "vitest";
import { diagnoseGit, scrub } from "./git-problem.ts";

const secrets = { folders: ["/var/lib/hub/git"], words: ["s3cret-token"] };

function codeOf(stderr: string): string {
  return diagnoseGit({ ok: false, exitCode: 128, stderr }, secrets).problem.code;
}

describe("diagnoseGit", () => {
  it.each([
    ["fatal: unable to access 'https://x/': Could not resolve host: x", "unreachable"],
    ["ssh: Could not resolve hostname x: Name or service not known\nfatal: Could not read from remote repository.", "unreachable"],
    ["ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.", "unreachable"],
    ["fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection timed out", "unreachable"],
    ["fatal: unable to access 'https://x/': The requested URL returned error: 502", "unreachable"],
    ["remote: Invalid username or token.\nfatal: Authentication failed for 'https://x/'", "auth-refused"],
    ["fatal: could not read Username for 'https://x': terminal prompts disabled", "auth-refused"],
    ["git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", "auth-refused"],
    ["remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found", "repository-not-found"],
    ["fatal: '/srv/a.git' does not appear to be a git repository\nfatal: Could not read from remote repository.", "repository-not-found"],
    ["@@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@@\nHost key verification failed.\nfatal: Could not read from remote repository.", "host-key"],
    ["No ED25519 host key is known for x and you have requested strict checking.\nHost key verification failed.", "host-key"],
    ["fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate", "tls-refused"],
    ["fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none", "tls-refused"],
    ["fatal: unable to access 'https://x/': The requested URL returned error: 301", "repository-moved"],
    ["fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output", "disk-full"],
    ["error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output", "connection-cut"],
    ["fatal: the remote end hung up unexpectedly", "connection-cut"],
    ["error: object 1234: hasDotgit: contains '.git'\nfatal: fsck error in packed object\nfatal: fetch-pack: invalid index-pack output", "object-refused"],
    ["fatal: remote error: upload-pack: not our ref 1111", "unknown-ref"],
    ["fatal: couldn't find remote ref refs/heads/x", "unknown-ref"],
    ["error: Operation too slow. Less than 500 bytes/sec transferred the last 30 seconds", "git-timeout"],
    ["fatal: Out of memory, malloc failed (tried to allocate 99 bytes)", "repository-too-big"],
    ["something nobody knows", "git-failed"],
  ])("of %j is %s", (stderr, code) => {
    expect(codeOf(stderr)).toBe(code);
  });

  it.each([
    "fatal: Unable to create '/var/lib/hub/git/x/shallow.lock': File exists.",
    "error: object file objects/ab/cd is empty\nfatal: loose object abcd is corrupt",
    "fatal: not a git repository: '/var/lib/hub/git/x'",
    "error: packfile objects/pack/pack-1.pack does not match index\nfatal: packed object 1 (stored in x) is corrupt",
    "fatal: bad object refs/flotilla/tracked/1",
  ])("sees a damaged clone in %j", (stderr) => {
    expect(diagnoseGit({ ok: false, exitCode: 128, stderr }, secrets)).toMatchObject({ damaged: true, problem: { code: "clone-damaged" } });
  });

  it("shows neither secrets nor folders nor control characters", () => {
    const { problem } = diagnoseGit(
      { ok: false, exitCode: 1, stderr: "fatal: \u001b[31mhttps://ada:pw@x/ s3cret-token czNjcmV0LXRva2Vu /var/lib/hub/git/ab" },
      secrets,
    );
    expect(problem.message).not.toMatch(/s3cret|czNjcmV0|pw@|\/var\/lib|\u001b/);
  });

  it("keeps what is no secret", () => {
    expect(scrub("ssh://git@x/a.git and https://x/a.git", secrets)).toBe("ssh://git@x/a.git and https://x/a.git");
  });
});
