/**
 * What Kubernetes itself serves, so that a mistyped kind or a version that is gone is told before a cluster refuses it. One line
 * per API version: the group ("core" for the one without a name) and version, then its kinds; a star marks kinds without a namespace.
 * Kinds that only answer questions (TokenReview, Eviction, …) are left out: nobody applies them.
 */
const served = `
core/v1 ConfigMap Endpoints Event LimitRange Namespace* Node* PersistentVolume* PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
admissionregistration.k8s.io/v1 MutatingWebhookConfiguration* ValidatingWebhookConfiguration* ValidatingAdmissionPolicy* ValidatingAdmissionPolicyBinding* MutatingAdmissionPolicy* MutatingAdmissionPolicyBinding*
apiextensions.k8s.io/v1 CustomResourceDefinition*
apiregistration.k8s.io/v1 APIService*
apps/v1 ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
autoscaling/v1 HorizontalPodAutoscaler
autoscaling/v2 HorizontalPodAutoscaler
batch/v1 CronJob Job
certificates.k8s.io/v1 CertificateSigningRequest*
coordination.k8s.io/v1 Lease
discovery.k8s.io/v1 EndpointSlice
events.k8s.io/v1 Event
flowcontrol.apiserver.k8s.io/v1 FlowSchema* PriorityLevelConfiguration*
networking.k8s.io/v1 Ingress IngressClass* NetworkPolicy IPAddress* ServiceCIDR*
node.k8s.io/v1 RuntimeClass*
policy/v1 PodDisruptionBudget
rbac.authorization.k8s.io/v1 ClusterRole* ClusterRoleBinding* Role RoleBinding
resource.k8s.io/v1 DeviceClass* ResourceClaim ResourceClaimTemplate ResourceSlice* DeviceTaintRule*
scheduling.k8s.io/v1 PriorityClass*
storage.k8s.io/v1 CSIDriver* CSINode* CSIStorageCapacity StorageClass* VolumeAttachment* VolumeAttributesClass*
`;

/** Versions that Kubernetes took away: since when, and what to write instead. */
const removed: readonly (readonly [versions: string, kinds: string, since: string, instead: string])[] = [
  ["extensions/v1beta1 apps/v1beta1 apps/v1beta2", "Deployment DaemonSet ReplicaSet StatefulSet ControllerRevision", "1.16", "apps/v1"],
  ["extensions/v1beta1", "NetworkPolicy", "1.16", "networking.k8s.io/v1"],
  ["extensions/v1beta1 networking.k8s.io/v1beta1", "Ingress IngressClass", "1.22", "networking.k8s.io/v1"],
  ["extensions/v1beta1", "PodSecurityPolicy", "1.16", "Pod Security admission (labels on the Namespace)"],
  ["policy/v1beta1", "PodSecurityPolicy", "1.25", "Pod Security admission (labels on the Namespace)"],
  ["policy/v1beta1", "PodDisruptionBudget", "1.25", "policy/v1"],
  ["apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.22", "apiextensions.k8s.io/v1"],
  ["apiregistration.k8s.io/v1beta1", "APIService", "1.22", "apiregistration.k8s.io/v1"],
  ["admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration", "1.22", "admissionregistration.k8s.io/v1"],
  [
    "rbac.authorization.k8s.io/v1alpha1 rbac.authorization.k8s.io/v1beta1",
    "ClusterRole ClusterRoleBinding Role RoleBinding",
    "1.22",
    "rbac.authorization.k8s.io/v1",
  ],
  ["batch/v1beta1 batch/v2alpha1", "CronJob", "1.25", "batch/v1"],
  ["autoscaling/v2beta1", "HorizontalPodAutoscaler", "1.25", "autoscaling/v2"],
  ["autoscaling/v2beta2", "HorizontalPodAutoscaler", "1.26", "autoscaling/v2"],
  ["discovery.k8s.io/v1beta1", "EndpointSlice", "1.25", "discovery.k8s.io/v1"],
  ["events.k8s.io/v1beta1", "Event", "1.25", "events.k8s.io/v1"],
  ["node.k8s.io/v1beta1", "RuntimeClass", "1.25", "node.k8s.io/v1"],
  ["coordination.k8s.io/v1beta1", "Lease", "1.22", "coordination.k8s.io/v1"],
  ["certificates.k8s.io/v1beta1", "CertificateSigningRequest", "1.22", "certificates.k8s.io/v1"],
  ["scheduling.k8s.io/v1beta1", "PriorityClass", "1.22", "scheduling.k8s.io/v1"],
  ["storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "1.22", "storage.k8s.io/v1"],
  ["storage.k8s.io/v1beta1", "CSIStorageCapacity", "1.27", "storage.k8s.io/v1"],
  ["flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration", "1.26", "flowcontrol.apiserver.k8s.io/v1"],
  ["flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema PriorityLevelConfiguration", "1.29", "flowcontrol.apiserver.k8s.io/v1"],
  ["flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema PriorityLevelConfiguration", "1.32", "flowcontrol.apiserver.k8s.io/v1"],
];

/** Widespread custom resources without a namespace, for fleets that do not hold their definitions. */
const customClusterKinds = `
gateway.networking.k8s.io/GatewayClass cert-manager.io/ClusterIssuer external-secrets.io/ClusterSecretStore external-secrets.io/ClusterExternalSecret kyverno.io/ClusterPolicy
snapshot.storage.k8s.io/VolumeSnapshotClass snapshot.storage.k8s.io/VolumeSnapshotContent karpenter.sh/NodePool karpenter.sh/NodeClaim karpenter.k8s.aws/EC2NodeClass
templates.gatekeeper.sh/ConstraintTemplate cilium.io/CiliumClusterwideNetworkPolicy policy.networking.k8s.io/AdminNetworkPolicy
`;

/** "apps/v1" → kinds. */
export const kindsByApiVersion: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  tableLines().map(([apiVersion, kinds]) => [apiVersion, new Set(kinds.map((kind) => kind.replace("*", "")))]),
);

