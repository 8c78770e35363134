import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { OutboxTap, shownEvent } from "../chaos/outbox-tap.ts";
import { type AgentProcess, startAgent } from "../harness/agent-process.ts";
import { freePort } from "../harness/free-port.ts";
import { type GitRepository, startGitServer } from "../harness/git-server.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { startPostgresForTest } from "../harness/postgres.ts";
import { seededRandom } from "../harness/random.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { startTcpProxy, type TcpProxy } from "../harness/tcp-proxy.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitForValue } from "../harness/wait-for.ts";

/** Which subsets, in which order, how each wire is cut and for how long; FLOTILLA_PARTITION_SEED plays one again. */
const seed = Number(process.env.FLOTILLA_PARTITION_SEED ?? Math.floor(Math.random() * 1_000_000));

const wireNames = ["agent-hub", "agent-broker", "agent-API server", "hub-broker", "hub-Postgres", "hub-Git"] as const;
type WireName = (typeof wireNames)[number];

/** Every one with FLOTILLA_PARTITIONS=all; else all wires at once, and so many others that the run stays under a minute. */
const subsetsDrawn = 3;
const subsets = drawnSubsets();

const clusters = ["one", "two"] as const;
const objects = ["a", "b", "c", "d", "e"] as const;
const configMaps = "/api/v1/namespaces/default/configmaps";
const fleet = "parted";

/** The hub knows its broker as localhost, agents know it, and the hub, by this address; nats-server itself listens on a third, so that each wire is one of its own. */
const outside = "127.0.0.2";
const brokerHost = "127.0.0.5";

function drawnSubsets(): readonly (readonly WireName[])[] {
  const random = seededRandom(seed);
  const numbers = Array.from({ length: 2 ** wireNames.length }, (_, number) => ({ number, order: random() })).toSorted((one, other) => one.order - other.order);
  const all = numbers.map(({ number }) => wireNames.filter((_, index) => (number >> index) & 1));
  if (process.env.FLOTILLA_PARTITIONS === "all") return all;
  return [[...wireNames], ...all.filter(({ length }) => length > 0 && length < wireNames.length).slice(0, subsetsDrawn)];
}

