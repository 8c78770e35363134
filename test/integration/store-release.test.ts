import { randomBytes } from "node:crypto";
import { packBody, unpackBody } from "@flotilla/proto/body";
import type { Actor } from "@flotilla/hub/domain/actor";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { findRenders, loadBodies, saveRender } from "@flotilla/hub/store/bodies";
import { createCluster, removeCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { deleteFleet, dropDeletedFleets } from "@flotilla/hub/store/delete-fleet";
import { listFleetsOfRepository, readClustersForPlacement, readOwners, readTargeted, readTraceparent } from "@flotilla/hub/store/followed-fleets";
import { acquireLease, type Lease } from "@flotilla/hub/store/leases";
import { listen, namesIn, type Hint } from "@flotilla/hub/store/listen";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { releaseTargets, type TargetRelease } from "@flotilla/hub/store/release-targets";
import { listRepositories, markWanted, readCredentials, readRepository, readWebhook, saveFetchOutcome } from "@flotilla/hub/store/repositories";
import { saveFailure, saveFleetProblems, savePhases, saveRevision } from "@flotilla/hub/store/save-revision";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

let database: TestDatabase;
let pool: pg.Pool;
let lease: Lease;
const sealing = sealingWith(randomBytes(32));
const url = "https://git.example.com/shop.git";

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (migrated) => {
      const own = openPool({ url: migrated });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
  lease = (await acquireLease(pool, "repository/1", "test"))!;
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

const actor: Actor = { id: "tester", source: "127.0.0.1", reason: "" };
const newFleet = (name: string, more: object = {}) =>
  createFleet(pool, sealing, actor, { name, url, ref: { branch: "main" }, path: "", selector: null, ...more });
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const target = (cluster: string, digest: string, revision = "r1", fleet = "shop"): PlacedTarget => ({
  fleet,
  cluster,
  revision,
  digest,
  bundles: [{ name: "app", digest: `body of ${digest}`, objectCount: 1, bodyBytes: 1, dependsOn: [], policy, excluded: [] }],
  problems: [],
});
const release = (placed: readonly PlacedTarget[], more: Partial<TargetRelease> = {}): Promise<{ released: number }> =>
  releaseTargets(pool, lease, {
    fleet: "shop",
    revision: placed[0]?.revision ?? "r1",
    placed,
    claims: [],
    contests: new Map(),
    removals: [],
    traceparent: null,
    ...more,
  });
const generations = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await pool.query("SELECT cluster, generation::integer FROM targets ORDER BY cluster")).rows.map((row) => [row.cluster, row.generation]));
const ownersIn = async (cluster: string) => {
  const { rows } = await pool.query<{ object_id: string; fleet: string }>("SELECT object_id, fleet FROM claims WHERE cluster = $1", [cluster]);
  return rows.map(({ object_id: objectId, fleet }) => [objectId, fleet]).sort();
};
const claim = (cluster: string, bundle: string, ...objectIds: string[]) => ({ cluster, owned: [{ bundle, objectIds }] });

