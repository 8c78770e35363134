import { connect as connectTls } from "node:tls";
import { openAuthorityStore } from "@flotilla/hub/store/authorities";
import { authorityOf, createAuthority } from "@flotilla/hub/stream/certificate-authority";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApi, type RunningApi } from "@flotilla/hub/api/start-api";
import type { ApiOptions } from "@flotilla/hub/api/ports";
import { hubActor } from "@flotilla/hub/domain/actor";
import { parseRepositoryUrl } from "@flotilla/hub/source/repository-url";
import { TokenBuckets } from "@flotilla/hub/source/token-bucket";
import { concernsRepository, verifyWebhook } from "@flotilla/hub/source/webhook";
import { createApiToken, ensureAdminToken } from "@flotilla/hub/store/api-tokens";
import { saveRender } from "@flotilla/hub/store/bodies";
import { mintEnrolToken } from "@flotilla/hub/store/enrolment-store";
import { listen, namesIn } from "@flotilla/hub/store/listen";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { saveEvents } from "@flotilla/hub/store/save-events";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { apiStore } from "@flotilla/hub/sync/api-store";
import { packBody } from "@flotilla/proto/body";
import {
  AuditRow, AuditVerdict, AuthorityRetired, AuthorityRow, BundleRow, ClusterRow, DriftRow, Enrolment, EventRow, FleetCreated, FleetRow, HubInfo, ObjectRow, ProblemDetails, Rendered, RevisionRow, TargetRow, Trace,
} from "@flotilla/proto/rest/contract"; // prettier-ignore
import type pg from "pg";
import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

let database: TestDatabase;
let pool: pg.Pool;
let api: RunningApi;
let token: string;
const sealing = sealingWith(randomBytes(32));
const log = { info: () => undefined, warn: () => undefined };
const revision = "abcdef0123456789abcdef0123456789abcdef01";

function options(more: Partial<ApiOptions> = {}): ApiOptions {
  const buckets = new TokenBuckets(3, 0.01);
  const unsigned = new TokenBuckets(4, 0.01);
  return {
    host: "127.0.0.1",
    port: 0,
    tls: undefined,
    store: apiStore(pool, sealing),
    listenChanges: (onChange) => listen(pool, "flotilla_changes", (hint) => onChange({ fleets: namesIn(hint, "fleets"), clusters: namesIn(hint, "clusters") })),
    hub: { version: "0.1.0", id: "hub-1", enrolAddress: "localhost:7422", linkAddress: "localhost:7421", caHash: "c".repeat(64) },
    checks: async () => [{ name: "database", ok: true, message: "answers" }],
    mintToken: (actor, cluster, lifetimeMs) => mintEnrolToken(pool, actor, cluster, lifetimeMs),
    checkRepositoryUrl(url) {
      const parsed = parseRepositoryUrl(url);
      return parsed.ok ? { ok: true, url: parsed.repository.url } : parsed;
    },
    verifyWebhook(request) {
      const verdict = verifyWebhook(request);
      return verdict.ok ? { ok: true, event: verdict.event, concerns: concernsRepository(verdict, request.url) } : verdict;
    },
    takeWebhook: (id) => buckets.take(id),
    takeUnsignedWebhook: (address, id) => unsigned.take(`${address} ${id}`),
    previews: { begin: () => Promise.reject(new Error("no previews here")) },
    revertBranch: async () => ({ code: "none", message: "no repository here" }),
    testForge: async () => ({ message: "no forge here" }),
    renderMetrics: async () => "# own\nflotilla_up 1\n",
    fleetSchema: { $id: "fleet" },
    log,
    ...more,
  };
}

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (url) => {
      const own = openPool({ url });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
  token = await createApiToken(pool, hubActor, "test");
  api = await startApi(options());
});

afterEach(async () => {
  await api.close();
  await pool.end();
  await database.drop();
});

/** JSON as it came: tests read it loosely, after the contract's schema has looked at it. */
type Loose = ReturnType<typeof JSON.parse>;

interface Answer {
  readonly status: number;
  readonly body: Loose;
  readonly headers: Headers;
}

async function call(method: string, path: string, more: { body?: unknown; raw?: string | Uint8Array; headers?: Record<string, string> } = {}): Promise<Answer> {
  const body = more.raw ?? (more.body === undefined ? undefined : JSON.stringify(more.body));
  const headers = { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }), ...more.headers };
  const response = await fetch(`${api.url}${path}`, { method, headers, ...(body !== undefined && { body: body as string }) });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") === true;
  return { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers };
}

const get = (path: string): Promise<Answer> => call("GET", path);

/** The row, checked against the contract. */
function checked(schema: TSchema, value: unknown): Loose {
  const errors = [...Value.Errors(schema, value)].map(({ instancePath, message }) => `${instancePath} ${message}`);
  expect(errors, JSON.stringify(value)?.slice(0, 500)).toEqual([]);
  return value;
}

async function page(schema: TSchema, path: string): Promise<Loose> {
  const { status, body } = await get(path);
  expect(status, JSON.stringify(body)).toBe(200);
  for (const row of body.items) checked(schema, row);
  return body;
}

async function problem(answer: Promise<Answer>, status: number, code: string): Promise<Loose> {
  const { status: actual, body, headers } = await answer;
  expect([actual, body.type], JSON.stringify(body)).toEqual([status, `urn:flotilla:problem:${code}`]);
  expect(headers.get("content-type")).toContain("application/problem+json");
  return checked(ProblemDetails, body);
}

