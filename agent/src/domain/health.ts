import { judgeByKind } from "./health-rules.ts";
import { because, conditionsOf, current, failed, inProgress, type Condition, type HealthInput, type Verdict } from "./verdict.ts";

/**
 * Assess one live object by kstatus' rules: deletion first, then whether its controller has seen the newest spec, then the
 * table of its kind, then the conditions that every kind may have.
 */
export function assessHealth(object: HealthInput): Verdict {
  const { metadata = {}, status } = object;
  if (metadata.deletionTimestamp) return { health: "Terminating", message: terminating(metadata.deletionTimestamp, metadata.finalizers) };
  const observed = status?.observedGeneration;
  if (typeof observed === "number" && metadata.generation !== undefined && observed < metadata.generation) {
    return inProgress(`its controller has seen generation ${observed} of ${metadata.generation}`);
  }
  return judgeByKind(object) ?? judgeByConditions(conditionsOf(object));
}

/** kstatus' reading of the conditions that any kind may have. */
export function judgeByConditions(conditions: readonly Condition[]): Verdict {
  const stalled = conditions.find((c) => c.type === "Stalled" && c.status === "True");
  if (stalled) return failed(because(stalled));
  const reconciling = conditions.find((c) => c.type === "Reconciling" && c.status === "True");
  if (reconciling) return inProgress(because(reconciling));
  const ready = conditions.find((c) => c.type === "Ready");
  if (ready && ready.status !== "True") return inProgress(because(ready));
  return current;
}

function terminating(since: string, finalizers: readonly string[] = []): string {
  return finalizers.length === 0 ? `being deleted since ${since}` : `being deleted since ${since}, waits for finalizers ${finalizers.join(", ")}`;
}