describe("releaseTargets", () => {
  beforeEach(async () => {
    await newFleet("shop");
    for (const name of ["berlin-1", "paris-1"]) await createCluster(pool, actor, name, {});
  });

  it("gives a new generation where digest or revision changed, and nowhere else", async () => {
    expect(await release([target("berlin-1", "d1"), target("paris-1", "d1")])).toEqual({ released: 2 });
    expect(await release([target("berlin-1", "d1"), target("paris-1", "d2")])).toEqual({ released: 1 });
    expect(await generations()).toEqual({ "berlin-1": 1, "paris-1": 2 });
    expect(await release([target("berlin-1", "d1", "r2")])).toEqual({ released: 1 });
    expect(await generations()).toEqual({ "berlin-1": 2, "paris-1": 2 });
  });

  it("writes nothing where nothing changed", async () => {
    const versions = async () => (await pool.query("SELECT cluster, xmin, xmax FROM targets ORDER BY cluster")).rows;
    await release([target("berlin-1", "d1"), target("paris-1", "d1")]);
    const before = await versions();
    expect(await release([target("berlin-1", "d1"), target("paris-1", "d1")])).toEqual({ released: 0 });
    expect(await versions()).toEqual(before);
    await release([target("berlin-1", "d1"), target("paris-1", "d2")]);
    expect((await versions())[0]).toEqual(before[0]);
    expect((await pool.query("SELECT bundles -> 0 ->> 'digest' AS digest FROM targets ORDER BY cluster")).rows).toEqual([
      { digest: "body of d1" },
      { digest: "body of d2" },
    ]);
  });

  it("leaves a tombstone where a cluster leaves, once, and goes on from its generation when it comes back", async () => {
    await release([target("berlin-1", "d1")]);
    const removals = [
      { cluster: "berlin-1", policy: "orphan" as const },
      { cluster: "never", policy: "orphan" as const },
    ];
    expect(await release([], { removals })).toEqual({ released: 1 });
    expect(await release([], { removals })).toEqual({ released: 0 });
    expect((await readTargeted(pool, "shop")).clusters).toEqual([]);
    await release([target("berlin-1", "d1")]);
    expect(await generations()).toEqual({ "berlin-1": 3 });
    expect((await pool.query("SELECT tombstone FROM targets")).rows).toEqual([{ tombstone: null }]);
  });

  it("never releases to a removed cluster", async () => {
    await removeCluster(pool, actor, "berlin-1");
    expect(await release([target("berlin-1", "d1"), target("paris-1", "d1")])).toEqual({ released: 1 });
  });

  it("tells sessions, and refuses a follower whose lease went to another", async () => {
    const heard: Hint[] = [];
    const listener = listen(pool, "flotilla_targets", (hint) => heard.push(hint));
    await waitFor(() => heard.length === 1);
    await release([target("berlin-1", "d1")]);
    await waitFor(() => heard.length === 2);
    expect(namesIn(heard[1]!, "clusters")).toEqual(["berlin-1"]);
    await listener.close();
    await acquireLease(pool, "repository/1", "test");
    await expect(release([target("berlin-1", "d9")])).rejects.toMatchObject({ code: "fenced" });
    expect(await generations()).toEqual({ "berlin-1": 1 });
  });

  it("replaces claims, never takes another fleet's, and wakes whoever waited for what was let go", async () => {
    await newFleet("other");
    await release([target("berlin-1", "d1")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/a", "/ConfigMap/x/b")] });
    const owner = { fleet: "shop", bundle: "app" };
    const contest = { objectId: "/ConfigMap/x/a", owner, claimant: { fleet: "other", bundle: "o" } };
    await release([target("berlin-1", "d1", "r1", "other")], {
      fleet: "other",
      claims: [claim("berlin-1", "o", "/ConfigMap/x/c")],
      contests: new Map([["berlin-1", [contest]]]),
    });
    const told = await pool.query("SELECT problems FROM seen_targets WHERE fleet = 'shop'");
    expect(told.rows[0].problems[0].message).toContain("other");
    const heard: Hint[] = [];
    const listener = listen(pool, "flotilla_placement", (hint) => heard.push(hint));
    await waitFor(() => heard.length === 1);
    await release([target("berlin-1", "d2")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/b", "/ConfigMap/x/c")] });
    await waitFor(() => heard.length === 2);
    expect([...namesIn(heard[1]!, "fleets")].sort()).toEqual(["other", "shop"]);
    await listener.close();
    expect(await ownersIn("berlin-1")).toEqual([
      ["/ConfigMap/x/b", "shop"],
      ["/ConfigMap/x/c", "other"],
    ]);
  });

  it.each([
    ["a few clusters", 1],
    ["many clusters", 1_000],
  ])("tells whom an object belongs to that is wanted: when it is another fleet's, or when two bundles ask for it; for %s", async (_what, count) => {
    await newFleet("other");
    await newFleet("third");
    await release([target("berlin-1", "d1")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/a", "/ConfigMap/x/b")] });
    await release([target("berlin-1", "d1", "r1", "other")], { fleet: "other", claims: [claim("berlin-1", "o", "/ConfigMap/x/c", "/ConfigMap/x/d")] });
    await release([target("paris-1", "d1", "r1", "third")], { fleet: "third", claims: [claim("paris-1", "t", "/ConfigMap/x/c")] });
    const clusters = ["berlin-1", "paris-1", ...Array.from({ length: count - 1 }, (_, n) => `more-${n}`)];
    const told = async (ids: string[], twice: string[]) => {
      const owners = await readOwners(pool, clusters, "shop", { ids, twice });
      return [...owners].flatMap(([cluster, found]) => [...found].map(([id, owner]) => `${cluster} ${id} ${owner.fleet}/${owner.bundle}`)).sort();
    };
    const others = ["berlin-1 /ConfigMap/x/c other/o", "paris-1 /ConfigMap/x/c third/t"];
    expect(await told([], [])).toEqual([]);
    expect(await told(["/ConfigMap/x/a", "/ConfigMap/x/c"], [])).toEqual(others);
    expect(await told(["/ConfigMap/x/b", "/ConfigMap/x/c"], ["/ConfigMap/x/b"])).toEqual(["berlin-1 /ConfigMap/x/b shop/app", ...others]);
  });

  it("writes claims only where they changed, and again where a cluster left and came back", async () => {
    const owned = claim("berlin-1", "app", "/ConfigMap/x/a");
    const claims = [owned, { ...owned, cluster: "paris-1" }];
    const versions = async () => (await pool.query("SELECT cluster, object_id, xmin::text FROM claims ORDER BY cluster, object_id")).rows;
    await release([target("berlin-1", "d1"), target("paris-1", "d1")], { claims });
    const before = await versions();
    expect(before.map(({ cluster, object_id: objectId }) => `${cluster} ${objectId}`)).toEqual(["berlin-1 /ConfigMap/x/a", "paris-1 /ConfigMap/x/a"]);
    await release([target("berlin-1", "d2"), target("paris-1", "d2")], { claims });
    expect(await versions()).toEqual(before);
    await release([target("berlin-1", "d3"), target("paris-1", "d3")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/b"), claims[1]!] });
    expect((await versions()).map(({ object_id: objectId }) => objectId)).toEqual(["/ConfigMap/x/b", "/ConfigMap/x/a"]);
    await release([target("berlin-1", "d3")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/b")], removals: [{ cluster: "paris-1", policy: "orphan" }] });
    expect((await versions()).map(({ cluster }) => cluster)).toEqual(["berlin-1"]);
    await release([target("berlin-1", "d3"), target("paris-1", "d3")], { claims: [claim("berlin-1", "app", "/ConfigMap/x/b"), claims[1]!] });
    expect((await versions()).map(({ cluster }) => cluster)).toEqual(["berlin-1", "paris-1"]);
    await release([target("berlin-1", "d4"), target("paris-1", "d3")]);
    expect(await versions()).toEqual([]);
  });

  it("deletes a fleet only when every cluster has let go", async () => {
    await release([target("berlin-1", "d1")]);
    await deleteFleet(pool, actor, "shop", "delete");
    const { rows } = await pool.query("SELECT id FROM repositories");
    expect(await dropDeletedFleets(pool, rows[0].id)).toEqual([]);
    await release([], { removals: [{ cluster: "berlin-1", policy: "delete" }] });
    expect(await dropDeletedFleets(pool, rows[0].id)).toEqual([]);
    await pool.query("UPDATE targets SET removed_at = now()");
    expect(await dropDeletedFleets(pool, rows[0].id)).toEqual(["shop"]);
    expect((await pool.query("SELECT * FROM repositories")).rows).toEqual([]);
    await expect(deleteFleet(pool, actor, "shop", "orphan")).rejects.toMatchObject({ code: "not-found" });
  });

  it("does not let a cluster that will not come back hold up a deletion", async () => {
    await release([target("berlin-1", "d1")]);
    await deleteFleet(pool, actor, "shop", "orphan");
    await removeCluster(pool, actor, "berlin-1");
    expect(await dropDeletedFleets(pool, (await listRepositories(pool))[0]!.id)).toEqual(["shop"]);
  });
});

describe("repositories", () => {
  it("are shared by fleets, with credentials and secret sealed", async () => {
    const credentials = { username: "bot", password: "hunter2hunter2" };
    const { repositoryId, webhookSecret } = await newFleet("shop", { credentials });
    expect(webhookSecret).toMatch(/^[0-9a-f]{64}$/);
    expect(await newFleet("second")).toEqual({ repositoryId, webhookSecret: undefined });
    expect(await readCredentials(pool, sealing, repositoryId)).toEqual(credentials);
    expect(await readWebhook(pool, sealing, repositoryId)).toEqual({ url, secret: webhookSecret });
    expect(await readWebhook(pool, sealing, "1; DROP TABLE fleets")).toBeUndefined();
    expect(JSON.stringify((await pool.query("SELECT * FROM repositories")).rows)).not.toContain("hunter2");
    await expect(newFleet("shop")).rejects.toMatchObject({ code: "conflict" });
    expect((await listFleetsOfRepository(pool, repositoryId)).map(({ name, seenRevision }) => [name, seenRevision])).toEqual([
      ["second", null],
      ["shop", null],
    ]);
  });

  it("keep a wish that was uttered while a fetch was under way", async () => {
    const { repositoryId } = await newFleet("shop");
    const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    await markWanted(pool, [repositoryId], trace);
    const wanted = await readRepository(pool, repositoryId);
    expect(wanted?.wantedTraceparent).toBe(trace);
    await saveFetchOutcome(pool, lease, { id: repositoryId }, { problem: { message: "no route" }, startedAt: new Date(wanted!.wantedAt!.getTime() - 1) });
    expect(await readRepository(pool, repositoryId)).toMatchObject({ failures: 1, wantedTraceparent: trace });
    await saveFetchOutcome(pool, lease, { id: repositoryId }, { problem: undefined, startedAt: new Date(wanted!.wantedAt!.getTime() + 1) });
    expect(await readRepository(pool, repositoryId)).toMatchObject({ failures: 0, wantedAt: null, wantedTraceparent: null });
  });
});

describe("revisions and bodies", () => {
  const found = (revision: string) => ({ revision, tree: "t", author: "Ada", subject: "Change", committedAt: new Date(0) });
  const trace = { traceId: "a".repeat(32), traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };

  it("keep the last good revision when a newer one fails", async () => {
    await newFleet("shop");
    const spec = { name: "shop", clusters: {}, values: {}, bundles: [] };
    await saveRevision(pool, lease, { fleet: "shop", found: found("good"), spec, rendered: [], warnings: [], problems: [], trace, placed: [] });
    const problem = { code: "missing-path", message: "no folder", file: "fleet.yaml", line: 3 };
    await saveFailure(pool, lease, { fleet: "shop", found: { ...found("bad"), tag: "v1.1.0" }, problems: [problem], trace });
    const [fleet] = await listFleetsOfRepository(pool, (await listRepositories(pool))[0]!.id);
    expect(fleet).toMatchObject({ revision: "good", seenRevision: "bad", seenTag: "v1.1.0", problems: [problem] });
    await saveFleetProblems(pool, lease, "shop", []);
    await saveFleetProblems(pool, lease, "shop", []);
    expect((await pool.query("SELECT reason FROM events ORDER BY id")).rows.map(({ reason }) => reason)).toEqual([
      "FleetCreated",
      "RevisionRendered",
      "RevisionFailed",
      "SourceRecovered",
    ]);
    expect(await readTraceparent(pool, "shop", "good")).toBe(trace.traceparent);
    const phase = { phase: "fetch", startedAt: new Date(0), endedAt: new Date(1), error: "", spanId: "" };
    await savePhases(pool, "shop", "good", [phase, phase]);
    await savePhases(pool, "shop", "good", [{ ...phase, endedAt: new Date(9) }]);
    expect((await pool.query("SELECT ended_at FROM phases")).rows).toEqual([{ ended_at: new Date(1) }]);
  });

  it("are content-addressed and sealed", async () => {
    const objects = [{ apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { password: "canary-1234" } }];
    const body = packBody(objects);
    const stored = { ...body, objectIds: ["/Secret//s"], warnings: [{ code: "w", message: "m" }] };
    await saveRender(pool, sealing, "key1", stored);
    await saveRender(pool, sealing, "key2", stored);
    const known = { digest: body.digest, objectCount: 1, bodyBytes: body.compressed.length, objectIds: ["/Secret//s"], warnings: stored.warnings };
    expect(await findRenders(pool, ["key2", "key3"])).toEqual(new Map([["key2", known]]));
    expect(unpackBody(body.digest, (await loadBodies(pool, sealing, [body.digest, "none"])).get(body.digest)!)).toEqual(objects);
    const raw = (await pool.query("SELECT sealed_body FROM bodies")).rows;
    expect(raw).toHaveLength(1);
    expect(raw[0].sealed_body.includes("canary-1234")).toBe(false);
  });
});

describe("clusters for placement", () => {
  it("have their own name as a label, and removed ones are not there", async () => {
    await createCluster(pool, actor, "berlin-1", { env: "prod" });
    await createCluster(pool, actor, "gone-1", {});
    await removeCluster(pool, actor, "gone-1");
    expect(await readClustersForPlacement(pool)).toEqual([{ name: "berlin-1", labels: { env: "prod", "flotilla.dev/cluster": "berlin-1" } }]);
    await createCluster(pool, actor, "gone-1", {});
    await expect(createCluster(pool, actor, "gone-1", {})).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("upkeep", () => {
  const partitions = async () =>
    (await pool.query("SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events'::regclass ORDER BY 1")).rows.map(
      ({ relname }) => relname as string,
    );

  it("makes partitions ahead, drops an old one at a time, and never minds a clock that jumped", async () => {
    await newFleet("shop");
    await runUpkeep(pool);
    const ahead = await partitions();
    expect(ahead.length).toBeGreaterThan(5);
    await pool.query("CREATE TABLE events_20200101 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')");
    await pool.query("CREATE TABLE events_20200102 PARTITION OF events FOR VALUES FROM ('2020-01-02') TO ('2020-01-03')");
    await pool.query(
      "INSERT INTO events (at, reason, severity, message, committed_at) VALUES (now(), 'X', 'Normal', '', '2100-01-01'), (now(), 'X', 'Normal', '', '1990-01-01')",
    );
    await runUpkeep(pool);
    expect(await partitions()).toHaveLength(ahead.length + 1);
    await runUpkeep(pool);
    expect(await partitions()).toEqual(ahead);
  });

  it("drops bodies that nothing names any more, and keeps those of targets and of recent revisions", async () => {
    await newFleet("shop");
    await createCluster(pool, actor, "berlin-1", {});
    for (const name of ["used", "unused"])
      await saveRender(pool, sealing, name, { digest: `body of ${name}`, objectCount: 1, compressed: new Uint8Array(3), objectIds: [], warnings: [] });
    await release([target("berlin-1", "used")]);
    await pool.query("UPDATE bodies SET created_at = now() - interval '1 year'");
    await runUpkeep(pool);
    expect((await pool.query("SELECT digest FROM bodies")).rows).toEqual([{ digest: "body of used" }]);
    expect(await findRenders(pool, ["unused"])).toEqual(new Map());
  });
});
