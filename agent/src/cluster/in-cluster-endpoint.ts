import { readFile } from "node:fs/promises";
import { KubeError } from "./kube-error.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";
import { cachedFor } from "./cached-for.ts";

const mount = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The kubelet replaces projected tokens at 80 % of their life (at least 10 minutes): a minute-old copy is always valid. */
const tokenAgeMs = 60_000;

/** Whether this process runs in a pod with a service account. */
export function isInCluster(env: NodeJS.ProcessEnv): boolean {
  return Boolean(env.KUBERNETES_SERVICE_HOST && env.KUBERNETES_SERVICE_PORT);
}

/**
 * The endpoint that a pod's service account gives.
 *
 * @throws KubeError when this process does not run in a pod.
 */
export function inClusterEndpoint(env: NodeJS.ProcessEnv): KubeEndpoint {
  if (!isInCluster(env)) throw new KubeError("unusable", "not running in a pod (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig");
  const host = env.KUBERNETES_SERVICE_HOST as string;
  const token = cachedFor(tokenAgeMs, async () => (await readFile(`${mount}/token`, "utf8")).trim());
  return {
    url: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT}`),
    source: "service account",
    serverName: undefined,
    insecureSkipVerify: false,
    tls: async () => ({ ca: await readFile(`${mount}/ca.crt`) }),
    token: token.read,
    renew: token.forget,
  };
}
