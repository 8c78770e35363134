import { agentNamespace } from "@flotilla/proto/names";

/** What an agent's installation differs in. */
export interface AgentInstallation {
  /** host:port of the hub's enrolment listener. */
  readonly hub: string;
  readonly caHash: string;
  readonly token: string;
  /** Name of the cluster; empty leaves it to the token. */
  readonly cluster: string;
  readonly image: string;
  /** TCP ports that the agent may reach: API server, enrolment, link, NATS. */
  readonly egressPorts: readonly number[];
  /** Rights on the cluster: everything, or the objects of a file. */
  readonly rights: "cluster-admin" | readonly KubeManifest[];
}

export interface KubeManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

const name = "flotilla-agent";
const labels = { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "flotilla" };

/** API servers (443, 6443), the hub's link and enrolment (7421, 7422), NATS (4222). */
export const defaultEgressPorts: readonly number[] = [443, 6443, 7421, 7422, 4222];

/**
 * The objects that `fleet agent install` applies, in order. They are what deploy/agent builds with these values filled in: a
 * test holds the two equal.
 */
export function agentManifests(installation: AgentInstallation): KubeManifest[] {
  const { rights } = installation;
  return [
    namespace(),
    own("v1", "ServiceAccount", { automountServiceAccountToken: false }),
    ...stateRights(),
    ...(rights === "cluster-admin" ? [clusterAdmin()] : rights),
    own("v1", "Secret", { type: "Opaque", stringData: { token: installation.token } }, "flotilla-agent-enrolment"),
    networkPolicy(installation.egressPorts),
    deployment(installation),
  ];
}

function namespace(): KubeManifest {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: agentNamespace,
      labels: {
        "app.kubernetes.io/part-of": "flotilla",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
      },
    },
  };
}

function own(apiVersion: string, kind: string, content: Readonly<Record<string, unknown>>, objectName: string = name): KubeManifest {
  return { apiVersion, kind, metadata: { name: objectName, namespace: agentNamespace, labels }, ...content };
}

/** The agent's own state: targets, bodies, inventory, identity. Needed whatever else it may. */
function stateRights(): KubeManifest[] {
  return [
    own("rbac.authorization.k8s.io/v1", "Role", {
      rules: [{ apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get", "list", "watch", "create", "patch", "update", "delete"] }],
    }),
    own("rbac.authorization.k8s.io/v1", "RoleBinding", {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
      subjects: [{ kind: "ServiceAccount", name, namespace: agentNamespace }],
    }),
  ];
}

function clusterAdmin(): KubeManifest {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name, labels },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", name, namespace: agentNamespace }],
  };
}

function networkPolicy(ports: readonly number[]): KubeManifest {
  const dns = {
    ports: [
      { port: 53, protocol: "UDP" },
      { port: 53, protocol: "TCP" },
    ],
  };
  return own("networking.k8s.io/v1", "NetworkPolicy", {
    spec: {
      podSelector: { matchLabels: { "app.kubernetes.io/name": name } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [dns, { ports: ports.map((port) => ({ port, protocol: "TCP" })) }],
    },
  });
}

function deployment(installation: AgentInstallation): KubeManifest {
  return own("apps/v1", "Deployment", {
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: { "app.kubernetes.io/name": name } },
      template: { metadata: { labels }, spec: podSpec(installation) },
    },
  });
}

function podSpec({ hub, caHash, cluster, image }: AgentInstallation): Record<string, unknown> {
  return {
    serviceAccountName: name,
    automountServiceAccountToken: true,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 30,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: { type: "RuntimeDefault" } },
    containers: [
      {
        name: "agent",
        image,
        env: [
          { name: "FLOTILLA_HUB", value: hub },
          { name: "FLOTILLA_CA_HASH", value: caHash },
          { name: "FLOTILLA_CLUSTER", value: cluster },
          { name: "FLOTILLA_TOKEN", valueFrom: { secretKeyRef: { name: "flotilla-agent-enrolment", key: "token", optional: true } } },
          { name: "FLOTILLA_STATE_DIR", value: "/var/lib/flotilla" },
        ],
        resources: { requests: { cpu: "50m", memory: "96Mi" }, limits: { memory: "256Mi", "ephemeral-storage": "256Mi" } },
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
        volumeMounts: [
          { name: "state", mountPath: "/var/lib/flotilla" },
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [
      { name: "state", emptyDir: { sizeLimit: "128Mi" } },
      { name: "tmp", emptyDir: { sizeLimit: "16Mi" } },
    ],
  };
}
