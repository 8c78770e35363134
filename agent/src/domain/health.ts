import { judgeByKind } from "./health-rules.ts";

/** Health of one object in kstatus words. */
export type HealthWord = "InProgress" | "Current" | "Failed" | "Terminating" | "NotFound" | "Unknown";

/** A verdict and, when it is not Current, why: one line for people, never a value of a Secret. */
export interface Verdict {
  readonly health: HealthWord;
  readonly message: string;
}

/** A condition of a status, as far as health looks at it. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** A live object as far as health looks at it. */
export interface HealthInput {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: {
    readonly generation?: number;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [key: string]: unknown;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

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

export const current: Verdict = Object.freeze({ health: "Current", message: "" });

export function inProgress(message: string): Verdict {
  return { health: "InProgress", message };
}

export function failed(message: string): Verdict {
  return { health: "Failed", message };
}

/** Conditions in status, leaving out what is not shaped like one. */
export function conditionsOf(object: HealthInput): Condition[] {
  const conditions = object.status?.conditions;
  if (!Array.isArray(conditions)) return [];
  return conditions.filter((c): c is Condition => typeof c === "object" && c !== null && typeof (c as Condition).type === "string");
}

/** A condition as one line. */
export function because(condition: Condition): string {
  return `${condition.type}=${condition.status}${condition.reason ? ` (${condition.reason})` : ""}${condition.message ? `: ${condition.message}` : ""}`;
}

function terminating(since: string, finalizers: readonly string[] = []): string {
  return finalizers.length === 0 ? `being deleted since ${since}` : `being deleted since ${since}, waits for finalizers ${finalizers.join(", ")}`;
}
