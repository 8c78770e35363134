import { repositoryKey } from "./repository-url.ts";
import { isCommitId } from "./git-ref.ts";
import type { WebhookProvider } from "./webhook.ts";

/** What a webhook says about a push, as far as it can be read. */
export interface WebhookPush {
  /** Keys (repositoryKey) of every URL that the forge has for the repository. */
  readonly repositories: readonly string[];
  /** Full name: refs/heads/main. */
  readonly ref?: string;
  readonly commit?: string;
  /** Number of a pull request that was opened, changed or closed. */
  readonly pullRequest?: number;
}

/** What a forge calls things; every path is looked up in a JSON of unknown shape. */
interface Shape {
  readonly urls: readonly (readonly string[])[];
  readonly ref: readonly string[];
  readonly commit: readonly string[];
  readonly pullRequest?: readonly string[];
  /** What happened to it. */
  readonly action?: readonly string[];
}

/** What changes what a pull request would do, or ends it: GitHub, Gitea; GitLab. Labels, reviews and titles do not. */
const pullRequestActions = new Set(["opened", "synchronize", "synchronized", "reopened", "closed", "edited", "open", "reopen", "close", "merge", "update"]);

const shapes: Readonly<Record<Exclude<WebhookProvider, "bitbucket">, Shape>> = {
  github: {
    urls: [
      ["repository", "clone_url"],
      ["repository", "ssh_url"],
      ["repository", "html_url"],
      ["repository", "git_url"],
    ],
    ref: ["ref"],
    commit: ["after"],
    pullRequest: ["number"],
    action: ["action"],
  },
  gitea: {
    urls: [
      ["repository", "clone_url"],
      ["repository", "ssh_url"],
      ["repository", "html_url"],
    ],
    ref: ["ref"],
    commit: ["after"],
    pullRequest: ["number"],
    action: ["action"],
  },
  gitlab: {
    urls: [
      ["project", "git_http_url"],
      ["project", "git_ssh_url"],
      ["project", "web_url"],
      ["repository", "git_http_url"],
      ["repository", "git_ssh_url"],
      ["repository", "homepage"],
    ],
    ref: ["ref"],
    commit: ["after"],
    pullRequest: ["object_attributes", "iid"],
    action: ["object_attributes", "action"],
  },
  generic: { urls: [["repository"], ["repository", "url"]], ref: ["ref"], commit: ["commit"] },
};

/** The body as JSON: sent as such, or in the form field `payload`. Undefined when it is neither; empty is a ping. */
export function readPayload(provider: WebhookProvider, body: Uint8Array, contentType = ""): WebhookPush | undefined {
  const json = parseBody(Buffer.from(body).toString("utf8"), contentType);
  if (json === undefined) return undefined;
  if (provider === "bitbucket") return readBitbucket(json);
  const shape = shapes[provider];
  const push = pushOf(
    shape.urls.map((path) => textAt(json, path)),
    textAt(json, shape.ref),
    textAt(json, shape.commit),
  );
  const number = shape.pullRequest && at(json, shape.pullRequest);
  const isNumber = typeof number === "number" && Number.isSafeInteger(number) && number > 0 && number < 2 ** 31;
  const matters = isNumber && pullRequestActions.has(textAt(json, shape.action ?? []) ?? "");
  return matters ? { ...push, pullRequest: number } : push;
}

function parseBody(text: string, contentType: string): unknown {
  if (text.trim() === "") return {};
  try {
    if (/^application\/x-www-form-urlencoded\b/i.test(contentType)) return JSON.parse(new URLSearchParams(text).get("payload") ?? "") as unknown;
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Cloud sends a page and a full name, Data Center a list of clone links; changes are lists of different shapes. */
function readBitbucket(json: unknown): WebhookPush {
  const name = textAt(json, ["repository", "full_name"]);
  const links = listAt(json, ["repository", "links", "clone"]).map((link) => textAt(link, ["href"]));
  const page = textAt(json, ["repository", "links", "html", "href"]);
  const urls = [...links, page, name === undefined ? undefined : `https://bitbucket.org/${name}`];
  const cloud = listAt(json, ["push", "changes"])[0];
  const kind = textAt(cloud, ["new", "type"]);
  const cloudName = textAt(cloud, ["new", "name"]);
  const cloudRef = cloudName === undefined ? undefined : `refs/${kind === "tag" ? "tags" : "heads"}/${cloudName}`;
  const center = listAt(json, ["changes"])[0];
  return pushOf(urls, cloudRef ?? textAt(center, ["ref", "id"]), textAt(cloud, ["new", "target", "hash"]) ?? textAt(center, ["toHash"]));
}

function pushOf(urls: readonly (string | undefined)[], ref: string | undefined, commit: string | undefined): WebhookPush {
  const keys = urls
    .filter((url) => url !== undefined)
    .map((url) => repositoryKey(url))
    .filter((key) => key !== undefined);
  return {
    repositories: [...new Set(keys)],
    ...(ref !== undefined && /^refs\/[\x21-\x7e]{1,255}$/.test(ref) ? { ref } : {}),
    // All zeros: the ref was deleted.
    ...(commit !== undefined && isCommitId(commit) && !/^0+$/.test(commit) ? { commit } : {}),
  };
}

function at(json: unknown, path: readonly string[]): unknown {
  let found = json;
  for (const name of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

function textAt(json: unknown, path: readonly string[]): string | undefined {
  const found = at(json, path);
  return typeof found === "string" ? found : undefined;
}

/** The first entries: one push moves few refs, and what is read is a hint. */
function listAt(json: unknown, path: readonly string[]): readonly unknown[] {
  const found = at(json, path);
  return Array.isArray(found) ? found.slice(0, 20) : [];
}