/** A fleet on two clusters: berlin-1 is connected, paris-1 is not any more; both report all well. */
async function seed(): Promise<void> {
  await call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } });
  for (const name of ["berlin-1", "paris-1"])
    await call("POST", "/api/v1/clusters", { body: { name, labels: { env: name === "berlin-1" ? "prod" : "test" } } });
  await pool.query(
    "UPDATE clusters SET enrolled_at = now(), last_seen_at = now(), lease_until = now() + (CASE name WHEN 'berlin-1' THEN 1 ELSE -1 END) * interval '1 minute', facts = '{\"nodes\": \"3\"}'",
  );
  const objects = [
    { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { password: "canary-5678" } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "left-out" } },
  ];
  const body = packBody(objects);
  await saveRender(pool, sealing, "k", { ...body, objectIds: [], warnings: [] });
  const bundles = JSON.stringify([{ name: "app", digest: body.digest, objectCount: 2, bodyBytes: 1, dependsOn: [], excluded: ["/ConfigMap//left-out"] }]);
  for (const cluster of ["berlin-1", "paris-1"]) {
    await pool.query("INSERT INTO targets (fleet, cluster, generation, revision, digest, bundles) VALUES ('shop', $1, 4, $2, 'd', $3)", [
      cluster,
      revision,
      bundles,
    ]);
    await pool.query(
      `INSERT INTO target_states (fleet, cluster, generation, revision, target_digest, sync, health, objects, healthy, recorded_at, as_of, epoch, seq, version)
       VALUES ('shop', $1, 4, $2, 'd', 'Synced', 'Current', 2, 2, now(), now(), 'e', 1, 1)`,
      [cluster, revision],
    );
    await pool.query(
      "INSERT INTO bundle_states (fleet, cluster, bundle, digest, sync, health, objects, healthy, as_of) VALUES ('shop', $1, 'app', 'd', 'Synced', 'Current', 2, 2, now())",
      [cluster],
    );
    for (const name of ["a", "b", "c"]) {
      await pool.query(
        `INSERT INTO object_states (fleet, cluster, object_id, api_group, version, kind, namespace, name, bundle, sync, health, as_of)
         VALUES ('shop', $1, $2, 'apps', 'v1', 'Deployment', 'x', $3, 'app', 'Synced', $4, now())`,
        [cluster, `apps/Deployment/x/${name}`, name, name === "c" ? "Failed" : "Current"],
      );
    }
  }
  const field = { path: "/spec", desired: "1", live: "2", manager: "kubectl", operation: "Update", subresource: "", changedAt: null, members: ["f:spec"] };
  await pool.query(
    `INSERT INTO drifts (fleet, cluster, object_id, bundle, fields, first_fields, managers, first_seen_at, last_seen_at, healed_at, healed_by) VALUES
       ('shop', 'berlin-1', 'apps/Deployment/x/a', 'app', $1, $1, '["kubectl"]', now(), now(), NULL, NULL),
       ('shop', 'berlin-1', 'apps/Deployment/x/b', 'app', '[]', '[]', '[]', now() - interval '2 days', now() - interval '2 days', now() - interval '1 day', 'accepted')`,
    [JSON.stringify([field])],
  );
  await pool.query("UPDATE fleets SET revision = $1, seen_revision = $1", [revision]);
  await pool.query(
    "INSERT INTO revisions (fleet, revision, tree, outcome, trace_id) VALUES ('shop', $1, 't', 'rendered', $2), ('shop', 'abcdffffffff', 't', 'failed', NULL)",
    [revision, "a".repeat(32)],
  );
  await pool.query(
    "INSERT INTO phases (fleet, revision, cluster, phase, started_at, ended_at) VALUES ('shop', $1, '', 'fetch', now(), now()), ('shop', $1, 'berlin-1', 'apply', now(), now())",
    [revision],
  );
}

