import { agentNamespace } from "./names.ts";

/**
 * Kinds that are never deleted without an approval (G6): those whose deletion takes with it what no apply brings back, or what
 * others stand on. What only takes rights from itself (a ClusterRoleBinding), or is made again by an apply (a Deployment), is not here.
 */
export const protectedKinds: readonly { readonly why: string; readonly kinds: readonly string[] }[] = [
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

/** By "group/Kind". */
export const protectionReasons: ReadonlyMap<string, string> = new Map(protectedKinds.flatMap(({ why, kinds }) => kinds.map((kind) => [kind, why] as const)));

/** Why an object may not be pruned without an approval, or undefined when it may. */
export function whyProtected(id: { readonly group: string; readonly kind: string; readonly namespace: string }): string | undefined {
  return protectionReasons.get(`${id.group}/${id.kind}`) ?? (id.namespace === agentNamespace ? "it lies in the agent's own namespace" : undefined);
}
