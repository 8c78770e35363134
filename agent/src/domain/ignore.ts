import { compileFieldQuery, type FieldQuery } from "@flotilla/proto/field-query";
import type { ObjectId } from "./object-id.ts";
import { type ManagedFieldsEntry, type OwnedFields, ownFieldsOf, pointerOfMembers, walkOwned } from "./owned-fields.ts";

/** Fields that drift never looks at, for the objects that match. Empty group, kind, namespace or name match all. */
export interface IgnoreRule {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** JSON pointers (RFC 6901); a step of "*" matches any one step. */
  readonly paths: readonly string[];
  /** Field queries (proto/src/field-query.ts). */
  readonly queries: readonly string[];
  /** With these the rule counts only for fields that one of them holds; without paths and queries: for every such field. */
  readonly managers: readonly string[];
}

/** Fields that are ignored while one of these field managers holds them. */
export interface HeldRule {
  readonly managers: readonly string[];
  /** Both empty: every field. */
  readonly paths: readonly string[];
  readonly queries: readonly FieldQuery[];
}

/** What is ignored of one object. Equal ones are one value: most objects share it. */
export interface Ignored {
  readonly paths: readonly string[];
  readonly queries: readonly FieldQuery[];
  readonly held: readonly HeldRule[];
  /** The same for the same rules, for hashes. */
  readonly text: string;
}

export const nothingIgnored: Ignored = Object.freeze({ paths: [], queries: [], held: [], text: "" });

const known = new Map<string, Ignored>();
/** Different sets of rules kept for sharing; past it they are only not shared. */
const knownMax = 1_000;

/** What the rules come to for one object. A query that cannot be read counts for nothing: the hub's lint refused it. */
export function ignoredOf(rules: readonly IgnoreRule[], id: ObjectId): Ignored {
  const matching = rules.filter((rule) => matches(rule, id));
  if (matching.length === 0) return nothingIgnored;
  const always = matching.filter(({ managers }) => managers.length === 0);
  const parts = {
    paths: distinct(always.flatMap(({ paths }) => paths)),
    queries: distinct(always.flatMap(({ queries }) => queries)),
    held: matching.filter(({ managers }) => managers.length > 0).map(({ managers, paths, queries }) => ({ managers: distinct(managers), paths, queries })),
  };
  const text = JSON.stringify(parts);
  const shared = known.get(text);
  if (shared) return shared;
  const ignored = {
    paths: parts.paths,
    queries: compileAll(parts.queries),
    held: parts.held.map((rule) => ({ ...rule, queries: compileAll(rule.queries) })),
    text,
  };
  if (known.size < knownMax) known.set(text, ignored);
  return ignored;
}

function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)].sort();
}

function compileAll(queries: readonly string[]): FieldQuery[] {
  return queries.flatMap((text) => {
    const compiled = compileFieldQuery(text);
    return compiled.ok ? [compiled.query] : [];
  });
}

function matches(rule: IgnoreRule, id: ObjectId): boolean {
  const same = (wanted: string, actual: string) => wanted === "" || wanted === actual;
  return same(rule.group, id.group) && same(rule.kind, id.kind) && same(rule.namespace, id.namespace) && same(rule.name, id.name);
}

/** The pointers that are ignored in this very object, whoever holds them: queries are answered by its content. */
export function ignoredPointers({ paths, queries }: Pick<Ignored, "paths" | "queries">, object: unknown): readonly string[] {
  if (queries.length === 0) return paths;
  return [...paths, ...queries.flatMap((query) => query.find(object).map(({ pointer }) => pointer))];
}

/** Whether a pointer into this object is ignored whoever holds it: named, or below what is named. */
export function isIgnoredIn(ignored: Pick<Ignored, "paths" | "queries">, object: unknown): (pointer: string) => boolean {
  return isBelow(ignoredPointers(ignored, object));
}

/** Whether a differing field is left to the manager that holds it now. */
export function isLeftTo(ignored: Ignored, object: unknown): (pointer: string, manager: string) => boolean {
  const rules = ignored.held.map((rule) => ({ managers: rule.managers, covers: coverageOf(rule, object) }));
  return (pointer, manager) => manager !== "" && rules.some(({ managers, covers }) => managers.includes(manager) && covers(pointer));
}

function coverageOf(rule: HeldRule, object: unknown): (pointer: string) => boolean {
  return rule.paths.length + rule.queries.length === 0 ? () => true : isIgnoredIn(rule, object);
}

