import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concernsRepository, verifyWebhook, type WebhookRequest, type WebhookVerdict } from "./webhook.ts";

const secret = "a-secret-of-the-forge";
const commit = "0123456789abcdef0123456789abcdef01234567";
const push = {
  ref: "refs/heads/main",
  after: commit,
  repository: { clone_url: "https://git.example.com/org/shop.git", ssh_url: "git@git.example.com:org/shop.git", html_url: "https://git.example.com/org/shop" },
};
const gitlabPush = {
  object_kind: "push",
  ref: "refs/heads/main",
  after: commit,
  project: { git_http_url: "https://git.example.com/org/shop.git", git_ssh_url: "git@git.example.com:org/shop.git" },
};
const cloudPush = {
  push: { changes: [{ new: { type: "branch", name: "main", target: { hash: commit } } }] },
  repository: { full_name: "org/shop", links: { html: { href: "https://bitbucket.org/org/shop" } } },
};
const centerPush = {
  eventKey: "repo:refs_changed",
  repository: {
    links: {
      clone: [
        { name: "http", href: "https://git.example.com/scm/org/shop.git" },
        { name: "ssh", href: "ssh://git@git.example.com:7999/org/shop.git" },
      ],
    },
  },
  changes: [{ ref: { id: "refs/heads/main" }, toHash: commit }],
};

function hex(body: string, key = secret): string {
  return createHmac("sha256", key).update(body).digest("hex");
}

function ask(body: string, headers: WebhookRequest["headers"], more: Partial<WebhookRequest> = {}): WebhookVerdict {
  return verifyWebhook({ headers, rawBody: Buffer.from(body), secret, ...more });
}