await describeWith([...kubeTools, "nats-server"], `wires between agents, hub, broker, Postgres, Git and API servers are cut (fault 37, seed ${seed})`, () => {
  const started: { stop(): Promise<void> }[] = [];
  const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
    started.unshift(server);
    return server;
  };
  const random = seededRandom(seed + 1);
  const tap = new OutboxTap();
  const kubes = new Map<string, KubeCluster>();
  const agents: AgentProcess[] = [];
  const wires = new Map<WireName, TcpProxy[]>(wireNames.map((name) => [name, []]));
  const uids = new Map<string, string | undefined>();
  let folder: string;
  let hub: HubProcess;
  let repository: GitRepository;
  let tapping: NodeJS.Timeout;
  let round = 0;

  /** A wire to a port, under the name by which it is cut. */
  async function wire(name: WireName | undefined, port: number, from: { host?: string; port?: number } = {}, host = "127.0.0.1"): Promise<TcpProxy> {
    const proxy = kept(await startTcpProxy({ ...from, target: { host, port }, seed }));
    if (name !== undefined) wires.get(name)?.push(proxy);
    return proxy;
  }

  beforeAll(async () => {
    folder = await scratchFolder("partitions");
    const [git, postgres] = [kept(await startGitServer()), kept(await startPostgresForTest())];
    const brokerPort = await freePort();
    await wire("hub-broker", brokerPort, { port: brokerPort }, brokerHost);
    await wire("agent-broker", brokerPort, { host: outside, port: brokerPort }, brokerHost);
    const database = new URL(postgres.url);
    // Not by its socket: there is a wire to its port.
    database.hostname = "127.0.0.1";
    database.port = String((await wire("hub-Postgres", Number(database.port))).port);
    hub = kept(
      await startHub({
        dataDir: join(folder, "hub"),
        folder,
        args: ["--public-address", outside, "--nats-listen", `${brokerHost}:${brokerPort}`, "--database-url", database.href, "--log-level", "warn"],
      }),
    );
    await wire("agent-hub", hub.ports.link, { host: outside, port: hub.ports.link });
    await wire(undefined, hub.ports.enrol, { host: outside, port: hub.ports.enrol });
    for (const name of clusters) await joinCluster(name);
    repository = await git.createRepository(fleet);
    await repository.commit(filesOf(round));
    const source = new URL(repository.url);
    source.port = String((await wire("hub-Git", Number(source.port))).port);
    await hub.api.createFleet({ name: fleet, repository: source.href, path: "deploy", selector: {}, pollIntervalMs: 2_000 });
    await agreed();
    expect(unusedWires()).toEqual([]);
    for (const name of clusters) for (const [object, item] of await liveIn(name)) uids.set(`${name} ${object}`, item.metadata.uid);
    tapping = setInterval(() => void tap.look(), 50);
  }, 120_000);

  afterAll(async () => {
    clearInterval(tapping);
    for (const server of started) await server.stop();
    if (folder !== undefined) await removeFolder(folder);
  });

  /** A wire that nobody uses proves nothing when it is cut; Git's is only used now and then. */
  const unusedWires = () => wireNames.filter((name) => name !== "hub-Git" && !wires.get(name)?.every(({ connections }) => connections > 0));

  async function joinCluster(name: string): Promise<void> {
    const kube = kept(await startKubeCluster({ name, auditLog: true }));
    const proxy = await wire("agent-API server", Number(new URL(kube.url).port), {}, new URL(kube.url).hostname);
    const kubeconfig = join(folder, `kubeconfig-${name}`);
    await writeFile(kubeconfig, (await readFile(kube.kubeconfig, "utf8")).replace(kube.url, `https://127.0.0.1:${proxy.port}`), { mode: 0o600 });
    const stateDir = join(folder, `agent-${name}`);
    await mkdir(stateDir);
    agents.push(kept(await startAgent({ api: hub.api, enrolment: await hub.api.addCluster(name), cluster: { kubeconfig }, stateDir, folder })));
    kubes.set(name, kube);
    tap.watch(name, join(stateDir, "outbox"));
  }

  const filesOf = (value: number) =>
    Object.fromEntries(
      objects.map((name) => [
        `deploy/${name}.yaml`,
        `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { round: "${value}" }\n`,
      ]),
    );

  async function liveIn(name: string) {
    const items = (await kubes.get(name)?.client.list(configMaps)) ?? [];
    return new Map(items.filter((item) => objects.some((object) => object === item.metadata.name)).map((item) => [item.metadata.name, item]));
  }

  /** What differs between Git, the clusters and what the hub shows of them, object by object. */
  async function differences(): Promise<string[]> {
    const found: string[] = [];
    for (const name of clusters) {
      const [live, rows] = [await liveIn(name), new Map((await hub.api.objects({ fleet, cluster: name })).map((row) => [row.name, row]))];
      for (const object of objects) {
        const [item, row] = [live.get(object), rows.get(object)];
        const value = (item?.data as { round?: string } | undefined)?.round;
        if (value !== String(round)) found.push(`${object} in ${name} has ${value}, Git says ${round}`);
        if (row?.sync !== "Synced" || row.health !== "Current" || row.uid !== item?.metadata.uid)
          found.push(`${object} in ${name} is shown as ${row?.sync ?? "missing"}, ${row?.health} ${row?.uid}, and is ${item?.metadata.uid}`);
      }
      for (const shown of rows.keys()) if (!live.has(shown)) found.push(`${shown} is shown in ${name} and is not there`);
    }
    return found;
  }

  const agreed = () =>
    waitForValue(differences, (found) => found.length === 0, { what: `Git, clusters and view to agree on round ${round}`, timeoutMs: 90_000, everyMs: 200 });

  /** What was seen in outboxes and is not among the hub's events. */
  async function missing(): Promise<string[]> {
    const served = new Set((await hub.api.events({})).map((event) => `${event.cluster} ${shownEvent(event)}`));
    return tap.events.filter(({ cluster, text }) => !served.has(`${cluster} ${text}`)).map(({ cluster, text }) => `${cluster}: ${text}`);
  }

  async function deletes(): Promise<string[]> {
    const found: string[] = [];
    for (const [name, kube] of kubes) {
      for (const { verb, userAgent, objectRef } of await kube.auditedRequests())
        if (/^delete/.test(verb) && userAgent === "flotilla-agent" && objectRef?.namespace === "default") found.push(`${objectRef.name} in ${name}`);
    }
    return found;
  }

  it.each(subsets.map((cut, index) => [cut.join(", ") || "none", cut, index] as const))(
    "%s: each goes on with what it has, and afterwards view and clusters are equal",
    async (_names, cut) => {
      round += 1;
      // Refused, or silent as a network that drops: the one is noticed at once, the other by who waits.
      for (const name of cut) {
        const isSilent = random() < 0.3;
        for (const proxy of wires.get(name) ?? []) proxy[isSilent ? "hold" : "cutOff"]();
      }
      await repository.commit(filesOf(round));
      // Somebody edits by hand, past the wires.
      for (const name of clusters) await kubes.get(name)?.client.mergePatch(`${configMaps}/${objects[round % objects.length]}`, { data: { round: "by hand" } });
      await delay(1_000 + random() * 1_000);
      for (const proxies of wires.values()) for (const proxy of proxies) proxy.heal();
      await agreed();
      await tap.look();
      await waitForValue(missing, (events) => events.length === 0, { what: "every recorded event at the hub", timeoutMs: 30_000, everyMs: 200 });
    },
    180_000,
  );

  it("and nothing was deleted, made again or lost on the way", async () => {
    expect(await deletes()).toEqual([]);
    for (const name of clusters)
      for (const [object, item] of await liveIn(name)) expect(item.metadata.uid, `${object} in ${name}`).toBe(uids.get(`${name} ${object}`));
    expect(await hub.api.events({ reason: "ReportsLost" })).toEqual([]);
    // A run whose outboxes were never looked into proves nothing.
    expect(tap.events.length).toBeGreaterThan(subsets.length);
    expect(agents.every(({ running }) => running)).toBe(true);
  });
});