/**
 * Pointers into `body` of what must be left out when it is applied over `live`: ignored fields that are not ours there (applying them would
 * take them from whom they belong to), and fields that are left to the managers who hold them.
 */
export function foreignPointers(ignored: Ignored, body: unknown, live: LiveFields): readonly string[] {
  const ours = pointersOwnedIn(ownFieldsOf(live.metadata?.managedFields), live, body);
  const isOurs = (pointer: string) => ours.some((own) => own === pointer || own.startsWith(`${pointer}/`) || pointer.startsWith(`${own}/`));
  const foreign = ignoredPointers(ignored, body).filter((pointer) => pointer.includes("/*") || !isOurs(pointer));
  if (ignored.held.length === 0) return foreign;
  const rows = Array.isArray(live.metadata?.managedFields) ? (live.metadata.managedFields as ManagedFieldsEntry[]) : [];
  const left = ignored.held.flatMap((rule) => {
    const covers = coverageOf(rule, body);
    const held = rows.filter((row) => row.fieldsV1 !== undefined && rule.managers.includes(row.manager ?? ""));
    return held.flatMap((row) => pointersOwnedIn(row.fieldsV1, live, body)).filter(covers);
  });
  return [...new Set([...foreign, ...left])];
}

/** What a manager owns of the live object, as pointers into the body: their lists may be in another order. */
function pointersOwnedIn(owned: OwnedFields | undefined, live: LiveFields, body: unknown): string[] {
  return walkOwned(owned ?? {}, live).flatMap(({ members }) => pointerOfMembers(members, body) ?? []);
}

/** What of a live object tells who holds what. */
export interface LiveFields {
  readonly metadata?: { readonly managedFields?: unknown; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

function isBelow(paths: readonly string[]): (pointer: string) => boolean {
  if (paths.length === 0) return () => false;
  const plain = paths.filter((path) => !path.includes("/*"));
  const patterns = paths.filter((path) => path.includes("/*")).map((path) => path.split("/"));
  return (pointer) => {
    if (plain.some((path) => pointer === path || pointer.startsWith(`${path}/`))) return true;
    if (patterns.length === 0) return false;
    const steps = pointer.split("/");
    return patterns.some((pattern) => pattern.length <= steps.length && pattern.every((step, i) => step === "*" || step === steps[i]));
  };
}

/** Whether the object has anything at one of these pointers. */
export function hasAny(object: unknown, paths: readonly string[]): boolean {
  return paths.some((path) => reaches(object, stepsOf(path)));
}

function reaches(value: unknown, path: readonly string[], from = 0): boolean {
  const step = path[from];
  if (step === undefined) return value !== undefined;
  if (typeof value !== "object" || value === null) return false;
  if (step === "*") return Object.values(value).some((child) => reaches(child, path, from + 1));
  return Object.hasOwn(value, step) && reaches((value as Record<string, unknown>)[step], path, from + 1);
}

/** A copy of an object without the values at the given pointers ("*" is followed into every child). */
export function withoutPaths<T>(object: T, paths: readonly string[]): T {
  if (paths.length === 0) return object;
  const copy = structuredClone(object);
  // Later items of a list first: taking one out moves those behind it.
  const wild = paths.filter((path) => path.includes("/*"));
  const plain = paths.filter((path) => !path.includes("/*")).map(stepsOf);
  for (const steps of plain.toSorted((a, b) => compareSteps(b, a))) remove(copy, steps);
  for (const path of wild) remove(copy, stepsOf(path));
  return copy;
}

function compareSteps(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left = "", right = ""] = [a[i], b[i]];
    if (left === right) continue;
    const numbers = Number(left) - Number(right);
    return Number.isNaN(numbers) ? (left < right ? -1 : 1) : numbers;
  }
  return a.length - b.length;
}

function remove(value: unknown, steps: readonly string[]): void {
  const [step, ...rest] = steps;
  if (step === undefined || typeof value !== "object" || value === null) return;
  const record = value as Record<string, unknown>;
  for (const key of step === "*" ? Object.keys(record).toReversed() : [step]) {
    if (rest.length > 0) remove(record[key], rest);
    else if (Array.isArray(value)) value.splice(Number(key), 1);
    else delete record[key];
  }
}

/** Paths come from shipped rules and from bundles, few and again and again. */
const steps = new Map<string, readonly string[]>();
const stepsKept = 2_000;

function stepsOf(path: string): readonly string[] {
  const known = steps.get(path);
  if (known) return known;
  const read = path
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (steps.size >= stepsKept) steps.clear();
  steps.set(path, read);
  return read;
}
