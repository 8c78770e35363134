import { setTimeout as delay } from "node:timers/promises";
import { forgeAnswerBytesMax, forgeRequestMs, forgeRetries, forgeRetryMs, forgeWaitMaxMs, forgeWaitInlineMs } from "../limits.ts";
import { ForgeError } from "./forge-error.ts";

/** How one forge is spoken to. */
export interface ForgeAccess {
  readonly apiUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

export interface ForgeAnswer {
  readonly status: number;
  readonly json: unknown;
}

/**
 * One request to a forge's REST API, and what is usual about it: a deadline, a bounded answer, no redirects, a few tries when the server fails,
 * and waiting as long as it asks when too much was asked (RFC 9110 Retry-After; GitHub's x-ratelimit-reset, GitLab's RateLimit-Reset).
 *
 * @throws ForgeError for every answer but 2xx and the statuses named in `expected`.
 */
export async function forgeRequest(
  access: ForgeAccess,
  method: "GET" | "POST" | "PUT" | "PATCH",
  path: string,
  { body, expected = [] }: { readonly body?: object; readonly expected?: readonly number[] } = {},
): Promise<ForgeAnswer> {
  for (let tries = 0; ; tries += 1) {
    const answer = await send(access, method, path, body);
    if (!(answer instanceof ForgeError) && (answer.status < 300 || expected.includes(answer.status))) return answer;
    const error = answer instanceof ForgeError ? answer : explain(answer, method, path);
    // A long wait is the caller's, who has other things to do meanwhile. What may have been done already is not simply done again.
    const mayRepeat = method !== "POST" || error.status === 429 || error.status === 503;
    if (error.againMs === undefined || error.againMs > forgeWaitInlineMs || tries >= forgeRetries || !mayRepeat) throw error;
    await delay(Math.max(error.againMs, forgeRetryMs * 2 ** tries), undefined, { ...(access.signal && { signal: access.signal }) });
  }
}

async function send({ apiUrl, headers, signal }: ForgeAccess, method: string, path: string, body: object | undefined): Promise<Received | ForgeError> {
  const deadline = AbortSignal.timeout(forgeRequestMs);
  try {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      // Another host must not be handed the token.
      redirect: "manual",
      headers: {
        accept: "application/json",
        "user-agent": "flotilla",
        ...headers,
        ...(body && { "content-type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    return { status: response.status, headers: response.headers, json: await readBounded(response) };
  } catch (error) {
    signal?.throwIfAborted();
    const why = deadline.aborted ? `no answer within ${forgeRequestMs / 1_000} s` : causeOf(error);
    return new ForgeError(`${new URL(apiUrl).host} cannot be reached: ${why}`, { status: 0, againMs: forgeRetryMs, cause: error });
  }
}

interface Received extends ForgeAnswer {
  readonly headers: Headers;
}

function causeOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message : message;
}

/** JSON, or its text when it is none; what is too long is cut off, and then no JSON. */
async function readBounded(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk as Uint8Array);
    bytes += (chunk as Uint8Array).length;
    if (bytes > forgeAnswerBytesMax) throw new Error(`an answer of more than ${forgeAnswerBytesMax / 2 ** 20} MiB`);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function explain({ status, headers, json }: Received, method: string, path: string): ForgeError {
  const said = messageOf(json);
  const what = `${method} ${path.replace(/\?.*$/, "")}: ${status}${said === "" ? "" : ` ${said}`}`;
  const waitMs = waitOf(headers);
  if (status === 429 || (status === 403 && (headers.get("x-ratelimit-remaining") === "0" || headers.has("retry-after"))))
    return new ForgeError(what, { status, againMs: waitMs ?? forgeRetryMs, hint: "too much was asked of the forge; it is asked again later" });
  if (status >= 500) return new ForgeError(what, { status, againMs: waitMs ?? forgeRetryMs });
  if (status >= 300 && status < 400)
    return new ForgeError(`${what}: it redirects to ${headers.get("location")?.slice(0, 200) ?? "nowhere"}`, {
      status,
      hint: "the repository was renamed, or --api-url is not the API's address",
    });
  return new ForgeError(what, { status, hint: hints[status] ?? "" });
}

const hints: Readonly<Record<number, string>> = {
  401: "the token is not valid any more: fleet forge set with a new one",
  403: "the token lacks a right: it needs to write commit statuses and comments (GitHub: 'Commit statuses' and 'Pull requests', both read and write; GitLab: scope api, role Developer; Gitea: repository and issue, both write)",
  404: "the token does not see the repository, or its address is another",
};

function messageOf(json: unknown): string {
  if (typeof json === "string") return json.slice(0, 200).replaceAll(/\s+/g, " ");
  const { message, error } = (json ?? {}) as { message?: unknown; error?: unknown };
  const said = message ?? error ?? "";
  return (typeof said === "string" ? said : JSON.stringify(said)).slice(0, 300);
}

/** Milliseconds, at most an hour. */
function waitOf(headers: Headers): number | undefined {
  const after = headers.get("retry-after");
  const seconds = after === null ? NaN : /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1_000;
  const reset = Number(headers.get("x-ratelimit-reset") ?? headers.get("ratelimit-reset") ?? NaN) - Date.now() / 1_000;
  const wait = Number.isFinite(seconds) ? seconds : headers.get("x-ratelimit-remaining") === "0" || headers.get("ratelimit-remaining") === "0" ? reset : NaN;
  return Number.isFinite(wait) ? Math.min(forgeWaitMaxMs, Math.max(forgeRetryMs, Math.ceil(wait * 1_000))) : undefined;
}
