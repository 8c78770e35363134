import { isDeepStrictEqual } from "node:util";
import { FieldSet } from "./field-set.ts";
import { type Schema, schemaUnder } from "./schema.ts";

/** Structured merge: which fields a value has, how two differ, how one is laid over another, and what is left without some. */

export type Fields = Record<string, unknown>;

/** A value does not fit its schema. The message is the API server's. */
export class TypedValueError extends Error {
  override readonly name = "TypedValueError";
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value of an object as text; "" when it is not there. */
export function textOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isLeaf(schema: Schema, ...values: readonly unknown[]): boolean {
  const present = values.filter((value) => value !== undefined && value !== null);
  if (schema.kind === "scalar" || (schema.kind !== "any" && schema.kind !== "list" && schema.isAtomic)) return true;
  if (schema.kind === "list" && schema.topology === "atomic") return true;
  if (present.some((value) => typeof value !== "object")) return true;
  if (schema.kind === "any" && present.some((value) => Array.isArray(value))) return true;
  return present.every((value) => (Array.isArray(value) ? value.length : Object.keys(value as object).length) === 0);
}

/** The path element of one item of a list. */
function stepOf(schema: Schema & { kind: "list" }, item: unknown, index: number): string {
  if (schema.topology === "set") return `v:${JSON.stringify(item)}`;
  if (schema.topology === "atomic") return `i:${index}`;
  const keys = schema.keys.toSorted().map((key) => [key, keyOf(schema, item, key)] as const);
  return `k:${JSON.stringify(Object.fromEntries(keys))}`;
}

function keyOf(schema: Schema & { kind: "list" }, item: unknown, key: string): unknown {
  const value = isFields(item) ? item[key] : undefined;
  if (value !== undefined && value !== null) return value;
  const standard = schema.items.kind === "struct" ? schema.items.fields.get(key)?.default : undefined;
  if (standard === undefined)
    throw new TypedValueError(`element 0: associative list with keys has an element that omits key field "${key}" (and doesn't have default value)`);
  return standard;
}

/** Items by their path elements, in order; the first of those that say the same. */
function itemsOf(schema: Schema & { kind: "list" }, list: readonly unknown[]): Map<string, unknown> {
  const found = new Map<string, unknown>();
  list.forEach((item, index) => {
    const step = stepOf(schema, item, index);
    if (!found.has(step)) found.set(step, item);
  });
  return found;
}

/**
 * Refuse what the schema does not know, and lists with the same key twice.
 *
 * @throws TypedValueError
 */
export function validateTyped(schema: Schema, value: unknown, path = ""): void {
  if (value === undefined || value === null) return;
  if (schema.kind === "struct" || schema.kind === "map") {
    if (!isFields(value)) throw new TypedValueError(`${path}: expected map, got ${goValue(value)}`);
    for (const [name, child] of Object.entries(value)) {
      if (schema.kind === "struct" && !schema.preservesUnknown && !schema.fields.has(name))
        throw new TypedValueError(`${path}.${name}: field not declared in schema`);
      validateTyped(schemaUnder(schema, name), child, `${path}.${name}`);
    }
  }
  if (schema.kind === "list") validateList(schema, value, path);
  if (schema.kind === "scalar" && !isScalar(schema.type, value)) throw new TypedValueError(`${path}: expected ${goType(schema.type)}, got ${goValue(value)}`);
}

function isScalar(type: (Schema & { kind: "scalar" })["type"], value: unknown): boolean {
  if (type === "int-or-string") return typeof value === "string" || typeof value === "number";
  return typeof value === (type === "integer" ? "number" : type);
}

function goType(type: string): string {
  return type === "integer" || type === "number" ? "numeric (int or float)" : type;
}

function validateList(schema: Schema & { kind: "list" }, value: unknown, path: string): void {
  if (!Array.isArray(value)) throw new TypedValueError(`${path}: expected list, got ${goValue(value)}`);
  const seen = new Set<string>();
  value.forEach((item: unknown, index) => {
    const step = withPath(path, () => stepOf(schema, item, index));
    if (seen.has(step)) throw new TypedValueError(`${path}: duplicate entries for key [${step.startsWith("v:") ? `=${step.slice(2)}` : tellKeys(step)}]`);
    seen.add(step);
    validateTyped(schema.items, item, `${path}[${step.startsWith("k:") ? tellKeys(step) : String(index)}]`);
  });
}

function withPath<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new TypedValueError(`${path}: ${(error as Error).message}`);
  }
}

function tellKeys(step: string): string {
  return Object.entries(JSON.parse(step.slice(2)) as Fields)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(",");
}

function goValue(value: unknown): string {
  return `&value.valueUnstructured{Value:${JSON.stringify(value)}}`;
}

/** The fields that a value has: what an applier owns. */
export function fieldsOf(schema: Schema, value: unknown): FieldSet {
  const set = new FieldSet();
  collect(schema, value, [], set);
  return set;
}

function collect(schema: Schema, value: unknown, path: string[], set: FieldSet): void {
  if (isOneThing(schema, value)) set.insert(path);
  else if (schema.kind === "list") {
    const list = (value ?? []) as unknown[];
    list.forEach((item, index) => {
      const at = [...path, stepOf(schema, item, index)];
      collect(schema.items, item, at, set);
      set.insert(at);
    });
  } else {
    for (const [name, child] of Object.entries((value ?? {}) as Fields)) {
      const at = [...path, `f:${name}`];
      collect(schemaUnder(schema, name), child, at, set);
      const isNamed = schema.kind === "struct" && schema.fields.has(name);
      if (!isNamed || child === null || (isFields(child) && Object.keys(child).length === 0)) set.insert(at);
    }
  }
}

