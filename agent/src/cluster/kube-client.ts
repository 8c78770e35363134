import { setTimeout as delay } from "node:timers/promises";
import { constants, type ClientHttp2Stream, type OutgoingHttpHeaders } from "node:http2";
import type { Log } from "../log.ts";
import { kubeLimits } from "../limits.ts";
import { errorOfAnswer, isStatus, KubeError } from "./kube-error.ts";
import { KubeConnection, type KubeTiming } from "./kube-connection.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";
import { splitLines } from "./split-lines.ts";
import { RequestLimiter } from "./request-limiter.ts";

/** One request. `query` values that are undefined are left out. */
export interface KubeRequest {
  readonly method: "GET" | "PUT" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: string | Uint8Array;
  /** Goes before ordinary requests in the limiter. */
  readonly urgent?: boolean;
  readonly deadlineMs?: number;
  /** How often it is sent at most; kubeLimits.requestAttempts when left out. */
  readonly attempts?: number;
  /** Service account ("namespace/name") as which the request is made; the API server asks whether we may. */
  readonly as?: string;
}

/** Who can be asked: the client itself, or the client in the name of a service account. */
export interface KubeApi {
  request(request: KubeRequest): Promise<KubeAnswer>;
  json<T>(request: KubeRequest): Promise<T>;
}

/** An answer of status below 400. */
export interface KubeAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * A thin client of one API server: one HTTP/2 connection for everything (another for every further
 * watchesPerConnection watches, because servers bound the streams of one), with an adaptive limit on requests in flight.
 * Watches do not count against that limit.
 * Every method throws KubeError.
 */
export class KubeClient implements KubeApi {
  /** How long it takes silence for life. */
  readonly timing: KubeTiming;
  readonly #endpoint: KubeEndpoint;
  readonly #log: Log;
  readonly #limiter = new RequestLimiter();
  readonly #connections: KubeConnection[] = [];
  readonly #watches: number[] = [];
  #closed = false;
  /** Requests sent, by method, since the start: tests and benches hold "a steady state sends nothing" against it. */
  readonly sent: Record<string, number> = {};

  /** When no connection was to be had (performance.now()). */
  #refusedAt = -Infinity;

  /** @param timing for tests; kubeLimits when left out. */
  constructor(endpoint: KubeEndpoint, log: Log, timing: Partial<KubeTiming> = {}) {
    this.#endpoint = endpoint;
    this.#log = log;
    this.timing = { ...kubeLimits, ...timing };
  }

  /** Requests that may be in flight now: how many workers are worth having. */
  get concurrency(): number {
    return this.#limiter.limit;
  }