describe("reading", () => {
  it("gives every list and row as the contract says, and Unknown for a cluster whose lease ran out", async () => {
    await seed();
    const fleet = checked(FleetRow, (await get("/api/v1/fleets/shop")).body);
    expect(fleet).toMatchObject({ sync: "Unknown", health: "Unknown", tally: { clusters: 2, synced: 1, unknown: 1, current: 1, outOfSync: 0 } });
    expect((await page(FleetRow, "/api/v1/fleets?name=shop")).total).toBe(1);
    expect((await page(FleetRow, "/api/v1/fleets?name=none")).items).toEqual([]);
    const targets = await page(TargetRow, "/api/v1/fleets/shop/targets");
    expect(targets.items.map((row: Loose) => [row.cluster, row.clusterPhase, row.sync, row.health])).toEqual([
      ["berlin-1", "Connected", "Synced", "Current"],
      ["paris-1", "Unknown", "Unknown", "Unknown"],
    ]);
    expect((await page(TargetRow, "/api/v1/fleets/shop/targets?sync=Unknown")).items.map((row: Loose) => row.cluster)).toEqual(["paris-1"]);
    const clusters = await page(ClusterRow, "/api/v1/clusters");
    expect(clusters.items.map((row: Loose) => [row.name, row.phase, row.sync, row.health, row.fleets])).toEqual([
      ["berlin-1", "Connected", "Synced", "Current", ["shop"]],
      ["paris-1", "Unknown", "Unknown", "Unknown", ["shop"]],
    ]);
    expect((await page(BundleRow, "/api/v1/bundles?health=Unknown")).items.map((row: Loose) => row.cluster)).toEqual(["paris-1"]);
    const objects = await page(ObjectRow, "/api/v1/objects?fleet=shop&troubled=true");
    expect(objects.items.map((row: Loose) => `${row.cluster} ${row.name} ${row.health}`)).toEqual([
      "berlin-1 c Failed",
      "paris-1 a Unknown",
      "paris-1 b Unknown",
      "paris-1 c Unknown",
    ]);
    expect((await page(ObjectRow, "/api/v1/objects?kind=Deployment&namespace=x&name=a&cluster=berlin-1&bundle=app")).total).toBe(1);
    expect((await page(DriftRow, "/api/v1/drift?open=true")).items.map((row: Loose) => row.object)).toEqual(["apps/Deployment/x/a"]);
    expect((await page(DriftRow, "/api/v1/drift?open=false")).total).toBe(1);
    const drifted = async (query: string) => (await page(DriftRow, `/api/v1/drift?${query}`)).items.map((row: Loose) => row.object.at(-1));
    expect(await drifted("fleet=shop&cluster=berlin-1&bundle=app")).toEqual(["b", "a"]);
    expect(await drifted("object=apps/Deployment/x/b")).toEqual(["b"]);
    expect(await drifted("object=deployment/x")).toEqual(["b", "a"]);
    expect(await drifted("manager=kubectl")).toEqual(["a"]);
    expect(await drifted("manager=helm")).toEqual([]);
    expect(await drifted("healedBy=accepted")).toEqual(["b"]);
    expect(await drifted(`since=${new Date(Date.now() - 3_600_000).toISOString()}`)).toEqual(["a"]);
    expect(await drifted(`since=${new Date(Date.now() - 3 * 86_400_000).toISOString()}`)).toEqual(["b", "a"]);
    for (const wrong of ["since=yesterday", "since=2026-02-31T00:00:00Z", "healedBy=magic", "open=perhaps"])
      expect((await get(`/api/v1/drift?${wrong}`)).status, wrong).toBe(400);
    const first = (await get("/api/v1/drift?limit=1")).body;
    expect(checked(DriftRow, first.items[0])).toMatchObject({ healedBy: "accepted" });
    expect((await page(DriftRow, `/api/v1/drift?limit=1&cursor=${first.next}`)).items.map((row: Loose) => row.healedBy)).toEqual([null]);
    expect((await page(EventRow, "/api/v1/events?order=asc")).items.map((row: Loose) => row.reason)).toEqual(["FleetCreated", "ClusterAdded", "ClusterAdded"]);
    expect((await page(EventRow, "/api/v1/events?reason=ClusterAdded&cluster=paris-1")).total).toBe(1);
    const revisions = await page(RevisionRow, "/api/v1/fleets/shop/revisions");
    expect(revisions.items.find((row: Loose) => row.revision === revision).clusters).toEqual({ wanted: 2, synced: 1, healthy: 1 });
    expect(checked(Trace, (await get("/api/v1/fleets/shop/revisions/abcde/trace")).body).phases.map((row: Loose) => row.phase)).toEqual(["fetch", "apply"]);
    expect(checked(HubInfo, (await get("/api/v1/hub")).body)).toMatchObject({ clusters: 2, fleets: 1, apiVersion: "v1" });
    const metrics = (await get("/metrics")).body;
    expect(metrics).toContain('flotilla_fleet_clusters{fleet="shop",state="unknown"} 1');
    expect(metrics).toContain("flotilla_up 1");
  });

  it("shows an older generation as OutOfSync, and no health of what is not wanted any more", async () => {
    await seed();
    await pool.query("UPDATE targets SET generation = 5");
    const { items } = await page(TargetRow, "/api/v1/fleets/shop/targets?cluster=berlin-1");
    expect(items[0]).toMatchObject({ sync: "OutOfSync", health: "InProgress", wanted: { generation: 5 }, running: { generation: 4 } });
  });

  it("renders what a cluster gets, without secrets and without what another fleet owns", async () => {
    await seed();
    const answer = await get("/api/v1/fleets/shop/rendered/berlin-1");
    const rendered = checked(Rendered, answer.body);
    expect(rendered.bundles[0].objects.map((object: Loose) => object.kind)).toEqual(["Secret"]);
    expect(JSON.stringify(rendered)).not.toContain("canary");
    expect(rendered.bundles[0].objects[0].stringData.password).toMatch(/^hmac-sha256:[0-9a-f]{16}$/);
    await problem(get("/api/v1/fleets/shop/rendered/none"), 404, "not-found");
  });

  it("selects clusters by labels as kubectl does", async () => {
    await seed();
    const names = async (selector: string) =>
      (await page(ClusterRow, `/api/v1/clusters?labelSelector=${encodeURIComponent(selector)}`)).items.map((row: Loose) => row.name);
    expect(await names("env=prod")).toEqual(["berlin-1"]);
    expect(await names("env in (prod, test),flotilla.dev/cluster!=berlin-1")).toEqual(["paris-1"]);
    expect(await names("env,!region")).toEqual(["berlin-1", "paris-1"]);
    expect(await names("region notin (eu)")).toEqual(["berlin-1", "paris-1"]);
    expect(await names("region")).toEqual([]);
    await problem(get("/api/v1/clusters?labelSelector=a%20b"), 400, "invalid-selector");
  });

  it("pages by keys: what comes and goes meanwhile neither hides nor doubles a row", async () => {
    for (let n = 10; n < 20; n += 1) await call("POST", "/api/v1/clusters", { body: { name: `c-${n}` } });
    const seen: string[] = [];
    for (let cursor = ""; ;) {
      const { items, next, total } = await page(ClusterRow, `/api/v1/clusters?limit=3${cursor}`);
      seen.push(...items.map((row: Loose) => row.name));
      expect(total).toBeGreaterThanOrEqual(9);
      if (next === null) break;
      cursor = `&cursor=${next}`;
      if (seen.length === 3) {
        await call("DELETE", "/api/v1/clusters/c-11");
        await call("POST", "/api/v1/clusters", { body: { name: "c-00" } });
      }
    }
    expect(seen).toEqual(["c-10", "c-11", "c-12", "c-13", "c-14", "c-15", "c-16", "c-17", "c-18", "c-19"]);
    await problem(get("/api/v1/clusters?cursor=nonsense"), 400, "bad-cursor");
    const foreign = Buffer.from('["x"]').toString("base64url");
    await problem(get(`/api/v1/events?cursor=${foreign}`), 400, "bad-cursor");
    const events = await page(EventRow, "/api/v1/events?limit=2&order=asc");
    expect((await page(EventRow, `/api/v1/events?limit=2&order=asc&cursor=${events.next}`)).items[0].id).toBeGreaterThan(events.items[1].id);
  });

  it("pages and counts by what is seen: a silent cluster's bundles and objects are Unknown, whatever they told last", async () => {
    await call("POST", "/api/v1/fleets", { body: { name: "wide", repository: "https://git.example.com/wide.git" } });
    await pool.query(
      "INSERT INTO clusters (name, enrolled_at, lease_until) SELECT 'w-' || n, now(), now() + CASE WHEN n = 3 THEN -1 ELSE 1 END * interval '1 hour' FROM generate_series(1, 4) n",
    );
    await pool.query(`INSERT INTO bundle_states (fleet, cluster, bundle, digest, sync, health, as_of)
      SELECT 'wide', 'w-' || n, 'b-' || b, 'd', CASE WHEN b = 2 THEN 'OutOfSync' ELSE 'Synced' END, CASE WHEN n = 2 AND b = 1 THEN 'Failed' WHEN n = 4 AND b = 3 THEN 'Unknown' ELSE 'Current' END, now()
      FROM generate_series(1, 4) n, generate_series(1, 3) b`);
    await pool.query(`INSERT INTO object_states (fleet, cluster, object_id, api_group, version, kind, namespace, name, bundle, sync, health, as_of)
      SELECT fleet, cluster, '/ConfigMap/default/' || bundle, '', 'v1', 'ConfigMap', 'default', bundle, bundle, sync, health, now() FROM bundle_states WHERE fleet = 'wide'`);
    const all = async (path: string, schema: typeof BundleRow | typeof ObjectRow) => {
      const seen: string[] = [];
      for (let cursor = ""; ;) {
        const { items, next, total } = await page(schema, `${path}&limit=2${cursor}`);
        for (const { cluster, bundle, sync, health } of items as Loose[]) {
          seen.push(`${cluster} ${bundle}`);
          if (cluster === "w-3") expect([sync, health]).toEqual(["Unknown", "Unknown"]);
        }
        if (next === null) {
          expect(total).toBe(seen.length);
          return seen;
        }
        cursor = `&cursor=${next}`;
      }
    };
    for (const [list, schema] of [
      ["bundles", BundleRow],
      ["objects", ObjectRow],
    ] as const) {
      expect((await all(`/api/v1/${list}?fleet=wide`, schema)).length).toBe(12);
      expect(await all(`/api/v1/${list}?fleet=wide&cluster=w-1`, schema)).toEqual(["w-1 b-1", "w-1 b-2", "w-1 b-3"]);
      expect(await all(`/api/v1/${list}?fleet=wide&bundle=b-3`, schema)).toEqual(["w-1 b-3", "w-2 b-3", "w-3 b-3", "w-4 b-3"]);
      expect(await all(`/api/v1/${list}?sync=OutOfSync`, schema)).toEqual(["w-1 b-2", "w-2 b-2", "w-4 b-2"]);
      expect(await all(`/api/v1/${list}?fleet=wide&health=Unknown`, schema)).toEqual(["w-3 b-1", "w-3 b-2", "w-3 b-3", "w-4 b-3"]);
      expect(await all(`/api/v1/${list}?health=Unknown&bundle=b-3`, schema)).toEqual(["w-3 b-3", "w-4 b-3"]);
      expect(await all(`/api/v1/${list}?fleet=wide&sync=Unknown&health=Unknown`, schema)).toEqual(["w-3 b-1", "w-3 b-2", "w-3 b-3"]);
      expect(await all(`/api/v1/${list}?fleet=wide&sync=Synced&health=Unknown`, schema)).toEqual(["w-4 b-3"]);
      expect(await all(`/api/v1/${list}?fleet=wide&sync=Unknown&health=Current`, schema)).toEqual([]);
      expect(await all(`/api/v1/${list}?fleet=wide&health=Failed`, schema)).toEqual(["w-2 b-1"]);
    }
    expect(await all("/api/v1/objects?fleet=wide&troubled=true", ObjectRow)).toEqual(
      ["w-1 b-2", "w-2 b-1", "w-2 b-2", "w-3 b-1", "w-3 b-2", "w-3 b-3", "w-4 b-2", "w-4 b-3"],
    ); // prettier-ignore
    expect(await all("/api/v1/objects?fleet=wide&troubled=true&health=Unknown", ObjectRow)).toEqual(["w-3 b-1", "w-3 b-2", "w-3 b-3", "w-4 b-3"]);
    expect(await all("/api/v1/objects?fleet=wide&troubled=true&sync=OutOfSync", ObjectRow)).toEqual(["w-1 b-2", "w-2 b-2", "w-4 b-2"]);
    expect(await all("/api/v1/objects?fleet=wide&troubled=true&name=b-1", ObjectRow)).toEqual(["w-2 b-1", "w-3 b-1"]);
  });

  it("finds a revision by a prefix that names one", async () => {
    await seed();
    await problem(get("/api/v1/fleets/shop/revisions/abcd/trace"), 409, "ambiguous");
    await problem(get("/api/v1/fleets/shop/revisions/ffff/trace"), 404, "not-found");
    await problem(get("/api/v1/fleets/shop/revisions/abc/trace"), 400, "invalid-request");
  });
});

