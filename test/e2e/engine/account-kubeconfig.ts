import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KubeCluster } from "../../harness/kube-cluster.ts";

const group = "rbac.authorization.k8s.io";
const rbac = `/apis/${group}/v1`;

/** One rule of a Role. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** Make a namespace if it is not there. */
export async function ensureNamespace(cluster: KubeCluster, name: string): Promise<void> {
  if (await cluster.client.find(`/api/v1/namespaces/${name}`)) return;
  await cluster.client.create("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
}

/** A service account, with a kubeconfig that speaks as it beside the cluster's own. */
export async function createAccount(cluster: KubeCluster, namespace: string, name: string): Promise<string> {
  const { client } = cluster;
  await ensureNamespace(cluster, namespace);
  const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
  await client.create(accounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name } });
  const { status } = await client.create(`${accounts}/${name}/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} });
  const text = await readFile(cluster.kubeconfig, "utf8");
  const kubeconfig = join(cluster.kubeconfig, "..", `kubeconfig-${namespace}-${name}`);
  await writeFile(kubeconfig, text.replaceAll(cluster.token, status.token as string), { mode: 0o600 });
  return kubeconfig;
}

/** Grant rules to a service account in a namespace, or with "" everywhere. Roles of one name are replaced. */
export async function grant(cluster: KubeCluster, where: string, name: string, rules: readonly Rule[], account: string): Promise<void> {
  const { client } = cluster;
  const [namespace = "", accountName = ""] = account.split("/");
  if (where !== "") await ensureNamespace(cluster, where);
  const place = where === "" ? rbac : `${rbac}/namespaces/${where}`;
  const [role, binding, kind] = where === "" ? ["clusterroles", "clusterrolebindings", "ClusterRole"] : ["roles", "rolebindings", "Role"];
  await client.apply(`${place}/${role}/${name}`, { apiVersion: `${group}/v1`, kind, metadata: { name }, rules });
  await client.apply(`${place}/${binding}/${name}`, {
    apiVersion: `${group}/v1`,
    kind: `${kind}Binding`,
    metadata: { name },
    roleRef: { apiGroup: group, kind, name },
    subjects: [{ kind: "ServiceAccount", namespace, name: accountName }],
  });
}

export const agentAccount = "flotilla-system/flotilla-agent";

/** What deploy/agent/state-rights.yaml gives: the agent's own memory. */
export async function grantState(cluster: KubeCluster): Promise<void> {
  const verbs = ["get", "list", "watch", "create", "patch", "update", "delete"];
  await grant(cluster, "flotilla-system", "flotilla-agent", [{ apiGroups: [""], resources: ["secrets", "configmaps"], verbs }], agentAccount);
}

export const readVerbs = ["get", "list", "watch"];
export const writeVerbs = ["create", "patch", "delete"];
