import { randomBytes } from "node:crypto";
import { appendFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { startEmbeddedNats } from "@flotilla/hub/embedded/nats";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AgentProcess, startAgent } from "../harness/agent-process.ts";
import { type GitRepository, startGitServer } from "../harness/git-server.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { quietLog } from "../harness/quiet-log.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { mountSmallDisk } from "../harness/small-disk.ts";
import { skippedSuitesVariable } from "../harness/tools.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

const title = "a hub whose disk is full";
const configMaps = "/api/v1/namespaces/default/configmaps";

const folder = await scratchFolder("full-disk");
const disk = await mountSmallDisk(join(folder, "disk"), 320);
if (disk === undefined) {
  await removeFolder(folder);
  if (process.env[skippedSuitesVariable]) appendFileSync(process.env[skippedSuitesVariable], `${title}: tmpfs cannot be mounted here (needs root)\n`);
}

describe.skipIf(disk === undefined)(title, () => {
  const fill = async () => disk?.fill();
  const stops: (() => Promise<void>)[] = [];
  let hub: HubProcess;
  let kube: KubeCluster;
  let agent: AgentProcess;
  let repository: GitRepository;

  beforeAll(async () => {
    const git = await startGitServer();
    stops.unshift(() => git.stop());
    [hub, kube] = await Promise.all([startHub({ dataDir: join(disk?.folder ?? "", "hub"), folder, ownPostgres: true }), startKubeCluster({ name: "one" })]);
    stops.unshift(
      () => kube.stop(),
      () => hub.stop(),
    );
    const stateDir = join(folder, "agent");
    await mkdir(stateDir);
    agent = await startAgent({ api: hub.api, enrolment: await hub.api.addCluster("one"), cluster: kube, stateDir, folder });
    stops.unshift(() => agent.stop());
    repository = await git.createRepository("full");
    const revision = await repository.commit(round(0));
    await hub.api.createFleet({ name: "full", repository: repository.url, selector: {} });
    await converged(revision);
  });

  afterAll(async () => {
    // Servers write their last words: give them room for it.
    await disk?.empty();
    for (const stop of stops) await stop();
    await disk?.unmount();
    await removeFolder(folder);
  });

  /** Twelve objects of 400 KB that no compression makes small: more than is left in files that are there already. */
  function round(number: number): Record<string, string> {
    return Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [
        `part-${index}.yaml`,
        `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: part-${index}, namespace: default }\ndata: { round: "${number}", noise: "${randomBytes(200_000).toString("hex")}" }\n`,
      ]),
    );
  }

  async function converged(revision: string): Promise<void> {
    await waitForValue(
      () => hub.api.targets("full"),
      ([row]) => row?.running?.revision === revision && row.sync === "Synced" && row.health === "Current",
      { what: `fleet full at ${revision.slice(0, 12)}`, timeoutMs: 150_000, everyMs: 200 },
    );
  }

  const log = () => readFile(hub.logFile, "utf8");

  it("has a broker that takes nothing any more once it could not write, also when there is room, and knows that it must be started anew (fault 21)", async () => {
    const small = await mountSmallDisk(join(folder, "broker"), 8);
    const server = await startEmbeddedNats({ storeDir: join(small?.folder ?? "", "nats"), log: quietLog });
    const connection = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    try {
      await (await jetstreamManager(connection)).streams.add({ name: "words", subjects: ["words"] });
      const say = () => jetstream(connection, { timeout: 1_000 }).publish("words", randomBytes(100_000));
      await say();
      await small?.fill();
      await waitFor(
        async () =>
          say().then(
            () => false,
            () => server.couldNotWrite,
          ),
        { what: "a message that could not be written", timeoutMs: 30_000 },
      );
      await small?.empty();
      await expect(say()).rejects.toThrow();
      server.restart();
      await waitFor(() => say().catch(() => undefined), { what: "a message that was written", timeoutMs: 30_000 });
      expect(server.couldNotWrite).toBe(false);
    } finally {
      await connection.close();
      await small?.empty();
      await server.stop();
      await small?.unmount();
    }
  }, 120_000);

  it("says so, loses nothing, keeps its clusters as they are, and goes on by itself when there is room (fault 21)", async () => {
    const healthy = (await hub.api.hub()).checks.find(({ name }) => name === "disk");
    expect(healthy).toMatchObject({ ok: true });

    await fill();
    const checks = await waitFor(() => hub.api.hub().then((answer) => answer.checks), { what: "fleet doctor's answer" });
    expect(checks.find(({ name }) => name === "disk")).toMatchObject({
      ok: false,
      message: expect.stringMatching(/the disk that holds .* is full/),
      hint: expect.stringContaining("free space"),
    });
    await waitFor(async () => /the disk that holds .* is full.*Free space there/.test(await log()), { what: "the full disk in the log", timeoutMs: 30_000 });

    // Commits come, and somebody edits an object: the agent mends it without the hub, and keeps its report.
    await repository.commit(round(1));
    await kube.client.mergePatch(`${configMaps}/part-3`, { data: { round: "edited" } });
    await waitForValue(
      () => kube.client.get(`${configMaps}/part-3`),
      (object) => object.data.round !== "edited",
      { what: "the edit healed while the hub's disk is full", timeoutMs: 60_000 },
    );
    const newest = await repository.commit(round(2));
    // Where the disk ends first is the machine's affair: in the clone, which the fleet tells, or in Postgres, which the log tells.
    await waitForValue(
      async () => {
        await fill();
        const fleet = await hub.api.fleet("full").catch((error: Error) => error.message);
        return `${JSON.stringify(fleet)}\n${(await log()).split("Free space there").slice(1).join("")}`;
      },
      (told) => /disk is full|No space left on device/.test(told),
      { what: "a write that failed, with its reason", timeoutMs: 60_000, everyMs: 500 },
    );
    // The broker's disk is the same: reports wait with the agent. Edits make some, until one finds no room.
    let edits = 0;
    await waitFor(
      async () => {
        await fill();
        edits += 1;
        await kube.client.mergePatch(`${configMaps}/part-${edits % 12}`, { data: { round: `edited-${edits}` } });
        return (await readFile(agent.logFile, "utf8")).includes("the broker did not take a report");
      },
      { what: "a report that the broker cannot store", timeoutMs: 60_000, everyMs: 500 },
    );
    expect((await kube.client.list(configMaps)).filter(({ metadata }) => metadata.name.startsWith("part-"))).toHaveLength(12);

    await disk?.empty();
    await converged(newest);
    const live = await kube.client.get(`${configMaps}/part-3`);
    expect(live.data.round).toBe("2");
    await waitForValue(
      () => hub.api.fleet("full"),
      ({ problems, source }) => problems.length === 0 && source.error === null,
      { what: "no problem left", timeoutMs: 60_000 },
    );
    expect(await hub.api.events({ reason: "ReportsLost" })).toEqual([]);
    const drifts = await waitForValue(
      () => hub.api.drift({ fleet: "full" }),
      (rows) => rows.length > 0,
      { what: "the report of the edit", timeoutMs: 60_000 },
    );
    expect(JSON.stringify(drifts)).toContain("part-3");
    expect((await hub.api.hub()).checks.filter(({ ok }) => !ok)).toEqual([]);
  }, 240_000);
});