describe("writing", () => {
  it("makes a fleet and tells its webhook secret once", async () => {
    const { status, body } = await call("POST", "/api/v1/fleets", {
      body: { name: "shop", repository: "https://git.example.com/shop.git", ref: { tag: "v1" }, path: "deploy/", selector: { matchLabels: { env: "prod" } } },
    });
    expect(status).toBe(201);
    checked(FleetCreated, body);
    expect(body.fleet).toMatchObject({ name: "shop", ref: { tag: "v1" }, path: "deploy", revision: null, sync: "Unknown", health: "Unknown" });
    expect(body.webhook).toMatchObject({ path: body.fleet.source.webhookPath, secret: expect.stringMatching(/^[0-9a-f]{64}$/) });
    await problem(call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } }), 409, "conflict");
    expect(checked(FleetRow, (await call("DELETE", "/api/v1/fleets/shop?objects=delete")).body).deleting).toBe("delete");
    await problem(call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } }), 409, "conflict");
    await problem(call("DELETE", "/api/v1/fleets/none"), 404, "not-found");
  });

  it("follows the repository's default branch where no ref is given", async () => {
    const { body } = await call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } });
    expect(checked(FleetCreated, body).fleet.ref).toEqual({ branch: "HEAD" });
  });

  it("refuses a fleet with every reason at once", async () => {
    const answer = await problem(
      call("POST", "/api/v1/fleets", { body: { name: "Shop!", repository: "ext::sh -c id", path: "../../etc", ref: { branch: "--upload-pack=x" } } }),
      400,
      "invalid-name",
    );
    expect(answer.problems).toHaveLength(4);
    const unknown = await problem(call("POST", "/api/v1/fleets", { body: { name: "shop", repositry: "x" } }), 400, "invalid-request");
    expect(unknown.problems.map((row: Loose) => row.message).join()).toMatch(/repositry.*repository|repository.*repositry/);
  });

  it("asks for a fetch and a reconcile", async () => {
    await seed();
    expect(await call("POST", "/api/v1/fleets/shop/sync")).toMatchObject({ status: 202, body: { revision } });
    expect((await pool.query("SELECT cluster, kind FROM commands")).rows).toEqual([{ cluster: "berlin-1", kind: "sync" }]);
    expect((await pool.query("SELECT wanted_at IS NOT NULL AS wanted FROM repositories")).rows).toEqual([{ wanted: true }]);
    await problem(call("POST", "/api/v1/fleets/none/sync"), 404, "not-found");
  });

  it("adds, labels and removes a cluster, with tokens of bounded life", async () => {
    const { status, body } = await call("POST", "/api/v1/clusters", { body: { name: "berlin-1", labels: { env: "prod" } } });
    expect(status).toBe(201);
    expect(checked(Enrolment, body)).toMatchObject({ cluster: "berlin-1", enrolAddress: "localhost:7422" });
    await problem(call("POST", "/api/v1/clusters", { body: { name: "berlin-1" } }), 409, "conflict");
    await problem(call("POST", "/api/v1/clusters", { body: { name: "x", tokenLifetimeMs: 0 } }), 400, "invalid-request");
    await problem(call("POST", "/api/v1/clusters", { body: { name: "x", tokenLifetimeMs: 1e12 } }), 400, "invalid-lifetime");
    await problem(
      call("POST", "/api/v1/clusters", { body: { name: "x", labels: { "flotilla.dev/cluster": "y", "bad key": "v", k: "bad value!" } } }),
      400,
      "invalid-label",
    );
    expect(checked(Enrolment, (await call("POST", "/api/v1/clusters/berlin-1/tokens?lifetimeMs=60000")).body).token).not.toBe(body.token);
    await problem(call("POST", "/api/v1/clusters/none/tokens"), 404, "not-found");
    expect(checked(ClusterRow, (await call("PATCH", "/api/v1/clusters/berlin-1", { body: { labels: { env: null, region: "eu" } } })).body)).toMatchObject({
      phase: "Pending",
      labels: { region: "eu" },
    });
    await problem(call("PATCH", "/api/v1/clusters/none", { body: { labels: {} } }), 404, "not-found");
    await pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after) VALUES ('1', 'berlin-1', 'x', now() + interval '1 day')");
    expect((await call("DELETE", "/api/v1/clusters/berlin-1")).status).toBe(204);
    expect((await pool.query("SELECT revoked_at IS NOT NULL AS revoked FROM certificates")).rows).toEqual([{ revoked: true }]);
    await problem(get("/api/v1/clusters/berlin-1"), 404, "not-found");
    await problem(call("DELETE", "/api/v1/clusters/berlin-1"), 404, "not-found");
    expect((await page(ClusterRow, "/api/v1/clusters?phase=Removed")).total).toBe(1);
    expect((await call("POST", "/api/v1/clusters", { body: { name: "berlin-1" } })).status).toBe(201);
  });
});

