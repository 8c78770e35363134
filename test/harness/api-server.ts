import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findTool } from "@flotilla/hub/embedded/tools";
import { type Etcd, shareEtcd } from "./etcd.ts";
import { freePort } from "./free-port.ts";
import { type KubeClient, kubeClient } from "./kube-client.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { type ServerProcess, startServerProcess, withoutCollections } from "./server-process.ts";
import { waitFor } from "./wait-for.ts";

export interface ApiServerOptions {
  name: string;
  /** One JSON line per request, for tests that count what was asked. */
  auditLog?: boolean;
  /** Pod Security's default for every namespace that says nothing itself. */
  podSecurity?: "restricted" | "baseline" | "privileged";
  /** An etcd that no other test uses: for those that compact it, back it up or restore it. */
  ownEtcd?: boolean;
  /** Flags of the API server besides the harness' own. */
  flags?: readonly string[];
}

/** A kube-apiserver with a part of etcd for itself, and what it takes to talk to it. */
export interface ApiServer {
  readonly url: string;
  /** A token of the group system:masters. */
  readonly token: string;
  readonly caFile: string;
  /** The private key that signs tokens of service accounts. */
  readonly accountsKeyFile: string;
  /** A line per request, with `auditLog`; may be emptied at any time. */
  readonly auditLogFile: string;
  readonly etcd: Etcd;
  /** What its keys in etcd begin with. */
  readonly keysPrefix: string;
  readonly pid: number;
  readonly running: boolean;
  newClient(): KubeClient;
  /** The same address and database again, after `kill9` or `stop`. */
  restart(): Promise<void>;
  kill9(): Promise<void>;
  stop(): Promise<void>;
  /** Stops it and removes its files. */
  end(): Promise<void>;
}

interface Credentials {
  folder: string;
  token: string;
  url: string;
  port: number;
}

/** Starts one; done when it answers and has made the default namespace. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const folder = await scratchFolder(`kube-${options.name}`);
  const etcd = await shareEtcd({ own: options.ownEtcd ?? false });
  const keysPrefix = `/${options.name}-${randomUUID()}`;
  let process: ServerProcess | undefined;
  const end = async () => {
    // Before its etcd: an API server hangs for minutes when that is gone first.
    await process?.stop();
    await etcd.release();
    await removeFolder(folder);
  };
  try {
    const port = await freePort();
    const credentials: Credentials = { folder, token: randomBytes(24).toString("hex"), url: `https://127.0.0.1:${port}`, port };
    await writeCredentials(credentials);
    const args = apiServerArgs(options, credentials, { etcd, keysPrefix }, await writePolicies(options, folder));
    const start = async () => startServerProcess(await apiServer(args, credentials));
    let current = (process = await start());
    const caFile = join(folder, "certs", "apiserver.crt");
    const ca = await readFile(caFile, "utf8");
    const newClient = () => kubeClient({ url: credentials.url, token: credentials.token, ca });
    await untilNamespaceIsThere(newClient());
    return {
      url: credentials.url,
      token: credentials.token,
      caFile,
      accountsKeyFile: join(folder, "accounts.key"),
      auditLogFile: auditLogIn(folder),
      etcd,
      keysPrefix,
      get pid() {
        return current.pid;
      },
      get running() {
        return current.running;
      },
      newClient,
      async restart() {
        if (!current.running) current = process = await start();
      },
      kill9: () => current.kill9(),
      stop: () => current.stop(),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function untilNamespaceIsThere(client: KubeClient): Promise<void> {
  try {
    await waitFor(() => client.find("/api/v1/namespaces/default"), { what: "the default namespace" });
  } finally {
    client.close();
  }
}

async function writeCredentials({ folder, token }: Credentials): Promise<void> {
  await mkdir(join(folder, "certs"));
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(join(folder, "accounts.key"), privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
  await writeFile(join(folder, "accounts.pub"), publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(join(folder, "tokens.csv"), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
}

function auditLogIn(folder: string): string {
  return join(folder, "audit.log");
}

async function writePolicies(options: ApiServerOptions, folder: string): Promise<string[]> {
  const flags: string[] = [];
  if (options.auditLog) {
    await writeFile(join(folder, "audit-policy.yaml"), JSON.stringify(auditPolicy));
    // A log that is there is appended to: it can be emptied while it is written.
    await writeFile(auditLogIn(folder), "");
    // The size (MiB) is never reached: nothing is to be rotated in the middle of a test.
    flags.push(`--audit-policy-file=${join(folder, "audit-policy.yaml")}`, `--audit-log-path=${auditLogIn(folder)}`, "--audit-log-maxsize=4000");
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

function apiServerArgs(
  options: ApiServerOptions,
  { folder, port }: Credentials,
  { etcd, keysPrefix }: Pick<ApiServer, "etcd" | "keysPrefix">,
  policies: readonly string[],
): string[] {
  return [
    `--etcd-servers=${etcd.url}`,
    `--etcd-prefix=${keysPrefix}`,
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
    // It answers for two seconds before it is ready, each time with a TLS handshake.
    askEveryMs: 250,
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