/** Every kind of Kubernetes' own, with the newest API version that serves it. */
export const apiVersionOfKind: ReadonlyMap<string, string> = new Map(
  tableLines().flatMap(([apiVersion, kinds]) => (apiVersion === "events.k8s.io/v1" ? [] : kinds.map((kind) => [kind.replace("*", ""), apiVersion] as const))),
);

const builtInGroups: ReadonlySet<string> = new Set(tableLines().map(([apiVersion]) => groupPart(apiVersion)));

const clusterKinds: ReadonlySet<string> = new Set([
  ...tableLines().flatMap(([apiVersion, kinds]) => kinds.filter((kind) => kind.endsWith("*")).map((kind) => `${groupPart(apiVersion)}/${kind.slice(0, -1)}`)),
  ...customClusterKinds.trim().split(/\s+/),
]);

const removedKinds: ReadonlyMap<string, { readonly since: string; readonly instead: string }> = new Map(
  removed.flatMap(([versions, kinds, since, instead]) =>
    versions.split(" ").flatMap((version) => kinds.split(" ").map((kind) => [`${version} ${kind}`, { since, instead }] as const)),
  ),
);

/** Whether a group belongs to Kubernetes itself ("" and "apps" do). */
export function isBuiltInGroup(group: string): boolean {
  return builtInGroups.has(group);
}

/** Whether objects of a kind have no namespace; `custom` adds "group/Kind" of definitions that the fleet holds. */
export function isClusterScoped(group: string, kind: string, custom: ReadonlySet<string>): boolean {
  return clusterKinds.has(`${group}/${kind}`) || custom.has(`${group}/${kind}`);
}

/** Since which release an API version no longer serves a kind, and what does. */
export function removalOf(apiVersion: string, kind: string): { readonly since: string; readonly instead: string } | undefined {
  return removedKinds.get(`${apiVersion} ${kind}`);
}

function tableLines(): [apiVersion: string, kinds: string[]][] {
  return served
    .trim()
    .split("\n")
    .map((line) => {
      const [apiVersion = "", ...kinds] = line.split(" ");
      return [apiVersion.replace(/^core\//, ""), kinds];
    });
}

function groupPart(apiVersion: string): string {
  return apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
}
