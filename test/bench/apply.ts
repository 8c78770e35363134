import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type ClientHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { startEngine, keepTarget, testTarget, testClusterName, type TestEngine, type TestTarget } from "../e2e/agent-fixture.ts";
import { startKubeCluster, type KubeCluster } from "../harness/kube-cluster.ts";
import { spawnService } from "../harness/spawn-service.ts";
import { waitFor } from "../harness/wait-for.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * The agent's engine against a bare loop of server-side applies on the same API server in the same run: 1,001 objects
 * (a namespace and 250 of each: Deployment, Service, ServiceAccount, 2 KB ConfigMap), first apply and an update of all.
 * And the agent's memory at 500 objects, as a process. `npm run bench -- apply [--json FILE] [--rounds N] [--only apply|memory]`.
 */

const inFlight = 16;
const perKind = 250;

interface BenchObject {
  readonly path: string;
  readonly object: { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string } };
}

function benchObjects(namespace: string, version: string, count = perKind): BenchObject[] {
  const objects: BenchObject[] = [{ path: `/api/v1/namespaces/${namespace}`, object: { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } } }];
  for (let i = 0; i < count; i++) {
    const name = `app-${i}`;
    const metadata = { name, namespace, annotations: { "bench.example/version": version } };
    const put = (collection: string, object: BenchObject["object"]) => objects.push({ path: `${collection}/${name}`, object });
    put(`/api/v1/namespaces/${namespace}/serviceaccounts`, { apiVersion: "v1", kind: "ServiceAccount", metadata });
    put(`/api/v1/namespaces/${namespace}/configmaps`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata,
      ...{ data: { text: `${version}${"x".repeat(2_000)}` } },
    });
    put(`/api/v1/namespaces/${namespace}/services`, {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      ...{ spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] } },
    });
    const container = {
      name: "main",
      image: `example/app:${version}`,
      ports: [{ containerPort: 8080 }],
      resources: { requests: { cpu: "10m", memory: "16Mi" } },
    };
    const spec = {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { serviceAccountName: name, containers: [container] } },
    };
    put(`/apis/apps/v1/namespaces/${namespace}/deployments`, { apiVersion: "apps/v1", kind: "Deployment", metadata, ...{ spec } });
  }
  return objects;
}

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
  const [first, ...rest] = benchObjects(namespace, version).map(({ object }) => object);
  if (shape === "one bundle") return [{ name: "all", objects: [first as object, ...rest] }];
  const apps = Array.from({ length: perKind }, (_, app) => ({ name: `app-${app}`, objects: rest.slice(app * 4, app * 4 + 4) }));
  apps[0]?.objects.unshift(first as never);
  return apps;
}

/** What one run took. CPU is this process' own, and tells more than the wall on a machine that others use too. */
interface Spent {
  readonly wall: number;
  readonly cpu: number;
}

async function spentOn(act: () => Promise<number>): Promise<Spent> {
  const before = process.cpuUsage();
  const wall = await act();
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1e6 };
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
        ["bare", () => bareLoop(cluster, benchObjects(`bare-${round}`, version))],
        ...shapes.map((shape, index): [string, () => Promise<number>] => {
          const target = testTarget(`bench-${round}-${index}`, step + 1, bundlesOf(shape, `agent-${round}-${index}`, version));
          return [shape, () => engineRun(agent, target)];
        }),
      ];
      // Another order every round: the first run after a pause is nobody's for ever.
      for (let turn = 0; turn < runs.length; turn++) {
        const [name, run] = runs[(turn + round) % runs.length] as (typeof runs)[number];
        note(`${what}: ${name}`, await spentOn(run));
      }
      say(`  … round ${round + 1} of ${rounds}, ${what} done`);
    }
    for (const index of shapes.keys()) agent.engine.accept(testTarget(`bench-${round}-${index}`, 3, [], { tombstone: { reason: "measured" } }).target);
    await agent.waitForQuiet();
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
        const ratios = runs.map(({ wall }, round) => (bare[round]?.wall ?? 0) / wall);
        return [
          medianFigure(`${what}, ${shape}: engine`, rate(runs), "objects/s"),
          medianFigure(`${what}, ${shape}: engine, CPU`, cpuMs(runs), "ms/object"),
          { ...medianFigure(`${what}, ${shape}: engine of the bare loop`, ratios, ""), target: 0.8, better: "higher" },
        ];
      }),
    ];
  });
}

/** The shipped agent with 500 objects and a hub that is away, which is when it holds most. */
async function memoryFigures(cluster: KubeCluster): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), "flotilla-bench-"));
  const objects = benchObjects("memory", "1", 125).map(({ object }) => object);
  await keepTarget(cluster, testTarget("memory", 1, [{ name: "all", objects }]));
  await writeFile(join(folder, "identity.json"), await unreachableIdentity(), { mode: 0o600 });
  const args = ["--cluster", testClusterName, "--kubeconfig", cluster.kubeconfig, "--state-dir", folder, "--hub", "localhost:1", "--identity", "file"];
  // As its image runs it: one malloc arena instead of one for every thread.
  const agent = spawnService("agent", { args, build: "bundle", env: { MALLOC_ARENA_MAX: "1" } });
  try {
    await waitFor(async () => (await cluster.client.list("/apis/apps/v1/namespaces/memory/deployments")).length === 125, {
      what: "the objects",
      timeoutMs: 60_000,
    });
    // The first seconds after an apply still hold its garbage; what stays is what an edge box pays for.
    const samples: number[] = [];
    await waitFor(
      async () => {
        samples.push(await statusMiB(agent.pid, "VmRSS"));
        return samples.length >= 30;
      },
      { what: "memory samples", timeoutMs: 60_000, everyMs: 500 },
    );
    return [
      { name: "agent resident set at 500 objects", value: samples.at(-1) ?? 0, unit: "MiB", target: 90 },
      { name: "agent resident set at 500 objects, peak", value: await statusMiB(agent.pid, "VmHWM"), unit: "MiB" },
    ];
  } finally {
    await agent.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** An identity towards a hub that is not there. */
async function unreachableIdentity(): Promise<string> {
  const made = await promisify(execFile)("openssl", [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-subj",
    `/CN=${testClusterName}`,
    "-keyout",
    "-",
  ]);
  const [privateKeyPem, certificatePem] = ["PRIVATE KEY", "CERTIFICATE"].map(
    (label) => new RegExp(`-----BEGIN ${label}-----[^]*?-----END ${label}-----\\n`).exec(made.stdout)?.[0] ?? "",
  );
  return JSON.stringify({
    cluster: testClusterName,
    privateKeyPem,
    certificatePem,
    caPem: certificatePem,
    linkAddress: "localhost:1",
    enrolAddress: "localhost:1",
  });
}

async function statusMiB(pid: number, field: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { json: { type: "string" }, rounds: { type: "string", default: "5" }, only: { type: "string" } } });
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const figures: Figure[] = [];
  if (values.only !== "memory") figures.push(...(await onFreshCluster("apply", say, (cluster) => applyFigures(cluster, Number(values.rounds), say))));
  // A cluster of its own: an agent also serves what it finds of other fleets.
  if (values.only !== "apply") figures.push(...(await onFreshCluster("memory", say, memoryFigures)));
  return reportFigures("apply", figures, values.json);
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
