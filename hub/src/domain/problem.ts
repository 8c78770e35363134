/**
 * Something expected that is wrong with what a person wrote or with where it came from. Problems are values: they are
 * collected, all at once, and shown with file, line and remedy.
 */
export interface Problem {
  /** Stable, kebab-case: "unknown-field", "missing-path", "helm-template-failed". The list is in docs/problems.md. */
  readonly code: string;
  /** What is wrong, in one line (template errors may have more). Never a secret value, never a path of the hub's machine. */
  readonly message: string;
  /** Path in the repository. */
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  readonly column?: number;
  /** How to mend it, e.g. the nearest valid name. */
  readonly hint?: string;
  readonly bundle?: string;
  /** Object id, "group/kind/namespace/name". */
  readonly object?: string;
  /** It is the repository that cannot be followed, not what a revision holds: the next good fetch mends it. */
  readonly ofSource?: true;
}

/** "fleet.yaml:12:5: unknown field 'bundels'; did you mean 'bundles'?" */
export function describeProblem(problem: Problem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
  const hint = problem.hint === undefined ? "" : `; ${problem.hint}`;
  return `${place === "" ? "" : `${place}: `}${problem.message}${hint}`;
}
