/**
 * Ten minutes (`--minutes N`) of running controllers on the stock set: how much drift the agent sees where there is none, before and after a
 * restart. `npm run bench -- quiet [--minutes 10] [--json FILE] [--write]`.
 */
import { parseArgs } from "node:util";
import { startKubeCluster } from "../harness/kube-cluster.ts";
import { restartEngine, settle, stockTarget, watchQuietly } from "../e2e/engine/quiet-cluster.ts";
import { startEngine } from "../e2e/agent-fixture.ts";
import { type Figure, reportFigures } from "./figures.ts";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" }, json: { type: "string" }, write: { type: "boolean" } } });
const spanMs = Number(values.minutes) * 60_000;

const cluster = await startKubeCluster({ name: "quiet", controllerManager: true, kubelet: true, auditLog: true });
let agent = await startEngine(cluster);
try {
  await settle(agent, stockTarget("stock"));
  process.stderr.write(
    `${agent.objects.size} objects in sync; controllers write for ${values.minutes} min, then the agent restarts and they write for a tenth of it\n`,
  );
  const running = await watchQuietly(cluster, agent, spanMs);
  agent = await restartEngine(cluster, agent, "stock");
  const restarted = await watchQuietly(cluster, agent, spanMs / 10);
  for (const line of [...running.told, ...restarted.told]) process.stderr.write(`${line}\n`);
  const figures: Figure[] = [
    { name: "objects", value: running.objects, unit: "" },
    { name: "writes by other controllers to them (by the bench alone)", value: running.disturbances + restarted.disturbances, unit: "" },
    { name: `false drift in ${values.minutes} min`, value: running.told.length, unit: "events", target: 0 },
    { name: "writes by the agent", value: running.writes, unit: "", target: 0 },
    { name: "false drift after a restart", value: restarted.told.length, unit: "events", target: 0 },
    { name: "writes by the agent after a restart", value: restarted.writes, unit: "", target: 0 },
  ];
  process.exitCode = await reportFigures("quiet", figures, values);
} finally {
  await agent.stop();
  await cluster.stop();
}
