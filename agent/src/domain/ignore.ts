import type { ObjectId } from "./object-id.ts";

/** Paths that drift never looks at, for the objects that match. Empty group, kind, namespace or name match all. */
export interface IgnoreRule {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** JSON pointers (RFC 6901); a step of "*" matches any one step. */
  readonly paths: readonly string[];
}

/** The pointers ignored for one object, sorted, without duplicates. */
export function ignoredPaths(rules: readonly IgnoreRule[], id: ObjectId): readonly string[] {
  const matching = rules.filter((rule) => matches(rule, id)).flatMap((rule) => rule.paths);
  return matching.length === 0 ? none : [...new Set(matching)].sort();
}

const none: readonly string[] = Object.freeze([]);

/** Whether a pointer is one of the ignored ones or lies below one. */
export function isIgnoredBy(paths: readonly string[]): (pointer: string) => boolean {
  if (paths.length === 0) return () => false;
  const patterns = paths.map((path) => path.split("/"));
  return (pointer) => {
    const steps = pointer.split("/");
    return patterns.some((pattern) => pattern.length <= steps.length && pattern.every((step, i) => step === "*" || step === steps[i]));
  };
}

/** A copy of an object without the values at the given pointers (literal steps only; a "*" is followed into every child). */
export function withoutPaths<T>(object: T, paths: readonly string[]): T {
  if (paths.length === 0) return object;
  const copy = structuredClone(object);
  for (const path of paths) remove(copy, path.split("/").slice(1).map(unescape));
  return copy;
}

function matches(rule: IgnoreRule, id: ObjectId): boolean {
  const same = (wanted: string, actual: string) => wanted === "" || wanted === actual;
  return same(rule.group, id.group) && same(rule.kind, id.kind) && same(rule.namespace, id.namespace) && same(rule.name, id.name);
}

function remove(value: unknown, steps: readonly string[]): void {
  const [step, ...rest] = steps;
  if (step === undefined || typeof value !== "object" || value === null) return;
  const record = value as Record<string, unknown>;
  for (const key of step === "*" ? Object.keys(record) : [step]) {
    if (rest.length > 0) remove(record[key], rest);
    else if (Array.isArray(value)) value.splice(Number(key), 1);
    else delete record[key];
  }
}

function unescape(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}
