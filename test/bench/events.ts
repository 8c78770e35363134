import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pg from "pg";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { startPostgresForTest } from "../harness/postgres.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { profileArgs } from "../harness/simulated/crowd.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { type AskedProcess, startAskedProcess } from "./asked-process.ts";
import { say } from "./crowd-rig.ts";
import type { EventAnswers, EventQuestion } from "./event-words.ts";
import { type Figure, reportFigures } from "./figures.ts";
import { cpuSeconds, cpuSecondsWithEnded } from "./proc-usage.ts";

/**
 * Events from agents to committed rows at a steady rate, while the hub, the broker and Postgres are killed once each: what is lost, what is there twice, and how long an
 * event takes from the agent's word to its transaction's commit (Postgres' own commit times).
 * `npm run bench -- events [--json FILE] [--write] [--rate 20000] [--seconds 300] [--clusters 100] [--processes 2] [--calm]`; --calm kills nothing.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    rate: { type: "string", default: "20000" },
    seconds: { type: "string", default: "300" },
    clusters: { type: "string", default: "100" },
    processes: { type: "string", default: "2" },
    calm: { type: "boolean", default: false },
  },
});
const [rate, seconds, clusters, processes] = [Number(values.rate), Number(values.seconds), Number(values.clusters), Number(values.processes)];

/** After a kill so long counts as its own time: to start again, take back leases and links, and commit what waited. Half of the run at most. */
const killWindowMs = Math.min(30_000, (seconds * 1_000) / 8);
/** Events that were told shortly before a kill may be late because of it. */
const caughtMs = 1_000;

/** Before the first kill, and first of all: links open, and programs become warm. */
const warmMs = 5_000;

interface Kill {
  readonly what: string;
  /** Epoch ms. */
  readonly at: number;
}

const program = fileURLToPath(new URL("event-process.ts", import.meta.url));
const folder = await scratchFolder("events");
const stops: (() => Promise<void>)[] = [() => removeFolder(folder)];
try {
  const postgres = await startPostgresForTest({ durable: true });
  stops.unshift(() => postgres.stop());
  await keepCommitTimes();
  say(`starting the hub and ${clusters} agents that tell ${rate} events a second for ${seconds} s …`);
  const env = { DATABASE_URL: postgres.url, ...(profileArgs().length > 0 && { NODE_OPTIONS: profileArgs().join(" ") }) };
  const args = ["--enrol-per-second", "500", "--log-level", "warn"];
  const hub = await startHub({ dataDir: join(folder, "hub"), folder, build: "bundle", args, env });
  stops.unshift(() => hub.stop());
  const parts = await startParts(hub);
  stops.unshift(async () => void (await Promise.all(parts.map((part) => part.stop()))));

  const usage = async () => ({ hub: await cpuSeconds(hub.pid), postgres: await serverCpu(postgres.pid), agents: await agentsCpu(parts) });
  await waitForValue(
    () => connectedOf(parts),
    (connected) => connected === clusters,
    { what: "every agent connected to hub and broker", timeoutMs: 120_000 },
  );
  await tell(parts, rate);
  await delay(warmMs);
  const before = await usage();
  const began = Date.now();
  await delay(Math.min(20_000, (seconds * 1_000) / 6));
  const after = await usage();
  const calmSeconds = (Date.now() - began) / 1_000;
  const kills = values.calm ? [] : await killAll(hub, began);
  await delay(Math.max(0, began + seconds * 1_000 - Date.now()));
  await tell(parts, 0);
  const ended = Date.now();
  say("  told; waiting until the hub has confirmed everything …");
  await waitForValue(
    () => waitingReports(parts),
    (waiting) => waiting === 0,
    { what: "every report confirmed", timeoutMs: 300_000, everyMs: 200 },
  );
  const drainedMs = Date.now() - ended;
  const told = await toldBy(parts);
  const figures = [...(await countRows(told)), ...(await lagFigures(kills, began, ended))];
  const cpu = (of: keyof typeof before): number => ((after[of] - before[of]) / calmSeconds) * 100;
  figures.push(
    { name: "from the last event until everything was confirmed", value: drainedMs / 1_000, unit: "s" },
    { name: "hub, part of one core before the first kill", value: cpu("hub"), unit: "%" },
    { name: "Postgres, part of one core before the first kill", value: cpu("postgres"), unit: "%" },
    { name: "agents, part of one core before the first kill", value: cpu("agents"), unit: "%" },
  );
  process.exitCode = await reportFigures("events", figures, values);

  /** Postgres keeps when each transaction was committed; that takes a start with the setting. */
  async function keepCommitTimes(): Promise<void> {
    await ask("ALTER SYSTEM SET track_commit_timestamp = on");
    process.kill(postgres.pid, "SIGKILL");
    await waitForValue(
      () => ask("SHOW track_commit_timestamp").catch(() => [{ track_commit_timestamp: "away" }]),
      ([row]) => row?.["track_commit_timestamp"] === "on",
      { what: "Postgres with commit times", timeoutMs: 60_000 },
    );
  }

  async function ask(text: string, parameters: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: postgres.url });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return (await client.query(text, [...parameters])).rows as Record<string, unknown>[];
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async function killAll(running: HubProcess, from: number): Promise<Kill[]> {
    const kills: Kill[] = [];
    const share = (seconds * 1_000) / 4;
    const acts: readonly (readonly [string, () => Promise<void>])[] = [
      ["hub and its broker", () => running.kill9().then(() => running.restart())],
      ["broker", async () => void process.kill(Number(await readFile(join(running.dataDir, "nats", "nats-server.pid"), "utf8")), "SIGKILL")],
      ["Postgres", async () => void process.kill(postgres.pid, "SIGKILL")],
    ];
    for (const [index, [what, act]] of acts.entries()) {
      await delay(Math.max(0, from + share * (index + 1) - Date.now()));
      say(`  kill -9: ${what}`);
      kills.push({ what, at: Date.now() });
      await act();
    }
    return kills;
  }

  async function countRows(told: ReadonlyMap<string, number>): Promise<Figure[]> {
    const rows = await ask(
      "SELECT cluster, count(*)::integer AS rows, count(DISTINCT object_id)::integer AS objects FROM events WHERE reason = 'Applied' GROUP BY cluster",
    );
    const found = new Map(rows.map((row) => [row["cluster"] as string, row as unknown as { rows: number; objects: number }]));
    const lost = [...told].reduce((sum, [name, count]) => sum + count - (found.get(name)?.objects ?? 0), 0);
    const twice = [...found.values()].reduce((sum, row) => sum + row.rows - row.objects, 0);
    const all = [...told.values()].reduce((sum, count) => sum + count, 0);
    const dropped = await ask("SELECT count(*)::integer AS rows FROM events WHERE reason IN ('ReportsLost', 'EventsDropped')");
    return [
      { name: `events told by ${clusters} agents in ${seconds} s`, value: all, unit: "" },
      { name: "events a second", value: all / ((ended - began + warmMs) / 1_000), unit: "/s", target: 20_000 * 0.99, better: "higher" },
      { name: "lost", value: lost, unit: "", target: 0 },
      { name: "there twice", value: twice, unit: "", target: 0 },
      { name: "gaps that agents owned up to", value: Number(dropped[0]?.["rows"]), unit: "", target: 0 },
    ];
  }

  /** By when the agent told of it. A kill's own time is left out of the first figures and told for itself. */
  async function lagFigures(kills: readonly Kill[], from: number, to: number): Promise<Figure[]> {
    const lag = "extract(epoch FROM pg_xact_commit_timestamp(xmin) - at) * 1000";
    await ask(`CREATE UNLOGGED TABLE bench_lags AS SELECT extract(epoch FROM at) * 1000 AS at, (${lag})::real AS ms FROM events WHERE reason = 'Applied'`);
    const outside = kills.map(({ at }) => `NOT (at BETWEEN ${at - caughtMs} AND ${at + killWindowMs})`).join(" AND ") || "true";
    const [calm] = await ask(
      `SELECT percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY ms) AS ms FROM bench_lags WHERE at BETWEEN ${from} AND ${to} AND ${outside}`,
    );
    const [p50 = Number.NaN, p99 = Number.NaN, most = Number.NaN] = (calm?.["ms"] ?? []) as number[];
    const figures: Figure[] = [
      { name: "from the agent's word to the commit, p50", value: p50, unit: "ms" },
      { name: "from the agent's word to the commit, p99", value: p99, unit: "ms", target: 1_000 },
      { name: "from the agent's word to the commit, the longest", value: most, unit: "ms" },
    ];
    for (const { what, at } of kills) {
      const [late] = await ask(`SELECT max(at) AS at, max(ms) AS ms FROM bench_lags WHERE ms > 1000 AND at BETWEEN ${at - caughtMs} AND ${at + killWindowMs}`);
      figures.push({
        name: `kill of ${what}: the last event that took over a second came after`,
        value: Math.max(0, Number(late?.["at"] ?? at) - at) / 1_000,
        unit: "s",
      });
      figures.push({ name: `kill of ${what}: the longest`, value: Number(late?.["ms"] ?? 0) / 1_000, unit: "s" });
    }
    return figures;
  }
} finally {
  for (const stop of stops) await stop();
}