describe("verifyWebhook", () => {
  const cases: [string, object, (body: string) => Record<string, string>, string][] = [
    ["GitHub", push, (body) => ({ "X-Hub-Signature-256": `sha256=${hex(body)}`, "X-GitHub-Event": "push" }), "https://git.example.com/org/shop"],
    ["GitLab's token", gitlabPush, () => ({ "X-Gitlab-Token": secret, "X-Gitlab-Event": "Push Hook" }), "https://git.example.com/org/shop"],
    [
      "Gitea",
      push,
      (body) => ({ "X-Gitea-Signature": hex(body), "X-Gitea-Event": "push", "X-Hub-Signature-256": `sha256=${hex(body)}` }),
      "https://git.example.com/org/shop",
    ],
    [
      "Forgejo",
      push,
      (body) => ({ "X-Forgejo-Signature": hex(body), "X-Gitea-Signature": hex(body), "X-Forgejo-Event": "push" }),
      "git@git.example.com:org/shop.git",
    ],
    ["Bitbucket Cloud", cloudPush, (body) => ({ "X-Hub-Signature": `sha256=${hex(body)}`, "X-Event-Key": "repo:push" }), "git@bitbucket.org:org/shop.git"],
    [
      "Bitbucket Data Center",
      centerPush,
      (body) => ({ "X-Hub-Signature": `sha256=${hex(body)}`, "X-Event-Key": "repo:refs_changed" }),
      "ssh://git@git.example.com:7999/org/shop.git",
    ],
    [
      "anything else",
      { repository: "https://git.example.com/org/shop.git", ref: "refs/heads/main", commit },
      (body) => ({ "x-flotilla-signature": `sha256=${hex(body)}` }),
      "https://git.example.com/org/shop.git",
    ],
  ];

  it.each(cases)("lets in %s, and no other signature or body", (_name, payload, headersOf, url) => {
    const body = JSON.stringify(payload);
    const verdict = ask(body, headersOf(body));
    expect(verdict).toMatchObject({ ok: true, event: "push", ref: "refs/heads/main", commit });
    expect(verdict.ok && concernsRepository(verdict, url)).toBe(true);
    expect(verdict.ok && concernsRepository(verdict, "https://git.example.com/org/other")).toBe(false);
    expect(ask(body, headersOf(body), { secret: "another-secret-here" })).toMatchObject({ ok: false, status: 401 });
    expect(ask(body, headersOf(body), { secret: "" })).toMatchObject({ ok: false, status: 401 });
    if (!_name.includes("token")) expect(ask(`${body} `, headersOf(body))).toMatchObject({ ok: false, status: 401 });
  });

  it("lets in GitLab's signed webhooks, within five minutes", () => {
    const body = JSON.stringify(gitlabPush);
    const now = 1_800_000_000_000;
    const key = Buffer.from("thirty-two bytes of a key, more or less");
    const sign = (at: number): Record<string, string> => ({
      "webhook-id": "msg_1",
      "webhook-timestamp": String(at / 1_000),
      "webhook-signature": `v1,AAAA v1,${createHmac("sha256", key)
        .update(`msg_1.${at / 1_000}.${body}`)
        .digest("base64")}`,
      "x-gitlab-event": "Push Hook",
    });
    const whsec = `whsec_${key.toString("base64")}`;
    expect(ask(body, sign(now), { secret: whsec, now })).toMatchObject({ ok: true, provider: "gitlab" });
    expect(ask(body, sign(now), { secret: whsec, now: now + 600_000 })).toMatchObject({ ok: false, status: 401 });
    expect(ask(`${body} `, sign(now), { secret: whsec, now })).toMatchObject({ ok: false, status: 401 });
    expect(ask(body, sign(now), { secret: "whsec_", now })).toMatchObject({ ok: false, status: 401 });
  });

  it("does not let a good signature save a bad one", () => {
    const body = JSON.stringify(push);
    expect(ask(body, { "x-gitea-signature": "00", "x-hub-signature-256": `sha256=${hex(body)}` })).toMatchObject({ ok: false, status: 401 });
    expect(ask(body, { "x-hub-signature-256": [`sha256=${hex(body)}`, "x"] })).toMatchObject({ ok: false, status: 401 });
  });

  it("refuses what is unsigned, signed with SHA-1, too large or not JSON", () => {
    const body = JSON.stringify(push);
    expect(ask(body, {})).toMatchObject({ ok: false, status: 401 });
    expect(ask(body, { "x-hub-signature": `sha1=${createHmac("sha1", secret).update(body).digest("hex")}` })).toMatchObject({ ok: false, status: 401 });
    expect(ask("x".repeat(1024 ** 2 + 1), {})).toMatchObject({ ok: false, status: 413 });
    expect(ask("{", { "x-flotilla-signature": `sha256=${hex("{")}` })).toMatchObject({ ok: false, status: 400 });
  });

  it("reads forms, pings and deletions", () => {
    const form = `payload=${encodeURIComponent(JSON.stringify(push))}`;
    expect(ask(form, { "x-hub-signature-256": `sha256=${hex(form)}`, "content-type": "application/x-www-form-urlencoded" })).toMatchObject({
      ok: true,
      commit,
    });
    const ping = JSON.stringify({ zen: "…" });
    expect(ask(ping, { "x-hub-signature-256": `sha256=${hex(ping)}`, "x-github-event": "ping" })).toMatchObject({ ok: true, event: "other", repositories: [] });
    const deleted = JSON.stringify({ ...push, after: "0".repeat(40) });
    expect(ask(deleted, { "x-hub-signature-256": `sha256=${hex(deleted)}` })).not.toHaveProperty("commit");
    expect(ask("", { "x-flotilla-signature": `sha256=${hex("")}` })).toMatchObject({ ok: true, repositories: [] });
  });

  it("never throws and never lets a stranger in, whatever comes", () => {
    const name = fc.constantFrom(
      "x-hub-signature-256",
      "x-hub-signature",
      "x-gitlab-token",
      "x-gitea-signature",
      "webhook-signature",
      "x-flotilla-signature",
      "webhook-timestamp",
      "content-type",
    );
    fc.assert(
      fc.property(fc.dictionary(name, fc.oneof(fc.string(), fc.array(fc.string()))), fc.uint8Array(), (headers, rawBody) => {
        expect(verifyWebhook({ headers, rawBody, secret }).ok).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it("survives every signed body", () => {
    const headersOf = [
      (body: string): Record<string, string> => ({ "x-hub-signature-256": `sha256=${hex(body)}` }),
      (body: string): Record<string, string> => ({ "x-gitea-signature": hex(body) }),
      (): Record<string, string> => ({ "x-gitlab-token": secret }),
      (body: string): Record<string, string> => ({ "x-hub-signature": `sha256=${hex(body)}` }),
      (body: string): Record<string, string> => ({ "x-flotilla-signature": `sha256=${hex(body)}` }),
    ];
    const odd = fc.jsonValue();
    const shaped = fc.record({
      ref: odd,
      after: odd,
      push: fc.record({ changes: fc.oneof(odd, fc.array(odd)) }),
      repository: fc.oneof(odd, fc.record({ clone_url: odd, links: fc.record({ clone: fc.oneof(odd, fc.array(odd)) }) })),
      project: odd,
      changes: odd,
    });
    fc.assert(
      fc.property(fc.oneof(odd, shaped), fc.constantFrom(...headersOf), (payload, headers) => {
        const body = JSON.stringify(payload);
        expect(ask(body, headers(body)).ok).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a webhook of a pull request", () => {
  const pull = (action: string) => ({ action, number: 17, pull_request: { number: 17 }, repository: push.repository });
  const merge = (action: string) => ({ object_kind: "merge_request", object_attributes: { iid: 17, action }, project: gitlabPush.project });
  const github = (payload: object, event = "pull_request") => {
    const body = JSON.stringify(payload);
    return ask(body, { "X-Hub-Signature-256": `sha256=${hex(body)}`, "X-GitHub-Event": event });
  };
  const gitea = (payload: object, event: string) => {
    const body = JSON.stringify(payload);
    return ask(body, { "X-Gitea-Signature": hex(body), "X-Gitea-Event": event });
  };
  const gitlab = (payload: object) => ask(JSON.stringify(payload), { "X-Gitlab-Token": secret, "X-Gitlab-Event": "Merge Request Hook" });

  it("names it, on every forge, when it is opened, changed or closed", () => {
    const wanted = { ok: true, event: "pull-request", pullRequest: 17 };
    for (const action of ["opened", "synchronize", "reopened", "closed", "edited"]) expect(github(pull(action))).toMatchObject(wanted);
    expect(gitea(pull("opened"), "pull_request")).toMatchObject(wanted);
    expect(gitea(pull("synchronized"), "pull_request_sync")).toMatchObject(wanted);
    for (const action of ["open", "update", "reopen", "merge", "close"]) expect(gitlab(merge(action))).toMatchObject(wanted);
  });

  it("is nothing when it is about a label, a review, or another event", () => {
    for (const verdict of [github(pull("labeled")), github(pull("opened"), "issues"), gitlab(merge("approved"))]) {
      expect(verdict).toMatchObject({ ok: true, event: "other" });
      expect(verdict).not.toHaveProperty("pullRequest");
    }
  });

  it("is nothing when its number is none", () => {
    for (const number of ["17", -1, 1.5, 2 ** 40, null]) expect(github({ ...pull("opened"), number })).toMatchObject({ event: "other" });
  });
});
