import { connect, type ClientHttp2Session } from "node:http2";
import type { Log } from "../log.ts";
import { kubeLimits } from "../limits.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";
import { KubeError } from "./kube-error.ts";

/** Times after which silence is taken for death. Tests shorten them. */
export interface KubeTiming {
  readonly connectDeadlineMs: number;
  readonly pingIntervalMs: number;
  readonly pingDeadlineMs: number;
  readonly watchIdleMs: number;
  readonly relistAfterMs: number;
}

/** State of a connection. Each state owns what it needs to end. */
type State =
  | { readonly kind: "idle" }
  | { readonly kind: "opening"; readonly session: Promise<ClientHttp2Session> }
  | { readonly kind: "open"; readonly session: ClientHttp2Session }
  /** The last try failed: nobody tries again before `until` (epoch ms), everybody gets its error. */
  | { readonly kind: "resting"; readonly until: number; readonly error: KubeError }
  | { readonly kind: "closed" };

/**
 * One HTTP/2 connection to an API server: opened on demand, opened again after GOAWAY or an error, pinged while it is open.
 * After a failed try it rests for a moment, longer each time, so that many callers do not storm a server that comes back.
 */
export class KubeConnection {
  readonly #endpoint: KubeEndpoint;
  readonly #log: Log;
  readonly #timing: KubeTiming;
  #state: State = { kind: "idle" };
  #failures = 0;

  constructor(endpoint: KubeEndpoint, log: Log, timing: KubeTiming) {
    this.#endpoint = endpoint;
    this.#log = log;
    this.#timing = timing;
  }

  /**
   * The session, open.
   *
   * @throws KubeError "unreachable" when there is none to be had now.
   */
  async session(): Promise<ClientHttp2Session> {
    const state = this.#state;
    if (state.kind === "closed") throw new KubeError("unreachable", "the client is closed");
    if (state.kind === "open" && !state.session.closed && !state.session.destroyed) return state.session;
    if (state.kind === "opening") return state.session;
    if (state.kind === "resting" && Date.now() < state.until) throw state.error;
    const session = this.#open();
    this.#state = { kind: "opening", session };
    return session;
  }

  /** Use this session no more; another is opened for the next request. Streams that run on it go on. */
  drop(session: ClientHttp2Session): void {
    if (this.#state.kind === "open" && this.#state.session === session) this.#state = { kind: "idle" };
  }

  close(): void {
    if (this.#state.kind === "open") this.#state.session.destroy();
    this.#state = { kind: "closed" };
  }

  async #open(): Promise<ClientHttp2Session> {
    try {
      const session = await this.#connect();
      this.#failures = 0;
      if (this.#isClosed()) {
        session.destroy();
        throw new KubeError("unreachable", "the client is closed");
      }
      this.#state = { kind: "open", session };
      return session;
    } catch (error) {
      if (!this.#isClosed()) this.#rest(error as KubeError);
      throw error;
    }
  }

  #isClosed(): boolean {
    return this.#state.kind === "closed";
  }

  #rest(error: KubeError): void {
    this.#failures += 1;
    const cap = Math.min(kubeLimits.connectRestMaxMs, kubeLimits.connectRestMinMs * 2 ** Math.min(this.#failures - 1, 10));
    this.#state = { kind: "resting", until: Date.now() + cap / 2 + Math.random() * (cap / 2), error };
  }

  async #connect(): Promise<ClientHttp2Session> {
    const { url, serverName, insecureSkipVerify, source } = this.#endpoint;
    const fail = (cause: Error) =>
      cause instanceof KubeError ? cause : new KubeError("unreachable", `API server ${url.origin} (${source}) is not reachable: ${cause.message}`, { cause });
    const credentials = await this.#endpoint.tls().catch((cause: unknown) => {
      throw fail(cause as Error);
    });
    const session =
      this.#endpoint.open?.() ??
      connect(url.origin, {
        ...credentials,
        ...(serverName !== undefined && { servername: serverName }),
        rejectUnauthorized: !insecureSkipVerify,
        maxSessionMemory: kubeLimits.sessionMemoryMiB,
        settings: { initialWindowSize: kubeLimits.windowBytes, enablePush: false },
      });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = setTimeout(() => {
      reject(fail(new Error(`no connection within ${this.#timing.connectDeadlineMs / 1000} s`)));
      session.destroy();
    }, this.#timing.connectDeadlineMs);
    session.once("remoteSettings", () => {
      session.setLocalWindowSize(kubeLimits.windowBytes);
      resolve();
    });
    session.on("error", (cause) => reject(fail(cause)));
    session.once("close", () => {
      reject(fail(new Error("the connection was closed")));
      this.drop(session);
    });
    session.once("goaway", () => this.drop(session));
    try {
      await promise;
    } finally {
      clearTimeout(deadline);
    }
    this.#keepAlive(session);
    return session;
  }

  /** A peer that is gone without a word (half-open TCP) is seen within one ping interval and its deadline. */
  #keepAlive(session: ClientHttp2Session): void {
    let pending: NodeJS.Timeout | undefined;
    const interval = setInterval(() => {
      if (session.destroyed || pending) return;
      pending = setTimeout(() => {
        this.#log.warn({ server: this.#endpoint.url.origin }, "the API server does not answer pings; connecting again");
        session.destroy();
      }, this.#timing.pingDeadlineMs);
      session.ping(() => {
        clearTimeout(pending);
        pending = undefined;
      });
    }, this.#timing.pingIntervalMs);
    interval.unref();
    session.once("close", () => {
      clearInterval(interval);
      clearTimeout(pending);
    });
  }
}
