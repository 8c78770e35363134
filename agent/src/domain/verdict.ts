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
