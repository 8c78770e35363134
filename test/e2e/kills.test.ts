import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";

let platform: Platform;
let forge: Forge;
let round = 0;

/** 300 objects, so that a kill lands in the middle of a sync. */
function change(): Record<string, string> {
  round += 1;
  return Object.fromEntries(
    Array.from({ length: 10 }, (_, file) => [
      `deploy/part-${file}.yaml`,
      Array.from(
        { length: 30 },
        (__, index) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: item-${file}-${index}, namespace: default }\ndata: { round: "${round}" }\n`,
      ).join("---\n"),
    ]),
  );
}

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one" }, { name: "two" }], ownPostgres: true });
  const repository = await platform.git.createRepository("kills");
  const revision = await repository.commit(change());
  const { webhook } = await platform.hub.api.createFleet({ name: "kills", repository: repository.url, path: "deploy", selector: {} });
  forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  await platform.converged("kills", revision);
});

afterAll(() => platform?.stop());

/** Waits until a cluster has begun to apply the round and is not done. */
async function inTheMiddle(name: string): Promise<void> {
  const { client } = platform.member(name).kube;
  await waitForValue(
    async () => {
      const items = await client.list("/api/v1/namespaces/default/configmaps");
      return items.filter((item) => (item as { data?: { round?: string } }).data?.round === String(round)).length;
    },
    (applied) => applied > 0,
    { what: `round ${round} begun on ${name}`, everyMs: 5 },
  );
}

async function servedEqualsClusters(revision: string): Promise<void> {
  await platform.converged("kills", revision, { timeoutMs: 90_000 });
  for (const { name, kube } of platform.members) {
    const items = await kube.client.list("/api/v1/namespaces/default/configmaps");
    const applied = items.filter((item) => (item as { data?: { round?: string } }).data?.round === String(round)).length;
    expect(applied).toBe(300);
    const served = await platform.hub.api.objects({ fleet: "kills", cluster: name });
    expect(served.filter(({ sync }) => sync === "Synced")).toHaveLength(300);
  }
}

async function appliedEvents(revision: string): Promise<string[]> {
  const events = await platform.hub.api.events({ fleet: "kills", reason: "Applied" });
  return events.filter((event) => event.revision === revision).map(({ cluster }) => cluster);
}

async function pidIn(file: string): Promise<number> {
  return Number.parseInt(await readFile(join(platform.hub.dataDir, file), "utf8"), 10);
}

describe("kill -9 in the middle of a sync (fault 37)", () => {
  it("of the hub: clusters go on, and it has every report when it is back", async () => {
    const { revision } = await forge.push(change());
    await inTheMiddle("one");
    await platform.hub.kill9();
    await platform.hub.restart();
    await servedEqualsClusters(revision);
    await waitForValue(
      () => appliedEvents(revision),
      (clusters) => ["one", "two"].every((name) => clusters.includes(name)),
      { what: "both clusters' Applied events", timeoutMs: 60_000 },
    );
  });

  it("of the hub between a commit of reports and its acknowledgement: they come again, and count once (fault 18)", async () => {
    await platform.hub.stop();
    const { repository } = forge;
    let revision = "";
    for (let kills = 0; kills < 2; kills += 1) {
      // It may die before it is ready: agents have something to say as soon as they are connected.
      await platform.hub.restart({ FLOTILLA_FAILPOINT: "after-commit-before-ack:2" }).catch(() => undefined);
      revision = await repository.commit(change());
      if (platform.hub.running) await platform.hub.api.sync("kills").catch(() => undefined);
      await waitForValue(
        () => platform.hub.running,
        (running) => !running,
        { what: "the hub dies at its second batch", timeoutMs: 60_000, everyMs: 20 },
      );
    }
    await platform.hub.restart();
    await servedEqualsClusters(revision);
    await waitForValue(
      () => appliedEvents(revision),
      (clusters) => clusters.length >= 2,
      { what: "both clusters' Applied events", timeoutMs: 60_000 },
    );
    expect((await appliedEvents(revision)).toSorted()).toEqual(["one", "two"]);
  }, 240_000);

  it("of an agent: it goes on where it was, and nothing it recorded is lost (fault 15)", async () => {
    const { revision } = await forge.push(change());
    await inTheMiddle("one");
    await platform.member("one").agent.kill9();
    await platform.member("one").agent.restart();
    await servedEqualsClusters(revision);
    const gaps = (await platform.hub.api.events({ cluster: "one", reason: "ReportsLost" })).length;
    expect(gaps).toBe(0);
  });

  it("of nats-server: reports wait in the outbox and all arrive", async () => {
    const { revision } = await forge.push(change());
    await inTheMiddle("two");
    process.kill(await pidIn("nats/nats-server.pid"), "SIGKILL");
    await servedEqualsClusters(revision);
    await waitForValue(
      () => appliedEvents(revision),
      (clusters) => ["one", "two"].every((name) => clusters.includes(name)),
      { what: "both clusters' Applied events", timeoutMs: 60_000 },
    );
  });

  it("of Postgres: the hub waits for it and commits everything afterwards", async () => {
    const { revision } = await forge.push(change());
    await inTheMiddle("two");
    process.kill(await pidIn("postgres/postgres.pid"), "SIGKILL");
    await servedEqualsClusters(revision);
    await waitForValue(
      () => appliedEvents(revision),
      (clusters) => ["one", "two"].every((name) => clusters.includes(name)),
      { what: "both clusters' Applied events", timeoutMs: 60_000 },
    );
  });
});
