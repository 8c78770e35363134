import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { load } from "js-yaml";
import { cachedFor } from "./cached-for.ts";
import { runExecPlugin, type ExecCredential, type ExecPlugin } from "./exec-credential.ts";
import { KubeError } from "./kube-error.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";

interface Cluster {
  readonly server?: string;
  readonly "certificate-authority"?: string;
  readonly "certificate-authority-data"?: string;
  readonly "insecure-skip-tls-verify"?: boolean;
  readonly "tls-server-name"?: string;
}

interface User {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly "client-certificate"?: string;
  readonly "client-certificate-data"?: string;
  readonly "client-key"?: string;
  readonly "client-key-data"?: string;
  readonly exec?: ExecPlugin;
  readonly username?: string;
  readonly "auth-provider"?: unknown;
}

interface KubeconfigFile {
  readonly "current-context"?: string;
  readonly contexts?: readonly { readonly name: string; readonly context?: { readonly cluster?: string; readonly user?: string } }[];
  readonly clusters?: readonly { readonly name: string; readonly cluster?: Cluster }[];
  readonly users?: readonly { readonly name: string; readonly user?: User }[];
}

/** Token files are rotated by whoever wrote them; a minute is fresh enough. */
const fileAgeMs = 60_000;
/** A plugin's credential is asked for again this long before it runs out. */
const expiryMarginMs = 60_000;

/** Where kubectl would look: $KUBECONFIG (its first file), else ~/.kube/config. */
export function defaultKubeconfig(env: NodeJS.ProcessEnv): string {
  return env.KUBECONFIG?.split(delimiter).find((path) => path !== "") ?? join(homedir(), ".kube", "config");
}

/**
 * The endpoint that a context of a kubeconfig file names: token, token file, client certificate or exec plugin.
 *
 * @throws KubeError that names the file and what is missing or not supported in it.
 */
export async function kubeconfigEndpoint(path: string, contextName?: string): Promise<KubeEndpoint> {
  const file = await readKubeconfig(path);
  const fail = (what: string) => new KubeError("unusable", `${path}: ${what}`);
  const name = contextName ?? file["current-context"];
  if (!name) throw fail("has no current-context: give --context");
  const context = file.contexts?.find((entry) => entry.name === name)?.context;
  if (!context) throw fail(`has no context "${name}"; it has ${(file.contexts ?? []).map((entry) => entry.name).join(", ") || "none"}`);
  const cluster = file.clusters?.find((entry) => entry.name === context.cluster)?.cluster;
  if (!cluster?.server) throw fail(`context "${name}" names cluster "${context.cluster}", which has no server`);
  const user = file.users?.find((entry) => entry.name === context.user)?.user ?? {};
  if (user["auth-provider"]) throw fail(`user "${context.user}" has an auth-provider, which Kubernetes removed: use an exec plugin`);
  if (user.username) throw fail(`user "${context.user}" has a password, which API servers no longer accept: use a token or a certificate`);
  const url = new URL(cluster.server);
  if (url.protocol !== "https:") throw fail(`server ${cluster.server} is not https`);
  return {
    ...credentials(user, cluster, dirname(path)),
    url,
    source: `${path}, context ${name}`,
    serverName: cluster["tls-server-name"],
    insecureSkipVerify: cluster["insecure-skip-tls-verify"] === true,
  };
}

async function readKubeconfig(path: string): Promise<KubeconfigFile> {
  try {
    return (load(await readFile(path, "utf8")) ?? {}) as KubeconfigFile;
  } catch (cause) {
    throw new KubeError("unusable", `${path}: cannot be read as a kubeconfig: ${(cause as Error).message}`, { cause });
  }
}

function credentials(user: User, cluster: Cluster, folder: string): Pick<KubeEndpoint, "tls" | "token" | "renew"> {
  const content = async (text: string | undefined, file: string | undefined) =>
    text ? Buffer.from(text, "base64") : file ? await readFile(resolve(folder, file)) : undefined;
  const plugin = user.exec ? execSource(user.exec) : undefined;
  const tokenFile = user.tokenFile ? cachedFor(fileAgeMs, async () => (await readFile(resolve(folder, user.tokenFile as string), "utf8")).trim()) : undefined;
  return {
    tls: async () => {
      const given = await plugin?.read();
      const ca = await content(cluster["certificate-authority-data"], cluster["certificate-authority"]);
      const cert = given?.certificate ?? (await content(user["client-certificate-data"], user["client-certificate"]));
      const key = given?.key ?? (await content(user["client-key-data"], user["client-key"]));
      return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
    },
    token: async () => user.token ?? (tokenFile ? await tokenFile.read() : (await plugin?.read())?.token),
    renew: () => {
      tokenFile?.forget();
      plugin?.forget();
    },
  };
}

function execSource(plugin: ExecPlugin): { read(): Promise<ExecCredential>; forget(): void } {
  let credential: Promise<ExecCredential> | undefined;
  const forget = () => {
    credential = undefined;
  };
  return {
    forget,
    read: async () => {
      if (credential && (await credential).expiresAt - expiryMarginMs <= Date.now()) forget();
      if (!credential) {
        credential = runExecPlugin(plugin);
        credential.catch(forget);
      }
      return credential;
    },
  };
}
