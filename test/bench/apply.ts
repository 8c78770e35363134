import { readFile } from "node:fs/promises";
import { connect, type ClientHttp2Session } from "node:http2";
import { parseArgs } from "node:util";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { startEngine, SyncState, testTarget, type TestEngine, type TestTarget } from "../e2e/agent-fixture.ts";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { waitFor } from "../harness/wait-for.ts";
import { type BenchObject, benchObjects } from "./bench-objects.ts";
import { cpuSeconds } from "./proc-usage.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * The agent's engine against a bare loop of server-side applies on the same API server in the same run: 1,001 objects
 * (a namespace and 250 of each: Deployment, Service, ServiceAccount, 2 KB ConfigMap) in one bundle and in 250, first apply and an update of
 * all. And what a restart with 5,001 unchanged objects asks for.
 * `npm run bench -- apply [--json FILE] [--write] [--rounds N] [--only apply|restart]`.
 */

const inFlight = 16;
const perKind = 250;

/** The least that a program can do: one connection, so many applies in flight, answers read and thrown away. */
async function bareLoop(cluster: KubeCluster, objects: readonly BenchObject[]): Promise<number> {
  const session = connect(cluster.url, { ca: await readFile(cluster.caFile) });
  const started = performance.now();
  try {
    const [first, ...rest] = objects;
    if (first) await bareApply(session, cluster.token, first);
    const queue = rest.values();
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (const next of queue) await bareApply(session, cluster.token, next);
      }),
    );
    return (performance.now() - started) / 1000;
  } finally {
    session.close();
  }
}

function bareApply(session: ClientHttp2Session, token: string, { path, object }: BenchObject): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "PATCH",
      ":path": `${path}?fieldManager=bare&force=true`,
      authorization: `Bearer ${token}`,
      "content-type": "application/apply-patch+yaml",
    });
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"] ?? 0));
    stream.on("data", () => undefined);
    stream.on("error", reject);
    stream.on("close", () => (status < 300 ? resolve() : reject(new Error(`${path}: HTTP ${status}`))));
    stream.end(JSON.stringify(object));
  });
}

/** How the objects are cut into bundles. */
type Shape = "one bundle" | "250 bundles";
const shapes: readonly Shape[] = ["one bundle", "250 bundles"];

function bundlesOf(shape: Shape, namespace: string, version: string): { name: string; objects: readonly object[] }[] {
  const [first, ...rest] = benchObjects(namespace, version, perKind).map(({ object }) => object);
  if (shape === "one bundle") return [{ name: "all", objects: [first as object, ...rest] }];
  const apps = Array.from({ length: perKind }, (_, app) => ({ name: `app-${app}`, objects: rest.slice(app * 4, app * 4 + 4) }));
  apps[0]?.objects.unshift(first as never);
  return apps;
}

/** What one run took, in seconds. CPU tells more than the wall on a machine that others use too. */
interface Spent {
  readonly wall: number;
  /** Of this process, the client. */
  readonly cpu: number;
  /** Of API server, etcd and client together: what bounds the rate of a machine that does nothing else. */
  readonly allCpu: number;
}

async function spentOn(cluster: KubeCluster, act: () => Promise<number>): Promise<Spent> {
  const servers = async () => (await cpuSeconds(cluster.apiServerPid)) + (await cpuSeconds(cluster.etcd.pid));
  const [before, serversBefore] = [process.cpuUsage(), await servers()];
  const wall = await act();
  const { user, system } = process.cpuUsage(before);
  const cpu = (user + system) / 1e6;
  return { wall, cpu, allCpu: cpu + (await servers()) - serversBefore };
}

/** Seconds from the target's arrival, its bodies still to be kept, until everything is applied and the inventory is written. */
async function engineRun(agent: TestEngine, target: TestTarget): Promise<number> {
  const { fleet, generation } = target.target;
  const startedAt = Date.now();
  await agent.accept(target);
  const appliedAt = () => {
    const phases = agent.reports.filter((report) => report.fleet === fleet && report.generation === generation).flatMap((report) => report.phases);
    const ended = phases.find(({ phase, error }) => phase === "apply" && error === "")?.endedAt;
    return ended && timestampMs(ended);
  };
  const endedAt = await waitFor(appliedAt, { what: "the apply", timeoutMs: 120_000, everyMs: 20 });
  await agent.waitForQuiet();
  return (endedAt - startedAt) / 1000;
}

const steps = ["first apply", "update of all"] as const;

