import type { Json } from "@flotilla/proto/digest";
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { suggestName } from "./nearest-name.ts";
import type { Problem } from "./problem.ts";

/** The part of JSON Schema that our schemas use. */
export interface StructureSchema {
  readonly type?: string;
  readonly title?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly StructureSchema[];
  readonly properties?: Readonly<Record<string, StructureSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly patternProperties?: Readonly<Record<string, StructureSchema>>;
  readonly items?: StructureSchema;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface CheckedStructure {
  /** The document as JSON; parts of a wrong type are left out. */
  readonly value: Json | undefined;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** Where a part stands, by its path ("spec/bundles/0/name"). */
  readonly positions: ReadonlyMap<string, Position>;
}

/** Nodes visited, aliases followed: an alias that stands for ten others ten levels deep would be ten thousand million. */
const nodesMax = 100_000;

/** Levels below the document. fleet.yaml itself has 8; values may nest. */
const depthMax = 64;

/** Problems told of one file. More help nobody. */
const problemsMax = 100;

interface Walk {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly file: string;
  readonly problems: Problem[];
  readonly warnings: Problem[];
  readonly positions: Map<string, Position>;
  nodes: number;
  stopped: boolean;
}

type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** Compare a YAML document with a schema: every difference is told at once, where it stands; the rest is returned as JSON. */
export function checkStructure(document: Document, lines: LineCounter, schema: StructureSchema, file: string): CheckedStructure {
  const walk: Walk = { document, lines, file, problems: [], warnings: [], positions: new Map(), nodes: 0, stopped: false };
  const value = checkNode(walk, document.contents as Node | null, schema, [], undefined);
  return { value, problems: walk.problems, warnings: walk.warnings, positions: walk.positions };
}

function checkNode(walk: Walk, given: Node | null, schema: StructureSchema, path: readonly string[], around: Node | undefined): Json | undefined {
  const node = followAlias(walk, given, path);
  if (node === undefined || !withinBounds(walk, node, path)) return undefined;
  const place = given ?? around;
  const position = positionOf(walk, place);
  if (position !== undefined) walk.positions.set(path.join("/"), position);
  const chosen = chooseAlternative(schema, kindOfNode(node));
  if (chosen === undefined) return tellWrongType(walk, node, schema, path, place);
  if (isMap(node)) return checkMap(walk, node, chosen, path);
  if (isSeq(node)) return checkSequence(walk, node, chosen, path);
  return checkScalar(walk, node as Scalar | null, chosen, path, place);
}

/** What an alias stands for; undefined (and told) when it stands for nothing or for itself. */
function followAlias(walk: Walk, node: Node | null, path: readonly string[]): Node | null | undefined {
  if (!isAlias(node)) return node;
  const target = (node as Alias).resolve(walk.document) as Node | undefined;
  if (target !== undefined && !isAlias(target)) return target;
  tell(walk, node, path, { code: "invalid-yaml", message: `alias '*${(node as Alias).source}' has no anchor before it` });
  return undefined;
}

function withinBounds(walk: Walk, node: Node | null, path: readonly string[]): boolean {
  walk.nodes += 1;
  if (walk.stopped) return false;
  if (walk.nodes <= nodesMax && path.length <= depthMax) return true;
  walk.stopped = true;
  const message = path.length > depthMax ? `nested deeper than ${depthMax} levels` : `more than ${nodesMax} values, aliases counted each time they are used`;
  walk.problems.push({ code: "yaml-limit", message, file: walk.file, ...positionOf(walk, node ?? undefined), hint: "write less, or move it into the bundles" });
  return false;
}

function checkMap(walk: Walk, map: YAMLMap, schema: StructureSchema, path: readonly string[]): Json {
  const value: Record<string, Json> = {};
  const seen = new Set<string>();
  for (const pair of map.items as Pair<Node | null, Node | null>[]) {
    const key = keyOf(walk, pair, path);
    if (key === undefined) continue;
    if (seen.has(key)) {
      tell(walk, pair.key, [...path, key], { code: "duplicate-key", message: `'${key}' is here twice`, hint: "keep one of them" });
      continue;
    }
    seen.add(key);
    const inner = propertySchema(schema, key);
    if (inner === undefined) {
      const hint = key === "<<" ? "merge keys are YAML 1.1; repeat the fields" : suggestName(key, Object.keys(schema.properties ?? {}), "fields");
      tell(walk, pair.key, path, { code: "unknown-field", message: `unknown field '${key}'${inWhat(path)}`, ...(hint === undefined ? {} : { hint }) });
      continue;
    }
    const checked = checkNode(walk, pair.value, inner, [...path, key], pair.key ?? undefined);
    if (checked !== undefined) Object.defineProperty(value, key, { value: checked, enumerable: true, configurable: true, writable: true });
  }
  for (const required of schema.required ?? []) {
    if (!seen.has(required)) tell(walk, map, path, { code: "missing-field", message: `'${required}' is missing${inWhat(path)}` });
  }
  return value;
}

/** A key as text; undefined (and told) when it is something else or would reach an object's prototype. */
function keyOf(walk: Walk, pair: Pair<Node | null, Node | null>, path: readonly string[]): string | undefined {
  const key = followAlias(walk, pair.key, path);
  const value = isScalar(key) ? key.value : undefined;
  if (value === "__proto__") {
    tell(walk, pair.key, path, { code: "unknown-field", message: "'__proto__' cannot be a field" });
    return undefined;
  }
  if (typeof value === "string") {
    warnOfYaml11(walk, key as Scalar, path);
    return value;
  }
  if (isScalar(key) && (typeof value === "number" || typeof value === "boolean")) return String(key.source ?? value);
  tell(walk, pair.key, path, { code: "wrong-type", message: `a key${inWhat(path)} is not text` });
  return undefined;
}

function propertySchema(schema: StructureSchema, key: string): StructureSchema | undefined {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) return schema.properties[key];
  const open = Object.values(schema.patternProperties ?? {})[0];
  if (open !== undefined) return open;
  return schema.properties === undefined && schema.additionalProperties !== false ? {} : undefined;
}

