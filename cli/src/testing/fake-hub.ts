import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ClusterRow, EventRow, FleetRow, HubInfo, Page, ProblemDetails, TargetRow } from "@flotilla/proto/rest/contract";

/** A request as the hub got it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly headers: IncomingMessage["headers"];
}

/** What a route answers: a value is 200 with JSON; a Reply says more; a function writes by itself. */
export type Answer = object | Reply | ((response: ServerResponse, seen: Seen) => void);

export class Reply {
  readonly status: number;
  readonly body: unknown;
  constructor(status: number, body: unknown) {
    this.status = status;
    this.body = body;
  }
}

export function problem(status: number, detail: string, more: Partial<ProblemDetails> = {}): Reply {
  return new Reply(status, { type: "urn:flotilla:problem:test", title: detail, status, detail, ...more } satisfies ProblemDetails);
}

export type Routes = Readonly<Record<string, (seen: Seen) => Answer>>;

export const token = "flt_test-token";

/** A hub that answers from a table: keys are `METHOD /path` under /api/v1. It knows one token, and remembers what it was asked. */
export class FakeHub {
  readonly seen: Seen[] = [];
  readonly url: string;
  readonly #server: Server;

  constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(routes: Routes, tls?: { key: string; cert: string }): Promise<FakeHub> {
    const answer = (request: IncomingMessage, response: ServerResponse): void => void hub.#answer(routes, request, response);
    const server = tls ? createSecureServer(tls, answer) : createServer(answer);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const hub: FakeHub = new FakeHub(server, tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`);
    return hub;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Cuts every connection and keeps listening. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async #answer(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const url = new URL(request.url ?? "/", "http://hub");
    const seen: Seen = {
      method: request.method ?? "",
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      body: text === "" ? undefined : JSON.parse(text),
      headers: request.headers,
    };
    this.seen.push(seen);
    const answer = this.#choose(routes, seen);
    if (typeof answer === "function") return answer(response, seen);
    const { status, body } = answer instanceof Reply ? answer : { status: 200, body: answer };
    response.writeHead(status, { "content-type": status >= 400 ? "application/problem+json" : "application/json" });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  #choose(routes: Routes, seen: Seen): Answer {
    if (seen.headers.authorization !== `Bearer ${token}`) return problem(401, "the token is not known");
    const route = routes[`${seen.method} ${seen.path.replace("/api/v1", "")}`];
    return route ? route(seen) : problem(404, `there is no ${seen.path}`);
  }
}

export function page<Row>(items: readonly Row[]): Page<Row> {
  return { items, next: null, total: items.length };
}

export const revision = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";

export function fleetRow(more: Partial<FleetRow> = {}): FleetRow {
  return {
    name: "shop",
    repository: "https://git.example.com/shop.git",
    ref: { branch: "main" },
    path: "deploy",
    selector: null,
    createdAt: "2026-11-24T00:00:00Z",
    revision,
    seenRevision: revision,
    sync: "Synced",
    health: "Current",
    tally: { clusters: 2, synced: 2, outOfSync: 0, unknown: 0, current: 2, inProgress: 0, failed: 0, drifted: 0 },
    problems: [],
    warnings: [],
    deleting: null,
    suspended: null,
    source: { fetchedAt: "2026-11-24T00:59:50Z", lastTryAt: "2026-11-24T00:59:50Z", error: null, webhookPath: "/api/v1/webhooks/7" },
    asOf: "2026-11-24T00:59:58Z",
    ...more,
  };
}

export function targetRow(more: Partial<TargetRow> = {}): TargetRow {
  return {
    fleet: "shop",
    cluster: "berlin-1",
    clusterPhase: "Connected",
    wanted: { generation: 3, revision, releasedAt: "2026-11-24T00:59:50Z", removing: false },
    running: { generation: 3, revision },
    leaving: null,
    sync: "Synced",
    health: "Current",
    message: "",
    objects: 41,
    healthy: 41,
    drifted: 0,
    failed: 0,
    healthCounts: {},
    prunesHeld: 0,
    suspended: null,
    problems: [],
    asOf: "2026-11-24T00:59:58Z",
    ...more,
  };
}

export function clusterRow(more: Partial<ClusterRow> = {}): ClusterRow {
  return {
    name: "berlin-1",
    labels: { env: "prod", region: "eu" },
    facts: { nodes: "3" },
    suspended: null,
    phase: "Connected",
    createdAt: "2026-11-23T00:00:00Z",
    enrolledAt: "2026-11-23T00:01:00Z",
    lastSeenAt: "2026-11-24T00:59:58Z",
    agentVersion: "0.1.0",
    kubernetesVersion: "v1.36.3",
    hub: "hub-1",
    fleets: ["shop"],
    sync: "Synced",
    health: "Current",
    asOf: "2026-11-24T00:59:58Z",
    ...more,
  };
}

export function eventRow(id: number, more: Partial<EventRow> = {}): EventRow {
  return {
    id,
    at: "2026-11-24T00:59:00Z",
    fleet: "shop",
    cluster: "berlin-1",
    bundle: "web",
    object: "apps/Deployment/shop/web",
    reason: "DriftHealed",
    severity: "Normal",
    message: `healed ${id}`,
    revision,
    traceId: "",
    ...more,
  };
}

export const hubInfo: HubInfo = {
  version: "0.1.0",
  id: "hub-1",
  apiVersion: "v1",
  enrolAddress: "localhost:7422",
  linkAddress: "localhost:7421",
  caHash: "ab".repeat(32),
  clusters: 2,
  fleets: 1,
  checks: [{ name: "database", ok: true, message: "Postgres 18" }],
};
