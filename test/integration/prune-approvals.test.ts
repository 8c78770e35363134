import { randomBytes } from "node:crypto";
import type { Actor } from "@flotilla/hub/domain/actor";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { approvePrunes } from "@flotilla/hub/store/approve-prunes";
import { readAuditLog } from "@flotilla/hub/store/audit-log";
import { createCluster, removeCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { acquireLease, type Lease } from "@flotilla/hub/store/leases";
import { openLinkStore } from "@flotilla/hub/store/link-store";
import { migrate } from "@flotilla/hub/store/migrate";
import { inTransaction, openPool } from "@flotilla/hub/store/pool";
import { readApprovals, readHeldPrunes } from "@flotilla/hub/store/read-approvals";
import { readObjects } from "@flotilla/hub/store/read-targets";
import { releaseTargets } from "@flotilla/hub/store/release-targets";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { settleApprovals } from "@flotilla/hub/store/settle-approvals";
import { wireTarget } from "@flotilla/hub/stream/wire-target";
import { listDigest } from "@flotilla/proto/digest";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

let database: TestDatabase;
let pool: pg.Pool;
let lease: Lease;
const sealing = sealingWith(randomBytes(32));
const actor: Actor = { id: "0123456789ab", source: "192.0.2.7", reason: "it is old" };
const [first, second] = ["a".repeat(40), "b".repeat(40)];
const list = ["/ConfigMap/shop/a", "/ConfigMap/shop/b", 'rbac.authorization.k8s.io/Role/shop/odd"name'];

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
  await createCluster(pool, actor, "berlin-1", {});
  await release(first);
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
function release(revision: string, digest = "d"): Promise<unknown> {
  const bundles = [{ name: "app", digest: "b", objectCount: 1, bodyBytes: 1, dependsOn: [], policy, excluded: [] }];
  const placed: PlacedTarget = { fleet: "shop", cluster: "berlin-1", revision, digest, bundles, problems: [] };
  return releaseTargets(pool, lease, { fleet: "shop", revision, placed: [placed], claims: [], contests: new Map(), removals: [], traceparent: null });
}

/** What the agent last said: which objects it holds, at which generation and revision. */
async function report(
  held: readonly string[],
  generation: number,
  revision = first,
  more: { digest?: string; others?: Record<string, string> } = {},
): Promise<void> {
  await inTransaction(pool, async (client) => {
    await client.query("DELETE FROM object_states");
    for (const [id, prune] of [...held.map((name) => [name, "held"]), ...Object.entries(more.others ?? {})] as [string, string][]) {
      const [group = "", kind = "", namespace = "", name = ""] = id.split("/");
      await client.query(
        `INSERT INTO object_states (fleet, cluster, object_id, api_group, version, kind, namespace, name, bundle, uid, sync, health, message, change, drift, as_of, prune)
         VALUES ('shop', 'berlin-1', $1, $2, 'v1', $3, $4, $5, 'app', 'u', 'OutOfSync', 'Current', 'prune waits for approval: too many', 'skipped', '[]', now(), $6)`,
        [id, group, kind, namespace, name, prune],
      );
    }
    await client.query(
      `INSERT INTO target_states (fleet, cluster, generation, revision, target_digest, sync, health, prunes_held, prunes_digest, recorded_at, as_of, epoch, seq, version)
       VALUES ('shop', 'berlin-1', $1, $2, 'd', 'OutOfSync', 'Current', $3, $4, now(), now(), 'e', 1, 1)
       ON CONFLICT (fleet, cluster) DO UPDATE SET generation = $1, revision = $2, prunes_held = $3, prunes_digest = $4`,
      [generation, revision, held.length, more.digest ?? (held.length === 0 ? "" : listDigest(held))],
    );
    await settleApprovals(client, [{ fleet: "shop", cluster: "berlin-1" }]);
  });
}

const approve = (more: Partial<Parameters<typeof approvePrunes>[2]> = {}) =>
  approvePrunes(pool, actor, { fleet: "shop", cluster: "berlin-1", revision: first, digest: listDigest(list), ...more });
const target = async () => (await openLinkStore(pool, sealing).readTargets(["berlin-1"]))[0]!;
const approvals = async () => (await readApprovals(pool, { limit: 100, fleet: "shop" })).items;
const outcomes = async () => (await approvals()).map(({ outcome, why }) => [outcome, why].filter((part) => part !== "").join(": "));

describe("an approval of held prunes (G6)", () => {
  it("is shown what it is about: the list with its digest, and why it is held", async () => {
    await report(list, 1);
    const { items } = await readHeldPrunes(pool, { limit: 10, fleet: "shop" });
    expect(items).toEqual([
      expect.objectContaining({
        cluster: "berlin-1",
        revision: first,
        digest: listDigest(list),
        objects: 3,
        whole: true,
        reason: "prune waits for approval: too many",
        approvedBy: null,
      }),
    ]);
    const objects = await readObjects(pool, { limit: 10, fleet: "shop", cluster: "berlin-1", prune: "held" });
    expect(objects.items.map(({ name, prune, protection }) => [name, prune, protection].filter((part) => part !== ""))).toEqual([
      ["a", "held"],
      ["b", "held"],
      ['odd"name', "held"],
    ]);
  });

  it("travels in a new generation of the same target, bound to revision and list", async () => {
    await report(list, 1);
    expect(await approve()).toMatchObject({ generation: 2, objects: 3 });
    const sent = wireTarget(await target(), "");
    expect(sent).toMatchObject({
      generation: 2n,
      revision: first,
      digest: "d",
      pruneApproval: { revision: first, digest: listDigest(list), approvedBy: actor.id },
    });
    expect((await readHeldPrunes(pool, { limit: 10, fleet: "shop" })).items[0]?.approvedBy).toBe(actor.id);
    expect(await approvals()).toMatchObject([{ kind: "prune", subjects: list, outcome: "waiting", reason: "it is old" }]);
    expect((await readAuditLog(pool, { limit: 1, act: "prune.approve" })).items[0]).toMatchObject({
      cluster: "berlin-1",
      details: { digest: listDigest(list), revision: first },
    });
  });

  it("is used when nothing of the list is left, whatever else is held later", async () => {
    await report(list, 1);
    await approve();
    await report(list, 2);
    expect(await outcomes()).toEqual(["waiting"]);
    await report([], 2, first, { others: { [list[0]!]: "waits" } });
    expect(await outcomes()).toEqual(["waiting"]);
    await report([], 2, first, { others: { [list[0]!]: "terminating" } });
    expect(await outcomes()).toEqual(["used"]);
    await report(["/ConfigMap/shop/other"], 2);
    await release(second);
    expect(await outcomes()).toEqual(["used"]);
  });

  it("is void when the agent holds another list by now", async () => {
    await report(list, 1);
    await approve();
    await report([...list, "/ConfigMap/shop/c"], 2);
    expect(await outcomes()).toEqual(["void: another list is held now"]);
  });

  it("is void with a newer revision, and does not travel with it", async () => {
    await report(list, 1);
    await approve();
    await release(second);
    expect(wireTarget(await target(), "").pruneApproval).toBeUndefined();
    expect(await outcomes()).toEqual(["void: a newer revision was released"]);
    // Back to the first revision: a person is asked again.
    await release(first);
    expect(wireTarget(await target(), "").pruneApproval).toBeUndefined();
  });

  it("counts as used when its prunes were done before the newer revision came, though told after", async () => {
    await report(list, 1);
    await approve();
    await release(second);
    await report([], 2, first);
    expect(await outcomes()).toEqual(["used"]);
  });

  it("stays with the target when only its content changed: the agent compares the list", async () => {
    await report(list, 1);
    await approve();
    await release(first, "another digest");
    expect(wireTarget(await target(), "").pruneApproval?.digest).toBe(listDigest(list));
  });

  it.each([
    ["a revision that is not the one of the target", () => approve({ revision: second }), "is at revision aaaaaaaaaaaa"],
    ["a list that is not the one that is held", () => approve({ digest: "c".repeat(64) }), "another list is held"],
    ["a cluster that the fleet is not in", () => approve({ cluster: "nowhere" }), "has no target in a cluster 'nowhere'"],
  ])("is refused for %s, and the refusal is in the audit log", async (_what, act, message) => {
    await report(list, 1);
    await expect(act()).rejects.toThrow(message);
    expect((await target()).generation).toBe(1n);
    expect(await approvals()).toEqual([]);
    expect((await readAuditLog(pool, { limit: 1 })).items[0]).toMatchObject({
      act: "prune.approve",
      outcome: "refused",
      details: { refusal: expect.stringContaining(message) },
    });
  });

  it("is refused where nothing is held, and where the list has not come in whole", async () => {
    await expect(approve()).rejects.toThrow("nothing is held");
    await report(list.slice(1), 1, first, { digest: listDigest(list) });
    expect((await readHeldPrunes(pool, { limit: 10, fleet: "shop" })).items[0]?.whole).toBe(false);
    await expect(approve()).rejects.toThrow("has not come in whole");
  });

  it("is refused for a list of an older revision that the cluster still reports", async () => {
    await report(list, 1);
    await release(second);
    await expect(approve({ revision: second })).rejects.toThrow("of an older revision");
  });

  it("and a newer revision at the same time: one comes wholly before the other, and the approval never travels with the newer", async () => {
    await report(list, 1);
    const race = await Promise.allSettled([approve(), release(second), approve(), approve()]);
    expect(race[1]?.status).toBe("fulfilled");
    expect((await target()).revision).toBe(second);
    expect((await target()).pruneApproval).toBeNull();
    expect((await outcomes()).filter((outcome) => outcome === "waiting")).toEqual([]);
    const made = race.filter((result, index) => index !== 1 && result.status === "fulfilled").length;
    expect((await approvals()).length).toBe(made);
    expect((await target()).generation).toBe(BigInt(2 + made));
  });

  it("given twice counts once: the second takes the place of the first", async () => {
    await report(list, 1);
    await approve();
    await approve();
    expect(await outcomes()).toEqual(["waiting", "void: approved again"]);
  });

  it("ends with its cluster", async () => {
    await report(list, 1);
    await approve();
    await removeCluster(pool, actor, "berlin-1");
    expect(await outcomes()).toEqual(["void: the cluster was removed"]);
    expect((await readHeldPrunes(pool, { limit: 10, fleet: "shop" })).items).toEqual([]);
  });
});