type Part = AskedProcess<EventQuestion, EventAnswers>;

async function startParts(hub: HubProcess): Promise<Part[]> {
  const outboxes = join(folder, "outboxes");
  await mkdir(outboxes);
  const started: Part[] = [];
  for (let index = 0; index < processes; index += 1)
    started.push(await startAskedProcess<EventQuestion, EventAnswers>({ program, args: [outboxes], logFile: join(folder, `agents-${index}.log`) }));
  for (let index = 0; index < clusters; index += 1) {
    const name = `tells-${String(index).padStart(4, "0")}`;
    const { enrolAddress, token, caHash } = await hub.api.addCluster(name);
    await started[index % processes]?.ask({ ask: "join", members: [{ name, enrolAddress, token, caHash }] });
  }
  return started;
}

/** A server with a process per connection: itself, those that ended, and those that run. */
async function serverCpu(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).split(" ").filter(Boolean);
  const running = await Promise.all(children.map((child) => cpuSeconds(Number(child)).catch(() => 0)));
  return running.reduce((sum, used) => sum + used, await cpuSecondsWithEnded(pid));
}

async function tell(parts: readonly Part[], perSecond: number): Promise<void> {
  await Promise.all(parts.map((part) => part.ask({ ask: "tell", perSecond: perSecond / parts.length })));
}

async function waitingReports(parts: readonly Part[]): Promise<number> {
  return (await counts(parts)).reduce((sum, { waiting }) => sum + waiting, 0);
}

async function connectedOf(parts: readonly Part[]): Promise<number> {
  return (await counts(parts)).reduce((sum, { connected }) => sum + connected, 0);
}

async function agentsCpu(parts: readonly Part[]): Promise<number> {
  return (await counts(parts)).reduce((sum, { cpuSeconds: used }) => sum + used, 0);
}

async function toldBy(parts: readonly Part[]): Promise<Map<string, number>> {
  return new Map((await counts(parts)).flatMap(({ told }) => Object.entries(told)));
}

function counts(parts: readonly Part[]) {
  return Promise.all(parts.map((part) => part.ask({ ask: "count" })));
}
