import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AgentProcess, startAgent } from "../harness/agent-process.ts";
import { type GitRepository, type GitServer, startGitServer } from "../harness/git-server.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { natsForTests } from "../harness/nats.ts";
import { startPostgresForTest } from "../harness/postgres.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

const started: { stop(): Promise<void> }[] = [];
const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
  started.unshift(server);
  return server;
};

let folder: string;
let databaseUrl: string;
let git: GitServer;
let repository: GitRepository;
let hubs: [HubProcess, HubProcess];
const agents: AgentProcess[] = [];
const kubes: KubeCluster[] = [];

beforeAll(async () => {
  folder = await scratchFolder("two-hubs");
  const [postgres, nats] = await Promise.all([startPostgresForTest().then(kept), natsForTests().then(kept)]);
  databaseUrl = postgres.url;
  git = kept(await startGitServer());
  const shared = ["--database-url", postgres.url, "--nats-url", nats.url, "--encryption-key-file", join(folder, "key")];
  const start = async (name: string) => kept(await startHub({ name, dataDir: join(folder, name), folder, args: shared }));
  hubs = [await start("hub-a"), await start("hub-b")];
  for (const [index, hub] of hubs.entries()) {
    const name = `cluster-${index + 1}`;
    const kube = kept(await startKubeCluster({ name }));
    const stateDir = join(folder, name);
    await mkdir(stateDir);
    agents.push(kept(await startAgent({ api: hub.api, enrolment: await hub.api.addCluster(name), cluster: kube, stateDir, folder })));
    kubes.push(kube);
  }
  repository = await git.createRepository("pair");
});

afterAll(async () => {
  for (const server of started) await server.stop();
  if (folder !== undefined) await removeFolder(folder);
});

const configMap = (round: number) => ({
  "a.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: pair, namespace: default }\ndata: { round: "${round}" }\n`,
});

async function converged(through: HubProcess, revision: string, clusters: readonly string[]): Promise<void> {
  await waitForValue(
    async () =>
      (await through.api.targets("pair"))
        .filter(({ cluster }) => clusters.includes(cluster))
        .map(({ running, sync }) => ({ revision: running?.revision, sync })),
    (rows) => rows.length === clusters.length && rows.every((row) => row.revision === revision && row.sync === "Synced"),
    { what: `revision ${revision.slice(0, 12)} on ${clusters.join(", ")}`, timeoutMs: 90_000, everyMs: 100 },
  );
}

describe("two hubs on one Postgres and one NATS", () => {
  it("serve agents on either, and both show the same", async () => {
    const revision = await repository.commit(configMap(1));
    await hubs[1].api.createFleet({ name: "pair", repository: repository.url, selector: {} });
    await converged(hubs[0], revision, ["cluster-1", "cluster-2"]);
    await converged(hubs[1], revision, ["cluster-1", "cluster-2"]);
  });

  it.each([0, 1] as const)("go on when hub %i is killed, with the agents that are left, and whole when it is back", async (index) => {
    const dead = hubs[index];
    const other = hubs[1 - index] as HubProcess;
    await dead.kill9();
    const during = await repository.commit(configMap(10 + index));
    await converged(other, during, [`cluster-${2 - index}`]);
    await dead.restart();
    await converged(dead, during, ["cluster-1", "cluster-2"]);
    const after = await repository.commit(configMap(20 + index));
    await converged(other, after, ["cluster-1", "cluster-2"]);
    expect((await other.api.events({ reason: "ReportsLost" })).length).toBe(0);
  });

  it("go on when a hub is stopped in the middle of a release for longer than its lease, and refuse what it writes when it wakes", async () => {
    const database = new pg.Client({ connectionString: databaseUrl });
    await database.connect();
    kept({ stop: () => database.end() });
    const { holder, fence } = await leaseOf(database);
    const stale = (await hubs[0].api.hub()).id === holder ? 0 : 1;
    const stopped = hubs[stale];
    const other = hubs[1 - stale] as HubProcess;
    try {
      // Its release waits at a table that is locked; then the hub itself is stopped, and its transaction is left open.
      await database.query("BEGIN");
      await database.query("LOCK TABLE targets IN SHARE MODE");
      await repository.commit(configMap(30));
      await waitForValue(
        () => waitingStatements(database, holder),
        (statements) => statements.some((statement) => /INSERT INTO targets/.test(statement)),
        { what: "a release that waits", timeoutMs: 30_000 },
      );
      process.kill(stopped.pid, "SIGSTOP");
      await database.query("COMMIT");
      const during = await repository.commit(configMap(31));
      await converged(other, during, [`cluster-${2 - stale}`]);
      const taken = await leaseOf(database);
      expect(taken.holder).toBe((await other.api.hub()).id);
      expect(taken.fence).toBeGreaterThan(fence);
    } finally {
      process.kill(stopped.pid, "SIGCONT");
      await database.query("ROLLBACK");
    }
    const after = await repository.commit(configMap(32));
    await converged(other, after, ["cluster-1", "cluster-2"]);
    await converged(stopped, after, ["cluster-1", "cluster-2"]);
    // What it was about to write came too late: Postgres had ended its transaction, or its fence was old.
    await waitFor(
      async () => /went to another replica|ran out|idle-in-transaction timeout|Connection terminated/.test(await readFile(stopped.logFile, "utf8")),
      {
        what: "the stopped hub's word on what it lost",
      },
    );
    expect((await other.api.events({ reason: "ReportsLost" })).length).toBe(0);
  });
});

async function leaseOf(database: pg.Client): Promise<{ holder: string; fence: number }> {
  const { rows } = await database.query<{ holder: string; fence: string }>("SELECT holder, fence FROM leases WHERE name LIKE 'repository/%'");
  return { holder: rows[0]?.holder ?? "", fence: Number(rows[0]?.fence) };
}

/** What a hub waits for a lock with. */
async function waitingStatements(database: pg.Client, hubId: string): Promise<string[]> {
  // Inside a transaction Postgres shows for ever what it showed first.
  await database.query("SELECT pg_stat_clear_snapshot()");
  const { rows } = await database.query<{ query: string }>(
    "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE '%' || $1",
    [hubId],
  );
  return rows.map(({ query }) => query);
}
