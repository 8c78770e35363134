import { parseArgs } from "node:util";
import pg from "pg";
import { waitForValue } from "../harness/wait-for.ts";
import { pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { settled } from "./crowd-fleet.ts";
import { type Figure, medianFigure, percentile, reportFigures } from "./figures.ts";
import { embeddedUrl } from "./grown-hub.ts";

/**
 * Every Deployment of every cluster loses its pods and gets them back, step by step, while one changed app goes to all of them: how long that takes against the same push in
 * calm, how much of what the API servers say is written down by the hub, and that the view is whole afterwards.
 * `npm run bench -- storm [--json FILE] [--write] [--clusters 100] [--objects 500] [--steps 10] [--every-ms 1000] [--rounds 3]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "100" },
    objects: { type: "string", default: "500" },
    steps: { type: "string", default: "10" },
    "every-ms": { type: "string", default: "1000" },
    rounds: { type: "string", default: "3" },
  },
});
const [clusters, objects, steps, everyMs, rounds] = [values.clusters, values.objects, values.steps, values["every-ms"], values.rounds].map(Number) as [
  number,
  number,
  number,
  number,
  number,
];

const app = (value: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app, namespace: default }\ndata: { value: "${value}" }\n`;
const deployment = (index: number) => `apiVersion: apps/v1
kind: Deployment
metadata: { name: web-${index}, namespace: default }
spec:
  replicas: 4
  selector: { matchLabels: { app: web-${index} } }
  template:
    metadata: { labels: { app: web-${index} } }
    spec: { containers: [{ name: web, image: "registry.example/web:1" }] }
`;
const files = {
  "deploy/app/app.yaml": app("first"),
  "deploy/web/web.yaml": Array.from({ length: objects }, (_, index) => deployment(index)).join("---\n"),
};

const rig = await startCrowdRig({ count: clusters, files, maxEvents: 50 });
const db = new pg.Client({ connectionString: await embeddedUrl(rig.hub.dataDir) });
try {
  await db.connect();
  say("  waiting until every Deployment stands …");
  await waitForValue(
    () => rig.hub.api.fleet("shop"),
    ({ tally }) => tally.clusters === clusters && tally.synced === clusters,
    { what: "everything applied", timeoutMs: 900_000, everyMs: 500 },
  );
  await rig.crowd.stir({ objects, steps: 1, everyMs: 0 });
  await settled(rig, clusters, 900_000);
  const [calm, stormy, share, behind]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let round = 1; round <= rounds; round += 1) {
    calm.push(percentile(await push(`calm-${round}`), 99));
    await settled(rig, clusters);
    const before = await written(db);
    const storm = rig.crowd.stir({ objects, steps, everyMs });
    // The first step is on its way to every agent, the others come while the push is followed.
    await waitForValue(
      () => rig.hub.api.fleet("shop"),
      ({ tally }) => tally.current < clusters,
      { what: "the storm seen by the hub", timeoutMs: 120_000, everyMs: 20 },
    );
    stormy.push(percentile(await push(`storm-${round}`), 99));
    const raw = await storm;
    const over = performance.now();
    await settled(rig, clusters);
    behind.push((performance.now() - over) / 1_000);
    share.push((((await written(db)) - before) / raw) * 100);
    say(
      `  round ${round}: p99 ${calm.at(-1)?.toFixed(0)} ms in calm, ${stormy.at(-1)?.toFixed(0)} ms in the storm of ${raw} changes, of which ${share.at(-1)?.toFixed(1)} % became rows`,
    );
  }
  const of = `${clusters} clusters × ${objects} objects × ${steps} changes`;
  const figures: Figure[] = [
    medianFigure("push to applied p99, in calm", calm, "ms"),
    { ...medianFigure(`push to applied p99, in a storm of ${of}`, stormy, "ms"), target: 1_500 },
    { ...medianFigure("rows written for each hundred changes", share, ""), target: 20 },
    medianFigure("the end of the storm to a view that is whole", behind, "s"),
    { name: "hub resident set", value: await rig.hubMiB(), unit: "MiB" },
  ];
  process.exitCode = await reportFigures("storm", figures, values);
} finally {
  await db.end().catch(() => undefined);
  await rig.stop();
}

async function push(value: string): Promise<number[]> {
  return await pushAndFollow(rig, { "deploy/app/app.yaml": app(value) }, { text: `"${value}"`, perCluster: 1 }, 300_000);
}

/** Rows that were written of what agents reported, since Postgres started: events, and states of objects, bundles and targets. */
async function written(client: pg.Client): Promise<number> {
  // Each backend hands in its counts within a second of its last transaction, and when it is idle.
  const counted = async (): Promise<number> => {
    await client.query("SELECT pg_stat_clear_snapshot()");
    const { rows } = await client.query<{ name: string; count: string }>(
      `SELECT relname AS name, n_tup_ins + n_tup_upd AS count FROM pg_stat_user_tables
       WHERE relname ~ '^(events_.*|object_states|bundle_states|target_states|drifts|phases)$' AND n_tup_ins + n_tup_upd > 0 ORDER BY 1`,
    );
    tables = rows.map(({ name, count }) => `${name} ${count}`).join(", ");
    return rows.reduce((sum, { count }) => sum + Number(count), 0);
  };
  let [last, tables] = [-1, ""];
  return await waitForValue(
    async () => {
      const before = last;
      last = await counted();
      return { isStill: before === last, count: last };
    },
    ({ isStill }) => isStill,
    { what: "Postgres at rest", timeoutMs: 60_000, everyMs: 2_000 },
  ).then(({ count }) => {
    say(`  rows so far: ${tables}`);
    return count;
  });
}
