import { agentNamespace } from "@flotilla/proto/names";
import type { ObjectId } from "./object-id.ts";

/**
 * Kinds that are never deleted without an approval (G6): those whose deletion takes with it what no apply brings back, or what
 * others stand on. What only takes rights from itself (a ClusterRoleBinding), or is made again by an apply (a Deployment), is not here.
 */
const protectedKinds: readonly { readonly why: string; readonly kinds: readonly string[] }[] = [
  { why: "everything in it is deleted with it", kinds: ["/Namespace"] },
  { why: "the data goes with it", kinds: ["/PersistentVolume", "/PersistentVolumeClaim"] },
  { why: "its pods go at once, and by its retention policy their data", kinds: ["apps/StatefulSet"] },
  { why: "every object of its kind is deleted with it", kinds: ["apiextensions.k8s.io/CustomResourceDefinition"] },
  { why: "every kind that it serves goes away for everybody", kinds: ["apiregistration.k8s.io/APIService"] },
  { why: "bindings of others may name it", kinds: ["rbac.authorization.k8s.io/ClusterRole"] },
  {
    why: "volumes of others are made by it",
    kinds: ["storage.k8s.io/StorageClass", "storage.k8s.io/CSIDriver", "snapshot.storage.k8s.io/VolumeSnapshotClass"],
  },
  {
    why: "the snapshot goes with it",
    kinds: [
      "snapshot.storage.k8s.io/VolumeSnapshot",
      "snapshot.storage.k8s.io/VolumeSnapshotContent",
      "groupsnapshot.storage.k8s.io/VolumeGroupSnapshot",
      "groupsnapshot.storage.k8s.io/VolumeGroupSnapshotContent",
    ],
  },
  { why: "its pods are evicted", kinds: ["/Node"] },
  {
    why: "the cluster or machines that it stands for are destroyed",
    kinds: [
      "cluster.x-k8s.io/Cluster",
      "cluster.x-k8s.io/MachineDeployment",
      "cluster.x-k8s.io/MachinePool",
      "controlplane.cluster.x-k8s.io/KubeadmControlPlane",
    ],
  },
  {
    why: "its operator deletes the data with it",
    kinds: [
      "postgresql.cnpg.io/Cluster",
      "acid.zalan.do/postgresql",
      "postgres-operator.crunchydata.com/PostgresCluster",
      "mysql.oracle.com/InnoDBCluster",
      "mongodbcommunity.mongodb.com/MongoDBCommunity",
      "elasticsearch.k8s.elastic.co/Elasticsearch",
      "rabbitmq.com/RabbitmqCluster",
      "kafka.strimzi.io/Kafka",
      "kafka.strimzi.io/KafkaTopic",
      "ceph.rook.io/CephCluster",
      "ceph.rook.io/CephBlockPool",
      "ceph.rook.io/CephFilesystem",
      "ceph.rook.io/CephObjectStore",
    ],
  },
];

const reasons: ReadonlyMap<string, string> = new Map(protectedKinds.flatMap(({ why, kinds }) => kinds.map((kind) => [kind, why] as const)));

/** Why an object may not be pruned without an approval, or undefined when it may. */
export function whyProtected(id: ObjectId): string | undefined {
  return reasons.get(`${id.group}/${id.kind}`) ?? (id.namespace === agentNamespace ? "it lies in the agent's own namespace" : undefined);
}

/** Kinds that are never deleted to be made again: what they hold does not come back with them. */
const irreplaceable: ReadonlySet<string> = new Set([
  "/Namespace",
  "/PersistentVolume",
  "/PersistentVolumeClaim",
  "/Node",
  "apiextensions.k8s.io/CustomResourceDefinition",
  "snapshot.storage.k8s.io/VolumeSnapshot",
  "snapshot.storage.k8s.io/VolumeSnapshotContent",
  "groupsnapshot.storage.k8s.io/VolumeGroupSnapshot",
  "groupsnapshot.storage.k8s.io/VolumeGroupSnapshotContent",
]);
const operated: ReadonlySet<string> = new Set(protectedKinds.slice(-2).flatMap(({ kinds }) => kinds));

/** Why an object may not be deleted and made again, or undefined when it may. Its live form says what becomes of the claims of a StatefulSet. */
export function whyIrreplaceable(id: ObjectId, live: { readonly spec?: unknown }): string | undefined {
  const kind = `${id.group}/${id.kind}`;
  if (irreplaceable.has(kind) || operated.has(kind)) return `${id.kind}: ${reasons.get(kind) ?? "what it holds does not come back"}`;
  const retention = (live.spec as { persistentVolumeClaimRetentionPolicy?: { whenDeleted?: string } } | undefined)?.persistentVolumeClaimRetentionPolicy;
  if (kind === "apps/StatefulSet" && retention?.whenDeleted === "Delete") return "its persistentVolumeClaimRetentionPolicy deletes its data with it";
  return undefined;
}

/** Whether an object is the agent's own house: its namespace, or what it keeps there. Never deleted for a fleet, approved or not. */
export function isOwnHouse(id: ObjectId): boolean {
  return (id.group === "" && id.kind === "Namespace" && id.name === agentNamespace) || isOwnState(id);
}

/** Whether an object is the agent's own state: no fleet may write it either. */
export function isOwnState(id: ObjectId): boolean {
  return id.namespace === agentNamespace && id.group === "" && /^flotilla-(target|body|bodies|inventory|order|agent-identity)\b/.test(id.name);
}
