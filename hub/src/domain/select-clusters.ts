import type { LabelExpression, LabelSelector } from "./fleet-spec.ts";

export type Labels = Readonly<Record<string, string>>;

/**
 * Whether labels match a selector, as Kubernetes does: every matchLabels pair and every expression must hold; an empty selector
 * matches everything; NotIn and DoesNotExist hold where the label is absent.
 */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  const pairs = Object.entries(selector.matchLabels ?? {});
  return pairs.every(([key, value]) => valueOf(labels, key) === value) && (selector.matchExpressions ?? []).every((rule) => holds(rule, labels));
}

/** The clusters that a selector matches, in the order given. */
export function selectClusters<T extends { readonly labels: Labels }>(selector: LabelSelector, clusters: readonly T[]): T[] {
  return clusters.filter((cluster) => matchesSelector(selector, cluster.labels));
}

/** Whether a selector matches whatever the labels are. */
export function selectsEverything(selector: LabelSelector): boolean {
  return Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0;
}

function holds(rule: LabelExpression, labels: Labels): boolean {
  const value = valueOf(labels, rule.key);
  switch (rule.operator) {
    case "In":
      return value !== undefined && (rule.values ?? []).includes(value);
    case "NotIn":
      return value === undefined || !(rule.values ?? []).includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Own properties only: a label named "constructor" must not be found on every object. */
function valueOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
