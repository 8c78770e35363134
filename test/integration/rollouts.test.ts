import { randomBytes } from "node:crypto";
import { packBody } from "@flotilla/proto/body";
import type { Actor } from "@flotilla/hub/domain/actor";
import type { RolloutSpec, WaveSpec } from "@flotilla/hub/domain/fleet-spec";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { digestOfBundles } from "@flotilla/hub/domain/place-bundles";
import { releaseWavePorts } from "@flotilla/hub/start-sync";
import { createApiToken } from "@flotilla/hub/store/api-tokens";
import { saveRender } from "@flotilla/hub/store/bodies";
import { stagePlacements, type BegunRollout } from "@flotilla/hub/store/begin-rollout";
import { actOnRollout, rollBack } from "@flotilla/hub/store/change-rollouts";
import { changeLabels, createCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { openLinkStore } from "@flotilla/hub/store/link-store";
import { acquireLease, type Lease } from "@flotilla/hub/store/leases";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { releaseTargets } from "@flotilla/hub/store/release-targets";
import { saveRevision } from "@flotilla/hub/store/save-revision";
import { saveTargetStates } from "@flotilla/hub/store/save-target-states";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import { type LookAgain, releaseWave } from "@flotilla/hub/sync/release-wave";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

let database: TestDatabase;
let pool: pg.Pool;
let lease: Lease;
const sealing = sealingWith(randomBytes(32));
const actor: Actor = { id: "tester", source: "127.0.0.1", reason: "" };
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const trace = { traceId: "a".repeat(32), traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };
const clusters = ["canary-1", "eu-1", "eu-2", "us-1"];

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (migrated) => {
      const own = openPool({ url: migrated });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
  lease = (await acquireLease(pool, "repository/1", "test"))!;
  await createFleet(pool, sealing, actor, { name: "shop", url: "https://git.example.com/shop.git", ref: { branch: "main" }, path: "", selector: null });
  for (const name of clusters) await join(name);
});

afterEach(async () => {
  claims.clear();
  await pool.end();
  await database.drop();
});

async function join(name: string): Promise<void> {
  await createCluster(pool, actor, name, { tier: name.split("-")[0] ?? "" });
  await online(name, true);
}

const online = (name: string, isOnline: boolean): Promise<unknown> =>
  pool.query(`UPDATE clusters SET lease_until = now() + $2 * interval '1 minute' WHERE name = $1`, [name, isOnline ? 60 : -60]);

const wave = (name: string, more: Partial<WaveSpec> = {}): WaveSpec => ({
  name,
  clusters: { matchLabels: { tier: name } },
  after: { healthy: true, soakMs: 0, metrics: [], jobs: [] },
  ...more,
});

const plan = (more: Partial<RolloutSpec> = {}): RolloutSpec => ({
  waves: [wave("canary"), wave("eu"), wave("rest", { clusters: {} })],
  failureBudget: { count: 0 },
  onFailure: "rollback",
  progressDeadlineMs: 600_000,
  onNewRevision: "supersede",
  ...more,
});

/** By "revision cluster" what is in the bundle instead of a ConfigMap. */
const claims = new Map<string, Parameters<typeof packBody>[0][number]>();
const claimOf = (storage: string) => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "data", namespace: "default" },
  spec: { resources: { requests: { storage } } },
});

/** What a revision comes to for a cluster: one bundle, whose body is in the store. */
async function placed(revision: string, cluster: string): Promise<PlacedTarget> {
  const object = claims.get(`${revision} ${cluster}`) ?? {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "web", namespace: "default" },
    data: { revision },
  };
  const packed = packBody([object]);
  await saveRender(pool, sealing, `${revision} ${object.kind} ${cluster}`, { ...packed, objectIds: ["/ConfigMap/default/web"], warnings: [] });
  const bundles = [
    { name: "web", digest: packed.digest, objectCount: packed.objectCount, bodyBytes: packed.compressed.length, dependsOn: [], policy, excluded: [] },
  ];
  return { fleet: "shop", cluster, revision, digest: digestOfBundles(bundles), bundles, problems: [] };
}