/** Round by round the bare loop and the engine in each shape, side by side: what else the machine does hits all of them. */
async function applyFigures(cluster: KubeCluster, rounds: number, say: (line: string) => void): Promise<Figure[]> {
  const agent = await startEngine(cluster);
  // The first requests of a young API server are no measure of anything.
  await bareLoop(cluster, benchObjects("warm", "1", 50));
  const spent = new Map<string, Spent[]>();
  const note = (name: string, one: Spent) => spent.set(name, [...(spent.get(name) ?? []), one]);
  for (let round = 0; round < rounds; round++) {
    for (const [step, what] of steps.entries()) {
      const version = String(step + 1);
      const runs: [string, () => Promise<number>][] = [
        ["bare", () => bareLoop(cluster, benchObjects(`bare-${round}`, version, perKind))],
        ...shapes.map((shape, index): [string, () => Promise<number>] => {
          const target = testTarget(`bench-${round}-${index}`, step + 1, bundlesOf(shape, `agent-${round}-${index}`, version));
          return [shape, () => engineRun(agent, target)];
        }),
      ];
      // Another order every round: the first run after a pause is nobody's for ever.
      for (let turn = 0; turn < runs.length; turn++) {
        const [name, run] = runs[(turn + round) % runs.length] as (typeof runs)[number];
        note(`${what}: ${name}`, await spentOn(cluster, run));
      }
      say(`  … round ${round + 1} of ${rounds}, ${what} done`);
    }
    for (const index of shapes.keys()) agent.engine.accept(testTarget(`bench-${round}-${index}`, 3, [], { tombstone: { reason: "measured" } }).target);
    await waitFor(() => agent.engine.isQuiet, { what: "a quiet engine", timeoutMs: 120_000 });
  }
  await agent.stop();
  return steps.flatMap((what) => {
    const bare = spent.get(`${what}: bare`) ?? [];
    const objects = perKind * 4 + 1;
    const rate = (runs: readonly Spent[]) => runs.map(({ wall }) => objects / wall);
    const cpuMs = (runs: readonly Spent[]) => runs.map(({ cpu }) => (cpu * 1000) / objects);
    return [
      medianFigure(`${what}: bare loop`, rate(bare), "objects/s"),
      medianFigure(`${what}: bare loop, CPU of the client`, cpuMs(bare), "ms/object"),
      ...shapes.flatMap((shape): Figure[] => {
        const runs = spent.get(`${what}: ${shape}`) ?? [];
        const ratios = (of: "wall" | "allCpu") => runs.map((run, round) => (bare[round]?.[of] ?? 0) / run[of]);
        return [
          medianFigure(`${what}, ${shape}: engine`, rate(runs), "objects/s"),
          medianFigure(`${what}, ${shape}: engine, CPU`, cpuMs(runs), "ms/object"),
          { ...medianFigure(`${what}, ${shape}: engine of the bare loop`, ratios("wall"), ""), target: 0.8, better: "higher" },
          medianFigure(`${what}, ${shape}: the same by CPU of client, API server and etcd`, ratios("allCpu"), ""),
        ];
      }),
    ];
  });
}

/** 5,000 objects that are as they should be, and an agent that starts: it reads, and writes nothing. */
async function restartFigures(cluster: KubeCluster): Promise<Figure[]> {
  const objects = benchObjects("restart", "1", 1_250).map(({ object }) => object);
  const target = testTarget("restart", 1, [{ name: "all", objects }]);
  const first = await startEngine(cluster);
  await engineRun(first, target);
  await first.stop();
  const started = performance.now();
  const second = await startEngine(cluster);
  await waitFor(() => second.summary("restart")?.objects === objects.length && second.summary("restart")?.sync === SyncState.SYNCED, {
    what: "the fleet in sync",
    timeoutMs: 60_000,
    everyMs: 10,
  });
  await second.waitForQuiet();
  const seconds = (performance.now() - started) / 1000;
  const sent = second.sent();
  const kinds = 5;
  const listPages = Math.ceil(1_250 / 100) * 4 + 1;
  await second.stop();
  return [
    {
      name: "restart with 5,001 unchanged objects: writes",
      value: Object.entries(sent).reduce((sum, [method, n]) => sum + (method === "GET" ? 0 : n), 0),
      unit: "",
      target: 0,
    },
    { name: "restart with 5,001 unchanged objects: requests besides lists and watches", value: (sent.GET ?? 0) - listPages - kinds, unit: "", target: 20 },
    { name: "restart with 5,001 unchanged objects: until nothing more is done", value: seconds, unit: "s" },
  ];
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: "string" }, write: { type: "boolean" }, rounds: { type: "string", default: "5" }, only: { type: "string" } },
  });
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const figures: Figure[] = [];
  if (values.only !== "restart") figures.push(...(await onFreshCluster("apply", say, (cluster) => applyFigures(cluster, Number(values.rounds), say))));
  // A cluster of its own: an agent also serves what it finds of other fleets.
  if (values.only !== "apply") figures.push(...(await onFreshCluster("restart", say, restartFigures)));
  return reportFigures("apply", figures, values);
}

async function onFreshCluster(name: string, say: (line: string) => void, measure: (cluster: KubeCluster) => Promise<Figure[]>): Promise<Figure[]> {
  say(`Starting an API server to measure ${name} …`);
  const cluster = await startKubeCluster({ name: `bench-${name}` });
  try {
    return await measure(cluster);
  } finally {
    await cluster.stop();
  }
}

process.exitCode = await main();
