import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { findTool } from "@flotilla/hub/embedded/tools";
import { type Etcd, shareEtcd } from "./etcd.ts";
import { type FakeKubelet, startFakeKubelet } from "./fake-kubelet.ts";
import { type KubeClient, kubeClient } from "./kube-client.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { type ServerProcess, startServerProcess, withoutCollections } from "./server-process.ts";
import { waitFor } from "./wait-for.ts";

export interface KubeClusterOptions {
  name: string;
  /** Runs kube-controller-manager: garbage collection, namespaces that finish, Deployments, Jobs. */
  controllerManager?: boolean;
  /** Plays scheduler, kubelet and cloud: pods run, volumes bind, load balancers get an address. */
  kubelet?: boolean;
  /** One JSON line per request, for tests that count what was asked. */
  auditLog?: boolean;
  /** Pod Security's default for every namespace that says nothing itself. */
  podSecurity?: "restricted" | "baseline" | "privileged";
  /** An etcd that no other test uses: for those that compact it, back it up or restore it. */
  ownEtcd?: boolean;
  /** Flags of the API server besides the harness' own. */
  flags?: readonly string[];
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

interface Credentials {
  folder: string;
  token: string;
  url: string;
  port: number;
}

/** Starts a control plane in about four seconds. Stop it in the same test file; what is left over fails the run. */
export async function startKubeCluster(options: KubeClusterOptions): Promise<KubeCluster> {
  const folder = await scratchFolder(`kube-${options.name}`);
  const etcd = await shareEtcd({ own: options.ownEtcd ?? false });
  const started: { stop(): Promise<void> }[] = [];
  try {
    const port = await freePort();
    const credentials: Credentials = { folder, token: randomBytes(24).toString("hex"), url: `https://127.0.0.1:${port}`, port };
    await writeCredentials(credentials);
    const args = apiServerArgs(options, credentials, etcd, await writePolicies(options, folder));
    const startApiServer = async () => startServerProcess(await apiServer(args, credentials));
    let apiServerProcess = await startApiServer();
    // A getter: a restarted API server is another process.
    started.push({ stop: () => apiServerProcess.stop() });
    const caFile = join(folder, "certs", "apiserver.crt");
    const client = kubeClient({ url: credentials.url, token: credentials.token, ca: await readFile(caFile, "utf8") });
    const kubeconfig = await writeKubeconfig(options.name, credentials, caFile);
    await waitFor(() => client.find("/api/v1/namespaces/default"), { what: "the default namespace" });
    if (options.controllerManager) started.push(await startControllerManager(credentials, kubeconfig));
    const kubelet = options.kubelet ? await startFakeKubelet(client) : undefined;
    if (kubelet) started.push(kubelet);
    const auditLogFile = options.auditLog ? join(folder, "audit.log") : undefined;
    return {
      name: options.name,
      url: credentials.url,
      caFile,
      token: credentials.token,
      kubeconfig,
      auditLogFile,
      client,
      kubelet,
      get apiServerPid() {
        return apiServerProcess.pid;
      },
      async restart() {
        if (!apiServerProcess.running) apiServerProcess = await startApiServer();
      },
      kill9ApiServer: () => apiServerProcess.kill9(),
      stopApiServer: () => apiServerProcess.stop(),
      etcd,
      auditedRequests: () => readAudit(auditLogFile),
      stop: () => stopAll(started, client, etcd, folder),
    };
  } catch (error) {
    await stopAll(started, undefined, etcd, folder);
    throw error;
  }
}

/** The last started first: an API server hangs for minutes when etcd is gone before it. */
async function stopAll(started: { stop(): Promise<void> }[], client: KubeClient | undefined, etcd: Etcd, folder: string): Promise<void> {
  for (const part of started.toReversed()) await part.stop();
  client?.close();
  await etcd.release();
  await removeFolder(folder);
}

async function writeCredentials({ folder, token }: Credentials): Promise<void> {
  await mkdir(join(folder, "certs"));
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(join(folder, "accounts.key"), privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
  await writeFile(join(folder, "accounts.pub"), publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(join(folder, "tokens.csv"), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
}

async function writePolicies(options: KubeClusterOptions, folder: string): Promise<string[]> {
  const flags: string[] = [];
  if (options.auditLog) {
    await writeFile(join(folder, "audit-policy.yaml"), JSON.stringify(auditPolicy));
    flags.push(`--audit-policy-file=${join(folder, "audit-policy.yaml")}`, `--audit-log-path=${join(folder, "audit.log")}`);
  }
  if (options.podSecurity) {
    await writeFile(join(folder, "admission.yaml"), JSON.stringify(podSecurityDefault(options.podSecurity)));
    flags.push(`--admission-control-config-file=${join(folder, "admission.yaml")}`);
  }
  return flags;
}

const auditPolicy = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  // The API server's own upkeep says nothing about us.
  rules: [{ level: "None", users: ["system:apiserver"] }, { level: "Request", verbs: ["delete"] }, { level: "Metadata" }],
};

function podSecurityDefault(level: string): object {
  const configuration = {
    apiVersion: "pod-security.admission.config.k8s.io/v1",
    kind: "PodSecurityConfiguration",
    defaults: { enforce: level, "enforce-version": "latest" },
    exemptions: { usernames: [], runtimeClasses: [], namespaces: ["kube-system"] },
  };
  return { apiVersion: "apiserver.config.k8s.io/v1", kind: "AdmissionConfiguration", plugins: [{ name: "PodSecurity", configuration }] };
}

function apiServerArgs(options: KubeClusterOptions, { folder, port }: Credentials, etcd: Etcd, policies: readonly string[]): string[] {
  return [
    `--etcd-servers=${etcd.url}`,
    `--etcd-prefix=/${options.name}-${randomUUID()}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    `--secure-port=${port}`,
    `--cert-dir=${join(folder, "certs")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${join(folder, "accounts.pub")}`,
    `--service-account-signing-key-file=${join(folder, "accounts.key")}`,
    `--token-auth-file=${join(folder, "tokens.csv")}`,
    "--authorization-mode=RBAC",
    "--anonymous-auth=true",
    "--service-cluster-ip-range=10.0.0.0/16",
    "--disable-admission-plugins=ServiceAccount",
    "--allow-privileged=true",
    "--endpoint-reconciler-type=none",
    "--profiling=false",
    // Nobody drains a test's API server.
    "--shutdown-delay-duration=0s",
    ...policies,
    ...(options.flags ?? []),
  ];
}

async function apiServer(args: string[], { folder, url, token }: Credentials) {
  return {
    name: "kube-apiserver",
    file: await findTool("kube-apiserver"),
    args,
    env: withoutCollections,
    folder,
    async ready() {
      // The certificate is made at the first start.
      const ca = await readFile(join(folder, "certs", "apiserver.crt"), "utf8");
      const client = kubeClient({ url, token, ca });
      try {
        return (await client.text("/readyz")).status === 200;
      } finally {
        client.close();
      }
    },
  };
}

async function startControllerManager({ folder }: Credentials, kubeconfig: string): Promise<ServerProcess> {
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
      `--service-account-private-key-file=${join(folder, "accounts.key")}`,
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

async function writeKubeconfig(name: string, { folder, url, token }: Credentials, caFile: string): Promise<string> {
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