/** A commit of this name arrives, is rendered, and its rollout begins or waits. */
async function commit(revision: string, rollout: RolloutSpec | null = plan(), names: readonly string[] = clusters): Promise<BegunRollout> {
  const all = await Promise.all(names.map((cluster) => placed(revision, cluster)));
  const begun = await saveRevision(pool, lease, {
    fleet: "shop",
    found: { revision, tree: "t", author: "a", subject: "s", committedAt: null },
    spec: { name: "shop", clusters: {}, values: {}, bundles: [], ...(rollout && { rollout }) },
    rendered: [],
    warnings: [],
    problems: [],
    trace,
    placed: all,
  });
  if (begun.isImmediate) {
    await releaseTargets(pool, lease, {
      fleet: "shop",
      revision,
      placed: all,
      claims: [],
      contests: new Map(),
      removals: [],
      traceparent: null,
      cause: "rollout",
      rollout: begun.id,
      endsRollout: true,
    });
  }
  return begun;
}

/** A hub that has just started looks at the fleet. */
const look = (): Promise<LookAgain> => releaseWave(releaseWavePorts(pool, sealing), { lease, fleet: "shop", gitRevision: undefined });

/** Agents report about the target that they have. */
async function report(names: readonly string[], more: { health?: string; sync?: string; message?: string } = {}): Promise<void> {
  const { health = "Current", sync = "Synced", message = "" } = more;
  for (const cluster of names) {
    const { rows } = await pool.query<{ generation: string; revision: string; digest: string }>(
      "SELECT generation, revision, digest FROM targets WHERE fleet = 'shop' AND cluster = $1",
      [cluster],
    );
    const [row] = rows;
    if (!row) throw new Error(`${cluster} has no target`);
    const target = { fleet: "shop", cluster, generation: BigInt(row.generation), revision: row.revision, targetDigest: row.digest, sync, health, message };
    const counts = {
      objects: 1,
      healthy: 1,
      drifted: 0,
      failed: 0,
      healthCounts: {},
      prunesHeld: 0,
      prunesDigest: "",
      recordedAt: new Date(),
      epoch: "e",
      seq: 1n,
    };
    const client = await pool.connect();
    await saveTargetStates(client, [{ cluster, fold: { target: { ...target, ...counts } } } as never], new Date()).finally(() => client.release());
  }
}

const running = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await pool.query("SELECT cluster, revision FROM targets WHERE fleet = 'shop' AND tombstone IS NULL ORDER BY cluster")).rows.map((row) => [
      row.cluster,
      row.revision,
    ]),
  );
const at = (revision: string, names: readonly string[] = clusters): Record<string, string> => Object.fromEntries(names.map((name) => [name, revision]));
const phases = async (): Promise<string[]> =>
  (await pool.query("SELECT revision || ' ' || phase AS text FROM rollouts WHERE fleet = 'shop' ORDER BY id")).rows.map(({ text }) => text);
const pin = async (revision: string, cluster = ""): Promise<void> =>
  void (await pool.query("INSERT INTO pins (fleet, cluster, revision, by, reason) VALUES ('shop', $2, $1, 'ann', 'because')", [revision, cluster]));
const unpin = (): Promise<unknown> => pool.query("DELETE FROM pins");

/** The first revision is everywhere and healthy. */
async function begin(revision = "r1"): Promise<void> {
  await commit(revision, null);
  await report(clusters);
}

