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
    { what: `revision ${revision.slice(0, 12)} on ${clusters.join(", ")}`, timeoutMs: 90_000 },
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

  it("go on when a hub is stopped in the middle of a release for longer than its lease, and refuse what it writes when it wakes (fault 25)", async () => {
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

  it("let a cluster leave once, when the hub that follows the fleet dies in the middle of its grace", async () => {
    const leavers = await git.createRepository("leavers");
    await leavers.commit({
      "fleet.yaml": `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: leavers }
spec:
  clusters: { matchLabels: { leaves: "no" } }
  removal: { policy: delete, grace: 15s }
  bundles: [{ name: app }]
`,
      "app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: leaver, namespace: default }\n",
    });
    const live = (index: number) => (kubes[index] as KubeCluster).client.find("/api/v1/namespaces/default/configmaps/leaver");
    const names = async (hub: HubProcess) => (await hub.api.targets("leavers")).map(({ cluster }) => cluster).sort();
    for (const name of ["cluster-1", "cluster-2"]) await hubs[0].api.labelCluster(name, { leaves: "no" });
    await hubs[0].api.createFleet({ name: "leavers", repository: leavers.url, pollIntervalMs: 1_000 });
    await waitFor(async () => (await live(0)) !== undefined && (await live(1)) !== undefined, { what: "both clusters in the fleet", timeoutMs: 60_000 });
    const database = new pg.Client({ connectionString: databaseUrl });
    await database.connect();
    try {
      const { rows } = await database.query<{ holder: string }>(
        "SELECT holder FROM leases WHERE name LIKE 'repository/%' ORDER BY length(name) DESC, name DESC LIMIT 1",
      );
      const ids = await Promise.all(hubs.map(async (hub) => (await hub.api.hub()).id));
      const dying = ids.indexOf(rows[0]?.holder ?? "") === 1 ? 1 : 0;
      const other = hubs[1 - dying] as HubProcess;
      // The one whose agent stays connected: the other must learn of its removal as well.
      const leaves = `cluster-${2 - dying}`;
      await other.api.labelCluster(leaves, { leaves: "yes" });
      await waitFor(async () => (await other.api.targets("leavers")).some(({ cluster, leaving }) => cluster === leaves && leaving !== null), {
        what: "the cluster on its way out",
        timeoutMs: 30_000,
      });
      await hubs[dying].kill9();
      expect(await live(1 - dying)).toBeDefined();
      await waitFor(async () => (await live(1 - dying)) === undefined, { what: "its objects deleted, by the other hub's word", timeoutMs: 90_000 });
      await waitFor(async () => (await names(other)).length === 1, { what: "the cluster out of the fleet", timeoutMs: 30_000 });
      await hubs[dying].restart();
      await waitForValue(
        () => names(hubs[dying]),
        (found) => found.length === 1 && found[0] !== leaves,
        { what: "both hubs agree", timeoutMs: 60_000 },
      );
      expect(await live(dying)).toBeDefined();
      const told = (await other.api.events({ reason: "TargetRemoved" })).filter(({ fleet }) => fleet === "leavers");
      expect(told.map(({ cluster }) => cluster)).toEqual([leaves]);
    } finally {
      await database.end();
    }
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
