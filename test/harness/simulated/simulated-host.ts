import "reflect-metadata";
import { once } from "node:events";
import { webcrypto } from "node:crypto";
import { createSecureServer, createServer, type Http2SecureServer, type Http2Server, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import * as x509 from "@peculiar/x509";
import { setTimeout as delay } from "node:timers/promises";
import { type ApiAnswer, type ApiRequest, type ApiServer, refusal } from "./api-server.ts";
import type { Faults } from "./faults.ts";
import { StatusError } from "./kube-status.ts";
import { simulatedLimits } from "./simulated-limits.ts";

interface Breakable {
  destroy(): void;
  once(event: "close", listener: () => void): void;
}

/** A cluster as the host serves it, under a path of its own. */
export interface HostedCluster {
  readonly api: ApiServer;
  readonly token: string;
  readonly faults: Faults;
  /** Told of every request when it is answered. */
  onRequest(request: ApiRequest, status: number): void;
}

/** One listener on loopback for any number of simulated clusters: HTTP/2 with TLS, and HTTP/1.1 for simple clients; or HTTP/2 in the clear, for crowds. */
export class SimulatedHost {
  readonly url: string;
  /** PEM; empty in the clear. */
  readonly certificate: string;
  readonly #server: Http2SecureServer | Http2Server;
  readonly #clusters = new Map<string, HostedCluster>();
  readonly #sessions = new Set<Breakable>();
  readonly #sockets = new Set<Breakable>();

  private constructor(server: Http2SecureServer | Http2Server, certificate: string) {
    this.#server = server;
    this.certificate = certificate;
    this.url = `${certificate === "" ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start({ tls = true }: { readonly tls?: boolean } = {}): Promise<SimulatedHost> {
    const settings = { maxConcurrentStreams: 1_000 };
    const { certificate, key } = tls ? await selfSigned() : { certificate: "", key: "" };
    const server = tls ? createSecureServer({ key, cert: certificate, allowHTTP1: true, settings }) : createServer({ settings });
    server.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 });
    await once(server, "listening");
    const host = new SimulatedHost(server, certificate);
    server.on("request", (request: Http2ServerRequest, response: Http2ServerResponse) => void host.#serve(request, response));
    server.on("session", (session) => host.#keep(host.#sessions, session));
    server.on("secureConnection", (socket) => host.#keep(host.#sockets, socket));
    server.on("sessionError", () => undefined);
    return host;
  }

  add(name: string, cluster: HostedCluster): string {
    this.#clusters.set(name, cluster);
    return `${this.url}/clusters/${name}`;
  }

  remove(name: string): void {
    this.#clusters.delete(name);
  }

  get clusters(): number {
    return this.#clusters.size;
  }

  /** Break every HTTP/2 connection, as a network does. */
  disconnect(): void {
    for (const session of this.#sessions) session.destroy();
  }

  async stop(): Promise<void> {
    for (const open of [...this.#sessions, ...this.#sockets]) open.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #keep(set: Set<Breakable>, open: Breakable): void {
    set.add(open);
    open.once("close", () => set.delete(open));
  }

  async #serve(incoming: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    response.on("error", () => undefined);
    try {
      const [, name = "", path = ""] = /^\/clusters\/([^/?]+)([^?]*)/.exec(incoming.url) ?? [];
      const cluster = this.#clusters.get(name);
      if (!cluster) return send(response, { kind: "whole", status: 404, body: `no simulated cluster ${name}` });
      const request = await readRequest(incoming, path);
      const answer = await answerOf(cluster, request, incoming.headers.authorization);
      cluster.onRequest(request, answer.kind === "whole" ? answer.status : 200);
      send(response, answer);
    } catch (error) {
      if (!response.headersSent) send(response, { kind: "whole", status: 500, body: String((error as Error).stack) });
      else response.end();
    }
  }
}

/** What a cluster says to a request, after the time that it takes. */
export async function answerOf({ api, token, faults }: HostedCluster, request: ApiRequest, authorization: string | undefined): Promise<ApiAnswer> {
  if (authorization !== `Bearer ${token}`) return refusal(new StatusError(401, "Unauthorized", "Unauthorized"));
  const refused = faults.refusal();
  if (refused) return refusal(refused);
  const delayMs = request.method === "GET" ? 0 : faults.writeDelayMs();
  if (delayMs > 0) await delay(delayMs);
  return api.handle(request);
}

async function readRequest(incoming: Http2ServerRequest, path: string): Promise<ApiRequest> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of incoming) {
    bytes += (part as Buffer).length;
    if (bytes <= simulatedLimits.maxBodyBytes) parts.push(part as Buffer);
  }
  if (bytes > simulatedLimits.maxBodyBytes) throw new Error("the body is over the limit");
  const { headers, method, url } = incoming;
  const question = url.indexOf("?");
  return {
    method,
    path,
    query: new URLSearchParams(question < 0 ? "" : url.slice(question + 1)),
    contentType: headers["content-type"] ?? "",
    accept: headers.accept ?? "",
    userAgent: headers["user-agent"] ?? "",
    body: Buffer.concat(parts).toString("utf8"),
  };
}

function send(response: Http2ServerResponse, answer: ApiAnswer): void {
  if (answer.kind === "whole") {
    response.writeHead(answer.status, {
      "content-type": "application/json",
      ...(answer.retryAfter !== undefined && { "retry-after": String(answer.retryAfter) }),
    });
    response.end(answer.body);
    return;
  }
  response.writeHead(200, { "content-type": "application/json" });
  // HTTP/1.1 would keep the head back until the first event.
  if ("flushHeaders" in response) (response as unknown as { flushHeaders(): void }).flushHeaders();
  const close = answer.open(
    (line) => void response.write(`${line}\n`),
    () => response.end(),
  );
  response.once("close", close);
}

async function selfSigned(): Promise<{ certificate: string; key: string }> {
  x509.cryptoProvider.set(webcrypto as unknown as typeof globalThis.crypto);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: "CN=simulated",
    keys,
    signingAlgorithm: algorithm,
    // Also for agents whose clocks are behind.
    notBefore: new Date(Date.now() - 3 * 24 * 3_600_000),
    notAfter: new Date(Date.now() + 7 * 24 * 3_600_000),
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true), new x509.SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])],
  });
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { certificate: certificate.toString("pem"), key: `-----BEGIN PRIVATE KEY-----\n${Buffer.from(key).toString("base64")}\n-----END PRIVATE KEY-----\n` };
}
