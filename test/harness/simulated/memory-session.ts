import { EventEmitter } from "node:events";
import type { ClientHttp2Session, OutgoingHttpHeaders } from "node:http2";
import type { ApiRequest } from "./api-server.ts";
import { answerOf, type HostedCluster } from "./simulated-host.ts";

/**
 * What a session of node:http2 is to the agent's client, without a network below it: requests reach a simulated cluster of the same process, and answers come back on
 * a later turn of the event loop, in the order of their events. For crowds, where encrypting and framing on both sides would be most of the work.
 */
export function memorySession(cluster: HostedCluster): ClientHttp2Session {
  const session = new MemorySession(cluster);
  setImmediate(() => session.emit("remoteSettings", {}));
  return session as unknown as ClientHttp2Session;
}

class MemorySession extends EventEmitter {
  closed = false;
  destroyed = false;
  readonly #cluster: HostedCluster;
  readonly #streams = new Set<MemoryStream>();

  constructor(cluster: HostedCluster) {
    super();
    this.#cluster = cluster;
  }

  request(headers: OutgoingHttpHeaders, { endStream = false } = {}): MemoryStream {
    if (this.destroyed) throw new Error("The session has been destroyed");
    const stream = new MemoryStream(this.#cluster, headers);
    this.#streams.add(stream);
    stream.once("close", () => this.#streams.delete(stream));
    if (endStream) stream.end();
    return stream;
  }

  ping(done: () => void): boolean {
    setImmediate(done);
    return true;
  }

  setLocalWindowSize(): void {}

  destroy(): void {
    if (this.destroyed) return;
    [this.destroyed, this.closed] = [true, true];
    for (const stream of this.#streams) stream.close(8);
    setImmediate(() => this.emit("close"));
  }
}

class MemoryStream extends EventEmitter {
  rstCode = 0;
  readonly #cluster: HostedCluster;
  readonly #headers: OutgoingHttpHeaders;
  #isClosed = false;
  #endWatch: () => void = () => undefined;

  constructor(cluster: HostedCluster, headers: OutgoingHttpHeaders) {
    super();
    this.#cluster = cluster;
    this.#headers = headers;
  }

  /** The whole body at once, as the agent sends it. */
  end(body: string | Uint8Array = ""): void {
    setImmediate(() => void this.#exchange(typeof body === "string" ? body : Buffer.from(body).toString("utf8")));
  }

  close(code = 0): void {
    if (this.#isClosed) return;
    this.rstCode = code;
    this.#finish();
  }

  async #exchange(body: string): Promise<void> {
    const request = requestOf(this.#headers, body);
    const answer = await answerOf(this.#cluster, request, this.#headers.authorization as string | undefined);
    if (this.#isClosed) return;
    this.#cluster.onRequest(request, answer.kind === "whole" ? answer.status : 200);
    if (answer.kind === "whole") {
      this.emit("response", { ":status": answer.status, ...(answer.retryAfter !== undefined && { "retry-after": String(answer.retryAfter) }) });
      this.emit("data", Buffer.from(answer.body));
      return this.#finish();
    }
    this.emit("response", { ":status": 200 });
    this.#endWatch = answer.open(
      (line) => this.#later(() => this.emit("data", Buffer.from(`${line}\n`))),
      () => this.#later(() => this.#finish()),
    );
  }

  #later(act: () => void): void {
    setImmediate(() => this.#isClosed || act());
  }

  #finish(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endWatch();
    setImmediate(() => this.emit("close"));
  }
}

function requestOf(headers: OutgoingHttpHeaders, body: string): ApiRequest {
  const url = String(headers[":path"]);
  const question = url.indexOf("?");
  const text = (name: string) => String(headers[name] ?? "");
  return {
    method: text(":method"),
    path: question < 0 ? url : url.slice(0, question),
    query: new URLSearchParams(question < 0 ? "" : url.slice(question + 1)),
    contentType: text("content-type"),
    accept: text("accept"),
    userAgent: text("user-agent"),
    body,
  };
}
