import { randomBytes } from "node:crypto";
import type { Actor } from "@flotilla/hub/domain/actor";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { readAuditLog } from "@flotilla/hub/store/audit-log";
import { createCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { acquireLease, type Lease } from "@flotilla/hub/store/leases";
import { openLinkStore } from "@flotilla/hub/store/link-store";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { readCluster } from "@flotilla/hub/store/read-clusters";
import { readFleet } from "@flotilla/hub/store/read-fleets";
import { readEvents } from "@flotilla/hub/store/read-events";
import { readTargets } from "@flotilla/hub/store/read-targets";
import { releaseTargets } from "@flotilla/hub/store/release-targets";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { endOverride, overrideWindows, readOverrides, readSuspensions, resume, suspend } from "@flotilla/hub/store/suspensions";
import { wireTarget } from "@flotilla/hub/stream/wire-target";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

let database: TestDatabase;
let pool: pg.Pool;
let lease: Lease;
const sealing = sealingWith(randomBytes(32));
const ann: Actor = { id: "ann", source: "192.0.2.7", reason: "a migration" };
const scope = (more: Partial<Record<"fleet" | "cluster" | "bundle", string>>) => ({ fleet: "", cluster: "", bundle: "", ...more });
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (url) => {
      const own = openPool({ url });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
  lease = (await acquireLease(pool, "repository/1", "test"))!;
  for (const name of ["shop", "shed"])
    await createFleet(pool, sealing, ann, { name, url: `https://git.example.com/${name}.git`, ref: { branch: "main" }, path: "", selector: null });
  for (const name of ["berlin-1", "oslo-1"]) await createCluster(pool, ann, name, {});
  for (const fleet of ["shop", "shed"]) await release(fleet, "a".repeat(40));
  const spec = JSON.stringify({ bundles: [{ name: "api" }, { name: "db" }] });
  await pool.query("INSERT INTO revisions (fleet, revision, tree, outcome, spec) VALUES ('shop', $1, 't', 'rendered', $2)", ["a".repeat(40), spec]);
  await pool.query("UPDATE fleets SET revision = $1", ["a".repeat(40)]);
});
afterEach(async () => {
  await pool.end();
  await database.drop();
});

async function release(fleet: string, revision: string): Promise<void> {
  const bundles = ["api", "db"].map((name) => ({ name, digest: "b", objectCount: 1, bodyBytes: 1, dependsOn: [], policy, excluded: [] }));
  const placed: PlacedTarget[] = ["berlin-1", "oslo-1"].map((cluster) => ({ fleet, cluster, revision, digest: revision.slice(0, 4), bundles, problems: [] }));
  await releaseTargets(pool, lease, { fleet, revision, placed, claims: [], contests: new Map(), removals: [], traceparent: null });
}

/** What the agents are sent, by "fleet/cluster". */
async function sent() {
  const targets = await openLinkStore(pool, sealing).readTargets(["berlin-1", "oslo-1"]);
  return new Map(targets.map((target) => [`${target.fleet}/${target.cluster}`, wireTarget(target, "")]));
}
const suspendedOnes = async () => [...(await sent())].filter(([, { suspension }]) => suspension).map(([name]) => name).sort(); // prettier-ignore

