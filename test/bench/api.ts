import { parseArgs } from "node:util";
import { askHub } from "./api-questions.ts";
import { say } from "./crowd-rig.ts";
import { reportFigures } from "./figures.ts";
import { addTrouble, growEvents, startGrownHub } from "./grown-hub.ts";

/**
 * What readers wait for in a fleet of 10,000 clusters with 100 bundles each: every request of `fleet status`, `cluster list`, `drift list`, `events` and `history`, and of
 * the lists that they narrow, over HTTP, at random places; how large the answers are.
 * `npm run bench -- api [--json FILE] [--write] [--clusters 10000] [--apps 100] [--events 1000000] [--requests 200]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    clusters: { type: "string", default: "10000" },
    apps: { type: "string", default: "100" },
    events: { type: "string", default: "1000000" },
    requests: { type: "string", default: "200" },
  },
});
const [clusters, apps, requests] = [Number(values.clusters), Number(values.apps), Number(values.requests)];

const hub = await startGrownHub({ clusters, apps });
try {
  say(`  ${values.events} events …`);
  await growEvents(hub.db, clusters, Number(values.events));
  await addTrouble(hub.db);
  process.exitCode = await reportFigures("api", await askHub(hub.rig.hub.api, { clusters, apps, requests }), values);
} finally {
  await hub.stop();
}
