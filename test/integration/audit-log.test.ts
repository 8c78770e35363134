import { randomBytes } from "node:crypto";
import { hubActor, type Actor } from "@flotilla/hub/domain/actor";
import { createApiToken, recordExpiredToken } from "@flotilla/hub/store/api-tokens";
import { inActTransaction, readAuditLog } from "@flotilla/hub/store/audit-log";
import { openAuthorityStore } from "@flotilla/hub/store/authorities";
import { changeLabels, createCluster, removeCluster } from "@flotilla/hub/store/change-clusters";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import { deleteFleet } from "@flotilla/hub/store/delete-fleet";
import { mintEnrolToken, openEnrolmentStore } from "@flotilla/hub/store/enrolment-store";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { wantSync } from "@flotilla/hub/store/repositories";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { verifyAuditLog } from "@flotilla/hub/store/verify-audit-log";
import { createAuthority } from "@flotilla/hub/stream/certificate-authority";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

let database: TestDatabase;
let pool: pg.Pool;
const sealing = sealingWith(randomBytes(32));
const actor: Actor = { id: "0123456789ab", source: "192.0.2.7", reason: "because" };

beforeEach(async () => {
  database = await createTestDatabase({
    migrate: async (url) => {
      const own = openPool({ url });
      await migrate(own).finally(() => own.end());
    },
  });
  pool = openPool({ url: database.url });
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

const acts = async (query: Partial<Parameters<typeof readAuditLog>[1]> = {}) => (await readAuditLog(pool, { limit: 500, order: "asc", ...query })).items;

/** The hash of the CA that a hub makes at its start. */
async function firstAuthority(): Promise<string> {
  const store = openAuthorityStore(pool, sealing);
  await store.begin(createAuthority);
  return (await store.readTrusted())[0]?.hash ?? "";
}

describe("the audit log (G14)", () => {
  it("has every act of a person or token, with who, what, why, whence and when, chained from the first", async () => {
    const token = await createApiToken(pool, hubActor, "ops");
    const [, id = ""] = token.split("_");
    const person = { ...actor, id };
    await createFleet(pool, sealing, person, {
      name: "shop",
      url: "https://git.example.com/shop.git",
      ref: { branch: "main" },
      path: "",
      selector: null,
      credentials: { password: "canary-91" },
    });
    await createCluster(pool, person, "berlin-1", { env: "prod" });
    const enrolToken = await mintEnrolToken(pool, person, "berlin-1");
    const certificate = { serial: "1", cluster: "berlin-1", spkiHash: "h", notAfter: new Date(), authority: await firstAuthority() };
    await openEnrolmentStore(pool).enrol(enrolToken.token, async () => certificate, "198.51.100.4");
    await changeLabels(pool, person, "berlin-1", { env: null });
    await wantSync(pool, person, "shop", {}, 1_000, null);
    await deleteFleet(pool, person, "shop", "delete");
    await removeCluster(pool, person, "berlin-1");
    const found = await acts();
    expect(found.map(({ seq, act, fleet, cluster }) => [seq, act, fleet, cluster])).toEqual([
      [1, "api-token.create", "", ""],
      [2, "fleet.create", "shop", ""],
      [3, "cluster.create", "", "berlin-1"],
      [4, "enrol-token.create", "", "berlin-1"],
      [5, "agent.enrol", "", "berlin-1"],
      [6, "cluster.label", "", "berlin-1"],
      [7, "fleet.sync", "shop", ""],
      [8, "fleet.delete", "shop", ""],
      [9, "cluster.remove", "", "berlin-1"],
    ]);
    expect(found[0]).toMatchObject({ actor: "hub", actorName: "", outcome: "done" });
    expect(found[4]).toMatchObject({ actor: "enrolment", source: "198.51.100.4" });
    expect(found[7]).toMatchObject({ actor: id, actorName: "ops", source: "192.0.2.7", reason: "because", details: { objects: "delete" }, outcome: "done" });
    for (const secret of ["canary-91", enrolToken.token, token.split("_")[2] ?? ""]) expect(JSON.stringify(found)).not.toContain(secret);
    expect(await verifyAuditLog(pool)).toEqual({ ok: true, acts: 9, head: { seq: 9, hash: found[8]?.hash }, fault: null });
    expect((await acts({ cluster: "berlin-1" })).length).toBe(5);
    expect((await acts({ actor: id, act: "fleet.sync" })).map(({ seq }) => seq)).toEqual([7]);
  });

  it("has an act before it takes effect, and none that was not done", async () => {
    const seen = await inActTransaction(pool, actor, { act: "test.act" }, async (client) => (await client.query("SELECT act FROM audit_log")).rows);
    expect(seen).toEqual([{ act: "test.act" }]);
    await expect(
      inActTransaction(pool, actor, { act: "test.fails" }, async () => {
        throw new Error("it broke");
      }),
    ).rejects.toThrow("it broke");
    expect((await acts()).map(({ act }) => act)).toEqual(["test.act"]);
  });

  it("has what the hub refused, with the reason, apart from what it did", async () => {
    await createCluster(pool, actor, "berlin-1", {});
    await expect(createCluster(pool, actor, "berlin-1", {})).rejects.toMatchObject({ code: "conflict" });
    await expect(deleteFleet(pool, actor, "none", "orphan")).rejects.toMatchObject({ code: "not-found" });
    expect((await acts()).map(({ act, outcome, details }) => [act, outcome, details["refusal"]])).toEqual([
      ["cluster.create", "done", undefined],
      ["cluster.create", "refused", "there is a cluster 'berlin-1' already"],
      ["fleet.delete", "refused", "there is no fleet 'none'"],
    ]);
    expect((await verifyAuditLog(pool)).ok).toBe(true);
  });

  it("has a try with a token that ran out, once a minute, and none with tokens that never were", async () => {
    const expired = await createApiToken(pool, hubActor, "old", new Date(Date.now() - 1_000));
    const valid = await createApiToken(pool, hubActor, "new");
    for (const token of [expired, expired, valid, "flt_000000000000_0", expired.replace(/.$/, (last) => (last === "0" ? "1" : "0"))])
      await recordExpiredToken(pool, token, "192.0.2.7", "DELETE /api/v1/fleets/shop");
    expect(await acts({ act: "api-token.expired" })).toMatchObject([
      { actor: expired.split("_")[1], actorName: "old", outcome: "refused", source: "192.0.2.7" },
    ]);
  });

  it("stays one chain under many acts at once", async () => {
    await Promise.all(Array.from({ length: 30 }, (_, index) => createCluster(pool, actor, `c-${index}`, {})));
    const enrolments = openEnrolmentStore(pool);
    const { token } = await mintEnrolToken(pool, actor, "c-1");
    const authority = await firstAuthority();
    const issue = async (cluster: string) => ({ serial: randomBytes(8).toString("hex"), cluster, spkiHash: "h", notAfter: new Date(), authority });
    const uses = await Promise.all([
      ...Array.from({ length: 5 }, async () => (await enrolments.enrol(token, issue, "")).outcome),
      ...Array.from({ length: 10 }, (_, index) => removeCluster(pool, actor, `c-${index + 10}`)),
    ]);
    expect(uses.filter((use) => use === "accepted")).toHaveLength(1);
    expect((await acts({ act: "agent.enrol" })).length).toBe(1);
    expect(await verifyAuditLog(pool)).toMatchObject({ ok: true, acts: 42 });
  });

  it.each(["UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log", "DELETE FROM audit_log WHERE false", "TRUNCATE audit_log"])(
    "refuses to be changed: %s",
    async (statement) => {
      await createCluster(pool, actor, "berlin-1", {});
      await expect(pool.query(statement)).rejects.toThrow("append-only");
      expect((await verifyAuditLog(pool)).acts).toBe(1);
    },
  );

  it("tells where somebody with all rights to the database changed it", async () => {
    for (const name of ["a", "b", "c", "d"]) await createCluster(pool, actor, name, {});
    const forge = async (statement: string) => {
      await pool.query("ALTER TABLE audit_log DISABLE TRIGGER USER");
      await pool.query(statement);
      await pool.query("ALTER TABLE audit_log ENABLE TRIGGER USER");
      return verifyAuditLog(pool);
    };
    expect(await forge("UPDATE audit_log SET actor = 'innocent' WHERE seq = 3")).toMatchObject({ ok: false, acts: 2, fault: { seq: 3 } });
    expect(await forge(`UPDATE audit_log SET actor = '${actor.id}', details = '{nonsense' WHERE seq = 3`)).toMatchObject({ ok: false, fault: { seq: 3 } });
    expect(await forge("DELETE FROM audit_log WHERE seq = 2")).toMatchObject({ ok: false, acts: 1, fault: { seq: 2, why: "act 2 is missing" } });
    expect((await acts()).length).toBe(3);
  });

  it("takes whatever text a caller gives, at a bounded length", async () => {
    const reason = `\u001B[31mred\u0000 line\nbreak ${"x".repeat(5_000)} \uD800`;
    await inActTransaction(pool, { ...actor, reason }, { act: "test.act", details: { "odd\uD800": "\u0000", list: [1, null, 2.5] } }, async () => undefined);
    const [act] = await acts();
    expect(act?.reason.length).toBe(1_000);
    expect((await verifyAuditLog(pool)).ok).toBe(true);
  });
});
