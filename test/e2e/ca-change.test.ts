import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { AuthorityRow } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fleetCli } from "../harness/fleet-cli.ts";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { freePort } from "../harness/free-port.ts";
import { type Platform, type PlatformCluster, startPlatformOn } from "../harness/platform.ts";
import { startSimulatedCluster } from "../harness/simulated/simulated-cluster.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

const names = ["one", "two", "away"] as const;
const configMap = (round: number) => ({
  "deploy/a.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: default }\ndata: { round: "${round}" }\n`,
});

let platform: Platform<PlatformCluster>;
let forge: Forge;
const fleet = fleetCli(() => platform as unknown as Platform);
const revisions: string[] = [];

beforeAll(async () => {
  // Not on loopback alone: the broker speaks TLS by the hub's CA.
  const natsListen = ["--nats-listen", `0.0.0.0:${await freePort()}`];
  platform = await startPlatformOn(({ name }) => startSimulatedCluster({ name }), { clusters: names.map((name) => ({ name })), hubArgs: natsListen });
  const repository = await platform.git.createRepository("rotated");
  revisions.push(await repository.commit(configMap(0)));
  const { webhook } = await platform.hub.api.createFleet({ name: "rotated", repository: repository.url, path: "deploy", selector: {} });
  forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  await platform.converged("rotated", revisions[0]!);
}, 120_000);

afterAll(() => platform?.stop());

const done = async (...args: string[]): Promise<string> => {
  const run = await fleet(...args);
  expect(run.status, run.output).toBe(0);
  return run.stdout;
};

const authorities = async (): Promise<AuthorityRow[]> => (await platform.hub.api.request<{ items: AuthorityRow[] }>("GET", "/api/v1/authorities")).items;

const caOf = async (state: AuthorityRow["state"]): Promise<AuthorityRow> => {
  const found = (await authorities()).find((row) => row.state === state);
  if (found === undefined) throw new Error(`no CA is ${state}`);
  return found;
};

/** A hub that was killed comes back to the same step. */
async function killed(): Promise<void> {
  const before = (await authorities()).map(({ hash, state }) => [hash, state]);
  await platform.hub.kill9();
  await platform.hub.restart();
  expect((await authorities()).map(({ hash, state }) => [hash, state])).toEqual(before);
}

/** A commit goes all the way, there and back, in the clusters whose agents run. */
async function commit(clusters: readonly string[] = names): Promise<void> {
  const { revision } = await forge.push(configMap(revisions.length));
  revisions.push(revision);
  await waitForValue(
    async () =>
      (await platform.hub.api.targets("rotated")).filter(({ cluster, running }) => clusters.includes(cluster) && running?.revision === revision).length,
    (count) => count === clusters.length,
    { what: `revision ${revision.slice(0, 12)} in ${clusters.join(", ")}`, timeoutMs: 60_000 },
  );
}

const count = (state: AuthorityRow["state"], what: "trusting" | "holders", wanted: number) =>
  waitForValue(
    async () => (await caOf(state))[what],
    (seen) => seen === wanted,
    { what: `${wanted} ${what} the CA that is ${state}`, timeoutMs: 60_000, everyMs: 250 },
  );

/** What the broker shows to whom connects now. */
const brokerIsOf = async (ca: AuthorityRow): Promise<boolean> =>
  new X509Certificate(await readFile(join(platform.hub.dataDir, "nats", "server.crt"))).verify(new X509Certificate(ca.certificate).publicKey);

async function killBroker(): Promise<void> {
  process.kill(Number.parseInt(await readFile(join(platform.hub.dataDir, "nats/nats-server.pid"), "utf8"), 10), "SIGKILL");
}

describe("the hub's CA is changed under a whole platform, whose hub is killed between the steps (fault 36)", () => {
  it("and every agent goes on, over TLS to hub and broker, also one that was away meanwhile", async () => {
    const old = await caOf("active");
    expect(await brokerIsOf(old)).toBe(true);
    expect((JSON.parse(await done("ca", "list", "-o", "json")) as { items: AuthorityRow[] }).items).toEqual([old]);
    await platform.member("away").agent.stop();
    await done("ca", "stage", "--reason", "a test");
    await count("staged", "trusting", 2);
    await killed();
    await commit(["one", "two"]);

    const next = await caOf("staged");
    await waitFor(async () => (await fleet("ca", "activate", next.hash.slice(0, 12))).status === 0, {
      what: "the activation",
      timeoutMs: 30_000,
      everyMs: 500,
    });
    await killed();
    await count("active", "holders", 2);
    expect(await waitFor(() => brokerIsOf(next))).toBe(true);
    await commit(["one", "two"]);

    const refused = await fleet("ca", "retire", old.hash.slice(0, 12), "--yes");
    expect(refused.status, refused.output).toBe(1);
    expect(refused.output).toMatch(/still hang on CA .*: away\n/);
    await platform.member("away").agent.restart();
    await count("active", "holders", 3);
    await killed();
    expect(await done("ca", "retire", old.hash.slice(0, 12), "--yes")).toBe(`CA ${old.hash.slice(0, 12)} retired`);
    await killed();
    await commit();
  }, 240_000);

  it("and whoever opens a connection to a broker that was restarted knows it by the new CA alone", async () => {
    await killBroker();
    await commit();
    for (const { agent } of platform.members) {
      await agent.kill9();
      await agent.restart();
    }
    await commit();
  }, 120_000);

  it("and not one report is lost, and not one stream was refused", async () => {
    for (const name of ["one", "two"]) {
      const applied = await waitForValue(
        async () => (await platform.hub.api.events({ fleet: "rotated", cluster: name, reason: "Applied", order: "asc" })).map(({ revision }) => revision),
        (seen) => seen.length >= revisions.length,
        { what: `every Applied event of ${name}` },
      );
      expect(applied).toEqual(revisions);
    }
    expect(await platform.hub.api.events({ reason: "ReportsLost" })).toEqual([]);
    expect(await platform.hub.api.events({ reason: "LinkRefused" })).toEqual([]);
    for (const { agent } of platform.members)
      expect(await readFile(agent.logFile, "utf8")).not.toMatch(/refuses this agent|certificate.*(unknown|verify)|UNABLE_TO/);
  });
});
