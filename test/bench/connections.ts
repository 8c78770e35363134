import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { manyApps, settled } from "./crowd-fleet.ts";
import { type CrowdRig, say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, reportFigures } from "./figures.ts";
import { socketBytes } from "./proc-usage.ts";

/**
 * What connected agents cost the hub while nothing happens: memory, CPU, and bytes on their links, each with mutual TLS; by number of agents and of apps in each cluster.
 * `npm run bench -- connections [--json FILE] [--write] [--sizes 1000x100,10000x1] [--seconds 60]`.
 */

/** MiB of the hub's resident set, by agents and apps each. */
const memoryTargets: Record<string, number> = { "1000x100": 256, "10000x1": 1_229 };

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    sizes: { type: "string", default: "100x100,1000x100,10000x1" },
    seconds: { type: "string", default: "60" },
  },
});

async function measure(size: string, seconds: number): Promise<Figure[]> {
  const [agents = 0, apps = 0] = size.split("x").map(Number);
  const rig = await startCrowdRig({ count: agents, files: manyApps(apps, 1), maxEvents: 20 });
  try {
    const joined = performance.now();
    await settled(rig, agents, 1_200_000);
    say(`  ${agents} agents with ${apps} apps each are settled (${((performance.now() - joined) / 1_000).toFixed(0)} s after the last joined)`);
    // What joining left behind is collected, and reports of it are committed.
    await delay(20_000);
    const [cpuBefore, linksBefore] = [await rig.cpu(), await linkBytes(rig)];
    const began = performance.now();
    await delay(seconds * 1_000);
    const lasted = (performance.now() - began) / 1_000;
    const [cpuAfter, linksAfter] = [await rig.cpu(), await linkBytes(rig)];
    const memory = memoryTargets[size];
    const name = (what: string) => `${agents} agents × ${apps} apps: ${what}`;
    const used = cpuAfter.hub + cpuAfter.servers - cpuBefore.hub - cpuBefore.servers;
    const { residentMiB } = await rig.crowd.usage();
    return [
      { name: name("hub resident set"), value: await rig.hubMiB(), unit: "MiB", ...(memory !== undefined && { target: memory }) },
      { name: name("bytes per second and agent on the link, both ways"), value: (linksAfter - linksBefore) / lasted / agents, unit: "B/s", target: 64 },
      { name: name("hub, part of one core per 1,000 agents"), value: ((cpuAfter.hub - cpuBefore.hub) / lasted / agents) * 100_000, unit: "%", target: 1 },
      { name: name("hub with Postgres and NATS, part of one core per 1,000 agents"), value: (used / lasted / agents) * 100_000, unit: "%" },
      { name: name("agent with its API server, resident"), value: residentMiB / agents, unit: "MiB" },
      {
        name: name("agents with their API servers, part of one core per 1,000"),
        value: ((cpuAfter.crowd - cpuBefore.crowd) / lasted / agents) * 100_000,
        unit: "%",
      },
    ];
  } finally {
    await rig.stop();
  }
}

/** Payload that TCP carried on the hub's link listener so far, both ways: TLS records and HTTP/2 frames included. */
async function linkBytes(rig: CrowdRig): Promise<number> {
  const port = (await rig.hub.api.hub()).linkAddress.split(":").at(-1);
  let bytes = 0;
  for (const [ends, { sent, received }] of await socketBytes(rig.hub.pid)) if (ends.split(" ")[0]?.endsWith(`:${port}`)) bytes += sent + received;
  return bytes;
}

const figures: Figure[] = [];
for (const size of values.sizes.split(",")) figures.push(...(await measure(size, Number(values.seconds))));
process.exitCode = await reportFigures("connections", figures, values);
