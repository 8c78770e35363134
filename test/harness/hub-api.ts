import type {
  BundleRow,
  ClusterRow,
  DriftRow,
  Enrolment,
  EventRow,
  FleetCreate,
  FleetCreated,
  FleetRow,
  HubInfo,
  ObjectRow,
  Page,
  Rendered,
  RevisionRow,
  TargetRow,
  Trace,
} from "@flotilla/proto/rest/contract";

/** A refusal of the hub, with its problem details. */
export class HubApiError extends Error {
  override readonly name = "HubApiError";
  readonly status: number;
  readonly body: unknown;
  constructor(what: string, status: number, body: unknown) {
    super(`${what}: ${status} ${JSON.stringify(body)}`);
    this.status = status;
    this.body = body;
  }
}

type Query = Record<string, string | number | boolean | undefined>;

/** The hub's REST API as a program would use it. */
export class HubApi {
  readonly url: string;
  readonly token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    const answer: unknown = text === "" ? undefined : response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
    if (!response.ok) throw new HubApiError(`${method} ${path}`, response.status, answer);
    return answer as T;
  }

  createFleet(fleet: FleetCreate): Promise<FleetCreated> {
    return this.request("POST", "/api/v1/fleets", fleet);
  }

  deleteFleet(name: string, objects: "orphan" | "delete" = "orphan"): Promise<FleetRow> {
    return this.request("DELETE", `/api/v1/fleets/${name}?objects=${objects}`);
  }

  fleet(name: string): Promise<FleetRow> {
    return this.request("GET", `/api/v1/fleets/${name}`);
  }

  sync(name: string): Promise<unknown> {
    return this.request("POST", `/api/v1/fleets/${name}/sync`);
  }

  addCluster(name: string, labels: Record<string, string> = {}): Promise<Enrolment> {
    return this.request("POST", "/api/v1/clusters", { name, labels });
  }

  cluster(name: string): Promise<ClusterRow> {
    return this.request("GET", `/api/v1/clusters/${name}`);
  }

  labelCluster(name: string, labels: Record<string, string | null>): Promise<ClusterRow> {
    return this.request("PATCH", `/api/v1/clusters/${name}`, { labels });
  }

  removeCluster(name: string): Promise<void> {
    return this.request("DELETE", `/api/v1/clusters/${name}`);
  }

  hub(): Promise<HubInfo> {
    return this.request("GET", "/api/v1/hub");
  }

  trace(fleet: string, revision: string): Promise<Trace> {
    return this.request("GET", `/api/v1/fleets/${fleet}/revisions/${revision}/trace`);
  }

  rendered(fleet: string, cluster: string): Promise<Rendered> {
    return this.request("GET", `/api/v1/fleets/${fleet}/rendered/${cluster}`);
  }

  targets(fleet: string): Promise<TargetRow[]> {
    return this.all(`/api/v1/fleets/${fleet}/targets`);
  }

  revisions(fleet: string): Promise<RevisionRow[]> {
    return this.all(`/api/v1/fleets/${fleet}/revisions`);
  }

  clusters(query: Query = {}): Promise<ClusterRow[]> {
    return this.all("/api/v1/clusters", query);
  }

  bundles(query: Query): Promise<BundleRow[]> {
    return this.all("/api/v1/bundles", query);
  }

  objects(query: Query): Promise<ObjectRow[]> {
    return this.all("/api/v1/objects", query);
  }

  drift(query: Query): Promise<DriftRow[]> {
    return this.all("/api/v1/drift", query);
  }

  events(query: Query): Promise<EventRow[]> {
    return this.all("/api/v1/events", query);
  }

  /** All rows, page by page. */
  private async all<T>(path: string, query: Query = {}): Promise<T[]> {
    const rows: T[] = [];
    let cursor: string | null = null;
    do {
      const parts = new URLSearchParams({ limit: "500" });
      for (const [key, value] of Object.entries(query)) if (value !== undefined) parts.set(key, String(value));
      if (cursor !== null) parts.set("cursor", cursor);
      const page: Page<T> = await this.request("GET", `${path}?${parts}`);
      rows.push(...page.items);
      cursor = page.next;
    } while (cursor !== null);
    return rows;
  }
}
