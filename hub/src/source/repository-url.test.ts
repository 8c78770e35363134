import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRepositoryUrl, repositoryKey } from "./repository-url.ts";

describe("parseRepositoryUrl", () => {
  it.each([
    ["https://git.example.com/shop.git", "https://git.example.com/shop.git", "https"],
    ["https://GIT.Example.com:443/Shop/", "https://git.example.com/Shop", "https"],
    ["https://git.example.com:8443/a/b.git", "https://git.example.com:8443/a/b.git", "https"],
    ["https://[2001:db8::1]/a.git", "https://[2001:db8::1]/a.git", "https"],
    ["http://127.0.0.1:3000/a.git", "http://127.0.0.1:3000/a.git", "http"],
    ["http://localhost/a.git", "http://localhost/a.git", "http"],
    ["ssh://git@Example.com/a/b.git", "ssh://git@example.com/a/b.git", "ssh"],
    ["ssh://git@example.com:22/a.git", "ssh://git@example.com/a.git", "ssh"],
    ["ssh://git@example.com:2222/~/a.git", "ssh://git@example.com:2222/~/a.git", "ssh"],
    ["git@github.com:org/shop.git", "git@github.com:org/shop.git", "ssh"],
    ["org-1234@ghe.example.com:a/b", "org-1234@ghe.example.com:a/b", "ssh"],
    ["https://dev.azure.com/org/My%20Project/_git/shop", "https://dev.azure.com/org/My%20Project/_git/shop", "https"],
  ])("takes %s", (text, url, transport) => {
    expect(parseRepositoryUrl(text)).toMatchObject({ ok: true, repository: { url, transport } });
  });

  const attacks = [
    "",
    "-",
    "--upload-pack=touch /tmp/canary",
    "--upload-pack=touch${IFS}/tmp/canary",
    "--UPLOAD-PACK=x",
    "--upload-p=x",
    "--receive-pack=x",
    "--receive-p=x",
    "-u touch",
    "-utouch",
    "-c",
    "-cprotocol.ext.allow=always",
    "-c PROTOCOL.ALLOW=always",
    "--config=core.sshCommand=x",
    "--config-env=a=b",
    "--template=/tmp/x",
    "--exec=x",
    "--exec-path=/tmp",
    "--git-dir=/etc",
    "--end-of-options",
    "-oProxyCommand=touch /tmp/canary",
    "ext::sh -c touch% /tmp/canary",
    "ext::sh",
    "EXT::sh -c x",
    "fd::17",
    "http::https://example.com/a",
    "transport::address",
    "file:///etc",
    "FILE:///etc",
    "/etc/passwd",
    "../other",
    "./here",
    "C:\\repo",
    "C:/repo",
    "git://example.com/a.git",
    "gopher://example.com/a",
    "ftp://example.com/a",
    "ftps://example.com/a",
    "rsync://example.com/a",
    "svn+ssh://example.com/a",
    "javascript://example.com/a",
    "ssh://-oProxyCommand=touch/a",
    "ssh://git@-oProxyCommand=x/a",
    "ssh://-oProxyCommand=x@example.com/a",
    "ssh://git@example.com/-x",
    "ssh://git:secret@example.com/a",
    "ssh://git@example.com:99999/a",
    "ssh://git@example.com/a;touch /tmp/x",
    "ssh://git@example.com/a$(touch)",
    "ssh://git@example.com/`touch`",
    "ssh://git@example.com",
    "-oProxyCommand=x@example.com:a",
    "git@-oProxyCommand=x:a",
    "git@example.com:-x",
    "git@example.com:../../etc",
    "git@example.com:a b",
    "git@example.com:a\nb",
    "git@exam\u0000ple.com:a",
    "example.com:a/b",
    "https://",
    "https:///a",
    "https://user:token@example.com/a.git",
    "https://token@example.com/a.git",
    "https://example.com",
    "https://example.com/",
    "https://example.com/a?x=1",
    "https://example.com/a#frag",
    "https://example.com/a?",
    "https://example.com/-x",
    "https://example.com/a%00b",
    "https://example.com/a%0ab",
    "https://example.com/a\\b",
    "https://example.com/\u202egit",
    "https://-example.com/a",
    "https://exa mple.com/a",
    "http://example.com/a.git",
    "http://10.0.0.1/a.git",
    "https://169.254.169.254/latest/meta-data",
    "https://2852039166/latest",
    "https://0xa9fea9fe/latest",
    "https://[fe80::1]/a",
    "https://[::ffff:169.254.169.254]/a",
    "https://metadata.google.internal/a",
    `https://example.com/${"a".repeat(3_000)}`,
  ];

  it("has a corpus of more than sixty attacks", () => {
    expect(attacks.length).toBeGreaterThanOrEqual(60);
  });

  it.each(attacks)("refuses %j", (text) => {
    expect(parseRepositoryUrl(text)).toMatchObject({ ok: false });
  });

  it("says how to give credentials, and does not repeat them", () => {
    const parsed = parseRepositoryUrl("https://ada:s3cret@example.com/a.git");
    expect(parsed).toMatchObject({ ok: false, problem: { code: "credentials-in-url" } });
    expect(JSON.stringify(parsed)).not.toContain("s3cret");
  });

  it("takes folders and plain http only where they are allowed", () => {
    expect(parseRepositoryUrl("/srv/git/shop.git", { allowLocalRepositories: true })).toMatchObject({
      ok: true,
      repository: { url: "file:///srv/git/shop.git" },
    });
    expect(parseRepositoryUrl("file:///srv/../etc", { allowLocalRepositories: true })).toMatchObject({ ok: false });
    expect(parseRepositoryUrl("http://git.intern/a.git", { allowHttp: true })).toMatchObject({ ok: true });
  });

  it("never lets through what Git or a shell could take for something else", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.string().map((text) => `https://example.com/${text}`),
          fc.string().map((text) => `git@example.com:${text}`),
        ),
        (text) => {
          const parsed = parseRepositoryUrl(text, { allowHttp: true, allowLocalRepositories: true });
          if (!parsed.ok) return;
          expect(parsed.repository.url).toMatch(/^(https?:\/\/|ssh:\/\/|file:\/\/\/|[\w][\w.-]*@)/);
          expect(parsed.repository.url).not.toMatch(/[\s\p{C}'"`$;&|<>\\]|^[a-z0-9+.-]+::/iu);
        },
      ),
    );
  });

  it("normalises to a fixed point", () => {
    fc.assert(
      fc.property(fc.webUrl({ validSchemes: ["https"] }), (text) => {
        const parsed = parseRepositoryUrl(text);
        if (parsed.ok) expect(parseRepositoryUrl(parsed.repository.url)).toEqual(parsed);
      }),
    );
  });
});

describe("repositoryKey", () => {
  it("is the same for every URL that a forge has for a repository", () => {
    const urls = [
      "https://github.com/Org/Shop.git",
      "https://github.com/org/shop",
      "git@github.com:org/shop.git",
      "ssh://git@github.com/org/shop.git",
      "ssh://git@github.com:2222/org/shop",
      "https://github.com:8443/org/shop/",
    ];
    expect(new Set(urls.map(repositoryKey))).toEqual(new Set(["github.com/org/shop"]));
  });

  it("differs between repositories", () => {
    expect(repositoryKey("https://github.com/org/shop2")).not.toBe(repositoryKey("https://github.com/org/shop"));
    expect(repositoryKey("not a url")).toBeUndefined();
  });
});
