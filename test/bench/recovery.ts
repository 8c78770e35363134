import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { waitForValue } from "../harness/wait-for.ts";
import { appManifest, manyApps, settled } from "./crowd-fleet.ts";
import { say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * kill -9 of the hub, with its Postgres and NATS, under agents that hold many bundles: until every agent is linked again and confirmed, what was sent again, and how soon
 * a new revision is taken.
 * `npm run bench -- recovery [--json FILE] [--write] [--agents 1000] [--apps 100] [--rounds 3]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    agents: { type: "string", default: "1000" },
    apps: { type: "string", default: "100" },
    rounds: { type: "string", default: "3" },
  },
});
const [agents, apps, rounds] = [Number(values.agents), Number(values.apps), Number(values.rounds)];
const rig = await startCrowdRig({ count: agents, files: manyApps(apps, 0), maxEvents: 20 });
try {
  await settled(rig, agents, 1_200_000);
  await delay(10_000);
  const [up, linked, sinceUp, resent, accepted]: number[][] = [[], [], [], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    const before = await rig.crowd.links();
    const killedAt = performance.timeOrigin + performance.now();
    await rig.hub.kill9();
    await rig.hub.restart();
    const upAt = performance.timeOrigin + performance.now();
    const links = await waitForValue(
      () => rig.crowd.links(),
      ({ connected, lastAt }) => connected === agents && lastAt > killedAt,
      {
        what: "every agent linked again",
        timeoutMs: 180_000,
        everyMs: 50,
      },
    );
    // What the hub finds to differ it sends within its polls.
    await delay(5_000);
    const after = await rig.crowd.links();
    up?.push((upAt - killedAt) / 1_000);
    linked?.push((links.lastAt - killedAt) / 1_000);
    sinceUp?.push((links.lastAt - upAt) / 1_000);
    resent?.push(((after.targets - before.targets) / agents) * 100);
    say(`  round ${round}: up after ${((upAt - killedAt) / 1_000).toFixed(1)} s, all linked after ${((links.lastAt - killedAt) / 1_000).toFixed(1)} s`);
    // Again, and this time a push meets the hub as soon as it is up.
    await rig.hub.kill9();
    await rig.hub.restart();
    // The fleet's numbers alone do not tell: they are of the targets, which come a moment after the revision.
    await rig.crowd.mark({ text: `round-${round}.`, perCluster: 1 });
    const began = performance.now();
    const { revision } = await rig.forge.push({ "deploy/apps/app-0/app.yaml": appManifest("app-0", round) });
    await waitForValue(
      () => rig.hub.api.fleet("shop"),
      (fleet) => fleet.revision === revision,
      { what: "the new revision", timeoutMs: 60_000, everyMs: 20 },
    );
    accepted?.push((performance.now() - began) / 1_000);
    await rig.crowd.through(180_000);
    await settled(rig, agents);
  }
  const figures: Figure[] = [
    medianFigure("kill -9 to the hub answering again", up ?? [], "s"),
    { ...medianFigure(`kill -9 to all ${agents} agents linked again`, linked ?? [], "s"), target: 15 },
    medianFigure("from the hub answering to the last agent", sinceUp ?? [], "s"),
    { ...medianFigure("targets sent again", resent ?? [], "%"), target: 2 },
    { ...medianFigure("up to a pushed revision rendered, placed and saved", accepted ?? [], "s"), target: 2 },
  ];
  process.exitCode = await reportFigures("recovery", figures, values);
} finally {
  await rig.stop();
}
