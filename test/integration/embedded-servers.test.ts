import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startEmbeddedPostgres } from "@flotilla/hub/embedded/postgres";
import { identifyProcess } from "@flotilla/hub/embedded/process-identity";
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { natsForTests, type TestNats } from "../harness/nats.ts";
import { createTestDatabase, startPostgresForTest } from "../harness/postgres.ts";
import { quietLog } from "../harness/quiet-log.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { describeWith } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe("the embedded Postgres", () => {
  it("comes back after kill -9 with what was committed, at the same address", async () => {
    const server = await startPostgresForTest({ durable: true });
    try {
      await query(server.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
      const before = server.pid;
      process.kill(before, "SIGKILL");
      await waitFor(() => server.pid !== before, { what: "another postmaster" });
      expect(await waitFor(() => query(server.url, "SELECT n FROM kept"))).toEqual([{ n: 1 }]);
    } finally {
      await server.stop();
    }
  });

  it("is reached by a socket in its data folder, which nobody else may enter, and by loopback with the same password", async () => {
    const server = await startPostgresForTest();
    try {
      const data = join(server.folder, "data");
      const { hostname, port, password } = new URL(server.url);
      expect(decodeURIComponent(hostname)).toBe(join(data, "sockets"));
      expect((await stat(join(data, "sockets"))).mode & 0o777).toBe(0o700);
      const peer = "SELECT inet_client_addr()::text AS peer";
      expect(await query(server.url, peer)).toEqual([{ peer: null }]);
      expect(await query(`postgres://flotilla:${password}@127.0.0.1:${port}/flotilla`, peer)).toEqual([{ peer: "127.0.0.1/32" }]);
      await expect(query(server.url.replace(password, "guessed"), peer)).rejects.toThrow(/password authentication failed/);
    } finally {
      await server.stop();
    }
  });

  it("is reached by loopback where the path of a socket would be too long", async () => {
    const folder = await scratchFolder("postgres");
    const server = await startEmbeddedPostgres({ dataFolder: join(folder, "a".repeat(100)), log: quietLog, durable: false });
    try {
      expect(new URL(server.url).hostname).toBe("127.0.0.1");
      expect(await query(server.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    } finally {
      await server.stop();
      await removeFolder(folder);
    }
  });

  it("starts where the lock of its socket names the pid of a stranger", async () => {
    const server = await startPostgresForTest();
    // Of the user that Postgres runs as: others it leaves out.
    const { uid, gid } = await stat(join(server.folder, "data", "cluster"));
    const stranger = spawn("sleep", ["600"], { stdio: "ignore", ...(process.getuid?.() === 0 && { uid, gid }) });
    try {
      const before = server.pid;
      const { port } = new URL(server.url);
      const lock = join(server.folder, "data", "sockets", `.s.PGSQL.${port}.lock`);
      const lines = (await readFile(lock, "utf8")).split("\n");
      await writeFile(lock, [String(stranger.pid), ...lines.slice(1)].join("\n"));
      process.kill(before, "SIGKILL");
      await waitFor(() => server.pid !== before, { what: "another postmaster" });
      expect(await waitFor(() => query(server.url, "SELECT 1 AS one"))).toEqual([{ one: 1 }]);
    } finally {
      stranger.kill();
      await server.stop();
    }
  });

  it("serves one hub at a time", async () => {
    const server = await startPostgresForTest();
    await expect(startEmbeddedPostgres({ dataFolder: join(server.folder, "data"), log: quietLog })).rejects.toThrow(/is used by process/);
    await server.stop();
  });
});

describe("databases for tests", () => {
  it("are copies of a template that is migrated once", async () => {
    let migrations = 0;
    const migrate = async (url: string) => {
      migrations += 1;
      await query(url, "CREATE TABLE made_by_migration (n int)");
    };
    const databases = await Promise.all([1, 2, 3].map(() => createTestDatabase({ migrate, templateKey: `once_${process.pid}` })));
    for (const { url } of databases) expect(await query(url, "SELECT count(*)::int AS n FROM made_by_migration")).toEqual([{ n: 0 }]);
    await Promise.all(databases.map((database) => database.drop()));
    expect(migrations).toBe(1);
  });
});

await describeWith(["nats-server"], "the embedded broker", () => {
  let nats: TestNats;
  beforeAll(async () => {
    nats = await natsForTests();
  });
  afterAll(() => nats.stop());

  it("comes back after kill -9 at the same port with its stream", async () => {
    const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: "kept", subjects: ["kept.>"] });
    await jetstream(connection).publish("kept.a", "1");
    const before = nats.pid;
    nats.kill9();
    await waitFor(() => nats.pid !== before, { what: "another nats-server" });
    const stream = await waitFor(() => manager.streams.info("kept"));
    expect(stream.state.messages).toBe(1);
    await connection.close();
  });

  it("has lost everything after a wipe", async () => {
    await nats.wipe();
    const connection = await connect({ servers: nats.url });
    const manager = await jetstreamManager(connection);
    await expect(manager.streams.info("kept")).rejects.toThrow(/not found/);
    await connection.close();
  });
});

await describeWith(["nats-server"], "the servers of a hub that is killed", () => {
  it("end with it, and the next hub starts at once on the same folders", async () => {
    const folder = await scratchFolder("orphans");
    const first = await startServers(folder);
    const servers = await Promise.all([first.postgres, first.nats].map(identifyProcess));
    expect(servers).not.toContain(undefined);
    first.child.kill("SIGKILL");
    const second = await startServers(folder);
    expect(second.urls).toEqual(first.urls);
    for (const pid of [first.postgres, first.nats]) expect(await identifyProcess(pid)).toBeUndefined();
    second.child.kill("SIGKILL");
    await waitFor(async () => !(await identifyProcess(second.postgres)) && !(await identifyProcess(second.nats)), { what: "the end of both servers" });
    await removeFolder(folder);
  });

  async function startServers(folder: string) {
    const program = fileURLToPath(new URL("../fixtures/embedded-servers.ts", import.meta.url));
    const child = spawn(process.execPath, [program, folder], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    return { child, ...(JSON.parse(line) as { postgres: number; nats: number; urls: string[] }) };
  }
});
