import type { ObjectId } from "./object-id.ts";

/** Stages inside a cluster: a stage begins when every object of the one before was tried. */
export type Stage = "definitions" | "namespaces" | "rest";

export const stages: readonly Stage[] = ["definitions", "namespaces", "rest"];

/** The stage an object is applied in. */
export function stageOf(id: ObjectId): Stage {
  if (id.group === "apiextensions.k8s.io" && id.kind === "CustomResourceDefinition") return "definitions";
  if (id.group === "" && id.kind === "Namespace") return "namespaces";
  return "rest";
}

/**
 * Order inside the last stage: what others mount, run as or are admitted by comes first, what intercepts others last.
 * It only saves retries; nothing waits for it.
 */
const kindRank: ReadonlyMap<string, number> = new Map(
  [
    ["PriorityClass", "StorageClass", "IngressClass", "RuntimeClass", "GatewayClass"],
    ["NetworkPolicy", "ResourceQuota", "LimitRange"],
    ["ServiceAccount"],
    ["Secret", "ConfigMap"],
    ["PersistentVolume", "PersistentVolumeClaim"],
    ["ClusterRole", "Role"],
    ["ClusterRoleBinding", "RoleBinding"],
    ["Service"],
  ].flatMap((kinds, rank) => kinds.map((kind) => [kind, rank] as const)),
);
const ordinaryRank = 20;
const lastKinds: ReadonlySet<string> = new Set([
  "APIService",
  "MutatingWebhookConfiguration",
  "ValidatingWebhookConfiguration",
  "ValidatingAdmissionPolicyBinding",
]);

/** Smaller goes first. */
export function applyRank(id: ObjectId): number {
  const stage = stages.indexOf(stageOf(id)) * 100;
  return stage + (lastKinds.has(id.kind) ? 99 : (kindRank.get(id.kind) ?? ordinaryRank));
}

/** Objects in the order they are applied; equal ranks keep their order. Deletes go the other way round. */
export function inApplyOrder<T extends { readonly id: ObjectId }>(objects: readonly T[]): T[] {
  return [...objects].sort((a, b) => applyRank(a.id) - applyRank(b.id));
}

/** A bundle as far as dependsOn is concerned. */
export interface DependentBundle {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** What is known of a bundle that others may wait for. */
export interface BundleReadiness {
  /** Every object is applied and unharmed. */
  readonly applied: boolean;
  readonly healthy: boolean;
  /** Which object it waits for, and why; for people. */
  readonly reason: string;
}

/**
 * Why a bundle may not be applied yet, or undefined when it may. A bundle waits until each that it depends on is applied
 * and healthy; one that depends on itself, round a cycle or not, or on a bundle that is not in the target, waits for ever and says so.
 */
export function blockedBy(bundle: DependentBundle, bundles: readonly DependentBundle[], readiness: ReadonlyMap<string, BundleReadiness>): string | undefined {
  const cycle = cycleThrough(bundle.name, bundles);
  if (cycle) return `bundles depend on each other: ${cycle.join(" → ")}`;
  for (const name of bundle.dependsOn) {
    const state = readiness.get(name);
    if (!bundles.some((other) => other.name === name)) return `waits for bundle ${name}, which is not in the target`;
    if (!state?.applied || !state.healthy) return `waits for bundle ${name}${state?.reason ? `: ${state.reason}` : ""}`;
  }
  return undefined;
}

function cycleThrough(start: string, bundles: readonly DependentBundle[]): string[] | undefined {
  const byName = new Map(bundles.map((bundle) => [bundle.name, bundle]));
  const seen = new Set<string>();
  const walk = (name: string, path: string[]): string[] | undefined => {
    for (const next of byName.get(name)?.dependsOn ?? []) {
      if (next === start) return [...path, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = walk(next, [...path, next]);
      if (found) return found;
    }
    return undefined;
  };
  return walk(start, [start]);
}
