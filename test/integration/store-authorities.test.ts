import { randomBytes } from "node:crypto";
import { hubActor } from "@flotilla/hub/domain/actor";
import { activateAuthority, openAuthorityStore, readAuthorities, retireAuthority, stageAuthority } from "@flotilla/hub/store/authorities";
import { openEnrolmentStore } from "@flotilla/hub/store/enrolment-store";
import { openHubSecrets } from "@flotilla/hub/store/hub-secrets";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { createAuthority } from "@flotilla/hub/stream/certificate-authority";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

let database: TestDatabase;
let pool: pg.Pool;
const sealing = sealingWith(randomBytes(32));

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

const trusted = async () => (await openAuthorityStore(pool, sealing).readTrusted()).map(({ hash, state }) => ({ hash, state }));

/** A certificate of a cluster, as the hub has written it down. */
async function given(cluster: string, serial: string, authority: string | null): Promise<void> {
  await pool.query("INSERT INTO clusters (name) VALUES ($1) ON CONFLICT DO NOTHING", [cluster]);
  await pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after, authority) VALUES ($1, $2, 'h', now() + interval '1 day', $3)", [
    serial,
    cluster,
    authority,
  ]);
}

describe("the rows of the hub's CAs (fault 36)", () => {
  it("begin with one, which replicas that start together share", async () => {
    const store = openAuthorityStore(pool, sealing);
    await Promise.all(Array.from({ length: 5 }, () => store.begin(createAuthority)));
    expect((await trusted()).map(({ state }) => state)).toEqual(["active"]);
    const [first] = await trusted();
    await store.begin(createAuthority);
    expect(await trusted()).toEqual([first]);
  });

  it("begin with that of the version before, whose key is then in one place, and count what it signed without saying so", async () => {
    const { hash, ...kept } = await createAuthority();
    const secrets = openHubSecrets(pool, sealing);
    await secrets.createOnce("certificate-authority", JSON.stringify(kept));
    const store = openAuthorityStore(pool, sealing);
    await store.begin(() => Promise.reject(new Error("there is one")));
    expect(await store.readTrusted()).toEqual([{ hash, ...kept, state: "active" }]);
    expect(await secrets.load("certificate-authority")).toBeUndefined();
    await given("aged", "1", null);
    expect((await readAuthorities(pool)).map(({ holders, clusters }) => [holders, clusters])).toEqual([[1, 1]]);
  });

  it("take no certificate of a CA that was retired, from a replica that has not heard of it", async () => {
    await openAuthorityStore(pool, sealing).begin(createAuthority);
    const [first] = await trusted();
    const second = await stageAuthority(pool, sealing, hubActor, await createAuthority());
    await given("berlin-1", "1", second);
    await pool.query("UPDATE clusters SET trusted_authorities = to_jsonb(ARRAY[$1])", [second]);
    await waitFor(() => activateAuthority(pool, hubActor, { hash: second, force: false }), { what: "the activation" });
    await retireAuthority(pool, hubActor, { hash: first?.hash ?? "", force: false });
    const late = { serial: "2", cluster: "berlin-1", spkiHash: "h", notAfter: new Date(Date.now() + 60_000), authority: first?.hash ?? "" };
    await expect(openEnrolmentStore(pool).recordRenewal(late, "1")).rejects.toThrow("was retired");
    expect((await pool.query("SELECT serial FROM certificates WHERE revoked_at IS NULL")).rows).toEqual([{ serial: "1" }]);
    expect(await openEnrolmentStore(pool).recordRenewal({ ...late, authority: second }, "1")).toBe(true);
  });
});