describe("a suspension", () => {
  it("reaches every agent of the fleet with a new generation, with who, when and why, and stays over new revisions", async () => {
    const before = await sent();
    expect(await suspend(pool, ann, scope({ fleet: "shop" }))).toMatchObject({ fleet: "shop", cluster: null, bundle: null, reason: "a migration", by: "ann" });
    expect(await suspendedOnes()).toEqual(["shop/berlin-1", "shop/oslo-1"]);
    const target = (await sent()).get("shop/berlin-1");
    expect(target).toMatchObject({ generation: 2n, digest: before.get("shop/berlin-1")?.digest, suspension: { reason: "a migration", by: "ann" } });
    expect((await sent()).get("shed/berlin-1")?.generation).toBe(1n);
    await release("shop", "b".repeat(40));
    expect((await sent()).get("shop/oslo-1")).toMatchObject({ generation: 3n, revision: "b".repeat(40), suspension: { by: "ann" } });
    await resume(pool, { ...ann, reason: "done" }, scope({ fleet: "shop" }));
    expect(await suspendedOnes()).toEqual([]);
    expect((await sent()).get("shop/oslo-1")?.generation).toBe(4n);
  });

  it("is of a cluster, of a fleet on a cluster, or of a bundle: nothing else is touched", async () => {
    await suspend(pool, ann, scope({ cluster: "oslo-1" }));
    expect(await suspendedOnes()).toEqual(["shed/oslo-1", "shop/oslo-1"]);
    await suspend(pool, ann, scope({ fleet: "shed", cluster: "berlin-1" }));
    expect(await suspendedOnes()).toEqual(["shed/berlin-1", "shed/oslo-1", "shop/oslo-1"]);
    await suspend(pool, { ...ann, reason: "a lock" }, scope({ fleet: "shop", bundle: "db" }));
    const bundles = (await sent()).get("shop/berlin-1")?.bundles ?? [];
    expect(bundles.map(({ name, suspension }) => [name, suspension?.reason])).toEqual([["api", undefined], ["db", "a lock"]]); // prettier-ignore
    expect((await sent()).get("shop/berlin-1")?.suspendedBundles).toMatchObject({ db: { reason: "a lock" } });
    expect((await sent()).get("shed/berlin-1")?.suspendedBundles).toEqual({});
  });

  it("is shown with fleets, clusters and targets, in events and in the audit log", async () => {
    await suspend(pool, ann, scope({ fleet: "shop" }));
    await suspend(pool, ann, scope({ cluster: "oslo-1" }));
    expect((await readFleet(pool, "shop"))?.suspended).toMatchObject({ fleet: "shop", cluster: null, by: "ann", reason: "a migration" });
    expect((await readFleet(pool, "shed"))?.suspended).toBeNull();
    expect((await readCluster(pool, "oslo-1"))?.suspended).toMatchObject({ fleet: null, cluster: "oslo-1" });
    const targets = await readTargets(pool, { fleet: "shed", limit: 10 });
    expect(targets.items.map(({ cluster, suspended }) => [cluster, suspended?.cluster])).toEqual([["berlin-1", undefined], ["oslo-1", "oslo-1"]]); // prettier-ignore
    expect((await readSuspensions(pool, { limit: 10 })).items).toHaveLength(2);
    expect((await readSuspensions(pool, { limit: 10, fleet: "shop" })).items).toEqual([
      expect.objectContaining({ since: expect.stringMatching(/Z$/) as string }),
    ]);
    const events = await readEvents(pool, { limit: 10, reason: "Suspended" });
    expect(events.items.map(({ message }) => message)).toContain("fleet shop suspended by ann: a migration");
    const acts = await readAuditLog(pool, { limit: 10, act: "suspend" });
    expect(acts.items[0]).toMatchObject({ actor: "ann", reason: "a migration", cluster: "oslo-1" });
  });

  it("that is there already stays as it is, and costs the agents nothing", async () => {
    await suspend(pool, ann, scope({ fleet: "shop" }));
    expect(await suspend(pool, { ...ann, id: "ben", reason: "me too" }, scope({ fleet: "shop" }))).toMatchObject({ by: "ann", reason: "a migration" });
    expect((await sent()).get("shop/berlin-1")?.generation).toBe(2n);
  });

  it("of what is not there is refused, with what there is", async () => {
    await expect(suspend(pool, ann, scope({ fleet: "nosuch" }))).rejects.toThrow(/there is no fleet 'nosuch'/);
    await expect(suspend(pool, ann, scope({ cluster: "nosuch" }))).rejects.toThrow(/there is no cluster 'nosuch'/);
    await expect(suspend(pool, ann, scope({ fleet: "shop", bundle: "nosuch" }))).rejects.toMatchObject({
      message: "fleet shop has no bundle 'nosuch'",
      hint: "it has api, db",
    });
    await suspend(pool, ann, scope({ fleet: "shop", bundle: "db" }));
    await expect(resume(pool, ann, scope({ fleet: "shop" }))).rejects.toMatchObject({
      message: "fleet shop is not suspended",
      hint: "suspended are: bundle db of fleet shop",
    });
    expect((await readAuditLog(pool, { limit: 10, act: "resume" })).items[0]).toMatchObject({ outcome: "refused" });
  });
});

describe("an override of sync windows", () => {
  it("reaches the bundles it is for until its end, and is in the audit log with its reason", async () => {
    const until = new Date(Date.now() + 3_600_000);
    await overrideWindows(pool, { ...ann, reason: "outage" }, scope({ fleet: "shop", bundle: "db" }), until);
    const bundles = (await sent()).get("shop/berlin-1")?.bundles ?? [];
    expect(bundles.map(({ name, windowOverride }) => [name, windowOverride?.reason])).toEqual([["api", undefined], ["db", "outage"]]); // prettier-ignore
    expect((await readOverrides(pool, { limit: 10 })).items).toEqual([expect.objectContaining({ bundle: "db", until: until.toISOString(), by: "ann" })]);
    expect((await readAuditLog(pool, { limit: 10, act: "window.override" })).items[0]).toMatchObject({
      actor: "ann",
      reason: "outage",
      details: { bundle: "db", until: until.toISOString() },
    });
    await endOverride(pool, ann, scope({ fleet: "shop", bundle: "db" }));
    expect((await sent()).get("shop/berlin-1")?.bundles.some(({ windowOverride }) => windowOverride)).toBe(false);
    await expect(endOverride(pool, ann, scope({ fleet: "shop", bundle: "db" }))).rejects.toThrow(/are not overridden/);
  });

  it("that has ended is not sent any more", async () => {
    await overrideWindows(pool, ann, scope({ fleet: "shop" }), new Date(Date.now() - 1_000));
    expect((await sent()).get("shop/berlin-1")?.bundles.some(({ windowOverride }) => windowOverride)).toBe(false);
    expect((await readOverrides(pool, { limit: 10 })).items).toEqual([]);
  });
});