describe("errors and rights", () => {
  it("answers every wrong request with problem+json", async () => {
    await problem(get("/api/v1/nothing"), 404, "no-such-path");
    await problem(get("/nothing"), 404, "no-such-path");
    await problem(call("PUT", "/api/v1/fleets"), 404, "no-such-path");
    await problem(get("/api/v1/fleets/none"), 404, "not-found");
    await problem(get("/api/v1/fleets/none/targets"), 404, "not-found");
    await problem(get("/api/v1/fleets?limit=0"), 400, "invalid-request");
    await problem(get("/api/v1/fleets?limit=501"), 400, "invalid-request");
    await problem(get("/api/v1/fleets?limit=many"), 400, "invalid-request");
    expect((await problem(get("/api/v1/objects?helth=Failed"), 400, "invalid-request")).detail).toContain("helth");
    await problem(get("/api/v1/objects?health=Fine"), 400, "invalid-request");
    await problem(call("POST", "/api/v1/fleets", { raw: "{not json" }), 400, "invalid-json");
    await problem(call("POST", "/api/v1/fleets", { raw: "" }), 400, "empty-body");
    await problem(call("POST", "/api/v1/fleets", { raw: JSON.stringify({ name: "x".repeat(200_000) }) }), 413, "too-large");
    await problem(call("POST", "/api/v1/fleets", { raw: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } }), 415, "media-type");
    await problem(get(`/api/v1/fleets/${"x".repeat(300)}`), 414, "too-long");
  });

  it("changes the hub's CA for administrators, shows no key, and wants a reason for what is forced", async () => {
    const store = openAuthorityStore(pool, sealing);
    await store.begin(createAuthority);
    const [first] = await store.readTrusted();
    const operator = (await call("POST", "/api/v1/tokens", { body: { description: "o", access: "operate" } })).body.token as string;
    const as = { headers: { authorization: `Bearer ${operator}` } };
    await problem(call("POST", "/api/v1/authorities", as), 403, "forbidden");
    expect((await call("GET", "/api/v1/authorities", as)).body.items.map((row: Loose) => checked(AuthorityRow, row).state)).toEqual(["active"]);
    const staged = checked(AuthorityRow, (await call("POST", "/api/v1/authorities")).body);
    expect(staged.state).toBe("staged");
    await problem(call("POST", "/api/v1/authorities"), 409, "conflict");
    await problem(call("POST", `/api/v1/authorities/${staged.hash}/retire`, { body: { force: true } }), 400, "invalid-request");
    await problem(call("POST", `/api/v1/authorities/${first?.hash}/retire`, { body: {} }), 409, "conflict");
    await problem(call("POST", `/api/v1/authorities/${"e".repeat(64)}/activate`, { body: {} }), 404, "not-found");
    const retired = await call("POST", `/api/v1/authorities/${staged.hash.slice(0, 12)}/retire`, { body: { force: true, reason: "not wanted" } });
    expect(checked(AuthorityRetired, retired.body)).toMatchObject({ hash: staged.hash, state: "retired", lockedOut: [] });
    expect(JSON.stringify((await get("/api/v1/authorities")).body)).not.toContain("PRIVATE");
    const acts = (await get("/api/v1/audit?act=authority.retire")).body.items as { outcome: string; reason: string }[];
    expect(acts.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ["done", "not wanted"],
      ["refused", ""],
    ]);
  });

  it("lets a token do what it may: look, act, make tokens; and tells once what a token is", async () => {
    await seed();
    const make = async (access: string, roles: string[] = []) =>
      (await call("POST", "/api/v1/tokens", { body: { description: `a ${access}`, access, roles } })).body.token as string;
    const [viewer, operator] = [await make("view"), await make("operate", ["ops"])];
    const as = (bearer: string) => ({ headers: { authorization: `Bearer ${bearer}` } });
    expect((await call("GET", "/api/v1/fleets", as(viewer))).status).toBe(200);
    const hold = { body: { fleet: "shop", reason: "no" } };
    await problem(call("POST", "/api/v1/holds", { ...hold, ...as(viewer) }), 403, "forbidden");
    expect((await call("POST", "/api/v1/holds", { ...hold, ...as(operator) })).status).toBe(200);
    // It previews: that changes nothing. Here it only meets an end without previews.
    expect((await call("POST", "/api/v1/fleets/shop/previews", { body: { branch: "next" }, ...as(viewer) })).status).toBe(500);
    for (const method of ["GET", "POST"]) {
      const refused = await problem(
        call(method, "/api/v1/tokens", { ...(method === "POST" && { body: { description: "x", access: "admin" } }), ...as(operator) }),
        403,
        "forbidden",
      );
      expect(refused.hint).toContain("fleet token create");
    }
    const { items } = (await get("/api/v1/tokens")).body as { items: { id: string; description: string; access: string; roles: string[] }[] };
    expect(items.map(({ description, access, roles }) => [description, access, roles.join()]).sort()).toEqual([
      ["a operate", "operate", "ops"],
      ["a view", "view", ""],
      ["test", "admin", "*"],
    ]);
    for (const secret of [viewer, operator, token]) expect(JSON.stringify(items)).not.toContain(secret.split("_")[2]);
    const own = token.split("_")[1] ?? "";
    await problem(call("DELETE", `/api/v1/tokens/${own}`), 409, "conflict");
    expect((await call("DELETE", `/api/v1/tokens/${viewer.split("_")[1]}`)).status).toBe(204);
    expect((await call("GET", "/api/v1/fleets", as(viewer))).status).toBe(401);
    await problem(call("DELETE", `/api/v1/tokens/${viewer.split("_")[1]}`), 404, "not-found");
  });

  it("says nothing to whoever has no valid token", async () => {
    await seed();
    const expired = await createApiToken(pool, hubActor, "old", new Date(Date.now() - 1_000));
    const forged = token.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    for (const authorization of [
      "",
      "Bearer",
      "Basic eDp5",
      `Bearer ${expired}`,
      `Bearer ${forged}`,
      "Bearer flt_000000000000_0",
      `Bearer ${"x".repeat(5_000)}`,
    ]) {
      const answers = await Promise.all(
        ["/api/v1/fleets", "/api/v1/fleets/shop", "/api/v1/fleets/none", "/api/v1/nothing", "/api/v1/watch"].map((path) =>
          call("GET", path, { headers: { authorization } }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
      expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
      expect(answers[0]?.headers.get("www-authenticate")).toContain("Bearer");
    }
    for (const path of ["/healthz", "/readyz", "/metrics", "/openapi.json", "/schemas/fleet.v1.json"])
      expect((await call("GET", path, { headers: { authorization: "" } })).status).toBe(200);
    expect(JSON.stringify((await pool.query("SELECT * FROM api_tokens")).rows)).not.toContain(token.split("_")[2]);
  });

  it("says that the database is away, and is there again with it", async () => {
    const away = openPool({ url: "postgres://nobody@127.0.0.1:1/none" });
    const other = await startApi(options({ store: apiStore(away, sealing), listenChanges: () => ({ close: async () => undefined }) }));
    const answer = await fetch(`${other.url}/api/v1/fleets`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("2");
    expect(await answer.json()).toMatchObject({ type: "urn:flotilla:problem:unreachable" });
    expect((await fetch(`${other.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${other.url}/healthz`)).status).toBe(200);
    await other.close();
    await away.end();
  });

  it("serves TLS, and takes a renewed certificate without a restart", async () => {
    const ca = await authorityOf(await createAuthority());
    const [first, second] = [await ca.issueServer(["localhost"]), await ca.issueServer(["localhost"])];
    const other = await startApi(options({ port: 0, tls: { cert: first.chainPem, key: first.keyPem } }));
    const serialNow = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connectTls({ host: "127.0.0.1", port: other.address.port, servername: "localhost", ca: ca.caPem }, () => {
          resolve(socket.getPeerCertificate().serialNumber);
          socket.end();
        });
        socket.once("error", reject);
      });
    const before = await serialNow();
    other.renewCertificate({ cert: second.chainPem, key: second.keyPem });
    expect(await serialNow()).not.toBe(before);
    await other.close();
  });

  it("is never served in clear text to others", async () => {
    await expect(startApi(options({ host: "0.0.0.0" }))).rejects.toThrow("--tls-cert");
    await expect(startApi(options({ port: api.address.port }))).rejects.toThrow("cannot listen");
  });

  it("writes the administrator's token once, for its owner only", async () => {
    const file = join(mkdtempSync(join(tmpdir(), "flotilla-token-")), "hub", "admin-token");
    expect(await ensureAdminToken(pool, { file })).toEqual({ created: true });
    const written = readFileSync(file, "utf8").trim();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await ensureAdminToken(pool, { file })).toEqual({ created: false });
    expect(readFileSync(file, "utf8").trim()).toBe(written);
    expect((await call("GET", "/api/v1/fleets", { headers: { authorization: `Bearer ${written}` } })).status).toBe(200);
  });
});