  /**
   * Send a request and read the whole answer. 429 and a lost connection are retried here (both are safe: a refused request
   * did nothing, and every write of ours is an apply or a delete with preconditions); all else is the caller's to judge.
   */
  async request(request: KubeRequest): Promise<KubeAnswer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(request);
      } catch (error) {
        if (!(error instanceof KubeError) || attempt >= (request.attempts ?? kubeLimits.requestAttempts) || !this.#isWorthAnotherTry(error, attempt))
          throw error;
        if (isWarmingUp(error)) await delay((error.retryAfterMs ?? 1_000) * (0.5 + Math.random() / 2));
      }
    }
  }

  /** Send a request and parse the answer as JSON. */
  async json<T>(request: KubeRequest): Promise<T> {
    const { body } = await this.request(request);
    try {
      return JSON.parse(body.toString("utf8")) as T;
    } catch (cause) {
      throw new KubeError("unusable", `${request.method} ${request.path}: the answer is not JSON`, { cause });
    }
  }

  /**
   * Resolves when there is a connection, or the signal aborts. While there is none, everybody who waits here shares one try after the
   * other, and no request is spent.
   *
   * @returns when there was none to be had for the last time (performance.now()): then the API server itself was away, not only our
   * connection to it; -Infinity when there always was.
   */
  async reachable(signal: AbortSignal): Promise<number> {
    for (;;) {
      if (signal.aborted || this.#closed) return this.#refusedAt;
      const isOpen = await this.#connection(0)
        .session()
        .then(
          () => true,
          () => false,
        );
      if (isOpen) return this.#refusedAt;
      this.#refusedAt = performance.now();
      await delay(kubeLimits.reachableLookMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /**
   * The same client in the name of a service account. Only the user is named: the API server itself adds the groups that every
   * service account has, and asks for no right beyond `impersonate` on this one account. "" is the client as it is.
   */
  as(account: string): KubeApi {
    if (account === "") return this;
    return {
      request: (request) => this.request({ ...request, as: account }),
      json: <T>(request: KubeRequest) => this.json<T>({ ...request, as: account }),
    };
  }

  /**
   * Open a watch and hand over its lines until the server ends it. Rejects when the server refuses it, the connection
   * breaks, nothing comes for idleMs, or the signal aborts.
   */
  async watch(
    path: string,
    query: Record<string, string>,
    options: { readonly idleMs: number; readonly signal: AbortSignal; readonly onLine: (line: Buffer) => void },
  ): Promise<void> {
    const slot = this.#watchSlot();
    this.#watches[slot] = (this.#watches[slot] ?? 0) + 1;
    try {
      await this.#watchOn(slot, path, query, options);
    } finally {
      this.#watches[slot] = (this.#watches[slot] ?? 1) - 1;
    }
  }

  /** The first connection that has room for one more watch. */
  #watchSlot(): number {
    const free = this.#watches.findIndex((count) => count < kubeLimits.watchesPerConnection);
    return free < 0 ? this.#watches.length : free;
  }

  async #watchOn(
    slot: number,
    path: string,
    query: Record<string, string>,
    options: { readonly idleMs: number; readonly signal: AbortSignal; readonly onLine: (line: Buffer) => void },
  ): Promise<void> {
    const stream = await this.#open({ method: "GET", path, query }, slot);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (message: string) => {
      reject(new KubeError("unreachable", message));
      stream.close(constants.NGHTTP2_CANCEL);
    };
    const abort = () => fail("watch stopped");
    const watchdog = setTimeout(() => fail(`watch of ${path} was silent for ${options.idleMs / 1000} s`), options.idleMs);
    options.signal.addEventListener("abort", abort, { once: true });
    let status = 0;
    let retryAfter: string | undefined;
    const refusal: Buffer[] = [];
    const split = splitLines(kubeLimits.maxWatchLineBytes, options.onLine);
    stream.on("response", (headers) => {
      status = headers[":status"] ?? 0;
      retryAfter = headers["retry-after"];
    });
    stream.on("data", (chunk: Buffer) => {
      watchdog.refresh();
      try {
        if (status < 400) split(chunk);
        else if (refusal.length < 64) refusal.push(chunk);
      } catch (error) {
        fail((error as Error).message);
      }
    });
    stream.on("error", (cause) => reject(new KubeError("unreachable", `watch of ${path}: ${cause.message}`, { cause })));
    stream.on("close", () => {
      if (status >= 400) reject(errorOfAnswer(status, Buffer.concat(refusal), retryAfter));
      else if (stream.rstCode !== 0 || status === 0) reject(new KubeError("unreachable", `watch of ${path} broke off`));
      else resolve();
    });
    try {
      if (options.signal.aborted) abort();
      await promise;
    } finally {
      clearTimeout(watchdog);
      options.signal.removeEventListener("abort", abort);
    }
  }

  /** Close the connection. Requests in flight fail. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.close();
  }

  async #attempt(request: KubeRequest): Promise<KubeAnswer> {
    await this.#limiter.enter(request.urgent ?? false);
    const started = performance.now();
    try {
      const answer = await this.#exchange(request);
      this.#limiter.leave({ kind: "answered", latencyMs: performance.now() - started });
      return answer;
    } catch (error) {
      const isThrottled = isStatus(error, 429) && !isWarmingUp(error);
      if (isThrottled) this.#limiter.pause(error.retryAfterMs ?? 1_000);
      const answered = error instanceof KubeError && error.code === "status";
      this.#limiter.leave(
        isThrottled
          ? { kind: "throttled", sentAtMs: started, atMs: performance.now() }
          : answered
            ? { kind: "answered", latencyMs: performance.now() - started }
            : undefined,
      );
      throw error;
    }
  }

  #isWorthAnotherTry(error: KubeError, attempt: number): boolean {
    if (this.#closed) return false;
    if (error.status === 401 && attempt === 1) {
      this.#endpoint.renew();
      return true;
    }
    // 429 waits in the limiter, or here when it is about one kind only; a connection that broke under us is opened again once.
    return error.status === 429 || (error.code === "unreachable" && attempt === 1);
  }

  async #exchange(request: KubeRequest): Promise<KubeAnswer> {
    const stream = await this.#open(request);
    const deadlineMs = request.deadlineMs ?? kubeLimits.requestDeadlineMs;
    const { promise, resolve, reject } = Promise.withResolvers<KubeAnswer>();
    const what = `${request.method} ${request.path}`;
    const deadline = setTimeout(() => {
      reject(new KubeError("unreachable", `${what}: no answer within ${deadlineMs / 1000} s`));
      stream.close(constants.NGHTTP2_CANCEL);
    }, deadlineMs);
    const chunks: Buffer[] = [];
    let [status, bytes]: [number, number] = [0, 0];
    let retryAfter: string | undefined;
    stream.on("response", (headers) => {
      status = headers[":status"] ?? 0;
      retryAfter = headers["retry-after"];
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= kubeLimits.maxAnswerBytes) chunks.push(chunk);
      else stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on("error", (cause) => reject(new KubeError("unreachable", `${what}: ${cause.message}`, { cause })));
    stream.on("close", () => {
      if (bytes > kubeLimits.maxAnswerBytes) reject(new KubeError("unusable", `${what}: the answer is over ${kubeLimits.maxAnswerBytes} bytes`));
      else if (status === 0 || stream.rstCode !== 0) reject(new KubeError("unreachable", `${what}: the connection broke off`));
      else if (status >= 400) reject(errorOfAnswer(status, Buffer.concat(chunks), retryAfter));
      else resolve({ status, body: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks) });
    });
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
    }
  }

  #connection(slot: number): KubeConnection {
    return (this.#connections[slot] ??= new KubeConnection(this.#endpoint, this.#log, this.timing));
  }

  async #open(request: KubeRequest, slot = 0): Promise<ClientHttp2Stream> {
    if (this.#closed) throw new KubeError("unreachable", "the client is closed");
    const connection = this.#connection(slot);
    const session = await connection.session();
    const token = await this.#endpoint.token().catch((cause: unknown) => {
      throw cause instanceof KubeError ? cause : new KubeError("unusable", `credentials of ${this.#endpoint.source}: ${(cause as Error).message}`, { cause });
    });
    const headers: OutgoingHttpHeaders = {
      ":method": request.method,
      ":path": `${this.#endpoint.url.pathname.replace(/\/$/, "")}${request.path}${queryString(request.query)}`,
      accept: request.accept ?? "application/json",
      "user-agent": "flotilla-agent",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(request.as !== undefined && { "impersonate-user": `system:serviceaccount:${request.as.replace("/", ":")}` }),
      ...(request.body !== undefined && { "content-type": request.contentType ?? "application/json", "content-length": Buffer.byteLength(request.body) }),
    };
    this.sent[request.method] = (this.sent[request.method] ?? 0) + 1;
    try {
      const stream = session.request(headers, { endStream: request.body === undefined });
      if (request.body !== undefined) stream.end(request.body);
      return stream;
    } catch (cause) {
      connection.drop(session);
      throw new KubeError("unreachable", `${request.method} ${request.path}: ${(cause as Error).message}`, { cause });
    }
  }
}

/** A kind that was just defined, or an API server that just started, has its storage read first: no reason to hold back requests for other kinds. */
function isWarmingUp(error: unknown): boolean {
  return isStatus(error, 429) && error.message.includes("storage is (re)initializing");
}

function queryString(query: KubeRequest["query"]): string {
  const entries = Object.entries(query ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return entries.length === 0 ? "" : `?${new URLSearchParams(entries).toString()}`;
}
