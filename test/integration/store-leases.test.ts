import { mkdtempSync, readFileSync, statSync, writeFileSync, chmodSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireLease, holdLease, inFencedTransaction, releaseLease, renewLease } from "@flotilla/hub/store/leases";
import { listen, namesIn, notify, type Hint } from "@flotilla/hub/store/listen";
import { migrate } from "@flotilla/hub/store/migrate";
import { migrations } from "@flotilla/hub/store/migrations/embedded";
import { inTransaction, openPool } from "@flotilla/hub/store/pool";
import { checkSealing, openSealing } from "@flotilla/hub/store/sealing";
import type { StoreError } from "@flotilla/hub/store/store-error";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, startPostgresForTest, type TestDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";

let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool({ url: database.url });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: StoreError) => error,
  );

describe("migrate", () => {
  it("brings an empty database up, also when two replicas start at once, and changes nothing the second time", async () => {
    const runs = await Promise.all([migrate(pool), migrate(pool)]);
    expect(runs.map((run) => run.applied.length).sort()).toEqual([0, migrations.length]);
    expect((await migrate(pool)).applied).toEqual([]);
  });

  it("refuses a migration that was edited after it ran", async () => {
    const edited = migrations.map((migration) => ({ ...migration, sql: `${migration.sql}\n-- edited` }));
    expect(await failure(migrate(pool, edited))).toMatchObject({ code: "schema", message: expect.stringContaining("was edited after it ran") });
  });

  it("refuses the database of a newer version (fault 40)", async () => {
    expect(await failure(migrate(pool, []))).toMatchObject({ code: "schema", message: expect.stringContaining("does not know") });
  });

  it("runs a migration that came later than others with higher numbers", async () => {
    const late = [
      { name: "0001_first", sql: "CREATE TABLE first_of_two (id int)" },
      { name: "0002_late", sql: "CREATE TABLE late (id int)" },
      { name: "0003_early", sql: "CREATE TABLE early (id int)" },
    ];
    const own = await createTestDatabase();
    const ownPool = openPool({ url: own.url });
    try {
      expect((await migrate(ownPool, [late[0]!, late[2]!])).applied).toEqual(["0001_first", "0003_early"]);
      expect((await migrate(ownPool, late)).applied).toEqual(["0002_late"]);
      expect((await migrate(ownPool, late)).applied).toEqual([]);
    } finally {
      await ownPool.end();
      await own.drop();
    }
  });

  it("keeps nothing of a migration that fails", async () => {
    const broken = [...migrations, { name: "9999_broken", sql: "CREATE TABLE half (id int); SELECT nonsense();" }];
    expect((await failure(migrate(pool, broken))).message).toContain("9999_broken");
    expect((await pool.query("SELECT to_regclass('half') AS half")).rows[0].half).toBeNull();
  });
});

describe("leases", () => {
  it("give one of two replicas the right, until it lets go", async () => {
    const one = await acquireLease(pool, "work", "one");
    expect(await acquireLease(pool, "work", "two")).toBeUndefined();
    expect(await renewLease(pool, one!)).toBe(true);
    await releaseLease(pool, one!);
    const two = await acquireLease(pool, "work", "two");
    expect(two!.fence).toBe(one!.fence + 1n);
    expect(await renewLease(pool, one!)).toBe(false);
  });

  it("refuse the write of a replica that slept past its lease (fault 25)", async () => {
    const sleeper = await acquireLease(pool, "slept", "sleeper", 1);
    const successor = await waitFor(() => acquireLease(pool, "slept", "successor"));
    const stale = inFencedTransaction(pool, sleeper!, (client) => client.query("CREATE TABLE stale (id int)"));
    expect(await failure(stale)).toMatchObject({ code: "fenced" });
    expect((await pool.query("SELECT to_regclass('stale') AS stale")).rows[0].stale).toBeNull();
    await inFencedTransaction(pool, successor, (client) => client.query("SELECT 1"));
  });

  it("are held by one of two at a time, and taken over when the holder goes", async () => {
    const held: string[] = [];
    const replica = (holder: string) => {
      const stop = new AbortController();
      const done = holdLease(pool, { name: "turns", holder, signal: stop.signal, durationMs: 2_000, renewMs: 200 }, async (_lease, signal) => {
        held.push(holder);
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      });
      return { stop: async () => (stop.abort(), done) };
    };
    const a = replica("a");
    await waitFor(() => held.length === 1);
    const b = replica("b");
    await a.stop();
    await waitFor(() => held.length === 2);
    expect(held).toEqual(["a", "b"]);
    await b.stop();
  });
});

