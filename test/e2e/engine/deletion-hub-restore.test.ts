import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@flotilla/hub/embedded/postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GitRepository } from "../../harness/git-server.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { quietLog } from "../../harness/quiet-log.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";

const configMap = (name: string, round: number) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { round: "${round}" }\n`;

await describeWith([...kubeTools, "nats-server"], "a hub whose database was restored to an older state (fault 3)", () => {
  let platform: Platform;
  let repository: GitRepository;
  let third: string;
  const api = () => platform.hub.api;
  const folder = () => join(platform.hub.dataDir, "postgres");
  const live = async (name: string) =>
    (await platform.member("restored-1").kube.client.find(`/api/v1/namespaces/default/configmaps/${name}`)) as { data?: { round: string } } | undefined;
  const target = async () => (await api().targets("shop"))[0];
  const deletes = async () =>
    (await platform.member("restored-1").kube.auditedRequests()).filter(
      ({ verb, objectRef }) => verb === "delete" && objectRef?.resource === "configmaps" && objectRef.namespace === "default",
    );
  /** The hub again, and the agent at once: it would come back by itself within its backoff of 30 s. */
  const back = async () => {
    await platform.hub.restart();
    await platform.member("restored-1").agent.stop();
    await platform.member("restored-1").agent.restart();
    await connected();
  };
  const connected = () => waitFor(async () => (await api().cluster("restored-1")).hub !== null, { what: "the agent connected", timeoutMs: 60_000 });
  const events = async () => (await api().events({ reason: "HubBehind" })).map(({ message }) => message);

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "restored-1", kube: { auditLog: true } }], ownPostgres: true });
    repository = await platform.git.createRepository("shop");
    const first = await repository.commit({ "a.yaml": configMap("a", 1) });
    await api().createFleet({ name: "shop", repository: repository.url, selector: {}, pollIntervalMs: 1_000 });
    await platform.converged("shop", first);
    // The backup: all of the database's files, as they are while it is stopped.
    await platform.hub.stop();
    await cp(folder(), `${folder()}-backup`, { recursive: true });
    await back();
    for (const round of [2, 3]) {
      const revision = await repository.commit({ "a.yaml": configMap("a", round), [`new-${round}.yaml`]: configMap(`new-${round}`, round) });
      await platform.converged("shop", revision);
      third = revision;
    }
  });
  afterAll(() => platform?.stop());

  const restore = async () => {
    await platform.hub.stop();
    await rm(folder(), { recursive: true });
    await cp(`${folder()}-backup`, folder(), { recursive: true });
  };

  it("sends nothing old while Git does not answer: the cluster keeps the newer content, and the hub says why", async () => {
    const before = (await target())?.wanted.generation ?? 0;
    await restore();
    platform.git.fail({ kind: "status", status: 503 });
    await back();
    const row = await waitForValue(target, (seen) => seen?.problems.some(({ code }) => code === "hub-behind") === true, {
      what: "the hub's word on being behind",
      timeoutMs: 30_000,
    });
    expect(row?.wanted.generation).toBeLessThan(before);
    expect(row?.sync).not.toBe("Synced");
    expect((await api().fleet("shop")).problems.map(({ code, cluster }) => [code, cluster])).toContainEqual(["hub-behind", "restored-1"]);
    expect((await events())[0]).toContain(`holds generation ${before}`);
    // Placement goes on meanwhile, and does not make the old content new.
    await api().labelCluster("restored-1", { any: "label" });
    await api()
      .sync("shop")
      .catch(() => undefined);
    await waitFor(async () => (await api().fleet("shop")).source.error !== null, { what: "Git known to be away", timeoutMs: 30_000 });
    expect((await live("a"))?.data?.round).toBe("3");
    expect(await live("new-3")).toBeDefined();
    expect(await deletes()).toEqual([]);
  });

  it("releases what Git says now above what the agent holds, as soon as Git answers", async () => {
    platform.git.fail({ kind: "none" });
    await platform.converged("shop", third);
    const row = await waitForValue(target, (seen) => seen?.problems.length === 0, { what: "the hub level with the agent", timeoutMs: 60_000 });
    await platform.converged("shop", third);
    expect(row?.wanted.generation).toBeGreaterThanOrEqual(4);
    expect(await deletes()).toEqual([]);
    const next = await repository.commit({ "a.yaml": configMap("a", 4) });
    await platform.converged("shop", next);
    expect((await live("a"))?.data?.round).toBe("4");
    third = next;
  });

  it("goes above what the agent holds also when the same revision is all that Git has", async () => {
    // The backup is now of this revision, and the agent got a newer generation of it since.
    await platform.hub.stop();
    await rm(`${folder()}-backup`, { recursive: true });
    await cp(folder(), `${folder()}-backup`, { recursive: true });
    await back();
    const detour = await repository.commit({ "a.yaml": configMap("a", 5) });
    await platform.converged("shop", detour);
    const before = (await target())?.wanted.generation ?? 0;
    await repository.forcePush("main", third);
    await waitFor(async () => (await target())?.wanted.revision === third, { what: "the revision before, again", timeoutMs: 30_000 });
    await platform.converged("shop", third);
    await restore();
    await back();
    await waitForValue(target, (row) => (row?.wanted.generation ?? 0) > before && row?.sync === "Synced", {
      what: "a generation above what the agent holds",
      timeoutMs: 90_000,
    });
    expect((await live("a"))?.data?.round).toBe("4");
    expect(await deletes()).toEqual([]);
  });

  it("deletes nothing for a database that knows no fleets, and goes on where the fleet is made again", async () => {
    const before = (await target())?.wanted.generation ?? 0;
    await platform.hub.stop();
    const postgres = await startEmbeddedPostgres({ dataFolder: folder(), log: quietLog });
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    await client.query("TRUNCATE fleets, repositories, revisions, targets, claims, target_states, bundle_states, object_states, events CASCADE");
    await client.end();
    await postgres.stop();
    await back();
    await waitFor(async () => (await events()).some((message) => message.includes("does not know")), {
      what: "the fleet that the hub does not know",
      timeoutMs: 30_000,
    });
    expect((await live("a"))?.data?.round).toBe("4");
    await api().createFleet({ name: "shop", repository: repository.url, selector: {}, pollIntervalMs: 1_000 });
    await waitForValue(target, (row) => row?.sync === "Synced" && row.wanted.generation > before, { what: "the fleet followed again", timeoutMs: 90_000 });
    const next = await repository.commit({ "a.yaml": configMap("a", 6) });
    await platform.converged("shop", next);
    expect(await deletes()).toEqual([]);
  });
});
