import type { KubeObject } from "@flotilla/proto/digest";
import { type DefaultRule, ignoreDefaults } from "@flotilla/proto/ignore-defaults";
import { hasAny, type IgnoreRule } from "./ignore.ts";
import { groupOf, type ObjectId } from "./object-id.ts";

/**
 * The shipped rules that concern one object, as far as it sets such a field itself: what is not applied is not compared, and most objects
 * need none.
 *
 * @param off names of defaults that the bundle turned off.
 * @param isScaled whether an autoscaler of the target scales the object.
 */
export function defaultRulesFor(object: KubeObject, id: ObjectId, off: readonly string[], isScaled: boolean): IgnoreRule[] {
  const rules = off.length === 0 ? everyRule : ignoreDefaults.filter(({ name }) => !off.includes(name)).flatMap(({ rules: those }) => those);
  return rules.filter((rule) => concerns(rule, object, id, isScaled)).map(asRule);
}

const everyRule = ignoreDefaults.flatMap(({ rules }) => rules);

function concerns(rule: DefaultRule, object: KubeObject, id: ObjectId, isScaled: boolean): boolean {
  if (rule.group !== undefined && rule.group !== id.group) return false;
  if (rule.kind !== undefined && rule.kind !== id.kind) return false;
  if (rule.when === "an autoscaler of the target scales it" && !isScaled) return false;
  if (rule.when === "its rules are aggregated" && object.aggregationRule === undefined) return false;
  return hasAny(object, rule.paths ?? []) || (rule.queries !== undefined && hasPods(object));
}

function hasPods(object: KubeObject): boolean {
  return hasAny(object, ["/spec/template/spec/containers"]);
}

function asRule({ paths = [], queries = [], managers = [] }: DefaultRule): IgnoreRule {
  return { group: "", kind: "", namespace: "", name: "", paths, queries, managers };
}

/** What an autoscaler scales, as a key of scaleKey; undefined for what is none. */
export function scaledBy(object: KubeObject): string | undefined {
  const isAutoscaler =
    (object.kind === "HorizontalPodAutoscaler" && groupOf(object.apiVersion) === "autoscaling") ||
    (object.kind === "ScaledObject" && groupOf(object.apiVersion) === "keda.sh");
  const target = (object.spec as { scaleTargetRef?: { apiVersion?: unknown; kind?: unknown; name?: unknown } } | undefined)?.scaleTargetRef;
  if (!isAutoscaler || typeof target?.name !== "string") return undefined;
  // KEDA's own defaults: apps/v1 Deployment.
  const kind = typeof target.kind === "string" ? target.kind : "Deployment";
  const group = groupOf(typeof target.apiVersion === "string" ? target.apiVersion : "apps/v1");
  return scaleKey({ group, kind, namespace: object.metadata.namespace ?? "", name: target.name });
}

/** An object as an autoscaler names it. */
export function scaleKey({ group, kind, namespace, name }: ObjectId): string {
  return `${group}/${kind}/${namespace || "default"}/${name}`;
}