describe("the audit log", () => {
  it("is served and verified, with who acted, from where and why", async () => {
    await call("POST", "/api/v1/clusters", { body: { name: "berlin-1" }, headers: { "flotilla-reason": encodeURIComponent("größer") } });
    await problem(call("POST", "/api/v1/clusters", { body: { name: "berlin-1" } }), 409, "conflict");
    await problem(call("DELETE", "/api/v1/clusters/berlin-1", { headers: { "flotilla-reason": "%" } }), 400, "invalid-request");
    const { items } = await page(AuditRow, "/api/v1/audit?cluster=berlin-1&order=asc");
    const [, id] = token.split("_");
    expect(items.map(({ act, actor, actorName, source, reason, outcome }: Loose) => [act, actor, actorName, source, reason, outcome])).toEqual([
      ["cluster.create", id, "test", "127.0.0.1", "größer", "done"],
      ["enrol-token.create", id, "test", "127.0.0.1", "größer", "done"],
      ["cluster.create", id, "test", "127.0.0.1", "", "refused"],
    ]);
    const { body } = await get("/api/v1/audit/verify");
    expect(checked(AuditVerdict, body)).toMatchObject({ ok: true, acts: 4, fault: null });
    expect((await get("/api/v1/clusters/berlin-1")).status).toBe(200);
  });

  it("tells of acts with a token that ran out", async () => {
    const expired = await createApiToken(pool, hubActor, "old", new Date(Date.now() - 1_000));
    await problem(call("DELETE", "/api/v1/fleets/shop?objects=delete", { headers: { authorization: `Bearer ${expired}` } }), 401, "unauthorised");
    const { items } = await page(AuditRow, "/api/v1/audit?act=api-token.expired");
    expect(items).toMatchObject([{ actorName: "old", outcome: "refused", details: { request: "DELETE /api/v1/fleets/shop" } }]);
  });

  it("tells of what a token was used for that it does not allow, once a minute for each token, and of nothing that it allows", async () => {
    const looker = await createApiToken(pool, hubActor, "looker", undefined, { access: "view", roles: [] });
    const authorization = `Bearer ${looker}`;
    expect((await call("GET", "/api/v1/fleets", { headers: { authorization } })).status).toBe(200);
    for (const path of ["/api/v1/fleets/shop?objects=delete", "/api/v1/clusters/paris-1"])
      await problem(call("DELETE", path, { headers: { authorization } }), 403, "forbidden");
    await problem(
      call("POST", "/api/v1/tokens", {
        headers: { authorization: `Bearer ${await createApiToken(pool, hubActor, "actor", undefined, { access: "operate", roles: [] })}` },
        body: { description: "mine" },
      }),
      403,
      "forbidden",
    );
    const { items } = await page(AuditRow, "/api/v1/audit?act=api-token.denied&order=asc");
    expect(items).toMatchObject([
      { actorName: "looker", outcome: "refused", details: { request: "DELETE /api/v1/fleets/shop", refusal: expect.stringContaining("may only look") } },
      { actorName: "actor", outcome: "refused", details: { request: "POST /api/v1/tokens" } },
    ]);
    expect((await call("GET", "/api/v1/audit/verify")).body).toMatchObject({ ok: true });
  });
});

