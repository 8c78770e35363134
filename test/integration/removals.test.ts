import { randomBytes } from "node:crypto";
import type { Actor } from "@flotilla/hub/domain/actor";
import { planRemovals } from "@flotilla/hub/domain/plan-removals";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { approveRemoval } from "@flotilla/hub/store/approve-removal";
import { readAuditLog } from "@flotilla/hub/store/audit-log";
import { changeLabels, createCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { listFleetsOfRepository, readClustersForPlacement, readTargeted } from "@flotilla/hub/store/followed-fleets";
import { acquireLease, type Lease } from "@flotilla/hub/store/leases";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { readApprovals } from "@flotilla/hub/store/read-approvals";
import { readFleet, readHeldRemoval } from "@flotilla/hub/store/read-fleets";
import { readTargets } from "@flotilla/hub/store/read-targets";
import { releaseTargets } from "@flotilla/hub/store/release-targets";
import { sealingWith } from "@flotilla/hub/store/sealing";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

let database: TestDatabase;
let pool: pg.Pool;
let lease: Lease;
const sealing = sealingWith(randomBytes(32));
const actor: Actor = { id: "0123456789ab", source: "192.0.2.7", reason: "closed" };
const hour = 3_600_000;
const names = Array.from({ length: 10 }, (_, index) => `c-${index}`);

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (url) => {
      const own = openPool({ url });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
  lease = (await acquireLease(pool, "repository/1", "test"))!;
  await createFleet(pool, sealing, actor, { name: "shop", url: "https://git.example.com/shop.git", ref: { branch: "main" }, path: "", selector: null });
  for (const name of names) await createCluster(pool, actor, name, { shop: "true" });
  await place();
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;

/** As the fleet's follower does it, from the rows alone: what it forgets between two calls is what a restart forgets. */
async function place(more: { graceMs?: number; policy?: "orphan" | "delete"; meanwhile?: () => Promise<unknown> } = {}): Promise<void> {
  const clusters = await readClustersForPlacement(pool);
  const staying = clusters.filter(({ labels }) => labels["shop"] === "true").map(({ name }) => name);
  const targeted = await readTargeted(pool, "shop");
  const removal = { policy: more.policy ?? "orphan", graceMs: more.graceMs ?? hour };
  const plan = planRemovals({ targeted: targeted.clusters, staying: new Set(staying), leftLately: targeted.leftLately, approved: targeted.approved, removal });
  await more.meanwhile?.();
  const bundles = [{ name: "app", digest: "b", objectCount: 1, bodyBytes: 1, dependsOn: [], policy, excluded: [] }];
  const placed = staying.map((cluster): PlacedTarget => ({ fleet: "shop", cluster, revision: "r", digest: "d", bundles, problems: [] }));
  const labels = new Map(clusters.map((cluster) => [cluster.name, cluster.labels]));
  await releaseTargets(pool, lease, {
    fleet: "shop",
    revision: "r",
    placed,
    claims: [],
    contests: new Map(),
    removals: plan.removals.map((row) => ({ ...row, labels: labels.get(row.cluster) ?? {} })),
    staying,
    leaving: plan.leaving,
    heldRemoval: plan.held ?? null,
    usedApproval: plan.approval ?? null,
    traceparent: null,
  });
}

const flip = async (clusters: readonly string[], value: string) => {
  for (const name of clusters) await changeLabels(pool, actor, name, { shop: value });
};
const passed = (ms: number) =>
  pool.query("UPDATE targets SET leaving_since = leaving_since - $1 * interval '1 ms', leaves_at = leaves_at - $1 * interval '1 ms'", [ms]);
const tombstones = async () =>
  Object.fromEntries(
    (await pool.query<{ cluster: string; tombstone: string }>("SELECT cluster, tombstone FROM targets WHERE tombstone IS NOT NULL ORDER BY cluster")).rows.map(
      (row) => [row.cluster, row.tombstone],
    ),
  );
const leaving = async () =>
  (await readTargets(pool, { fleet: "shop", limit: 100 })).items
    .filter((row) => row.leaving !== null)
    .map(({ cluster, leaving: row }) => [cluster, row?.at ?? null]);
const outcomes = async () => (await readApprovals(pool, { limit: 100, fleet: "shop", kind: "removal" })).items.map(({ outcome }) => outcome);
const events = async (reason: string) => (await pool.query("SELECT cluster, message FROM events WHERE reason = $1 ORDER BY id", [reason])).rows;

describe("a cluster that its fleet no longer selects", () => {
  it("keeps its target, and the status says until when", async () => {
    await flip(["c-3"], "false");
    await place();
    expect(await tombstones()).toEqual({});
    const [[cluster, at] = []] = await leaving();
    expect(cluster).toBe("c-3");
    expect(Date.parse(at ?? "") - Date.now()).toBeGreaterThan(hour - 60_000);
    expect((await events("ClusterLeaving"))[0]).toMatchObject({ cluster: "c-3", message: expect.stringContaining(at ?? "?") });
    expect((await readFleet(pool, "shop"))?.problems).toEqual([]);
  });

  it("gets a tombstone when its grace is over, counted from when it began, whoever follows the fleet by then", async () => {
    await flip(["c-3"], "false");
    await place();
    await passed(hour - 60_000);
    await place();
    expect(await tombstones()).toEqual({});
    expect((await listFleetsOfRepository(pool, "1"))[0]?.leavesInMs).toBeLessThan(61_000);
    await passed(120_000);
    expect((await listFleetsOfRepository(pool, "1"))[0]?.leavesInMs).toBeLessThan(0);
    await place();
    expect(await tombstones()).toEqual({ "c-3": "orphan" });
    expect((await listFleetsOfRepository(pool, "1"))[0]?.leavesInMs).toBeNull();
  });

  it("stays when it is selected again in time, and begins anew the next time", async () => {
    await flip(["c-3"], "false");
    await place();
    await passed(hour - 60_000);
    await flip(["c-3"], "true");
    await place();
    expect(await leaving()).toEqual([]);
    expect((await events("ClusterStays")).map(({ cluster }) => cluster)).toEqual(["c-3"]);
    await passed(hour);
    await flip(["c-3"], "false");
    await place();
    expect(await tombstones()).toEqual({});
    const [[, at] = []] = await leaving();
    expect(Date.parse(at ?? "") - Date.now()).toBeGreaterThan(hour - 60_000);
  });

  it("goes by the policy of fleet.yaml, with the grace that fleet.yaml has by then", async () => {
    await flip(["c-3"], "false");
    await place();
    await passed(10_000);
    await place({ graceMs: 5_000, policy: "delete" });
    expect(await tombstones()).toEqual({ "c-3": "delete" });
  });

  it("does not go when its labels were set right while the fleet was placed (fault 42)", async () => {
    await flip(["c-3"], "false");
    await place();
    await passed(2 * hour);
    await place({ meanwhile: () => flip(["c-3"], "true") });
    expect(await tombstones()).toEqual({});
    await place();
    expect(await leaving()).toEqual([]);
  });

  it("comes back as a member like any other after it left", async () => {
    await flip(["c-3"], "false");
    await place();
    await passed(2 * hour);
    await place();
    await flip(["c-3"], "true");
    await place();
    expect(await tombstones()).toEqual({});
    expect((await readTargeted(pool, "shop")).leftLately).toBe(0);
  });
});

describe("fault 2: a label that flips on 30 % of the clusters", () => {
  const some = ["c-1", "c-4", "c-7"];

  it("removes nobody, whatever time passes; additions go on, and the fleet names the clusters", async () => {
    await createCluster(pool, actor, "new-1", { shop: "true" });
    await flip(some, "false");
    await place();
    await passed(100 * hour);
    await place({ graceMs: 1, policy: "delete" });
    expect(await tombstones()).toEqual({});
    expect(await leaving()).toEqual(some.map((cluster) => [cluster, null]));
    const [problem] = (await readFleet(pool, "shop"))?.problems ?? [];
    expect(problem).toMatchObject({ code: "removal-held", hint: expect.stringContaining("fleet approve removal shop") });
    for (const cluster of some) expect(problem?.message).toContain(cluster);
    expect((await readTargets(pool, { fleet: "shop", cluster: "new-1", limit: 1 })).items).toHaveLength(1);
    // Once per list, not once per placement: the policy changed in between, and so did the list that waits.
    await place({ graceMs: 1, policy: "delete" });
    expect((await events("RemovalHeld")).length).toBe(2);
  });

  it("one after another within their grace comes to the same, and so does one after another within an hour without grace", async () => {
    for (const cluster of some) {
      await flip([cluster], "false");
      await place();
    }
    expect(await tombstones()).toEqual({});
    expect((await readHeldRemoval(pool, "shop"))?.clusters).toEqual(some);
    await flip(some, "true");
    await place();
    for (const cluster of some) {
      await flip([cluster], "false");
      await place({ graceMs: 1 });
      await passed(10);
      await place({ graceMs: 1 });
    }
    expect(Object.keys(await tombstones())).toEqual(["c-1"]);
    expect(await readHeldRemoval(pool, "shop")).toMatchObject({ clusters: ["c-4", "c-7"], leftLately: 1, of: 10 });
  });

  it("waits for a person, who lets exactly this list go, at once", async () => {
    await flip(some, "false");
    await place();
    const held = await readHeldRemoval(pool, "shop");
    expect(await approveRemoval(pool, actor, { fleet: "shop", digest: held?.digest ?? "" })).toMatchObject({ clusters: 3, policy: "orphan" });
    await place();
    expect(await tombstones()).toEqual({ "c-1": "orphan", "c-4": "orphan", "c-7": "orphan" });
    expect(await outcomes()).toEqual(["used"]);
    expect(await readHeldRemoval(pool, "shop")).toBeNull();
    expect((await readFleet(pool, "shop"))?.problems).toEqual([]);
    // What a person let go does not count against the next one.
    await flip(["c-2"], "false");
    await place();
    expect(await readHeldRemoval(pool, "shop")).toBeNull();
    expect((await readAuditLog(pool, { limit: 1, act: "removal.approve" })).items[0]).toMatchObject({ fleet: "shop", reason: "closed", outcome: "done" });
  });

  it("is not let go by an approval of another list, or of another fate", async () => {
    await flip(some, "false");
    await place();
    const { digest = "" } = (await readHeldRemoval(pool, "shop")) ?? {};
    await approveRemoval(pool, actor, { fleet: "shop", digest });
    await flip(["c-8"], "false");
    await place();
    expect(await tombstones()).toEqual({});
    expect(await outcomes()).toEqual(["void"]);
    await expect(approveRemoval(pool, actor, { fleet: "shop", digest })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("other clusters"),
    });
    const second = (await readHeldRemoval(pool, "shop"))?.digest ?? "";
    await approveRemoval(pool, actor, { fleet: "shop", digest: second });
    await place({ policy: "delete" });
    expect(await tombstones()).toEqual({});
    expect((await readAuditLog(pool, { limit: 10, act: "removal.approve", order: "asc" })).items.map(({ outcome }) => outcome)).toEqual([
      "done",
      "refused",
      "done",
    ]);
  });

  it("is forgotten when the labels are set right", async () => {
    await flip(some, "false");
    await place();
    await flip(some, "true");
    await place();
    expect(await readHeldRemoval(pool, "shop")).toBeNull();
    expect(await leaving()).toEqual([]);
    await expect(approveRemoval(pool, actor, { fleet: "shop", digest: "0".repeat(64) })).rejects.toThrow("no cluster waits");
    await expect(approveRemoval(pool, actor, { fleet: "none", digest: "0".repeat(64) })).rejects.toMatchObject({ code: "not-found" });
  });

  it("removes nobody when the list of clusters comes back empty", async () => {
    await pool.query("UPDATE clusters SET labels = '{}'");
    await place();
    await passed(100 * hour);
    await place();
    expect(await tombstones()).toEqual({});
    expect((await readHeldRemoval(pool, "shop"))?.clusters).toEqual(names);
  });
});
