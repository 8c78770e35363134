import { chmod, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { findTool } from "@flotilla/hub/embedded/tools";
import type { ApiServer, ApiServerOptions } from "./api-server.ts";
import type { Etcd } from "./etcd.ts";
import { type FakeKubelet, startFakeKubelet } from "./fake-kubelet.ts";
import { freePort } from "./free-port.ts";
import type { KubeClient } from "./kube-client.ts";
import { leaseApiServer } from "./lease-api-server.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { type ServerProcess, startServerProcess, withoutCollections } from "./server-process.ts";

export interface KubeClusterOptions extends ApiServerOptions {
  /** Runs kube-controller-manager: garbage collection, namespaces that finish, Deployments, Jobs. */
  controllerManager?: boolean;
  /** Plays scheduler, kubelet and cloud: pods run, volumes bind, load balancers get an address. */
  kubelet?: boolean;
}

/** One real Kubernetes control plane on loopback. */
export interface KubeCluster {
  readonly name: string;
  readonly url: string;
  readonly caFile: string;
  /** A token of the group system:masters. */
  readonly token: string;
  /** A file for kubectl and the agent; its context has the cluster's name. */
  readonly kubeconfig: string;
  readonly auditLogFile: string | undefined;
  /** As the admin. */
  readonly client: KubeClient;
  readonly kubelet: FakeKubelet | undefined;
  readonly apiServerPid: number;
  /** The same address and database again, after `kill9ApiServer` or `stopApiServer`. */
  restart(): Promise<void>;
  kill9ApiServer(): Promise<void>;
  stopApiServer(): Promise<void>;
  /** Its etcd (compact, backUp and restore need `ownEtcd`); stop the API server before it is backed up or restored, and no other cluster may be on it then. */
  readonly etcd: Pick<Etcd, "pid" | "compact" | "backUp" | "restore">;
  /** Requests of the audit log (needs `auditLog`), oldest first. */
  auditedRequests(): Promise<AuditedRequest[]>;
  stop(): Promise<void>;
}

export interface AuditedRequest {
  /** One for all stages of a request. */
  auditID: string;
  verb: string;
  requestURI: string;
  user: { username: string };
  impersonatedUser?: { username: string; groups?: string[] };
  userAgent?: string;
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string; apiGroup?: string };
  responseStatus?: { code?: number };
  /** Of deletes: their options. */
  requestObject?: { preconditions?: { uid?: string; resourceVersion?: string } };
  /** "ResponseStarted" of a watch comes when it opens, "ResponseComplete" when it ends. */
  stage: string;
  requestReceivedTimestamp: string;
}

/** A control plane: at once where one of this process is free, else in about four seconds. Stop it in the same test file; what is left over fails the run. */
export async function startKubeCluster(options: KubeClusterOptions): Promise<KubeCluster> {
  const lease = await leaseApiServer(options);
  const folder = await scratchFolder(`cluster-${options.name}`);
  const { server } = lease;
  const client = server.newClient();
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const part of started.toReversed()) await part.stop();
    client.close();
    await lease.giveBack();
    await removeFolder(folder);
  };
  try {
    const kubeconfig = await writeKubeconfig(options.name, server, folder);
    if (options.controllerManager) started.push(await startControllerManager(server, kubeconfig, folder));
    const kubelet = options.kubelet ? await startFakeKubelet(client) : undefined;
    if (kubelet) started.push(kubelet);
    return {
      name: options.name,
      url: server.url,
      caFile: server.caFile,
      token: server.token,
      kubeconfig,
      auditLogFile: options.auditLog ? server.auditLogFile : undefined,
      client,
      kubelet,
      get apiServerPid() {
        return server.pid;
      },
      restart: () => server.restart(),
      kill9ApiServer: () => server.kill9(),
      stopApiServer: () => server.stop(),
      etcd: server.etcd,
      auditedRequests: () => readAudit(options.auditLog ? server.auditLogFile : undefined),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startControllerManager(server: ApiServer, kubeconfig: string, folder: string): Promise<ServerProcess> {
  const port = await freePort();
  return startServerProcess({
    name: "kube-controller-manager",
    file: await findTool("kube-controller-manager"),
    env: withoutCollections,
    folder,
    args: [
      `--kubeconfig=${kubeconfig}`,
      `--authentication-kubeconfig=${kubeconfig}`,
      `--authorization-kubeconfig=${kubeconfig}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${join(folder, "controller-certs")}`,
      `--service-account-private-key-file=${server.accountsKeyFile}`,
      "--leader-elect=false",
      // Nodes and volumes are played by the harness; these would undo what it writes.
      "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-node-route-controller,-persistentvolume-binder-controller,-persistentvolume-attach-detach-controller,-taint-eviction-controller",
      "--concurrent-namespace-syncs=4",
      "--namespace-sync-period=10s",
      "--kube-api-qps=200",
      "--kube-api-burst=400",
    ],
    ready: () => portAnswers(port),
  });
}

async function portAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

async function writeKubeconfig(name: string, { url, token, caFile }: ApiServer, folder: string): Promise<string> {
  const file = join(folder, "kubeconfig");
  const ca = await readFile(caFile, "base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    contexts: [{ name, context: { cluster: name, user: "admin" } }],
    clusters: [{ name, cluster: { server: url, "certificate-authority-data": ca } }],
    users: [{ name: "admin", user: { token } }],
  };
  await writeFile(file, JSON.stringify(config, null, 2));
  await chmod(file, 0o600);
  return file;
}

async function readAudit(file: string | undefined): Promise<AuditedRequest[]> {
  if (!file) throw new Error("start the cluster with auditLog: true to read its requests");
  const text = await readFile(file, "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as AuditedRequest);
}
