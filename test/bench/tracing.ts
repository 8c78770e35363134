import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { manyApps, settled } from "./crowd-fleet.ts";
import { type CrowdRig, type CrowdRigOptions, pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, medianFigure, percentile, reportFigures } from "./figures.ts";

/**
 * What all traces cost: two fleets alike, of which one's hub and agents export every span by OTLP to a collector that takes them and keeps nothing. Commits that change every
 * app go to one and the other in turn.
 * `npm run bench -- tracing [--json FILE] [--write] [--clusters 50] [--apps 50] [--rounds 7]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "50" },
    apps: { type: "string", default: "50" },
    rounds: { type: "string", default: "7" },
  },
});
const [clusters, apps, rounds] = [Number(values.clusters), Number(values.apps), Number(values.rounds)];

/** One round: the CPU that hub and agents took (ms), and the time until the hub had every agent's word (ms). */
interface Round {
  readonly cpu: number;
  readonly wall: number;
}

let collected = 0;
const collector = createServer((request, response) => {
  request.on("data", (chunk: Buffer) => (collected += chunk.byteLength));
  request.on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
});
await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` };
const off = { OTEL_EXPORTER_OTLP_ENDPOINT: "" };

const rigs: CrowdRig[] = [];
try {
  const options = (env: NodeJS.ProcessEnv): CrowdRigOptions => ({ count: clusters, files: manyApps(apps, 0, 2_000), maxEvents: 50, hubEnv: env, env });
  for (const each of [off, env]) {
    rigs.push(await startCrowdRig(options(each)));
    await settled(rigs.at(-1) as CrowdRig, clusters);
  }
  const [without, traced] = rigs as [CrowdRig, CrowdRig];
  // The first round of each is theirs to warm up.
  for (const rig of rigs) await commit(rig, 1);
  const before = collected;
  const all: { plain: Round; traced: Round }[] = [];
  for (let round = 2; round < rounds + 2; round += 1) {
    const first = round % 2 === 0 ? without : traced;
    const one = await commit(first, round);
    const other = await commit(first === without ? traced : without, round);
    all.push(first === without ? { plain: one, traced: other } : { plain: other, traced: one });
    say(`  round ${round - 1}: ${JSON.stringify(all.at(-1))}`);
  }
  if (collected === before) throw new Error("not one span reached the collector: nothing was measured");
  const targets = clusters * apps;
  const perTarget = (of: "plain" | "traced") => all.map((round) => (round[of].cpu * 1_000) / targets);
  const ratio = (of: keyof Round) =>
    percentile(
      all.map((round) => round.traced[of]),
      50,
    ) /
    percentile(
      all.map((round) => round.plain[of]),
      50,
    );
  const figures: Figure[] = [
    medianFigure("CPU of hub and agents per target, no traces exported", perTarget("plain"), "µs"),
    medianFigure("CPU of hub and agents per target, all traces exported", perTarget("traced"), "µs"),
    { name: "CPU with traces of CPU without", value: ratio("cpu"), unit: "", target: 1.03 },
    { name: "time with traces of time without", value: ratio("wall"), unit: "", target: 1.03 },
    { name: "sent to the collector per target", value: (collected - before) / rounds / targets, unit: "B" },
  ];
  process.exitCode = await reportFigures("tracing", figures, values);
} finally {
  for (const rig of rigs) await rig.stop();
  collector.close();
}

async function commit(rig: CrowdRig, round: number): Promise<Round> {
  const before = await rig.cpu();
  const began = performance.now();
  await pushAndFollow(rig, manyApps(apps, round, 2_000), { text: `"round-${round}."`, perCluster: apps }, 300_000);
  await settled(rig, clusters);
  const wall = performance.now() - began;
  const after = await rig.cpu();
  return { cpu: (after.hub - before.hub + after.crowd - before.crowd) * 1_000, wall };
}
