import { agentNamespace } from "@flotilla/proto/names";
import { protectedKinds, protectionReasons } from "@flotilla/proto/protected-kinds";
import type { ObjectId } from "./object-id.ts";

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
  if (irreplaceable.has(kind) || operated.has(kind)) return `${id.kind}: ${protectionReasons.get(kind) ?? "what it holds does not come back"}`;
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
