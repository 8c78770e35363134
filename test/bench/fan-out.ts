import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";
import { waitForValue } from "../harness/wait-for.ts";
import { openAnsweringLinks } from "./answering-links.ts";
import { type CrowdRig, pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, medianFigure, percentile, reportFigures } from "./figures.ts";
import { embeddedUrl } from "./grown-hub.ts";

/**
 * One changed app on every cluster of a fleet: from the push until the object stands in the cluster's API server; and until the hub has given the target to the stream, which is
 * the hub's part of it where agents have machines of their own.
 * And by itself: the same push to links in place of agents (real enrolment, TLS and streams, the agent's own link), which take the target and its body and do nothing.
 * `npm run bench -- fan-out [--json FILE] [--write] [--clusters 100,1000] [--links 1000] [--rounds N]`; "none" leaves one of both out.
 */

const apps = 10;
const app = (index: number, value: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app-${index}, namespace: default }\ndata: { value: "${value}", text: "${"x".repeat(500)}" }\n`;
const files = Object.fromEntries(Array.from({ length: apps }, (_, index) => [`deploy/app-${index}.yaml`, app(index, "first")]));

/** p99 of one push to every cluster, and to the last of them, by size of the fleet. */
const targets: Record<number, number> = { 1_000: 1_000, 10_000: 5_000 };

async function measure(count: number, rounds: number): Promise<Figure[]> {
  const rig = await startCrowdRig({ count, files, maxEvents: 50 });
  const db = new pg.Client({ connectionString: await embeddedUrl(rig.hub.dataDir) });
  try {
    await db.connect();
    await settled(rig, count);
    const [p50, p99, last, sent]: [number[], number[], number[], number[]] = [[], [], [], []];
    const before = await rig.cpu();
    const requestsBefore = (await rig.crowd.usage()).requests;
    for (let round = 1; round <= rounds; round += 1) {
      const pushedAt = Date.now();
      const times = await pushAndFollow(
        rig,
        { "deploy/app-0.yaml": app(0, `round-${round}`) },
        { text: `"round-${round}"`, perCluster: 1 },
        60_000 + count * 30,
      );
      say(
        `  round ${round}: p50 ${percentile(times, 50).toFixed(0)} ms, p99 ${percentile(times, 99).toFixed(0)} ms, last ${(times.at(-1) ?? 0).toFixed(0)} ms`,
      );
      p50.push(percentile(times, 50));
      p99.push(percentile(times, 99));
      last.push(times.at(-1) ?? Number.NaN);
      await settled(rig, count);
      sent.push(percentile(await sendTimes(db, pushedAt, count), 99));
      say(`  round ${round}: sent p99 ${sent.at(-1)?.toFixed(0)} ms`);
    }
    const after = await rig.cpu();
    const requests = (await rig.crowd.usage()).requests - requestsBefore;
    const each = (used: number) => (used * 1_000) / rounds / count;
    const name = (what: string) => `${count} clusters, ${what}`;
    const target = targets[count];
    return [
      medianFigure(name("push to applied p50"), p50, "ms"),
      { ...medianFigure(name("push to applied p99"), p99, "ms"), ...(target !== undefined && { target }) },
      medianFigure(name("push to applied, the last"), last, "ms"),
      medianFigure(name("push to target sent by the hub, p99"), sent, "ms"),
      { name: name("CPU of the hub per change and cluster"), value: each(after.hub - before.hub), unit: "ms" },
      { name: name("CPU of Postgres and NATS per change and cluster"), value: each(after.servers - before.servers), unit: "ms" },
      { name: name("CPU of agent and API server per change and cluster"), value: each(after.crowd - before.crowd), unit: "ms" },
      { name: name("requests to the API server per change"), value: requests / rounds / count, unit: "" },
      { name: name("hub resident set"), value: await rig.hubMiB(), unit: "MiB" },
    ];
  } finally {
    await db.end().catch(() => undefined);
    await rig.stop();
  }
}

/** When the hub gave the newest revision's target to each stream, in milliseconds after the push; a moment more, as the push itself is counted. */
async function sendTimes(db: pg.Client, pushedAt: number, count: number): Promise<number[]> {
  const rows = await waitForValue(
    async () =>
      (
        await db.query<{ at: number }>(
          `SELECT (EXTRACT(EPOCH FROM p.started_at) * 1000)::float8 AS at FROM phases p JOIN fleets f ON f.name = p.fleet AND f.revision = p.revision WHERE p.phase = 'send'`,
        )
      ).rows,
    (found) => found.length === count,
    { what: "every target's send phase", timeoutMs: 60_000, everyMs: 500 },
  );
  return rows.map(({ at }) => at - pushedAt);
}

/** What the hub alone can do: nobody applies, and nobody tells anything but that he has the target. */
async function measureLinks(count: number, rounds: number): Promise<Figure[]> {
  const rig = await startCrowdRig({ count: 0, processes: 1, files });
  const held = new Map<string, { readonly revision: string; readonly at: number }>();
  const links = await openAnsweringLinks(rig.hub.api, count, {}, [], (cluster, { revision }) => {
    held.set(cluster, { revision, at: performance.now() });
    if (held.size % 500 === 0 && held.size < count) say(`  … ${held.size} of ${count} links hold the first target`);
  });
  try {
    const all = (revision: string): Promise<unknown> =>
      waitForValue(
        () => [...held.values()].filter((one) => one.revision === revision).length,
        (there) => there === count,
        { what: `all links at ${revision.slice(0, 12)}`, timeoutMs: 60_000 + count * 30, everyMs: 100 },
      );
    await all((await rig.hub.api.fleet("shop")).revision ?? "");
    const [p50, p99, last]: [number[], number[], number[]] = [[], [], []];
    const before = await rig.cpu();
    for (let round = 1; round <= rounds; round += 1) {
      const { pushedAt, revision } = await rig.forge.push({ "deploy/app-0.yaml": app(0, `round-${round}`) });
      await all(revision);
      const times = [...held.values()].map(({ at }) => at - pushedAt).toSorted((a, b) => a - b);
      say(`  ${count} links, round ${round}: p50 ${percentile(times, 50).toFixed(0)} ms, last ${(times.at(-1) ?? 0).toFixed(0)} ms`);
      p50.push(percentile(times, 50));
      p99.push(percentile(times, 99));
      last.push(times.at(-1) ?? Number.NaN);
      // Receipts are written down.
      await delay(5_000);
    }
    const after = await rig.cpu();
    const name = (what: string) => `${count} links that only take targets, ${what}`;
    const each = (used: number) => (used * 1_000) / rounds / count;
    return [
      medianFigure(name("push to target taken p50"), p50, "ms"),
      medianFigure(name("push to target taken p99"), p99, "ms"),
      medianFigure(name("push to target taken, the last"), last, "ms"),
      { name: name("CPU of the hub per change and link"), value: each(after.hub - before.hub), unit: "ms" },
      { name: name("CPU of Postgres and NATS per change and link"), value: each(after.servers - before.servers), unit: "ms" },
      { name: name("hub resident set"), value: await rig.hubMiB(), unit: "MiB" },
    ];
  } finally {
    await links.close();
    await rig.stop();
  }
}

/** Every agent has told that it runs what it should. */
async function settled(rig: CrowdRig, count: number): Promise<void> {
  await waitForValue(
    () => rig.hub.api.fleet("shop"),
    ({ tally }) => tally.clusters === count && tally.synced === count && tally.current === count,
    { what: "the fleet Current", timeoutMs: 300_000 + count * 30, everyMs: 500 },
  );
}

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "100,1000" },
    links: { type: "string", default: "1000" },
    rounds: { type: "string", default: "7" },
  },
});
const figures: Figure[] = [];
const sizes = (text: string): number[] => (text === "none" ? [] : text.split(",").map(Number));
for (const count of sizes(values.clusters)) figures.push(...(await measure(count, Number(values.rounds))));
for (const count of sizes(values.links)) figures.push(...(await measureLinks(count, Number(values.rounds))));
process.exitCode = await reportFigures("fan-out", figures, values);
