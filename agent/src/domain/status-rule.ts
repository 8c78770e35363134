import {
  because,
  conditionsOf,
  current,
  currentThough,
  failed,
  inProgress,
  inProgressPatiently,
  type Condition,
  type HealthInput,
  type Rule,
} from "./verdict.ts";

/**
 * A rule over conditions and fields of a status, in words that a listing can print. A test is one of
 *
 * - `Ready=True`: the condition has this status; `Ready=False/Err*|Denied`: and one of these reasons (`*` ends a prefix, or begins
 *   an ending; a leading `!` means none of them);
 * - `.status.phase=Ready|Running`: the field is one of these; `.status.phase` alone: the field is there and neither empty nor false.
 */
export interface StatusRule {
  /** API group; "*.example.com" also stands for every group that ends so. */
  readonly group: string;
  /** Kinds, with spaces between; "*" is every kind of the group. */
  readonly kinds: string;
  /** Current at once when one holds: somebody has it paused. */
  readonly suspended?: readonly string[];
  /** Failed when one holds. */
  readonly failed?: readonly string[];
  /** InProgress, however long it takes, when one holds. */
  readonly waits?: readonly string[];
  /** InProgress when one holds. */
  readonly inProgress?: readonly string[];
  /** Current when all hold; otherwise InProgress. */
  readonly current: readonly string[];
  /** Field that says why, when tests are about fields. */
  readonly message?: string;
  /** Conditions that speak of an older generation of the spec count for nothing: this kind's controller keeps observedGeneration there. */
  readonly isFresh?: boolean;
}

/** What a test found: whether it holds, and the words for it. */
interface Finding {
  readonly holds: boolean;
  readonly words: string;
}

interface Facts {
  readonly object: HealthInput;
  readonly conditions: readonly Condition[];
}

type Test = (facts: Facts) => Finding;

/** The rule as a function. Tests are read once, here. */
export function compileStatusRule(rule: StatusRule): Rule {
  const read = (tests: readonly string[] = []) => tests.map(readTest);
  const [suspended, broken, waits, moving, well] = [read(rule.suspended), read(rule.failed), read(rule.waits), read(rule.inProgress), read(rule.current)];
  const say = (object: HealthInput, words: string) => {
    const more = rule.message === undefined ? undefined : fieldOf(object, rule.message);
    return typeof more === "string" && more !== "" && !words.includes(more) ? `${words}: ${more}` : words;
  };
  return (object) => {
    const facts = { object, conditions: rule.isFresh ? freshConditions(object) : conditionsOf(object) };
    const first = (tests: readonly Test[], holds: boolean) => {
      for (const test of tests) {
        const finding = test(facts);
        if (finding.holds === holds) return finding.words;
      }
      return undefined;
    };
    if (first(suspended, true) !== undefined) return currentThough("suspended");
    const failure = first(broken, true);
    if (failure !== undefined) return failed(say(object, failure));
    const wait = first(waits, true);
    if (wait !== undefined) return inProgressPatiently(say(object, wait));
    const move = first(moving, true) ?? first(well, false);
    return move === undefined ? current : inProgress(say(object, move));
  };
}

function freshConditions(object: HealthInput): Condition[] {
  const generation = object.metadata?.generation ?? 0;
  return conditionsOf(object).map((condition) =>
    condition.observedGeneration !== undefined && condition.observedGeneration < generation
      ? { type: condition.type, status: "Unknown", message: `its controller has seen generation ${condition.observedGeneration} of ${generation}` }
      : condition,
  );
}

function readTest(text: string): Test {
  const [subject, wanted] = splitOnce(text, "=");
  if (subject.startsWith(".")) return fieldTest(subject, wanted?.split("|"));
  const [status, reasons] = splitOnce(wanted ?? "True", "/");
  return conditionTest(subject, status, reasons);
}

function conditionTest(type: string, status: string, reasons: string | undefined): Test {
  const isNegated = reasons?.startsWith("!") ?? false;
  const patterns = reasons === undefined ? undefined : reasons.slice(isNegated ? 1 : 0).split("|");
  return ({ conditions }) => {
    const condition = conditions.find((one) => one.type === type);
    if (!condition) return { holds: false, words: `${type} is not reported yet` };
    const reasonFits = patterns === undefined || patterns.some((pattern) => fits(pattern, condition.reason ?? "")) !== isNegated;
    return { holds: condition.status === status && reasonFits, words: because(condition) };
  };
}

function fieldTest(path: string, wanted: readonly string[] | undefined): Test {
  const name = path.split(".").at(-1) ?? path;
  return ({ object }) => {
    const value = fieldOf(object, path);
    const text = textOf(value);
    const words = text === "" ? `${name} is not reported yet` : `${name} is ${text}`;
    if (wanted === undefined) return { holds: text !== "" && text !== "false", words };
    return { holds: wanted.some((one) => fits(one, text)), words };
  };
}

/** A field as text; an object is only there. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return value === undefined || value === null ? "" : "set";
}

/** The value at ".status.phase"; undefined when there is none. */
export function fieldOf(object: HealthInput, path: string): unknown {
  let at: unknown = object;
  for (const step of path.split(".").slice(1)) at = typeof at === "object" && at !== null ? (at as Record<string, unknown>)[step] : undefined;
  return at;
}

function fits(pattern: string, text: string): boolean {
  if (pattern.endsWith("*")) return text.startsWith(pattern.slice(0, -1));
  return pattern.startsWith("*") ? text.endsWith(pattern.slice(1)) : text === pattern;
}

function splitOnce(text: string, by: string): [string, string | undefined] {
  const at = text.indexOf(by);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + by.length)];
}
