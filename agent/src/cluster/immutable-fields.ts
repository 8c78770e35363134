import { KubeError } from "./kube-error.ts";

/** How API servers say that a field cannot be changed in place: there is no reason of its own for it. */
const saysImmutable =
  /immutable|may not change|may not be changed|cannot be changed|cannot change|cannot be updated|updates to .* (are|is) forbidden|updates to \S+ spec for fields other than|may not (add or )?remove/i;

/**
 * Fields that an apply would have to change and cannot, as the API server names them in the causes of its answer; none when it refused for
 * another reason too: making the object again would not help then.
 */
export function immutableFields(error: unknown): string[] {
  if (!(error instanceof KubeError) || error.status !== 422 || error.causes.length === 0) return [];
  if (!error.causes.every((cause) => saysImmutable.test(cause.message ?? ""))) return [];
  return [...new Set(error.causes.map((cause) => cause.field ?? "").filter((field) => field !== "" && field !== "<nil>"))];
}
