import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { Engine } from "@flotilla/agent/reconcile/engine";
import { KubeClient } from "@flotilla/agent/cluster/kube-client";
import { kubeconfigEndpoint } from "@flotilla/agent/cluster/kubeconfig-endpoint";
import { StateObjects } from "@flotilla/agent/cluster/state-objects";
import { silentLog } from "@flotilla/agent/log";
import { FleetReportSchema } from "@flotilla/proto/gen/report";
import { openOutbox } from "@flotilla/agent/report/outbox";
import { idOnlyTracer } from "@flotilla/agent/telemetry";

/**
 * The engine and its outbox as a process, going on with what the cluster keeps in one state namespace: for kills at failpoints. Ends by
 * itself, with 0, when it was quiet for a while: then the failpoint was not on its way. The outbox is so small that it drops.
 */
const [kubeconfig = "", stateNamespace = "", folder = ""] = process.argv.slice(2);
const client = new KubeClient(await kubeconfigEndpoint(kubeconfig), silentLog);
const outbox = await openOutbox({ dir: folder, cluster: "c1", maxBytes: 8 * 1024, log: silentLog });
// So full that the engine's own reports make it drop.
const filler = create(FleetReportSchema, { fleet: "x".repeat(1_000) });
if (process.env.FLOTILLA_FAILPOINT?.startsWith("outbox-before-drop")) for (let i = 0; i < 7; i++) await outbox.record({ case: "fleet", value: filler });
const sink = { record: outbox.record.bind(outbox) };
const engine = new Engine({
  cluster: "c1",
  client,
  state: new StateObjects(client, stateNamespace),
  sink,
  tracer: idOnlyTracer,
  log: silentLog,
  handOverMs: 0,
});
await engine.start();
/** A busy machine can keep an engine from its next step for a second. */
const quietMs = 2_000;
const deadline = Date.now() + 60_000;
for (let quietSince = Date.now(); Date.now() < deadline && Date.now() - quietSince < quietMs; await delay(20)) if (!engine.isQuiet) quietSince = Date.now();
process.exit(0);
