import { agentNamespace } from "@flotilla/proto/names";
import type { KubeManifest } from "./agent-manifests.ts";
import type { KubeCluster } from "./kube-cluster.ts";

/** One rule of a Role, as far as it is shown. */
export interface RbacRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

/** What the hub's program says that fleets need in a cluster. */
export interface NeededRights {
  readonly accounts: readonly {
    /** "" is the agent. */
    readonly account: string;
    readonly places: readonly { readonly namespace: string; readonly rules: readonly RbacRule[] }[];
  }[];
  readonly namespaces: readonly string[];
  readonly notes: readonly string[];
}

const api = "rbac.authorization.k8s.io";
const labels = { "app.kubernetes.io/name": "flotilla-agent", "app.kubernetes.io/part-of": "flotilla" };

/** Of the (Cluster)Roles and bindings that hold what fleets need; the agent's own are called flotilla-agent. */
export const fleetRightsName = "flotilla-agent-fleets";

/** The objects that give the agent these rights, and the namespaces that they lie in. */
export function rightsManifests({ accounts, namespaces }: NeededRights): KubeManifest[] {
  const own = accounts.find(({ account }) => account === "")?.places ?? [];
  // Every cluster has these, and nobody's server-side apply should claim them.
  const made = namespaces.filter((name) => name !== "default" && !name.startsWith("kube-"));
  return [...made.map(namespaceManifest), ...own.flatMap(({ namespace, rules }) => roleManifests(namespace, rules))];
}

function namespaceManifest(name: string): KubeManifest {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name } };
}

function roleManifests(namespace: string, rules: readonly RbacRule[]): KubeManifest[] {
  const kind = namespace === "" ? "ClusterRole" : "Role";
  const metadata = { name: fleetRightsName, ...(namespace !== "" && { namespace }), labels };
  return [
    { apiVersion: `${api}/v1`, kind, metadata, rules },
    {
      apiVersion: `${api}/v1`,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: api, kind, name: fleetRightsName },
      subjects: [{ kind: "ServiceAccount", name: "flotilla-agent", namespace: agentNamespace }],
    },
  ];
}

/** Rights that an installation gave the agent, in any namespace, apart from those to its own memory. */
export async function givenRights(cluster: KubeCluster): Promise<KubeManifest[]> {
  const selector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const kinds = ["RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole"];
  const lists = await Promise.all(kinds.map((kind) => cluster.list(`${api}/v1`, kind, selector)));
  return lists.flat().filter(({ metadata }) => metadata.namespace !== agentNamespace || metadata.name === fleetRightsName);
}

/** What is granted, a line for each rule; then what the bundles' accounts need, which nobody grants here; then what to know. */
export function rightsLines({ accounts, notes }: NeededRights): string[] {
  const lines: string[] = [];
  for (const { account, places } of accounts) {
    lines.push(account === "" ? "the agent gets:" : `ServiceAccount ${account} needs, and is not given here:`);
    for (const { namespace, rules } of places) {
      for (const rule of rules) lines.push(`  ${namespace === "" ? "cluster" : `namespace ${namespace}`}: ${ruleLine(rule)}`);
    }
  }
  return [...lines, ...notes.map((note) => `note: ${note}`)];
}

function ruleLine({ apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [], verbs }: RbacRule): string {
  const named = resourceNames.length > 0 ? ` named ${resourceNames.join(", ")}` : "";
  const what = resources.flatMap((resource) =>
    apiGroups.length === 0 ? [resource] : apiGroups.map((group) => (group === "" ? resource : `${resource}.${group}`)),
  );
  return `${verbs.join(", ")} ${[...what, ...nonResourceURLs].join(", ")}${named}`;
}