function checkSequence(walk: Walk, sequence: YAMLSeq, schema: StructureSchema, path: readonly string[]): Json {
  const { minItems = 0, maxItems = Infinity } = schema;
  const count = sequence.items.length;
  if (count < minItems)
    tell(walk, sequence, path, { code: "bad-value", message: `${fieldName(path)} needs at least ${minItems} ${minItems === 1 ? "entry" : "entries"}` });
  if (count > maxItems) tell(walk, sequence, path, { code: "bad-value", message: `${fieldName(path)} has ${count} entries; at most ${maxItems} are allowed` });
  // An entry that is left out keeps its place, so that paths still name the entries as written.
  return sequence.items
    .slice(0, maxItems)
    .map((item, index) => checkNode(walk, item as Node | null, schema.items ?? {}, [...path, String(index)], sequence) ?? null);
}

function checkScalar(walk: Walk, node: Scalar | null, schema: StructureSchema, path: readonly string[], place: Node | undefined): Json | undefined {
  const value = (node?.value ?? null) as Json;
  const wrong = wrongValue(value, schema);
  if (wrong !== undefined) tell(walk, place, path, { ...wrong, message: `${fieldName(path)} ${wrong.message}` });
  if (typeof value === "number" && !Number.isSafeInteger(value) && (Number.isInteger(value) || !Number.isFinite(value))) {
    tell(walk, place, path, { code: "bad-value", message: `${fieldName(path)} is a number that cannot be kept exactly`, hint: "put it in quotes" });
    return undefined;
  }
  // A field with a pattern says itself what it takes.
  if (node !== null && schema.pattern === undefined) warnOfYaml11(walk, node, path);
  return value;
}

