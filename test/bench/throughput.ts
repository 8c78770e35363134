import { parseArgs } from "node:util";
import { waitForValue } from "../harness/wait-for.ts";
import { pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * One commit with many apps for many clusters: 50,000 app-in-cluster targets of one 2 KB ConfigMap each, from the push until every object stands, and until the hub has
 * every agent's word for it. The first round makes the objects, the others change all of them.
 * `npm run bench -- throughput [--json FILE] [--write] [--clusters 500] [--apps 100] [--rounds N]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "500" },
    apps: { type: "string", default: "100" },
    rounds: { type: "string", default: "3" },
  },
});
const [clusters, apps, rounds] = [Number(values.clusters), Number(values.apps), Number(values.rounds)];
const names = Array.from({ length: apps }, (_, index) => `app-${index}`);
const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  bundles:
    - { name: seed, path: seed }
`;
const bundles = names.map((name) => `    - { name: ${name}, path: apps/${name} }\n`).join("");
const app = (name: string, round: number) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { round: "round-${round}.", text: "${"x".repeat(2_000)}" }\n`;
const version = (round: number) => Object.fromEntries(names.map((name) => [`deploy/apps/${name}/app.yaml`, app(name, round)]));

const rig = await startCrowdRig({
  count: clusters,
  maxEvents: 50,
  files: { "deploy/fleet.yaml": fleetFile, "deploy/seed/seed.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: seed, namespace: default }\n" },
});
try {
  const settled = async (): Promise<void> => {
    await waitForValue(
      () => rig.hub.api.fleet("shop"),
      ({ tally, revision, seenRevision }) =>
        revision === seenRevision && tally.clusters === clusters && tally.synced === clusters && tally.current === clusters,
      { what: "every agent's word for it", timeoutMs: 600_000, everyMs: 200 },
    );
  };
  await settled();
  const [applied, known]: [number[], number[]] = [[], []];
  const cpu = [await rig.cpu()];
  for (let round = 1; round <= rounds; round += 1) {
    const began = performance.now();
    const files = { ...version(round), ...(round === 1 && { "deploy/fleet.yaml": fleetFile + bundles }) };
    const times = await pushAndFollow(rig, files, { text: `"round-${round}."`, perCluster: apps }, 900_000);
    await settled();
    applied.push((times.at(-1) ?? Number.NaN) / 1_000);
    known.push((performance.now() - began) / 1_000);
    cpu.push(await rig.cpu());
    say(`  round ${round}: applied after ${applied.at(-1)?.toFixed(1)} s, the hub has every agent's word after ${known.at(-1)?.toFixed(1)} s`);
  }
  const total = clusters * apps;
  const use = (of: "hub" | "servers" | "crowd"): number => ((((cpu.at(-1)?.[of] ?? 0) - (cpu[0]?.[of] ?? 0)) / rounds) * 1e6) / total;
  const { residentMiB } = await rig.crowd.usage();
  const figures: Figure[] = [
    medianFigure(`${total} targets: push to applied`, applied, "s"),
    { ...medianFigure(`${total} targets: push to acknowledged`, known, "s"), target: 60 },
    { name: "targets acknowledged per second", value: total / (known.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN), unit: "/s" },
    { name: "CPU of the hub per target", value: use("hub"), unit: "µs" },
    { name: "CPU of Postgres and NATS per target", value: use("servers"), unit: "µs" },
    { name: "CPU of agent and API server per target", value: use("crowd"), unit: "µs" },
    { name: "hub resident set", value: await rig.hubMiB(), unit: "MiB" },
    { name: `${clusters} agents and their API servers, resident`, value: residentMiB, unit: "MiB" },
  ];
  process.exitCode = await reportFigures("throughput", figures, values);
} finally {
  await rig.stop();
}
