import { createHmac, timingSafeEqual } from "node:crypto";
import { webhookBodyBytesMax, webhookClockSkewMs } from "../limits.ts";
import { repositoryKey } from "./repository-url.ts";
import { readPayload, type WebhookPush } from "./webhook-payload.ts";

export type WebhookProvider = "github" | "gitlab" | "gitea" | "bitbucket" | "generic";

export interface WebhookRequest {
  /** As Node gives them; names in any case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body byte for byte: what is signed. */
  readonly rawBody: Uint8Array;
  readonly secret: string;
  /** Milliseconds since 1970, for signatures that hold a time. */
  readonly now?: number;
}

export type WebhookVerdict =
  | ({ readonly ok: true; readonly provider: WebhookProvider; readonly event: "push" | "pull-request" | "other" } & WebhookPush)
  /** `reason` tells the sender what to mend, and nothing of what is here. */
  | { readonly ok: false; readonly status: 400 | 401 | 413; readonly reason: string };

/**
 * Check one webhook. The signature over the raw body is what lets it in (GitLab's older form is the secret itself); only then is the
 * body parsed. A webhook only ever asks for a fetch: nothing in it is believed. Never throws, whatever comes.
 *
 * Forges: GitHub (X-Hub-Signature-256), GitLab (webhook-signature of Standard Webhooks, or X-Gitlab-Token), Gitea and Forgejo
 * (X-Gitea-Signature, X-Forgejo-Signature), Bitbucket Cloud and Data Center (X-Hub-Signature), anything else (X-Flotilla-Signature).
 */
export function verifyWebhook(request: WebhookRequest): WebhookVerdict {
  try {
    return verify(request);
  } catch {
    // The readers below check what they touch; this is the net that keeps a stranger's body from ending the process.
    return refuse(400, "the webhook cannot be read");
  }
}

/** Whether a verified webhook is about this repository. One that names none is: it came to the repository's own address. */
export function concernsRepository(verdict: Extract<WebhookVerdict, { ok: true }>, url: string): boolean {
  const key = repositoryKey(url);
  return verdict.repositories.length === 0 || (key !== undefined && verdict.repositories.includes(key));
}

function verify({ headers, rawBody, secret, now = Date.now() }: WebhookRequest): WebhookVerdict {
  if (rawBody.length > webhookBodyBytesMax) return refuse(413, `the body is larger than ${webhookBodyBytesMax / 1024 ** 2} MiB`);
  // An empty key would be anyone's.
  if (secret === "") return refuse(401, "this repository has no webhook secret");
  const read = headerReader(headers);
  const sender = senders.find(({ header }) => read(header) !== undefined);
  if (sender === undefined) return refuse(401, "the webhook is not signed: give the forge the repository's webhook secret");
  if (!sender.holds({ read, body: rawBody, secret, now }))
    return refuse(401, "the webhook's signature does not fit: the secret differs, or the body was changed on its way");
  const payload = readPayload(sender.provider, rawBody, read("content-type"));
  if (payload === undefined) return refuse(400, "the webhook's body is not JSON");
  const name = read(sender.event) ?? "push";
  const { pullRequest, ...push } = payload;
  if (pullRequest !== undefined && pullRequestEvents.has(name)) return { ok: true, provider: sender.provider, event: "pull-request", ...push, pullRequest };
  return { ok: true, provider: sender.provider, event: pushEvents.has(name) ? "push" : "other", ...push };
}

type ReadHeader = (name: string) => string | undefined;

interface Signed {
  readonly read: ReadHeader;
  readonly body: Uint8Array;
  readonly secret: string;
  readonly now: number;
}

interface Sender {
  readonly provider: WebhookProvider;
  /** Its presence decides how the webhook is checked; a second signature in another header does not save it. */
  readonly header: string;
  /** Names the event. */
  readonly event: string;
  holds(signed: Signed): boolean;
}

const senders: readonly Sender[] = [
  { provider: "generic", header: "x-flotilla-signature", event: "x-flotilla-event", holds: hexSignature("x-flotilla-signature", "sha256=") },
  { provider: "gitea", header: "x-forgejo-signature", event: "x-forgejo-event", holds: hexSignature("x-forgejo-signature", "") },
  // Gitea sends GitHub's header too; its own comes first.
  { provider: "gitea", header: "x-gitea-signature", event: "x-gitea-event", holds: hexSignature("x-gitea-signature", "") },
  { provider: "github", header: "x-hub-signature-256", event: "x-github-event", holds: hexSignature("x-hub-signature-256", "sha256=") },
  { provider: "gitlab", header: "webhook-signature", event: "x-gitlab-event", holds: standardSignature },
  { provider: "gitlab", header: "x-gitlab-token", event: "x-gitlab-event", holds: ({ read, secret }) => sameText(read("x-gitlab-token") ?? "", secret) },
  { provider: "bitbucket", header: "x-hub-signature", event: "x-event-key", holds: hexSignature("x-hub-signature", "sha256=") },
];

const pushEvents = new Set([
  "push",
  "create",
  "delete",
  "Push Hook",
  "Tag Push Hook",
  "System Hook",
  "repo:push",
  "repo:refs_changed",
  "mirror:repo_synchronized",
]);

/** GitHub and Gitea; Gitea tells a new commit as an event of its own; GitLab. */
const pullRequestEvents = new Set(["pull_request", "pull_request_sync", "Merge Request Hook"]);

/** HMAC-SHA-256 over the body, in hex. GitHub's older SHA-1 form does not fit and is refused. */
function hexSignature(header: string, prefix: string): (signed: Signed) => boolean {
  return ({ read, body, secret }) => {
    const given = read(header) ?? "";
    if (!given.startsWith(prefix)) return false;
    return sameText(given.slice(prefix.length).toLowerCase(), createHmac("sha256", secret).update(body).digest("hex"));
  };
}

/** standardwebhooks.com: HMAC over "id.timestamp.body"; the key is base64 behind "whsec_"; several signatures while keys change. */
function standardSignature({ read, body, secret, now }: Signed): boolean {
  const id = read("webhook-id");
  const timestamp = read("webhook-timestamp");
  if (id === undefined || timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(now - Number(timestamp) * 1_000) > webhookClockSkewMs) return false;
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret);
  if (key.length === 0) return false;
  const wanted = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const given = (read("webhook-signature") ?? "").split(" ").slice(0, 10);
  return given.filter((signature) => signature.startsWith("v1,") && sameText(signature.slice(3), wanted)).length > 0;
}

/** In constant time: hashed first, so that lengths do not show either. */
function sameText(left: string, right: string): boolean {
  const hash = (text: string): Buffer => createHmac("sha256", "compare").update(text).digest();
  return timingSafeEqual(hash(left), hash(right));
}

/** One value per header; a header sent twice is nobody's honest webhook. */
function headerReader(headers: WebhookRequest["headers"]): ReadHeader {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === "string") values.set(name.toLowerCase(), value);
  }
  return (name) => values.get(name);
}

function refuse(status: 400 | 401 | 413, reason: string): WebhookVerdict {
  return { ok: false, status, reason };
}