interface Wrong {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** How a scalar of the right type breaks its schema. */
function wrongValue(value: Json, schema: StructureSchema): Wrong | undefined {
  const allowed = schema.enum ?? ("const" in schema ? [schema.const] : undefined);
  if (allowed !== undefined && !allowed.includes(value)) {
    const names = allowed.map(String);
    const hint = suggestName(shown(value), names, "values");
    return { code: "bad-value", message: `is '${shown(value)}'; it takes ${names.join(", ")}`, ...(hint?.startsWith("did you") === true ? { hint } : {}) };
  }
  if (typeof value === "string") return wrongText(value, schema);
  if (typeof value !== "number") return undefined;
  const { minimum = -Infinity, maximum = Infinity } = schema;
  if (value >= minimum && value <= maximum && (schema.type !== "integer" || Number.isInteger(value))) return undefined;
  return { code: "bad-value", message: `is ${value}; it takes a whole number from ${minimum} to ${maximum}` };
}

function wrongText(value: string, schema: StructureSchema): Wrong | undefined {
  const { minLength = 0, maxLength = Infinity, pattern, title } = schema;
  const fits = value.length >= minLength && value.length <= maxLength && (pattern === undefined || new RegExp(pattern).test(value));
  if (fits) return undefined;
  if (value === "") return { code: "bad-value", message: "is empty" };
  return { code: "bad-value", message: title === undefined ? `is '${shown(value)}', which is not allowed` : `is '${shown(value)}', which is not a ${title}` };
}

/** The alternative for what is written; undefined when none takes its type. */
function chooseAlternative(schema: StructureSchema, kind: JsonKind): StructureSchema | undefined {
  const alternatives = schema.anyOf ?? [schema];
  return alternatives.find((alternative) => {
    const wanted = wantedKind(alternative);
    return wanted === undefined || wanted === kind;
  });
}

function wantedKind(schema: StructureSchema): JsonKind | undefined {
  if (schema.type === "integer") return "number";
  if (schema.type !== undefined) return schema.type as JsonKind;
  const example = schema.enum?.[0] ?? schema.const;
  return example === undefined ? undefined : (typeof example as JsonKind);
}

function kindOfNode(node: Node | null): JsonKind {
  if (isMap(node)) return "object";
  if (isSeq(node)) return "array";
  const value: unknown = isScalar(node) ? node.value : null;
  if (value === null || value === undefined) return "null";
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return typeof value as JsonKind;
  return "string";
}

const kindNames: Readonly<Record<JsonKind, string>> = {
  object: "a map",
  array: "a list",
  string: "text",
  number: "a number",
  boolean: "true or false",
  null: "empty",
};

function tellWrongType(walk: Walk, node: Node | null, schema: StructureSchema, path: readonly string[], place: Node | undefined): undefined {
  const kind = kindOfNode(node);
  const kinds = (schema.anyOf ?? [schema]).map((alternative) => kindNames[wantedKind(alternative) ?? "string"]);
  const wanted = schema.title !== undefined && schema.anyOf !== undefined ? `a ${schema.title}` : kinds.join(" or ");
  const hint = typeHint(node, kinds);
  const message = kind === "null" ? `${fieldName(path)} is empty; it takes ${wanted}` : `${fieldName(path)} is ${kindNames[kind]}; it takes ${wanted}`;
  tell(walk, place, path, { code: "wrong-type", message, ...(hint === undefined ? {} : { hint }) });
  return undefined;
}

function typeHint(node: Node | null, wanted: readonly string[]): string | undefined {
  if (!isScalar(node)) return undefined;
  const { value } = node;
  if (wanted.includes(kindNames.string) && (typeof value === "number" || typeof value === "boolean"))
    return `put it in quotes: "${node.source ?? String(value)}"`;
  if (wanted.includes(kindNames.boolean) && typeof value === "string" && yaml11Word.test(value)) return `write true or false: '${value}' is YAML 1.1`;
  return undefined;
}

/** Words that YAML 1.1 (kubectl, Helm) reads as booleans and YAML 1.2 (this file) as text. */
const yaml11Word = /^(y|yes|n|no|on|off)$/i;
const yaml11Octal = /^[-+]?0[0-7]+$/;

function warnOfYaml11(walk: Walk, scalar: Scalar, path: readonly string[]): void {
  const source = scalar.source;
  if (scalar.type !== "PLAIN" || source === undefined) return;
  const position = positionOf(walk, scalar);
  const add = (message: string, hint: string): void => {
    if (walk.warnings.length < problemsMax)
      walk.warnings.push({ code: "yaml-1.1", message: `${fieldName(path)}: ${message}`, file: walk.file, ...position, hint });
  };
  if (yaml11Word.test(source)) add(`'${source}' is text here, not true or false`, "put it in quotes, or write true or false");
  else if (yaml11Octal.test(source) && typeof scalar.value === "number")
    add(`'${source}' is the decimal number ${scalar.value} here, not octal`, `put it in quotes, or write 0o${source.replace(/^[-+]?0/, "")}`);
}

function tell(walk: Walk, node: Node | null | undefined, path: readonly string[], wrong: Wrong): void {
  if (walk.problems.length >= problemsMax) return;
  const position = positionOf(walk, node ?? undefined) ?? walk.positions.get(path.join("/"));
  walk.problems.push({ code: wrong.code, message: wrong.message, file: walk.file, ...position, ...(wrong.hint === undefined ? {} : { hint: wrong.hint }) });
}

function positionOf(walk: Walk, node: Node | undefined): Position | undefined {
  const offset = node?.range?.[0];
  if (offset === undefined) return undefined;
  const { line, col } = walk.lines.linePos(offset);
  return { line, column: col };
}

/** "spec.bundles[0].name". */
export function fieldName(path: readonly string[]): string {
  if (path.length === 0) return "the file";
  return path.map((part, index) => (/^\d+$/.test(part) && index > 0 ? `[${part}]` : `${index === 0 ? "" : "."}${part}`)).join("");
}

function inWhat(path: readonly string[]): string {
  return path.length === 0 ? "" : ` in ${fieldName(path)}`;
}

/** A value in a message: one line, not long. */
function shown(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const line = (text ?? "").replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 57)}...` : line;
}
