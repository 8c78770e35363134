/**
 * Field queries: a small, bounded part of jq's language that names places in one object, for ignore rules of drift. Hub (lint) and agent share
 * it, so that lint refuses exactly what the agent could not evaluate.
 *
 *   .spec.replicas                                       a field
 *   .metadata.annotations["sidecar.istio.io/status"]     a field with any name
 *   .spec.containers[0]   .spec.containers[]             one item, every item (of a list or a map)
 *   .spec.containers[] | select(.name == "istio-proxy" and .image != null)
 *   … | .env[] | select(.value == true or .name == "A")
 *
 * select takes comparisons (== and !=) of a path with a string, number, true, false or null, a path alone (there, and neither false nor null),
 * `and`, `or`, `not` in front of brackets, and brackets. There are no patterns, no arithmetic, no functions.
 */

/** Bounds: text, parts of a query, and what one evaluation may visit. */
export const fieldQueryLimits = { chars: 500, parts: 60, depth: 20, visits: 50_000 } as const;

/** A place in an object, and what is there. */
export interface FoundField {
  /** JSON pointer (RFC 6901). */
  readonly pointer: string;
  readonly value: unknown;
}

export interface FieldQuery {
  readonly text: string;
  /** Never throws; past the bound of visits it gives what it had. Fields that are not there are not found. */
  find(object: unknown): FoundField[];
}

export interface FieldQueryProblem {
  readonly message: string;
  /** Where in the text, from 0. */
  readonly offset: number;
}

export type CompiledFieldQuery = { readonly ok: true; readonly query: FieldQuery } | { readonly ok: false; readonly problem: FieldQueryProblem };

type Step = { readonly kind: "field"; readonly name: string } | { readonly kind: "item"; readonly index: number } | { readonly kind: "each" };
type Literal = string | number | boolean | null;
type Condition =
  | { readonly kind: "compare"; readonly path: readonly Step[]; readonly isEqual: boolean; readonly literal: Literal }
  | { readonly kind: "there"; readonly path: readonly Step[] }
  | { readonly kind: "not"; readonly inner: Condition }
  | { readonly kind: "and" | "or"; readonly parts: readonly Condition[] };
type Part = { readonly kind: "path"; readonly path: readonly Step[] } | { readonly kind: "select"; readonly condition: Condition };

/** Compile a query. Never throws on what a person can write. */
export function compileFieldQuery(text: string): CompiledFieldQuery {
  if (text.length > fieldQueryLimits.chars)
    return {
      ok: false,
      problem: { message: `the query has ${text.length} characters, at most ${fieldQueryLimits.chars} are read`, offset: fieldQueryLimits.chars },
    };
  try {
    const parts = new Parser(text).parse();
    return { ok: true, query: { text, find: (object) => evaluate(parts, object) } };
  } catch (error) {
    if (error instanceof QueryError) return { ok: false, problem: { message: error.message, offset: error.offset } };
    throw error;
  }
}

