import { isSecretLike } from "./object-id.ts";

/** Health of one object in kstatus words. */
export type HealthWord = "InProgress" | "Current" | "Failed" | "Terminating" | "NotFound" | "Unknown";

/** A verdict and, when it is not Current, why: one line for people, never a value of a Secret. */
export interface Verdict {
  readonly health: HealthWord;
  readonly message: string;
  /** InProgress for as long as it takes: the bundle's health timeout does not count (a Job that runs, a Rollout that waits for a person). */
  readonly isPatient?: boolean;
}

/** A condition of a status, as far as health looks at it. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observedGeneration?: number;
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

/** How one kind is judged. */
export type Rule = (object: HealthInput) => Verdict;

export const current: Verdict = Object.freeze({ health: "Current", message: "" });

/** Current, with something worth knowing. */
export function currentThough(message: string): Verdict {
  return { health: "Current", message };
}

export function inProgress(message: string): Verdict {
  return { health: "InProgress", message };
}

/** In progress, however long it takes. */
export function inProgressPatiently(message: string): Verdict {
  return { health: "InProgress", message, isPatient: true };
}

export function failed(message: string): Verdict {
  return { health: "Failed", message };
}

/** Conditions in status, leaving out what is not shaped like one. Of Secret-like kinds without their messages, which may quote values (G13). */
export function conditionsOf(object: HealthInput): Condition[] {
  const found = readConditions(object.status?.conditions);
  return isSecretLike(object.kind ?? "")
    ? found.map(({ type, status, reason, observedGeneration }) => ({
        type,
        status,
        ...(reason !== undefined && { reason }),
        ...(observedGeneration !== undefined && { observedGeneration }),
      }))
    : found;
}

/** Conditions in any list that holds them. */
export function readConditions(list: unknown): Condition[] {
  if (!Array.isArray(list)) return [];
  return list.filter((c): c is Condition => typeof c === "object" && c !== null && typeof (c as Condition).type === "string");
}

/** A condition as one line. */
export function because(condition: Condition): string {
  return `${condition.type}=${condition.status}${condition.reason ? ` (${condition.reason})` : ""}${condition.message ? `: ${condition.message}` : ""}`;
}
