import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AgentProcess, startAgent } from "../harness/agent-process.ts";
import { type GitRepository, type GitServer, startGitServer } from "../harness/git-server.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { natsForTests } from "../harness/nats.ts";
import { startPostgresForTest } from "../harness/postgres.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { waitForValue } from "../harness/wait-for.ts";

const started: { stop(): Promise<void> }[] = [];
const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
  started.unshift(server);
  return server;
};

let folder: string;
let git: GitServer;
let repository: GitRepository;
let hubs: [HubProcess, HubProcess];
const agents: AgentProcess[] = [];
const kubes: KubeCluster[] = [];

beforeAll(async () => {
  folder = await scratchFolder("two-hubs");
  const [postgres, nats] = await Promise.all([startPostgresForTest().then(kept), natsForTests().then(kept)]);
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
});