function isOneThing(schema: Schema, value: unknown): boolean {
  if (schema.kind === "scalar") return true;
  if (schema.kind === "list") return schema.topology === "atomic";
  if (schema.kind === "any") return value !== null && !isFields(value);
  return schema.isAtomic;
}

/** How a value differs from one before. */
export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

export function compareTyped(schema: Schema, before: unknown, after: unknown): Comparison {
  const found = { added: new FieldSet(), modified: new FieldSet(), removed: new FieldSet() };
  compareAt(schema, before, after, [], found);
  return found;
}

function compareAt(schema: Schema, before: unknown, after: unknown, path: string[], found: Comparison): void {
  if (before === undefined && after === undefined) return;
  if (before !== undefined && after !== undefined && schema.kind === "any" && isFields(before) !== isFields(after)) {
    // It became another sort of thing: what was in it went, what is in it came.
    for (const [name, child] of Object.entries(isFields(before) ? before : {})) compareAt(schema, child, undefined, [...path, `f:${name}`], found);
    for (const [name, child] of Object.entries(isFields(after) ? after : {})) compareAt(schema, undefined, child, [...path, `f:${name}`], found);
    found.modified.insert(path);
    return;
  }
  const leaf = isLeaf(schema, before, after);
  if (!leaf && schema.kind === "list") {
    const [old, now] = [itemsOf(schema, (before ?? []) as unknown[]), itemsOf(schema, (after ?? []) as unknown[])];
    for (const step of new Set([...old.keys(), ...now.keys()])) compareAt(schema.items, old.get(step), now.get(step), [...path, step], found);
  } else if (!leaf) {
    const [old, now] = [(before ?? {}) as Fields, (after ?? {}) as Fields];
    for (const name of new Set([...Object.keys(old), ...Object.keys(now)]))
      compareAt(schemaUnder(schema, name), old[name], now[name], [...path, `f:${name}`], found);
  }
  if (before === undefined) found.added.insert(path);
  else if (after === undefined) found.removed.insert(path);
  else if (leaf && !isDeepStrictEqual(before, after)) found.modified.insert(path);
}

/** One value laid over another. */
export function mergeTyped(schema: Schema, under: unknown, over: unknown): unknown {
  if (over === undefined) return under;
  if (under === undefined || isLeaf(schema, under, over)) return over;
  if (schema.kind === "list") return mergeLists(schema, (under ?? []) as unknown[], (over ?? []) as unknown[]);
  const merged: Fields = { ...((under ?? {}) as Fields) };
  for (const [name, value] of Object.entries((over ?? {}) as Fields)) merged[name] = mergeTyped(schemaUnder(schema, name), merged[name], value);
  return merged;
}

/** Items keep the order of the list that is laid over; those only underneath stay beside their neighbours. */
function mergeLists(schema: Schema & { kind: "list" }, under: readonly unknown[], over: readonly unknown[]): unknown[] {
  const [old, now] = [itemsOf(schema, under), itemsOf(schema, over)];
  const [oldSteps, newSteps] = [under.map((item, index) => stepOf(schema, item, index)), [...now.keys()]];
  const shared = newSteps.filter((step) => old.has(step));
  const done = new Set<string>();
  const merged: unknown[] = [];
  for (let [o, n] = [0, 0]; o < oldSteps.length || n < newSteps.length;) {
    const [oldStep, newStep] = [oldSteps[o], newSteps[n]];
    if (oldStep !== undefined && !now.has(oldStep)) {
      merged.push(under[o++]);
      continue;
    }
    // An item of both comes when it is its turn in the list that is laid over.
    const isOutOfTurn = oldStep !== undefined && newStep !== undefined && oldStep !== newStep && shared[0] !== undefined && shared[0] !== oldStep;
    if (oldStep !== undefined && (done.has(oldStep) || isOutOfTurn)) {
      o++;
      continue;
    }
    if (newStep === undefined) break;
    merged.push(mergeTyped(schema.items, old.get(newStep), now.get(newStep)));
    done.add(newStep);
    n++;
    if (oldStep === newStep) o++;
    if (shared[0] === newStep) shared.shift();
  }
  return merged;
}

/** A value without the given fields. What is empty then is null. */
export function removeFields(schema: Schema, value: unknown, gone: FieldSet): unknown {
  if (value === undefined || value === null || typeof value !== "object" || isOneThing(schema, value))
    return isOneThing(schema, value) && typeof value === "object" ? null : value;
  if (schema.kind === "list") {
    const kept = (value as unknown[]).flatMap((item, index) => {
      const step = stepOf(schema, item, index);
      if (gone.members.has(step)) return [];
      const below = gone.children.get(step);
      return [below && !below.isEmpty ? removeFields(schema.items, item, below) : item];
    });
    return kept.length > 0 ? kept : null;
  }
  const kept = Object.entries(value as Fields).flatMap(([name, child]): [string, unknown][] => {
    if (gone.members.has(`f:${name}`)) return [];
    const below = gone.children.get(`f:${name}`);
    return [[name, below && !below.isEmpty ? removeFields(schemaUnder(schema, name), child, below) : child]];
  });
  return kept.length > 0 ? Object.fromEntries(kept) : null;
}

/** A set in which every named field on the way to a member is a member too. */
export function withNamedFields(schema: Schema, set: FieldSet): FieldSet {
  const members = new Set(set.members);
  const children: [string, FieldSet][] = [];
  for (const [step, child] of set.children) {
    const name = step.slice(2);
    if (step.startsWith("f:") && schema.kind === "struct" && schema.fields.has(name)) members.add(step);
    const below = step.startsWith("f:") ? schemaUnder(schema, name) : schema.kind === "list" ? schema.items : ({ kind: "any" } as const);
    children.push([step, withNamedFields(below, child)]);
  }
  return new FieldSet(members, children);
}