class QueryError extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** Recursive descent; depth and parts are counted. */
class Parser {
  readonly #text: string;
  #at = 0;
  #parts = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): readonly Part[] {
    const parts: Part[] = [this.#part()];
    while (this.#takes("|")) parts.push(this.#part());
    if (this.#at < this.#text.length) throw this.#problem(`'${this.#text.slice(this.#at, this.#at + 12)}' is not expected here`);
    if (parts[0]?.kind === "path" && parts.length === 1 && parts[0].path.length === 0) throw this.#problem("the query names the whole object", 0);
    return parts;
  }

  #part(): Part {
    this.#count();
    if (!this.#takesWord("select")) return { kind: "path", path: this.#path() };
    this.#wants("(");
    const condition = this.#either(0);
    this.#wants(")");
    return { kind: "select", condition };
  }

  #path(): readonly Step[] {
    this.#skip();
    if (this.#text[this.#at] !== ".") throw this.#problem("a path begins with '.'");
    const steps: Step[] = [];
    for (;;) {
      const name = /^\.([A-Za-z_$][\w$-]*)/.exec(this.#rest())?.[1];
      if (name !== undefined) {
        this.#at += name.length + 1;
        steps.push({ kind: "field", name });
      } else if (/^\.?\[/.test(this.#rest())) steps.push(this.#bracket());
      else if (steps.length === 0 && /^\.(?![\w$"])/.test(this.#rest())) {
        this.#at += 1;
        return steps;
      } else if (this.#text[this.#at] === ".") throw this.#problem(`a name is expected after '.'; names with other signs are written ["…"]`);
      else return steps;
      this.#count();
    }
  }

  #bracket(): Step {
    this.#at += this.#text[this.#at] === "." ? 2 : 1;
    this.#skip();
    if (this.#takes("]")) return { kind: "each" };
    const index = /^\d{1,6}/.exec(this.#rest())?.[0];
    if (index !== undefined) this.#at += index.length;
    const step: Step = index === undefined ? { kind: "field", name: this.#quoted() } : { kind: "item", index: Number(index) };
    this.#wants("]");
    return step;
  }

  #either(depth: number): Condition {
    const parts = [this.#both(depth)];
    while (this.#takesWord("or")) parts.push(this.#both(depth));
    return parts.length === 1 ? (parts[0] as Condition) : { kind: "or", parts };
  }

  #both(depth: number): Condition {
    const parts = [this.#single(depth)];
    while (this.#takesWord("and")) parts.push(this.#single(depth));
    return parts.length === 1 ? (parts[0] as Condition) : { kind: "and", parts };
  }

  #single(depth: number): Condition {
    this.#count();
    if (depth > fieldQueryLimits.depth) throw this.#problem(`brackets may be nested ${fieldQueryLimits.depth} deep`);
    if (this.#takesWord("not")) return { kind: "not", inner: this.#inBrackets(depth) };
    this.#skip();
    if (this.#text[this.#at] === "(") return this.#inBrackets(depth);
    const path = this.#path();
    if (this.#takes("==")) return { kind: "compare", path, isEqual: true, literal: this.#literal() };
    if (this.#takes("!=")) return { kind: "compare", path, isEqual: false, literal: this.#literal() };
    return { kind: "there", path };
  }

  #inBrackets(depth: number): Condition {
    this.#wants("(");
    const condition = this.#either(depth + 1);
    this.#wants(")");
    return condition;
  }

  #literal(): Literal {
    this.#skip();
    const word = /^(true|false|null)(?![\w$])/.exec(this.#rest())?.[1];
    const number = /^-?\d+(\.\d+)?([eE][+-]?\d+)?/.exec(this.#rest())?.[0];
    if (word === undefined && number === undefined) return this.#quoted();
    this.#at += (word ?? number ?? "").length;
    return JSON.parse(word ?? number ?? "null") as Literal;
  }

  #quoted(): string {
    this.#skip();
    const quoted = /^"(?:[^"\\]|\\.)*"/.exec(this.#rest())?.[0];
    if (quoted === undefined) throw this.#problem("a word in double quotes, a number, true, false or null is expected");
    try {
      const text = JSON.parse(quoted) as string;
      this.#at += quoted.length;
      return text;
    } catch {
      throw this.#problem(`${quoted} is not a string as JSON writes it`);
    }
  }

  #takes(sign: string): boolean {
    this.#skip();
    if (!this.#text.startsWith(sign, this.#at)) return false;
    this.#at += sign.length;
    return true;
  }

  #takesWord(word: string): boolean {
    this.#skip();
    return new RegExp(`^${word}(?![\\w$])`).test(this.#rest()) && this.#takes(word);
  }

  #wants(sign: string): void {
    if (!this.#takes(sign)) throw this.#problem(`'${sign}' is expected here`);
  }

  #skip(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at += 1;
  }

  #rest(): string {
    return this.#text.slice(this.#at);
  }

  #count(): void {
    this.#parts += 1;
    if (this.#parts > fieldQueryLimits.parts) throw this.#problem(`the query has more than ${fieldQueryLimits.parts} parts`);
  }

  #problem(message: string, offset = this.#at): QueryError {
    return new QueryError(message, offset);
  }
}

interface Budget {
  visits: number;
}

function evaluate(parts: readonly Part[], object: unknown): FoundField[] {
  const budget: Budget = { visits: fieldQueryLimits.visits };
  let found: FoundField[] = [{ pointer: "", value: object }];
  for (const part of parts) {
    found =
      part.kind === "path" ? found.flatMap((field) => follow(field, part.path, budget)) : found.filter(({ value }) => holds(part.condition, value, budget));
  }
  return found.filter(({ pointer }) => pointer !== "");
}

function follow(from: FoundField, path: readonly Step[], budget: Budget): FoundField[] {
  let found = [from];
  for (const step of path) found = found.flatMap((field) => (spend(budget) ? oneStep(field, step) : []));
  return found;
}

function spend(budget: Budget): boolean {
  budget.visits -= 1;
  return budget.visits >= 0;
}

function oneStep({ pointer, value }: FoundField, step: Step): FoundField[] {
  if (typeof value !== "object" || value === null) return [];
  if (step.kind === "each") return Object.entries(value).map(([name, child]) => ({ pointer: `${pointer}/${escape(name)}`, value: child }));
  const name = step.kind === "item" ? String(step.index) : step.name;
  if (Array.isArray(value) !== (step.kind === "item") || !Object.hasOwn(value, name)) return [];
  return [{ pointer: `${pointer}/${escape(name)}`, value: (value as Record<string, unknown>)[name] }];
}

function holds(condition: Condition, value: unknown, budget: Budget): boolean {
  if (!spend(budget)) return false;
  const at = (path: readonly Step[]) => follow({ pointer: "", value }, path, budget);
  switch (condition.kind) {
    case "and":
      return condition.parts.every((part) => holds(part, value, budget));
    case "or":
      return condition.parts.some((part) => holds(part, value, budget));
    case "not":
      return !holds(condition.inner, value, budget);
    case "there":
      return at(condition.path).some((field) => field.value !== undefined && field.value !== null && field.value !== false);
    case "compare": {
      // What is not there is null, as in jq.
      const found = at(condition.path).map((field) => field.value);
      return (found.length === 0 ? [null] : found).some((candidate) => candidate === condition.literal) === condition.isEqual;
    }
  }
}

function escape(step: string): string {
  return step.replaceAll("~", "~0").replaceAll("/", "~1");
}