describe("a rollout", () => {
  it("without waves reaches every cluster with the commit itself, and is done", async () => {
    const begun = await commit("r1", null);
    expect(begun).toMatchObject({ phase: "Running", isImmediate: true });
    expect(await running()).toEqual(at("r1"));
    expect(await phases()).toEqual(["r1 Done"]);
    expect((await pool.query("SELECT settled_revision FROM fleets")).rows).toEqual([{ settled_revision: "r1" }]);
  });

  it("goes wave by wave, each when the one before is healthy, and settles the fleet", async () => {
    await begin();
    await commit("r2");
    expect(await running()).toEqual(at("r1"));
    await look();
    expect(await running()).toEqual({ ...at("r1"), "canary-1": "r2" });
    await look();
    expect(await running()).toEqual({ ...at("r1"), "canary-1": "r2" });
    await report(["canary-1"]);
    await look();
    expect(await running()).toEqual({ ...at("r2"), "us-1": "r1" });
    await report(["eu-1"]);
    await look();
    expect((await running())["us-1"]).toBe("r1");
    await report(["eu-2"]);
    await look();
    expect(await running()).toEqual(at("r2"));
    await report(["us-1"]);
    await look();
    expect(await phases()).toEqual(["r1 Done", "r2 Done"]);
    expect((await pool.query("SELECT settled_revision FROM fleets")).rows).toEqual([{ settled_revision: "r2" }]);
    const decisions = (await pool.query("SELECT kind, wave, clusters FROM rollout_decisions WHERE rollout = 2 ORDER BY id")).rows;
    expect(decisions.map(({ kind }) => kind)).toEqual(["start", "release", "release", "release", "done"]);
  });

  it("that fails goes back to what was healthy there, needs nothing but the store for that, and says who failed first", async () => {
    await begin();
    await commit("r2");
    await look();
    await report(["canary-1"]);
    await look();
    await report(["eu-1"], { health: "Failed", message: "Deployment shop/web: its image cannot be pulled" });
    await look();
    expect(await running()).toEqual({ ...at("r1"), "canary-1": "r2" });
    expect(await phases()).toEqual(["r1 Done", "r2 RollingBack"]);
    await report(["eu-1", "eu-2"]);
    await look();
    expect(await running()).toEqual(at("r1"));
    await report(["canary-1"]);
    await look();
    expect(await phases()).toEqual(["r1 Done", "r2 RolledBack"]);
    const { rows } = await pool.query("SELECT failure FROM rollouts WHERE revision = 'r2'");
    expect(rows[0].failure).toMatchObject({ cluster: "eu-1", message: "Deployment shop/web: its image cannot be pulled" });
    const events = (await pool.query("SELECT reason, message FROM events WHERE reason ~ 'Roll' ORDER BY id")).rows;
    expect(events.map(({ reason }) => reason)).toEqual(["RollbackBegun", "RolloutRolledBack"]);
    expect(events[0].message).toContain("eu-1");
    await look();
    expect(await running()).toEqual(at("r1"));
    expect((await pool.query("SELECT revision, settled_revision FROM fleets")).rows).toEqual([{ revision: "r2", settled_revision: "r1" }]);
  });

  it("that fails stays where an API server would refuse the way back, says why, and brings back the rest for good", async () => {
    for (const cluster of ["eu-1", "eu-2"]) {
      claims.set(`r1 ${cluster}`, claimOf("10Gi"));
      claims.set(`r2 ${cluster}`, claimOf("20Gi"));
    }
    await begin();
    await commit("r2");
    await look();
    await report(["canary-1"]);
    await look();
    // Where the claim was never enlarged it need not shrink.
    await pool.query(
      `INSERT INTO object_states (fleet, cluster, object_id, api_group, version, kind, namespace, name, bundle, uid, sync, health, message, change, as_of)
       VALUES ('shop', 'eu-2', '/PersistentVolumeClaim/default/data', '', 'v1', 'PersistentVolumeClaim', 'default', 'data', 'web', '', 'OutOfSync', 'Current', 'no', '', now())`,
    );
    await report(["eu-1"], { health: "Failed", message: "no" });
    await look();
    await report(["eu-2"]);
    await look();
    await report(["canary-1"]);
    await look();
    expect(await running()).toEqual({ ...at("r1"), "eu-1": "r2" });
    expect(await phases()).toEqual(["r1 Done", "r2 Failed"]);
    const { rows } = await pool.query("SELECT reason FROM rollouts WHERE revision = 'r2'");
    expect(rows[0].reason).toContain(
      "2 clusters went back; 1 cluster stayed: eu-1 (PersistentVolumeClaim default/data: a claim cannot shrink from 20Gi to 10Gi)",
    );
    await look();
    expect(await running()).toEqual({ ...at("r1"), "eu-1": "r2" });
  });

  it("by hand is refused where an API server would refuse the way back, but not with force", async () => {
    for (const cluster of clusters) {
      claims.set(`r1 ${cluster}`, claimOf("10Gi"));
      claims.set(`r2 ${cluster}`, claimOf("20Gi"));
    }
    await begin();
    await commit("r2", null);
    await expect(rollBack(pool, sealing, actor, "shop", { revision: "r1" })).rejects.toMatchObject({
      code: "conflict",
      message: "going back would be refused on canary-1, eu-1, eu-2 and 1 more: PersistentVolumeClaim default/data: a claim cannot shrink from 20Gi to 10Gi",
      hint: expect.stringContaining("--force"),
    });
    await rollBack(pool, sealing, actor, "shop", { revision: "r1", force: true });
    await look();
    expect(await running()).toEqual(at("r1"));
  });

  it("gives way to a newer commit, which begins with the first wave", async () => {
    await begin();
    await commit("r2");
    await look();
    await report(["canary-1"]);
    await commit("r3");
    await look();
    expect(await running()).toEqual({ ...at("r1"), "canary-1": "r3" });
    expect(await phases()).toEqual(["r1 Done", "r2 Superseded", "r3 Running"]);
  });

  it("is not disturbed by newer commits where its plan says so: they wait, and only the newest begins", async () => {
    await begin();
    await commit("r2", plan({ onNewRevision: "queue" }));
    await look();
    await commit("r3", plan());
    await commit("r4", plan());
    await look();
    expect(await phases()).toEqual(["r1 Done", "r2 Running", "r3 Skipped", "r4 Queued"]);
    for (const names of [["canary-1"], ["eu-1", "eu-2"], ["us-1"]]) {
      await report(names);
      await look();
    }
    expect(await running()).toEqual({ ...at("r2"), "canary-1": "r4" });
    expect(await phases()).toEqual(["r1 Done", "r2 Done", "r3 Skipped", "r4 Running"]);
  });

  it("waits for a person where its plan says hold", async () => {
    await begin();
    await commit("r2", plan({ onNewRevision: "hold" }));
    await look();
    await commit("r3", plan());
    for (const names of [["canary-1"], ["eu-1", "eu-2"], ["us-1"]]) {
      await report(names);
      await look();
    }
    expect(await phases()).toEqual(["r1 Done", "r2 Done", "r3 Queued"]);
    await pool.query("UPDATE rollouts SET paused = NULL, version = nextval('change_version') WHERE revision = 'r3'");
    await look();
    expect(await phases()).toEqual(["r1 Done", "r2 Done", "r3 Running"]);
  });

  it("does not begin while all fleets are frozen, and begins when that is over", async () => {
    await begin();
    await pool.query("INSERT INTO holds (fleet, by, reason, until) VALUES ('', 'ann', 'holidays', now() + interval '1 hour')");
    await commit("r2");
    expect(await look()).toBeGreaterThan(3_500_000);
    expect(await running()).toEqual(at("r1"));
    expect((await pool.query("SELECT reason FROM rollouts WHERE revision = 'r2'")).rows[0].reason).toContain("frozen by ann: holidays");
    await pool.query("UPDATE holds SET until = now() - interval '1 second'");
    await look();
    expect((await running())["canary-1"]).toBe("r2");
  });

  it("writes nothing of a step that was decided for a rollout that somebody changed meanwhile", async () => {
    await begin();
    await commit("r2");
    const ports = releaseWavePorts(pool, sealing);
    let isFirst = true;
    const raced = {
      ...ports,
      async saveStep(...given: Parameters<typeof ports.saveStep>) {
        if (isFirst)
          await pool.query("UPDATE rollouts SET paused = $1, version = nextval('change_version') WHERE revision = 'r2'", [
            JSON.stringify({ by: "ann", reason: "wait", at: 0 }),
          ]);
        isFirst = false;
        return ports.saveStep(...given);
      },
    };
    await releaseWave(raced, { lease, fleet: "shop", gitRevision: undefined });
    expect(await running()).toEqual(at("r1"));
  });

  it("is not undone by a placement that was prepared before, and comes while the release is being written", async () => {
    await begin();
    await commit("r2");
    const old = { fleet: "shop", revision: "r1", placed: [await placed("r1", "canary-1")], claims: [], contests: new Map(), removals: [], traceparent: null };
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      // What a wave's release does to the row, not committed yet.
      await client.query("UPDATE targets SET revision = 'r2', digest = 'of r2', generation = generation + 1 WHERE fleet = 'shop' AND cluster = 'canary-1'");
      const placing = releaseTargets(pool, lease, { ...old, onlyThere: true });
      await waitFor(
        async () => (await pool.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")).rows.length > 0,
        { what: "the placement waits for the release" },
      );
      await client.query("COMMIT");
      await placing;
    } finally {
      client.release();
    }
    expect((await running())["canary-1"]).toBe("r2");
  });

  it("is not advanced by a hub that lost its lease", async () => {
    await begin();
    await commit("r2");
    const stale = lease;
    lease = (await acquireLease(pool, "repository/1", "test"))!;
    await expect(releaseWave(releaseWavePorts(pool, sealing), { lease: stale, fleet: "shop", gitRevision: undefined })).rejects.toMatchObject({
      code: "fenced",
    });
    expect(await running()).toEqual(at("r1"));
  });

  it("gives a cluster whose labels move it to a wave that was released what that has", async () => {
    await begin();
    await commit(
      "r2",
      plan({
        waves: [
          wave("canary"),
          wave("eu", { maxConcurrency: { count: 2 }, after: { healthy: true, soakMs: 0, approval: "ops", metrics: [], jobs: [] } }),
          wave("rest", { clusters: {} }),
        ],
      }),
    );
    await look();
    await report(["canary-1"]);
    await look();
    await report(["eu-1", "eu-2"]);
    await look();
    await changeLabels(pool, actor, "us-1", { tier: "eu" });
    await look();
    expect(await running()).toEqual(at("r2"));
  });

  it("gives a cluster that joins what its wave has reached", async () => {
    await begin();
    await commit("r2");
    await look();
    for (const name of ["canary-2", "us-2"]) await join(name);
    const all = [...clusters, "canary-2", "us-2"];
    for (const revision of ["r1", "r2"]) {
      await stagePlacements(pool, lease, { fleet: "shop", revision, placed: await Promise.all(all.map((cluster) => placed(revision, cluster))) });
    }
    await look();
    expect(await running()).toEqual({ ...at("r1"), "us-2": "r1", "canary-1": "r2", "canary-2": "r2" });
  });
});

