import { createHash } from "node:crypto";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { KubeClient } from "@flotilla/agent/cluster/kube-client";
import { silentLog } from "@flotilla/agent/log";
import { packBody } from "@flotilla/proto/body";
import type { KubeObject } from "@flotilla/proto/digest";
import { HelloSchema } from "@flotilla/proto/gen/link";
import { ApiServer } from "../harness/simulated/api-server.ts";
import { faultsOf } from "../harness/simulated/faults.ts";
import { memorySession } from "../harness/simulated/memory-session.ts";
import type { HostedCluster } from "../harness/simulated/simulated-host.ts";
import { type CrowdRig, pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { settled } from "./crowd-fleet.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * What other ways to run a fleet cost, on the same simulated clusters in the same run as ours: one changed object out of many, and a pass in which nothing changed.
 * They are the strategies in their simplest form, written here, and say nothing about the speed of any product: no Git, no database, no network and no TLS are between,
 * while ours is the whole of it: push, webhook, Git, render, Postgres, gRPC with mutual TLS, NATS, and every agent's word back.
 *
 *   P  poll and compare: a central loop lists every cluster's objects, compares them and applies what differs
 *   K  a loop in each cluster: for every object a read, a dry run, and an apply where that differs, one after the other
 *   O  one stored object per cluster in a central API server: it holds all manifests, an agent watches it, applies all of them and writes the status back
 *   F  a hub that sends everything again when an agent reconnects: bytes per agent
 *
 * P, K and O share their clusters, and change them by turns. In the largest crowds they run alone: so many agents do not fit beside them.
 * `npm run bench -- strategies [--json FILE] [--write] [--clusters 100,1000,3000] [--objects 40] [--rounds 5,3,1] [--ours-most 3000]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "100,1000,3000" },
    objects: { type: "string", default: "40" },
    /** By size; the last stands for the rest. */
    rounds: { type: "string", default: "5,3,1" },
    "ours-most": { type: "string", default: "3000" },
  },
});
const [objects, oursMost] = [Number(values.objects), Number(values["ours-most"])];

interface Manifest extends KubeObject {
  readonly metadata: { readonly name: string; readonly namespace: "default"; readonly labels: Readonly<Record<string, string>> };
  readonly data: Readonly<Record<string, string>>;
}

interface Place {
  readonly client: KubeClient;
  readonly cluster: HostedCluster;
}

const labels = { "app.kubernetes.io/managed-by": "bench" };
/** As little alike as the settings of different apps. */
const textOf = (index: number) => createHash("sha512").update(`app ${index}`).digest("hex").repeat(4);
const manifest = (index: number, value: string): Manifest => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: `app-${index}`, namespace: "default", labels },
  data: { value, text: textOf(index) },
});
/** Of a version only the first object differs. */
const manifestsOf = (version: string): Manifest[] => Array.from({ length: objects }, (_, index) => manifest(index, index === 0 ? version : "same"));
const pathOf = ({ metadata }: Manifest) => `/api/v1/namespaces/default/configmaps/${metadata.name}`;

let requests = 0;
function newPlace(): Place {
  const cluster: HostedCluster = { api: new ApiServer(50), token: "bench", faults: faultsOf({}), onRequest: () => void (requests += 1) };
  const endpoint = {
    url: new URL("http://bench.invalid"),
    source: "bench",
    serverName: undefined,
    insecureSkipVerify: false,
    tls: async () => ({}),
    token: async () => "bench",
    renew: () => undefined,
    open: () => memorySession(cluster),
  };
  return { cluster, client: new KubeClient(endpoint, silentLog) };
}

function apply({ client }: Place, wanted: Manifest, dryRun = false): Promise<Manifest> {
  const query = { fieldManager: "bench", force: "true", ...(dryRun && { dryRun: "All" }) };
  return client.json({ method: "PATCH", path: pathOf(wanted), query, contentType: "application/apply-patch+yaml", body: JSON.stringify(wanted) });
}

const differs = (live: Manifest | undefined, wanted: Manifest) => live === undefined || !isDeepStrictEqual(live.data, wanted.data);

interface Strategy {
  readonly letter: string;
  /** One pass to a version; tells when each cluster had it, in milliseconds since the pass began. */
  pass(version: string): Promise<number[]>;
}

/** So many clusters are looked at at once by a central loop, as its workers. */
const workers = 20;

async function inTurns<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const worker = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

function pollAndCompare(places: readonly Place[]): Strategy {
  return {
    letter: "P",
    async pass(version) {
      const wanted = manifestsOf(version);
      const [began, times]: [number, number[]] = [performance.now(), []];
      await inTurns(places, workers, async (place) => {
        const query = { labelSelector: "app.kubernetes.io/managed-by=bench" };
        const { items } = await place.client.json<{ items: Manifest[] }>({ method: "GET", path: "/api/v1/namespaces/default/configmaps", query });
        const live = new Map(items.map((item) => [item.metadata.name, item]));
        for (const object of wanted) if (differs(live.get(object.metadata.name), object)) await apply(place, object);
        times.push(performance.now() - began);
      });
      return times;
    },
  };
}

function dryRunEach(places: readonly Place[]): Strategy {
  return {
    letter: "K",
    async pass(version) {
      const wanted = manifestsOf(version);
      const [began, times]: [number, number[]] = [performance.now(), []];
      await Promise.all(
        places.map(async (place) => {
          for (const object of wanted) {
            const live = await place.client.json<Manifest>({ method: "GET", path: pathOf(object) }).catch(() => undefined);
            const tried = await apply(place, object, true);
            if (differs(live, tried)) await apply(place, object);
          }
          times.push(performance.now() - began);
        }),
      );
      return times;
    },
  };
}

function storedObjects(places: readonly Place[]): Strategy {
  const central = newPlace();
  return {
    letter: "O",
    async pass(version) {
      const wanted = manifestsOf(version);
      const [began, times]: [number, number[]] = [performance.now(), []];
      await inTurns([...places.entries()], workers, async ([index, place]) => {
        const stored = {
          ...manifest(index, version),
          metadata: { name: `work-${index}`, namespace: "default" as const, labels },
          data: { manifests: JSON.stringify(wanted) },
        };
        const seen = await apply(central, stored);
        // The agent's watch brings it the whole object again.
        for (const object of JSON.parse(seen.data.manifests ?? "[]") as Manifest[]) await apply(place, object);
        times.push(performance.now() - began);
        const status = {
          ...stored,
          metadata: { ...stored.metadata, name: `status-${index}` },
          data: { applied: JSON.stringify(wanted.map(({ metadata }) => metadata.name)) },
        };
        await apply(central, status);
      });
      return times;
    },
  };
}

interface Measured {
  readonly changed: { readonly ms: number[]; readonly cpu: number[]; readonly requests: number[] };
  readonly unchanged: { readonly cpu: number[]; readonly requests: number[] };
}

async function onePass(strategy: Strategy, version: string, clusters: number): Promise<{ last: number; cpu: number; requests: number }> {
  const [cpu, before] = [process.cpuUsage(), requests];
  const times = await strategy.pass(version);
  const { user, system } = process.cpuUsage(cpu);
  return { last: times.reduce((last, at) => Math.max(last, at), 0), cpu: (user + system) / 1_000 / clusters, requests: (requests - before) / clusters };
}

/** One pass to a new version, and one in which nothing changed. */
async function measureStrategy(strategy: Strategy, version: string, clusters: number, { changed, unchanged }: Measured): Promise<void> {
  const [first, second] = [await onePass(strategy, version, clusters), await onePass(strategy, version, clusters)];
  changed.ms.push(first.last);
  changed.cpu.push(first.cpu);
  changed.requests.push(first.requests);
  unchanged.cpu.push(second.cpu);
  unchanged.requests.push(second.requests);
}

async function measureOurs(rig: CrowdRig, version: string, clusters: number, { changed }: Measured): Promise<void> {
  const [before, asked] = [await rig.cpu(), (await rig.crowd.usage()).requests];
  const times = await pushAndFollow(
    rig,
    { "deploy/app-0.yaml": JSON.stringify(manifest(0, version)) },
    { text: `"${version}"`, perCluster: 1 },
    60_000 + clusters * 30,
  );
  await settled(rig, clusters);
  const after = await rig.cpu();
  changed.ms.push(times.at(-1) ?? Number.NaN);
  changed.cpu.push(((after.hub + after.servers + after.crowd - before.hub - before.servers - before.crowd) * 1_000) / clusters);
  changed.requests.push(((await rig.crowd.usage()).requests - asked) / clusters);
}

async function measure(clusters: number, rounds: number): Promise<Figure[]> {
  const places = Array.from({ length: clusters }, newPlace);
  const strategies = [pollAndCompare(places), dryRunEach(places), storedObjects(places)];
  const files = Object.fromEntries(manifestsOf("first").map((object) => [`deploy/${object.metadata.name}.yaml`, JSON.stringify(object)]));
  const rig = clusters > oursMost ? undefined : await startCrowdRig({ count: clusters, files, maxEvents: 50 });
  try {
    const measured = new Map([...strategies.map(({ letter }) => letter), ...(rig === undefined ? [] : ["ours"])].map((letter) => [letter, newMeasured()]));
    const of = (letter: string): Measured => measured.get(letter) ?? newMeasured();
    say(`  every object into ${clusters} clusters …`);
    for (const strategy of strategies) await strategy.pass("first");
    if (rig !== undefined) await settled(rig, clusters);
    for (let round = 1; round <= rounds; round += 1) {
      say(`  ${clusters} clusters, round ${round} of ${rounds} …`);
      for (const strategy of strategies) await measureStrategy(strategy, `${strategy.letter}-${round}`, clusters, of(strategy.letter));
      if (rig !== undefined) await measureOurs(rig, `ours-${round}`, clusters, of("ours"));
    }
    return figuresOf(measured, `${clusters} clusters × ${objects} objects`);
  } finally {
    await rig?.stop();
  }
}

function newMeasured(): Measured {
  return { changed: { ms: [], cpu: [], requests: [] }, unchanged: { cpu: [], requests: [] } };
}

function figuresOf(measured: ReadonlyMap<string, Measured>, size: string): Figure[] {
  return [...measured].flatMap(([letter, { changed, unchanged }]) => [
    medianFigure(`${letter}: one object changed in ${size}, until the last cluster has it`, changed.ms, "ms"),
    medianFigure(`${letter}: CPU of all sides per cluster for it`, changed.cpu, "ms"),
    medianFigure(`${letter}: requests to API servers per cluster for it`, changed.requests, ""),
    ...(unchanged.cpu.length > 0
      ? [
          medianFigure(`${letter}: CPU per cluster of a pass in which nothing changed`, unchanged.cpu, "ms"),
          medianFigure(`${letter}: requests per cluster of a pass in which nothing changed`, unchanged.requests, ""),
        ]
      : []),
  ]);
}

const figures: Figure[] = [];
const rounds = values.rounds.split(",").map(Number);
for (const [index, size] of values.clusters.split(",").entries()) figures.push(...(await measure(Number(size), rounds[index] ?? rounds.at(-1) ?? 1)));
figures.push(...reconnectFigures());
process.exitCode = await reportFigures("strategies", figures, values);

/** What one agent with everything in place costs the wire when it comes back. */
function reconnectFigures(): Figure[] {
  const body = packBody(manifestsOf("first"));
  const target = { fleet: "shop", generation: 7n, digest: body.digest };
  const hello = toBinary(HelloSchema, create(HelloSchema, { cluster: "sim-00001", protocolVersion: 1, agentVersion: "0.1.0", targets: [target] }));
  return [
    { name: `F: bytes to one reconnecting agent, ${objects} objects sent again (compressed)`, value: body.compressed.length, unit: "B" },
    { name: "ours: bytes from one reconnecting agent that holds all, its digests", value: hello.length, unit: "B" },
  ];
}
