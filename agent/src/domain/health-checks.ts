import type { CelResult } from "@flotilla/proto/cel";
import { compileHealthCheck, healthVariables } from "@flotilla/proto/health-check";
import { digestOf } from "@flotilla/proto/digest";
import { isSecretLike, type ObjectId } from "./object-id.ts";
import { current, failed, inProgress, type HealthInput, type Verdict } from "./verdict.ts";

/** One check as the target carries it; empty expressions are not asked, an empty group matches all. */
export interface HealthCheck {
  readonly group: string;
  readonly kind: string;
  readonly inProgress: string;
  readonly failed: string;
  readonly current: string;
}

/** The checks that hold for one kind of a bundle. */
export interface HealthChecks {
  /** "" when there are none; equal texts judge alike. */
  readonly digest: string;
  /** The checks' verdict; undefined when the shipped rule has the word. */
  judge(object: HealthInput): Verdict | undefined;
}

export const noHealthChecks: HealthChecks = Object.freeze({ digest: "", judge: () => undefined });

/** Expressions compiled: one bundle's are shared by all its objects, equal ones by all bundles. */
const compiled = new Map<string, HealthChecks>();

/** Checks kept compiled: more than every fleet of a cluster has. Beyond it they are compiled for each target anew. */
const compiledMax = 1_000;

/** The checks of a bundle for objects like this one: the first that matches its kind. */
export function healthChecksFor(checks: readonly HealthCheck[], id: ObjectId): HealthChecks {
  const check = checks.find(({ group, kind }) => kind === id.kind && (group === "" || group === id.group));
  if (!check) return noHealthChecks;
  const digest = digestOf([check.inProgress, check.failed, check.current]);
  const known = compiled.get(digest);
  if (known) return known;
  const made: HealthChecks = Object.freeze({ digest, judge: compile(check) });
  if (compiled.size < compiledMax) compiled.set(digest, made);
  return made;
}

/** What one expression says: true, false, or why there is no answer. */
type Ask = (object: HealthInput) => CelResult;

/** In Flux' order: inProgress, failed, current. A field that is not there makes an expression false; all else that is wrong is told as Unknown. */
function compile(check: HealthCheck): HealthChecks["judge"] {
  const asks = (["inProgress", "failed", "current"] as const).flatMap((name) => (check[name] === "" ? [] : [{ name, ask: askOf(check[name]) }]));
  return (object) => {
    for (const { name, ask } of asks) {
      const answer = ask(object);
      // A conversion that fails quotes what it could not convert.
      if (!answer.ok && !answer.isAbsent)
        return { health: "Unknown", message: `health check ${name}: ${isSecretLike(check.kind) ? "cannot be evaluated" : answer.message}` };
      if (name === "current") return currentOr(answer, check.current);
      if (answer.ok && answer.value) return (name === "failed" ? failed : inProgress)(`health check: ${shorten(check[name])}`);
    }
    return undefined;
  };
}

function currentOr(answer: CelResult, text: string): Verdict {
  if (!answer.ok) return inProgress(`health check: not yet ${shorten(text)} (${answer.message})`);
  return answer.value ? current : inProgress(`health check: not yet ${shorten(text)}`);
}

/** A target of another version's hub may hold what this agent cannot compile: told on the objects, and nothing else is held up. */
function askOf(text: string): Ask {
  const compiled = compileHealthCheck(text);
  if (!compiled.ok) return () => ({ ok: false, message: compiled.problem.message, isAbsent: false });
  const named = Object.keys(healthVariables).filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  return (object) => compiled.expression.evaluate(variablesOf(object, named));
}

/** Only what the expression names: every value is converted for the evaluation, and a spec is mostly larger than its status. */
function variablesOf(object: HealthInput, named: readonly string[]): Record<string, unknown> {
  const variables: Record<string, unknown> = {};
  for (const name of named)
    variables[name] = name === "object" ? withoutManagers(object) : name === "metadata" ? withoutManagers(object).metadata : object[name];
  return variables;
}

function withoutManagers(object: HealthInput): HealthInput {
  const { managedFields: _, ...metadata } = object.metadata ?? {};
  return { ...object, metadata };
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 120 ? line : `${line.slice(0, 119)}…`;
}