describe("a pin", () => {
  it("brings the whole fleet back, ends the rollout that ran, and outlives newer commits and the fleet's row", async () => {
    await begin();
    await commit("r2", null);
    await report(clusters);
    await commit("r3");
    await look();
    await pin("r1");
    await look();
    expect(await running()).toEqual(at("r1"));
    expect(await phases()).toEqual(["r1 Done", "r2 Done", "r3 Aborted"]);
    for (const revision of ["r4", "r5", "r6"]) {
      await commit(revision, null);
      await look();
    }
    expect(await running()).toEqual(at("r1"));
    expect((await phases()).slice(3)).toEqual(["r4 Skipped", "r5 Skipped", "r6 Queued"]);
    await unpin();
    await look();
    expect(await running()).toEqual(at("r6"));
  });

  it("of one cluster keeps it there while the rest goes on, and lets it catch up afterwards", async () => {
    await begin();
    await pin("r1", "eu-1");
    await commit("r2", null);
    await look();
    expect(await running()).toEqual({ ...at("r2"), "eu-1": "r1" });
    await report(clusters);
    await look();
    expect(await phases()).toEqual(["r1 Done", "r2 Done"]);
    await unpin();
    await look();
    expect(await running()).toEqual(at("r2"));
  });
});

describe("an approval", () => {
  it("is given by a token that has the role which the wave names, or by one that has all", async () => {
    const tokenOf = async (name: string, roles: readonly string[]): Promise<Actor> => {
      const token = await createApiToken(pool, actor, name, null, { access: "operate", roles });
      return { ...actor, id: token.split("_")[1] ?? "", reason: "green" };
    };
    const [dev, ops, admin] = [await tokenOf("dev", ["dev"]), await tokenOf("ops", ["dev", "ops"]), await tokenOf("admin", ["*"])];
    await begin();
    const waves = [
      wave("canary", { after: { healthy: true, soakMs: 0, metrics: [], jobs: [], approval: "ops" } }),
      wave("eu", { after: { healthy: true, soakMs: 0, metrics: [], jobs: [], approval: "board" } }),
      wave("rest", { clusters: {} }),
    ];
    await commit("r2", plan({ waves }));
    await look();
    await report(["canary-1"]);
    await look();
    await expect(actOnRollout(pool, dev, "shop", "approve")).rejects.toMatchObject({
      code: "conflict",
      message: "wave canary is approved by ops, which dev is not",
      hint: expect.stringContaining("--role ops"),
    });
    await look();
    expect((await running())["eu-1"]).toBe("r1");
    await actOnRollout(pool, ops, "shop", "approve");
    await look();
    expect((await running())["eu-1"]).toBe("r2");
    await report(["eu-1", "eu-2"]);
    await look();
    await expect(actOnRollout(pool, ops, "shop", "approve")).rejects.toMatchObject({ code: "conflict" });
    await actOnRollout(pool, admin, "shop", "approve");
    await look();
    expect((await running())["us-1"]).toBe("r2");
    const { rows } = await pool.query("SELECT by, reason FROM rollout_decisions WHERE kind = 'approve' ORDER BY id");
    expect(rows).toEqual([
      { by: "ops", reason: "green" },
      { by: "admin", reason: "green" },
    ]);
  });
});

