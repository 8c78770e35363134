import { noHealthChecks, type HealthChecks } from "./health-checks.ts";
import { libraryRule } from "./health-library.ts";
import { builtInRule } from "./health-rules.ts";
import { groupOf } from "./object-id.ts";
import { because, conditionsOf, current, failed, inProgress, type HealthInput, type Rule, type Verdict } from "./verdict.ts";

/**
 * Assess one live object: deletion first, then whether its controller has seen the newest spec, then the bundle's own checks,
 * then the shipped rule of its kind, then the conditions that every kind may have.
 */
export function assessHealth(object: HealthInput, checks: HealthChecks = noHealthChecks): Verdict {
  const { metadata = {}, status } = object;
  if (metadata.deletionTimestamp) return { health: "Terminating", message: terminating(metadata.deletionTimestamp, metadata.finalizers) };
  const observed = observedGeneration(status?.observedGeneration);
  if (observed !== undefined && metadata.generation !== undefined && observed < metadata.generation) {
    return inProgress(`its controller has seen generation ${observed} of ${metadata.generation}`);
  }
  const rule = ruleOf(groupOf(object.apiVersion ?? ""), object.kind ?? "");
  return checks.judge(object) ?? rule(object);
}

/** A number, and Argo Rollouts' number in quotes; its older hashes are none. */
function observedGeneration(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

const known = new Map<string, Rule>();

/** Kinds of which the rule was looked up: a cluster serves hundreds. */
const knownMax = 5_000;

function ruleOf(group: string, kind: string): Rule {
  const key = `${group}/${kind}`;
  const before = known.get(key);
  if (before) return before;
  const rule = builtInRule(group, kind) ?? libraryRule(group, kind) ?? judgeByConditions;
  if (known.size < knownMax) known.set(key, rule);
  return rule;
}

/** kstatus' reading of the conditions that any kind may have; and of Synced, in which controllers of outside resources say that they cannot. */
export function judgeByConditions(object: HealthInput): Verdict {
  const conditions = conditionsOf(object);
  const find = (type: string, status: string) => conditions.find((c) => c.type === type && c.status === status);
  const broken = find("Stalled", "True") ?? find("Synced", "False");
  if (broken) return failed(because(broken));
  const reconciling = find("Reconciling", "True");
  if (reconciling) return inProgress(because(reconciling));
  const goal = conditions.find((c) => c.type === "Ready") ?? conditions.find((c) => c.type === "Available");
  if (goal && goal.status !== "True") return inProgress(because(goal));
  return current;
}

function terminating(since: string, finalizers: readonly string[] = []): string {
  return finalizers.length === 0 ? `being deleted since ${since}` : `being deleted since ${since}, waits for finalizers ${finalizers.join(", ")}`;
}
