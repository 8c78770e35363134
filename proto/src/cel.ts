import { Environment, type ASTNode } from "@marcbachmann/cel-js";

/**
 * CEL expressions that people write in fleet.yaml: compiled with type checks, evaluated within bounds. Hub and agent share them, so that lint
 * refuses exactly what the agent could not evaluate.
 *
 * Left out on purpose: `matches` (a pattern can take for ever; use contains, startsWith, endsWith), `cel.bind` (bindings inside bindings double
 * without end), and `has` of an indexed value (the library
 * does not know it; `x.?field.orValue(…)` does the same).
 */

/** Bounds: text, nodes of the tree, loops inside loops, and what one evaluation may walk through. */
export const celLimits = {
  chars: 2_000,
  nodes: 300,
  depth: 24,
  loopDepth: 2,
  /** Items of the largest list or map of the input, to the power of the depth of loops: about 50 ms. */
  steps: 1_000_000,
} as const;

/** Variables by name with their CEL types; a nested record is an object with these fields. */
export type CelVariables = Readonly<Record<string, string | Readonly<Record<string, string>>>>;

export interface CelProblem {
  /** One line for people. */
  readonly message: string;
  /** Where in the expression, from 0. */
  readonly offset: number;
}

/** A compiled expression that gives a boolean. */
export interface CelExpression {
  readonly text: string;
  /** Names in quotes by which a map variable is indexed, e.g. objects['Deployment/shop/web']. */
  readonly keysOf: (variable: string) => readonly string[];
  /** Never throws. Whole numbers of the input are ints, as in Kubernetes. */
  evaluate(input: Readonly<Record<string, unknown>>): CelResult;
}

export type CelResult =
  | { readonly ok: true; readonly value: boolean }
  /** `isAbsent`: it asked for a field, an entry or an item that is not there (yet). */
  | { readonly ok: false; readonly message: string; readonly isAbsent: boolean };
export type CompiledCel = { readonly ok: true; readonly expression: CelExpression } | { readonly ok: false; readonly problem: CelProblem };

/** Compile an expression over these variables. Never throws on what a person can write. */
export function compileCel(text: string, variables: CelVariables): CompiledCel {
  if (text.length > celLimits.chars) return problem(`the expression has ${text.length} characters, at most ${celLimits.chars} are read`, celLimits.chars);
  const environment = environmentOf(variables);
  let parsed: ReturnType<Environment["parse"]>;
  try {
    parsed = environment.parse(text);
  } catch (error) {
    return problemOf(error);
  }
  const checked = parsed.check();
  if (!checked.valid) return problemOf(checked.error);
  if (checked.type !== "bool" && checked.type !== "dyn") return problem(`the expression gives ${checked.type}, it must give true or false`, 0);
  const survey = surveyOf(parsed.ast);
  if (survey.refused) return { ok: false, problem: survey.refused };
  return {
    ok: true,
    expression: { text, keysOf: (variable) => survey.keys.get(variable) ?? [], evaluate: (input) => evaluate(parsed, input, survey.loopDepth) },
  };
}

function environmentOf(variables: CelVariables): Environment {
  const environment = new Environment({
    unlistedVariablesAreDyn: false,
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: celLimits.nodes, maxDepth: celLimits.depth, maxListElements: 100, maxMapEntries: 100, maxCallArguments: 8 },
  });
  for (const [name, type] of Object.entries(variables)) {
    if (typeof type === "string") environment.registerVariable(name, type);
    else environment.registerVariable({ name, schema: { ...type } });
  }
  return environment;
}

function evaluate(parsed: ReturnType<Environment["parse"]>, input: Readonly<Record<string, unknown>>, loopDepth: number): CelResult {
  const measured = { largest: 1 };
  const context = Object.fromEntries(Object.entries(input).map(([name, value]) => [name, celValue(value, measured)]));
  if (loopDepth > 0 && measured.largest ** loopDepth > celLimits.steps)
    return {
      ok: false,
      message: `a list of ${measured.largest} items is too long for ${loopDepth === 1 ? "a loop" : "loops inside loops"}`,
      isAbsent: false,
    };
  try {
    const value: unknown = parsed(context);
    return typeof value === "boolean" ? { ok: true, value } : { ok: false, message: `gives ${typeof value}, not true or false`, isAbsent: false };
  } catch (error) {
    return { ok: false, message: summaryOf(error), isAbsent: absences.has((error as { code?: string }).code ?? "") };
  }
}

/** The library's codes for what is not there; a variable without a value is one that the object does not have. */
const absences: ReadonlySet<string> = new Set(["no_such_key", "unknown_variable", "index_out_of_bounds"]);

/** JSON as CEL sees it: whole numbers are ints. */
function celValue(value: unknown, measured: { largest: number }): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    measured.largest = Math.max(measured.largest, value.length);
    return value.map((item) => celValue(item, measured));
  }
  const members = Object.entries(value);
  measured.largest = Math.max(measured.largest, members.length);
  return Object.fromEntries(members.map(([name, member]) => [name, celValue(member, measured)]));
}

interface Survey {
  readonly keys: Map<string, string[]>;
  loopDepth: number;
  refused: CelProblem | undefined;
}

const loops: ReadonlySet<string> = new Set(["all", "exists", "exists_one", "map", "filter"]);

/** Functions that could take for ever, and what to write instead. */
const notOffered: ReadonlyMap<string, string> = new Map([
  ["matches", "use contains, startsWith or endsWith"],
  ["bind", "write the value where it is used"],
]);

/** One walk over the tree: which names it asks for, how deep its loops are, and what is not allowed. */
function surveyOf(root: ASTNode): Survey {
  const survey: Survey = { keys: new Map(), loopDepth: 0, refused: undefined };
  walk(root, 0, survey);
  return survey;
}

function walk(value: unknown, depth: number, survey: Survey): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, depth, survey);
    return;
  }
  if (!isNode(value)) return;
  let inside = depth;
  if (value.op === "rcall" || value.op === "call") {
    const name = value.args[0];
    const remedy = notOffered.get(name);
    if (remedy !== undefined) survey.refused ??= { message: `${name} is not allowed here: ${remedy}`, offset: value.start };
    if (value.op === "rcall" && loops.has(name)) inside += 1;
    if (inside > celLimits.loopDepth) survey.refused ??= { message: `loops may be nested ${celLimits.loopDepth} deep`, offset: value.start };
    survey.loopDepth = Math.max(survey.loopDepth, inside);
  }
  if (value.op === "[]" || value.op === "[?]") noteKey(value.args, survey);
  walk(value.args, inside, survey);
}

function noteKey([from, key]: readonly [ASTNode, ASTNode], survey: Survey): void {
  if (from.op !== "id" || key.op !== "value" || typeof key.args !== "string") return;
  const known = survey.keys.get(from.args) ?? [];
  if (!known.includes(key.args)) survey.keys.set(from.args, [...known, key.args]);
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === "object" && value !== null && "op" in value && "args" in value;
}

function problem(message: string, offset: number): CompiledCel {
  return { ok: false, problem: { message, offset } };
}

function problemOf(error: unknown): CompiledCel {
  const range = (error as { range?: { start?: number } } | undefined)?.range;
  return problem(summaryOf(error), range?.start ?? 0);
}

function summaryOf(error: unknown): string {
  const summary = (error as { summary?: unknown } | undefined)?.summary;
  const message = typeof summary === "string" ? summary : error instanceof Error ? error.message : String(error);
  return (message.split("\n")[0] ?? "").slice(0, 200);
}