describe("webhooks", () => {
  const payload = JSON.stringify({ ref: "refs/heads/main", repository: { clone_url: "https://git.example.com/shop.git" } });
  const sign = (body: string, secret: string): Record<string, string> => ({
    authorization: "",
    "x-github-event": "push",
    "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
  });

  it("fetch when they are signed, and only then", async () => {
    const { body } = await call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } });
    const { path, secret } = body.webhook;
    const wanted = async () => (await pool.query("SELECT wanted_at FROM repositories")).rows[0].wanted_at !== null;
    const bad = await problem(call("POST", path, { raw: payload, headers: sign(payload, "wrong-secret-wrong") }), 401, "webhook-unsigned");
    expect(bad.detail).toContain("signature");
    await problem(call("POST", path, { raw: payload, headers: { authorization: "" } }), 401, "webhook-unsigned");
    await problem(call("POST", "/api/v1/webhooks/999", { raw: payload, headers: sign(payload, secret) }), 401, "webhook-unsigned");
    expect(await wanted()).toBe(false);
    const other = payload.replace("shop.git", "other.git");
    expect(await call("POST", path, { raw: other, headers: sign(other, secret) })).toMatchObject({ status: 202, body: { fetching: false } });
    expect(await wanted()).toBe(false);
    expect(await call("POST", path, { raw: payload, headers: sign(payload, secret) })).toMatchObject({ status: 202, body: { fetching: true } });
    expect(await wanted()).toBe(true);
    await call("POST", path, { raw: payload, headers: sign(payload, secret) });
    const limited = await call("POST", path, { raw: payload, headers: sign(payload, secret) });
    expect([limited.status, Number(limited.headers.get("retry-after")) > 0]).toEqual([429, true]);
  });

  it("that are not signed are slowed down, and never use up the repository's rate", async () => {
    const { body } = await call("POST", "/api/v1/fleets", { body: { name: "shop", repository: "https://git.example.com/shop.git" } });
    const { path, secret } = body.webhook;
    const stranger = () => call("POST", path, { raw: payload, headers: sign(payload, "wrong-secret-wrong") });
    const statuses: number[] = [];
    for (let sent = 0; sent < 8; sent += 1) statuses.push((await stranger()).status);
    expect(statuses).toEqual([401, 401, 401, 401, 429, 429, 429, 429]);
    expect(Number((await stranger()).headers.get("retry-after"))).toBeGreaterThan(0);
    await problem(call("POST", "/api/v1/webhooks/999", { raw: payload, headers: sign(payload, secret) }), 401, "webhook-unsigned");
    expect(await call("POST", path, { raw: payload, headers: sign(payload, secret) })).toMatchObject({ status: 202, body: { fetching: true } });
  });

  it("are refused when they are too large", async () => {
    const large = "x".repeat(1024 ** 2 + 1);
    await problem(call("POST", "/api/v1/webhooks/1", { raw: large, headers: sign(large, "s") }), 413, "too-large");
  });
});