describe("listen", () => {
  it("hears what is said after a commit, and a resync after its connection was killed (fault 26)", async () => {
    const heard: Hint[] = [];
    const listener = listen(pool, ["flotilla_targets", "flotilla_commands"], (hint) => heard.push(hint));
    try {
      await waitFor(() => heard.length === 2);
      expect(heard.map((hint) => [hint.channel, hint.resync])).toEqual([
        ["flotilla_targets", true],
        ["flotilla_commands", true],
      ]);
      await inTransaction(pool, (client) => notify(client, "flotilla_targets", { clusters: ["berlin-1"] }));
      await waitFor(() => heard.length === 3);
      expect(namesIn(heard[2]!, "clusters")).toEqual(["berlin-1"]);
      await pool.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flotilla-hub listener' AND datname = current_database()",
      );
      await waitFor(() => heard.length === 5);
      expect(heard[3]!.resync).toBe(true);
      await notify(pool, "flotilla_targets", { clusters: Array.from({ length: 2_000 }, (_, n) => `cluster-${n}`) });
      await waitFor(() => heard.length === 6);
      expect(heard[5]).toMatchObject({ channel: "flotilla_targets", resync: true });
    } finally {
      await listener.close();
    }
  });
});

describe("sealing", () => {
  it("opens what it sealed, and tells another key at the start", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flotilla-sealing-"));
    const keyFile = join(folder, "deep", "key");
    const [sealing, twin] = await Promise.all([openSealing(keyFile), openSealing(keyFile)]);
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect(twin.open(sealing.seal("secret")).toString()).toBe("secret");
    expect(sealing.seal("secret")).not.toEqual(sealing.seal("secret"));
    const first = await checkSealing(pool, sealing);
    expect(await checkSealing(pool, twin)).toEqual(first);
    expect(await failure(checkSealing(pool, await openSealing(join(folder, "other"))))).toMatchObject({
      code: "sealing",
      hint: expect.stringContaining("--encryption-key-file"),
    });
    const damaged = sealing.seal("secret");
    damaged[damaged.length - 1]! ^= 1;
    expect(() => sealing.open(damaged)).toThrow("cannot be opened");
  });

  it("refuses a key file that everybody may read, and one that holds no key", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flotilla-sealing-"));
    const open = join(folder, "open");
    await openSealing(open);
    chmodSync(open, 0o644);
    expect(await failure(openSealing(open))).toMatchObject({ hint: `chmod 600 ${open}` });
    const short = join(folder, "short");
    writeFileSync(short, "short", { mode: 0o600 });
    expect((await failure(openSealing(short))).message).toContain("is not an encryption key");
    expect(readFileSync(short, "utf8")).toBe("short");
  });
});

describe("transactions", () => {
  it("say that Postgres is not reachable, and work again afterwards", async () => {
    const gone = openPool({ url: "postgres://nobody@127.0.0.1:1/none" });
    expect(await failure(inTransaction(gone, (client) => client.query("SELECT 1")))).toMatchObject({ code: "unreachable" });
    await gone.end();
    const killed = inTransaction(pool, async (client) => {
      await pool.query("SELECT pg_terminate_backend($1)", [(client as unknown as { processID: number }).processID]);
      return client.query("SELECT 1");
    });
    expect(await failure(killed)).toMatchObject({ code: "unreachable" });
    expect((await inTransaction(pool, (client) => client.query("SELECT 1 AS one"))).rows).toEqual([{ one: 1 }]);
  });

  it("are refused while Postgres is a standby, and work again when it is promoted (fault 24)", async () => {
    const server = await startPostgresForTest({ durable: true });
    const hub = openPool({ url: server.url });
    const person = new pg.Client({ connectionString: server.url });
    try {
      await hub.query("CREATE TABLE kept AS SELECT 1 AS one");
      await writeFile(join(server.folder, "data", "cluster", "standby.signal"), "");
      process.kill(server.pid, "SIGKILL");
      const refused = await waitFor(
        async () => {
          const error = await failure(inTransaction(hub, (client) => client.query("SELECT one FROM kept")));
          return error.message.includes("standby") ? error : undefined;
        },
        { what: "the refusal of a standby", timeoutMs: 30_000 },
      );
      expect(refused).toMatchObject({ code: "unreachable", message: expect.stringContaining("Postgres is a standby and takes no writes") });
      await person.connect();
      await person.query("SELECT pg_promote()");
      expect((await inTransaction(hub, (client) => client.query("SELECT one FROM kept"))).rows).toEqual([{ one: 1 }]);
    } finally {
      await person.end();
      await hub.end();
      await server.stop();
    }
  });
});
