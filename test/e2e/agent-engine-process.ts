import { Engine } from "@flotilla/agent/reconcile/engine";
import { KubeClient } from "@flotilla/agent/cluster/kube-client";
import { kubeconfigEndpoint } from "@flotilla/agent/cluster/kubeconfig-endpoint";
import { StateObjects } from "@flotilla/agent/cluster/state-objects";
import { silentLog } from "@flotilla/agent/log";
import { idOnlyTracer } from "@flotilla/agent/telemetry";

/** The engine alone as a process, going on with what the cluster keeps: for kills at failpoints. Ends by itself when it is quiet for long. */
const client = new KubeClient(await kubeconfigEndpoint(process.argv[2] ?? ""), silentLog);
let seq = 0n;
const sink = { record: () => Promise.resolve((seq += 1n)) };
const engine = new Engine({ cluster: "c1", client, state: new StateObjects(client), sink, tracer: idOnlyTracer, log: silentLog });
await engine.start();
setTimeout(() => process.exit(0), 20_000);