describe("what may be gone back to", () => {
  it("is kept by upkeep: targets, and the bodies that they name", async () => {
    await begin();
    await commit("r2", null);
    await pool.query("UPDATE bodies SET created_at = now() - interval '30 days'");
    await pool.query("UPDATE target_specs SET created_at = now() - interval '30 days'");
    await runUpkeep(pool);
    await pin("r1");
    await look();
    expect(await running()).toEqual(at("r1"));
  });

  it("is dropped when history says so, but never the newest that was healthy", async () => {
    await begin();
    await commit("r2", null);
    await commit("r3", null);
    await pool.query("UPDATE releases SET released_at = now() - interval '200 days'");
    await pool.query("UPDATE bodies SET created_at = now() - interval '30 days'");
    await pool.query("UPDATE target_specs SET created_at = now() - interval '30 days'");
    await runUpkeep(pool);
    expect((await pool.query("SELECT DISTINCT revision FROM releases ORDER BY 1")).rows.map(({ revision }) => revision)).toEqual(["r1", "r3"]);
    expect((await pool.query("SELECT count(*)::integer AS count FROM target_specs")).rows[0].count).toBe(2);
  });
});

describe("a gate that agents answer", () => {
  const job = { name: "smoke", namespace: "shop", spec: { template: {} }, timeoutMs: 60_000 };
  const metric = { name: "errors", address: "http://prometheus:9090", query: "errors", threshold: { operator: "<" as const, value: 1 }, windowMs: 60_000 };
  const after = { healthy: true, soakMs: 0, metrics: [metric], jobs: [job] };
  const gated = plan({ waves: [wave("canary"), wave("eu", { after }), wave("rest", { clusters: {} })] });

  interface Asked {
    readonly id: string;
    readonly cluster: string;
    readonly kind: string;
  }
  /** What waits for an answer. */
  const asked = async (): Promise<readonly Asked[]> => {
    const commands = await openLinkStore(pool, sealing).readCommands(clusters);
    return commands.filter(({ kind }) => kind === "gate").map(({ id, cluster, question }) => ({ id, cluster, kind: question?.kind ?? "" }));
  };
  /** Jobs that clusters are told to end: of which command, gate and namespace. */
  const ended = async () => {
    const commands = await openLinkStore(pool, sealing).readCommands(clusters);
    return commands.flatMap(({ kind, cluster, ended }) => (kind === "end-gate" ? [{ cluster, ...ended }] : []));
  };
  const answer = (id: string, cluster: string, verdict: "passed" | "failed" | "unknown", message = ""): Promise<void> =>
    openLinkStore(pool, sealing).ackCommand(id, cluster, { error: "", gate: { verdict, message } });
  const all = async (kind: string, verdict: "passed" | "failed" | "unknown", message = ""): Promise<void> => {
    for (const { id, cluster, kind: of } of await asked()) if (of === kind) await answer(id, cluster, verdict, message);
  };
  const rollout = async (): Promise<{ reason: string; gates: { name: string; verdict: string; message: string }[] }> =>
    (await pool.query("SELECT reason, gates FROM rollouts WHERE fleet = 'shop' ORDER BY id DESC LIMIT 1")).rows[0];
  /** So much time goes by for what was asked. */
  const later = async (ms: number): Promise<void> => {
    await pool.query("UPDATE commands SET expires_at = expires_at - $1 * interval '1 ms'", [ms]);
    await pool.query(
      "UPDATE rollouts SET gates = (SELECT jsonb_agg(g || jsonb_build_object('at', (g ->> 'at')::float8 - $1::float8)) FROM jsonb_array_elements(gates) g) WHERE gates <> '[]'",
      [ms],
    );
  };

  /** Europe runs the revision and is asked. */
  async function reachGate(): Promise<void> {
    await begin();
    await commit("r2", gated);
    await look();
    expect(await asked()).toEqual([]);
    await report(["canary-1"]);
    await look();
    await report(["eu-1", "eu-2"]);
    await look();
  }

  it("is asked of each cluster of its wave when that is healthy, once, and says so", async () => {
    await reachGate();
    expect((await asked()).map(({ cluster, kind }) => `${cluster} ${kind}`).sort()).toEqual(["eu-1 job", "eu-1 metric", "eu-2 job", "eu-2 metric"]);
    expect((await rollout()).reason).toBe("wave eu (2 of 3): metric gate errors is being asked, job gate smoke is being asked");
    await look();
    expect(await asked()).toHaveLength(4);
  });

  it("lets the next wave begin when every cluster has passed it", async () => {
    await reachGate();
    await all("metric", "passed");
    await all("job", "passed");
    await look();
    expect((await rollout()).gates.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual(["errors passed", "smoke passed"]);
    expect(await running()).toEqual(at("r2"));
  });

  it("that fails on one cluster brings the revision back, and names that cluster", async () => {
    await reachGate();
    const [first] = (await asked()).filter(({ kind, cluster }) => kind === "job" && cluster === "eu-2");
    await answer(first!.id, "eu-2", "failed", "Job shop/smoke failed: exit code 1");
    await look();
    const { rows } = await pool.query(
      "SELECT failure, (SELECT string_agg(reason, '; ') FROM rollout_decisions WHERE rollout = r.id) AS told FROM rollouts r ORDER BY id DESC LIMIT 1",
    );
    expect(rows[0].failure.message).toBe("eu-2: Job shop/smoke failed: exit code 1");
    expect(rows[0].told).toContain("job gate smoke of wave eu failed: eu-2: Job shop/smoke failed: exit code 1");
    expect(await running()).toEqual({ ...at("r1"), "canary-1": "r2" });
    await report(["eu-1", "eu-2"]);
    await look();
    expect(await running()).toEqual(at("r1"));
  });

  it("that a cluster cannot answer is told, and asked again after a minute, of those alone that have not passed it", async () => {
    await reachGate();
    await all("job", "passed");
    const [one, two] = (await asked()).toSorted((a, b) => (a.cluster < b.cluster ? -1 : 1));
    await answer(one!.id, "eu-1", "passed");
    await answer(two!.id, "eu-2", "unknown", "prometheus:9090: it cannot be reached: ECONNREFUSED");
    await look();
    expect((await rollout()).reason).toContain("metric gate errors has no answer yet (eu-2: prometheus:9090: it cannot be reached: ECONNREFUSED)");
    expect(await asked()).toEqual([]);
    await later(61_000);
    await look();
    expect((await asked()).map(({ cluster, kind }) => `${cluster} ${kind}`)).toEqual(["eu-2 metric"]);
    await all("metric", "passed");
    await look();
    expect(await running()).toEqual(at("r2"));
  });

  it("that a cluster is silent about is asked again when its time is over; an answer to what was asked before counts no more", async () => {
    await reachGate();
    await all("metric", "passed");
    const old = await asked();
    await later(121_000);
    await look();
    const anew = await asked();
    expect(anew.map(({ cluster, kind }) => `${cluster} ${kind}`).sort()).toEqual(["eu-1 job", "eu-2 job"]);
    for (const { id, cluster } of old) await answer(id, cluster, "failed", "too late");
    await look();
    expect((await rollout()).gates.find(({ name }) => name === "smoke")?.verdict).toBe("asked");
    await all("job", "passed");
    await look();
    expect(await running()).toEqual(at("r2"));
  });

  it("is not waited for of a cluster that has left, or is away", async () => {
    await reachGate();
    await all("metric", "passed");
    const [one] = (await asked()).filter(({ cluster }) => cluster === "eu-1");
    await answer(one!.id, "eu-1", "passed");
    await online("eu-2", false);
    await pool.query("UPDATE clusters SET lease_until = now() - interval '1 hour' WHERE name = 'eu-2'");
    await later(121_000);
    await look();
    await look();
    expect(await running()).toEqual(at("r2"));
  });

  it("of an agent that does not know gates is no answer, and told so", async () => {
    await reachGate();
    for (const { id, cluster } of await asked()) await openLinkStore(pool, sealing).ackCommand(id, cluster, { error: "" });
    await look();
    expect((await rollout()).reason).toContain("its agent is too old to answer gates: update it");
  });

  it("whose answer nobody waits for any more has its Jobs ended, in the clusters that have not answered", async () => {
    await reachGate();
    const jobs = (await asked()).filter(({ kind }) => kind === "job");
    const [open, answered] = [jobs.find(({ cluster }) => cluster === "eu-1")!, jobs.find(({ cluster }) => cluster === "eu-2")!];
    await answer(answered.id, "eu-2", "failed", "Job shop/smoke failed: exit code 1");
    expect(await ended()).toEqual([]);
    await look();
    expect(await ended()).toEqual([{ cluster: "eu-1", command: open.id, gate: "smoke", namespace: "shop" }]);
    expect((await asked()).filter(({ kind }) => kind === "job")).toEqual([]);
    // What it says all the same counts no more, and nobody is told twice.
    await answer(open.id, "eu-1", "passed");
    await report(["eu-1", "eu-2"]);
    await look();
    expect(await ended()).toHaveLength(1);
  });

  it("of a revision that a newer one takes over has its Jobs ended, and so has one that a person aborts", async () => {
    await reachGate();
    await commit("r3", gated);
    expect((await ended()).map(({ cluster, gate }) => `${cluster} ${gate}`).sort()).toEqual(["eu-1 smoke", "eu-2 smoke"]);
    await look();
    await report(["canary-1"]);
    await look();
    await report(["eu-1", "eu-2"]);
    await look();
    const anew = (await asked()).filter(({ kind }) => kind === "job").map(({ id }) => id);
    expect(anew).toHaveLength(2);
    await actOnRollout(pool, actor, "shop", "abort");
    expect((await ended()).flatMap(({ command }) => (anew.includes(command ?? "") ? [command] : [])).sort()).toEqual(anew.toSorted());
  });

  it("whose answer is just being taken is not waited for when the rollout ends: its Job is over", async () => {
    await reachGate();
    const [answering] = (await asked()).filter(({ kind, cluster }) => kind === "job" && cluster === "eu-1");
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await client.query("UPDATE commands SET acked_at = now() WHERE id = $1", [answering!.id]);
      // The answer would wait for the rollout now, and the rollout's end for the command.
      await actOnRollout(pool, actor, "shop", "abort");
      await client.query("COMMIT");
    } finally {
      client.release();
    }
    expect((await ended()).map(({ cluster }) => cluster)).toEqual(["eu-2"]);
  });

  it("that was asked so long ago that its Jobs are over by themselves is not ended", async () => {
    await reachGate();
    await later(121_000);
    await commit("r3", gated);
    expect(await ended()).toEqual([]);
  });

  it("takes no answer of a cluster that was not asked", async () => {
    await reachGate();
    const [one] = await asked();
    await answer(one!.id, one!.cluster === "eu-1" ? "eu-2" : "eu-1", "failed");
    expect((await rollout()).gates.every(({ verdict }) => verdict === "asked")).toBe(true);
  });
});
