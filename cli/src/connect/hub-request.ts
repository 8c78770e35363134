import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { exitCodes } from "../exit-codes.ts";
import { FleetError } from "../fleet-error.ts";
import { connectTimeoutMs, maxAnswerBytes, requestTimeoutMs } from "../limits.ts";
import type { HubEndpoint } from "./resolve-hub.ts";

export interface HubRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path with its query, from `/api/…` or `/healthz` on. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

/** Sends a request and gives the answer once its head is here; the body is the caller's to read. Throws FleetError (6). */
export async function openRequest(endpoint: HubEndpoint, options: HubRequest): Promise<IncomingMessage> {
  const url = new URL(endpoint.url + options.path);
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const headers = {
    authorization: `Bearer ${endpoint.token}`,
    accept: "application/json, application/problem+json",
    ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    ...options.headers,
  };
  // A connection of its own: a command makes few requests, and none must keep the program from ending.
  const settings = { method: options.method, headers, agent: false as const, ...(options.signal && { signal: options.signal }) };
  return new Promise((resolve, reject) => {
    const sent: ClientRequest =
      url.protocol === "https:" ? httpsRequest(url, { ...settings, ...(endpoint.ca !== undefined && { ca: endpoint.ca }) }) : httpRequest(url, settings);
    const late = setTimeout(
      () => sent.destroy(new Error(`no answer within ${(options.timeoutMs ?? requestTimeoutMs) / 1_000} s`)),
      options.timeoutMs ?? requestTimeoutMs,
    );
    sent.on("socket", (socket) => {
      const unconnected = setTimeout(() => sent.destroy(new Error(`no connection within ${connectTimeoutMs / 1_000} s`)), connectTimeoutMs);
      socket.once("connect", () => clearTimeout(unconnected)).once("close", () => clearTimeout(unconnected));
    });
    sent.on("close", () => clearTimeout(late));
    sent.on("error", (error) => {
      clearTimeout(late);
      reject(options.signal?.aborted ? error : unreachable(endpoint, error));
    });
    sent.on("response", (answer) => {
      clearTimeout(late);
      resolve(answer);
    });
    sent.end(body);
  });
}

/** The whole answer as text, bounded. */
export async function readAnswer(endpoint: HubEndpoint, answer: IncomingMessage): Promise<string> {
  const late = setTimeout(() => answer.destroy(new Error("the answer stalled")), requestTimeoutMs);
  try {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) throw new Error(`the answer is larger than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  } catch (error) {
    throw unreachable(endpoint, error as Error);
  } finally {
    clearTimeout(late);
  }
}

const reasons: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  ECONNREFUSED: ["nothing listens there", "start it with 'fleet hub start', or name another hub with --hub or 'fleet login URL'"],
  ENOTFOUND: ["no such host", "check the name in the URL"],
  EAI_AGAIN: ["the name could not be looked up", "check the network and the name in the URL"],
  ECONNRESET: ["the connection was cut", "try again; 'fleet doctor' looks further"],
  DEPTH_ZERO_SELF_SIGNED_CERT: ["its certificate is not signed by a known authority", "log in with the hub's own: fleet login URL --ca-hash HASH"],
  SELF_SIGNED_CERT_IN_CHAIN: ["its certificate is not signed by a known authority", "log in with the hub's own: fleet login URL --ca-hash HASH"],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ["its certificate is not signed by a known authority", "log in with the hub's own: fleet login URL --ca-hash HASH"],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ["its certificate is not signed by a known authority", "log in with the hub's own: fleet login URL --ca-hash HASH"],
  ERR_TLS_CERT_ALTNAME_INVALID: ["its certificate is for another name", "use a name of the certificate; a hub puts its --public-address there"],
  CERT_HAS_EXPIRED: ["its certificate has expired", "renew it at the hub"],
};

function unreachable(endpoint: HubEndpoint, error: Error): FleetError {
  if (error instanceof FleetError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const [reason, hint] = reasons[code] ?? [error.message || code, "'fleet doctor' looks further"];
  return new FleetError(`cannot reach the hub at ${endpoint.url} (${endpoint.from}): ${reason}`, exitCodes.unreachable, { hint, cause: error });
}