describe("watch", () => {
  interface Watch {
    readonly text: () => string;
    readonly ids: () => number[];
    close(): void;
  }

  async function watch(query = "", lastEventId?: number): Promise<Watch> {
    const stop = new AbortController();
    const headers = { authorization: `Bearer ${token}`, ...(lastEventId !== undefined && { "last-event-id": String(lastEventId) }) };
    const response = await fetch(`${api.url}/api/v1/watch${query}`, { headers, signal: stop.signal });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    let text = "";
    void (async () => {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream() as never)) text += chunk;
    })().catch(() => undefined);
    await waitFor(() => text.includes(": connected"));
    return { text: () => text, ids: () => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)), close: () => stop.abort() };
  }
  const event = (fleet: string, message: string) =>
    saveEvents(pool, [
      { at: new Date(), fleet, cluster: "", bundle: "", object_id: "", reason: "Test", severity: "Normal", message, revision: "", trace_id: "" },
    ]);

  it("tells changes and events, and resumes without a hole or a double", async () => {
    await seed();
    const first = await watch();
    await call("PATCH", "/api/v1/clusters/berlin-1", { body: { labels: { region: "eu" } } });
    await waitFor(() => /event: change\ndata: .*berlin-1/.test(first.text()) && first.text().includes("ClusterLabelled"));
    first.close();
    const last = first.ids().at(-1)!;
    for (let n = 0; n < 20; n += 1) await event("shop", `m${n}`);
    const second = await watch("", last);
    for (let n = 20; n < 40; n += 1) await event("shop", `m${n}`);
    await waitFor(() => second.text().includes('"m39"'));
    const messages = [...second.text().matchAll(/"message":"(m\d+)"/g)].map(([, message]) => message);
    expect(messages).toEqual(Array.from({ length: 40 }, (_, n) => `m${n}`));
    second.close();
  });

  it("filters by fleet, and says when a lease runs out though nobody wrote anything", async () => {
    await seed();
    const shop = await watch("?fleet=shop");
    await event("other", "not mine");
    await event("shop", "mine");
    await waitFor(() => shop.text().includes('"mine"'));
    expect(shop.text()).not.toContain("not mine");
    const changes = () => shop.text().split("event: change").length;
    const before = changes();
    await pool.query("UPDATE clusters SET lease_until = now() + interval '500 ms' WHERE name = 'berlin-1'");
    await waitFor(() => changes() > before);
    shop.close();
  });

  it("drops a reader that does not read, and serves the others", async () => {
    await seed();
    const lazy = connect(api.address.port, "127.0.0.1");
    lazy.on("error", () => undefined);
    lazy.write(`GET /api/v1/watch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`);
    lazy.pause();
    const good = await watch();
    const message = "x".repeat(100_000);
    for (let n = 0; n < 200; n += 1) await event("shop", `${n} ${message}`);
    await waitFor(() => good.text().includes('"message":"199 '));
    expect(good.ids()).toEqual([...new Set(good.ids())].sort((a, b) => a - b));
    await waitFor(async () => (await event("shop", "tick"), api.watchers === 1), { what: "the slow reader to be dropped", timeoutMs: 30_000 });
    // What was written to it is there, with the reason last; or the connection is gone.
    let tail = "";
    lazy.on("data", (chunk) => (tail = (tail + String(chunk)).slice(-2_000)));
    lazy.resume();
    await waitFor(() => tail.includes("the reader is too slow") || lazy.destroyed, { what: "the end of the slow reader's stream" });
    lazy.destroy();
    good.close();
  });

  it("refuses nonsense to resume from", async () => {
    await problem(call("GET", "/api/v1/watch", { headers: { "last-event-id": "abc" } }), 400, "invalid-request");
  });
});
