import { constructFromEvents, EVENT_ID, getScalarValue, parseEvents, YAMLException, type Event } from "js-yaml";
import type { Problem } from "../domain/problem.ts";
import { TypedReference, type Template } from "../domain/substitute.ts";
import { aliasesPerDocumentMax, documentsPerFileMax, manifestBytesMax, manifestDepthMax, problemsPerFileMax, valuesPerDocumentMax } from "../limits.ts";
import { kubeSchema, kubeTemplateSchema, ScalarError } from "./kube-schema.ts";

/** Where something stands in a file; 1-based. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One document of a manifest file, or one item of a List in it. */
export interface Manifest {
  readonly content: { readonly [key: string]: Template };
  readonly place: Place;
  /** Where a member stands: the nearest thing above it that can be found. */
  placeOf(path: readonly (string | number)[]): Place;
}

export interface ReadOptions {
  /** Whether a bare `${name}` is a reference (plain YAML and Kustomize) or text (Helm's output). */
  readonly references: boolean;
}

/**
 * Read a manifest file as kubectl does: YAML 1.1 scalars, several documents, empty ones skipped, Lists flattened, JSON too.
 * Duplicate keys are refused. Problems have file, line and column; a broken document does not hide the others' problems,
 * unless the file cannot be parsed beyond it.
 */
export function readManifests(file: string, content: string | Uint8Array, options: ReadOptions): { manifests: Manifest[]; problems: Problem[] } {
  if (content.length > manifestBytesMax) {
    return { manifests: [], problems: [tooLarge(file, `has ${content.length} bytes; a manifest file may have ${manifestBytesMax}`)] };
  }
  const decoded = decode(file, content);
  if (typeof decoded !== "string") return { manifests: [], problems: [decoded] };
  const source = decoded;
  const parsed = parse(file, source);
  if ("problem" in parsed) return { manifests: [], problems: [parsed.problem] };
  const manifests: Manifest[] = [];
  const problems: Problem[] = [];
  const place = placesIn(file, source);
  for (const events of parsed.documents) {
    const outcome = readDocument({ file, source, place, events }, options);
    manifests.push(...outcome.manifests);
    problems.push(...outcome.problems);
    if (problems.length >= problemsPerFileMax) break;
  }
  return { manifests, problems };
}

/** Line and column of offsets in a text; 1-based. Lines are looked up, not counted: a file may have 20,000 documents. */
export function placesIn(file: string, source: string): (offset: number) => Place {
  const starts = [0];
  for (let at = source.indexOf("\n"); at >= 0; at = source.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file, line: low + 1, column: Math.max(0, offset - (starts[low] ?? 0)) + 1 };
  };
}

function decode(file: string, content: string | Uint8Array): string | Problem {
  if (typeof content === "string") return content;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return { code: "invalid-yaml", message: "the file is not UTF-8 text", file, hint: "save it as UTF-8" };
  }
}

/** One document's events: from its start to the matching end. */
type DocumentEvents = readonly Event[];

function parse(file: string, source: string): { documents: DocumentEvents[] } | { problem: Problem } {
  let events: Event[];
  try {
    events = parseEvents(source, { maxDepth: manifestDepthMax });
  } catch (error) {
    const json = file.endsWith(".json") ? eventsOfJson(source) : undefined;
    if (json === undefined) return { problem: yamlProblem(file, error) };
    events = json;
  }
  const documents: DocumentEvents[] = [];
  let from = 0;
  for (let at = 1; at <= events.length; at += 1) {
    if (at < events.length && events[at]?.type !== EVENT_ID.DOCUMENT) continue;
    if (events.length > 0) documents.push(events.slice(from, at));
    from = at;
    if (documents.length > documentsPerFileMax) return { problem: tooLarge(file, `has more than ${documentsPerFileMax} documents`) };
  }
  return { documents };
}

/** JSON may be indented with tabs, which YAML refuses: without them it is YAML. Offsets stay, since a tab becomes one space. */
function eventsOfJson(source: string): Event[] | undefined {
  try {
    JSON.parse(source);
    return parseEvents(source.replaceAll("\t", " "), { maxDepth: manifestDepthMax });
  } catch {
    return undefined;
  }
}

interface DocumentSource {
  readonly file: string;
  readonly source: string;
  readonly events: DocumentEvents;
  place(offset: number): Place;
}

function readDocument(document: DocumentSource, options: ReadOptions): { manifests: Manifest[]; problems: Problem[] } {
  const { file, source, events, place } = document;
  const start = firstOffset(events);
  let content: unknown;
  try {
    [content] = constructFromEvents([...events], { source, schema: options.references ? kubeTemplateSchema : kubeSchema, maxAliases: aliasesPerDocumentMax });
  } catch (error) {
    return {
      manifests: [],
      problems: [error instanceof ScalarError ? { code: "invalid-yaml", message: error.message, ...place(start) } : yamlProblem(file, error)],
    };
  }
  if (content === null || content === undefined) return { manifests: [], problems: [] };
  const size = sizeOf(content);
  if (size.values > valuesPerDocumentMax)
    return { manifests: [], problems: [{ ...tooLarge(file, `unfolds to more than ${valuesPerDocumentMax} values`), ...place(start) }] };
  if (size.depth > manifestDepthMax)
    return { manifests: [], problems: [{ ...tooLarge(file, `nests deeper than ${manifestDepthMax} levels`), ...place(start) }] };
  const unsafe = unsafeKey(content);
  if (unsafe !== undefined)
    return { manifests: [], problems: [{ code: "unsafe-key", message: `the key '${unsafe}' is refused`, ...place(start), hint: "give it another name" }] };
  if (!isRecord(content))
    return {
      manifests: [],
      problems: [
        {
          code: "not-an-object",
          message: `a ${describeShape(content)} stands where a Kubernetes object should`,
          ...place(start),
          hint: "every document needs apiVersion, kind and metadata",
        },
      ],
    };
  const placeOf = (path: readonly (string | number)[]): Place => place(offsetOf(events, source, path));
  return flatten({ content, place: place(start), placeOf });
}

/** A List's items, or the one object. */
function flatten(manifest: Manifest): { manifests: Manifest[]; problems: Problem[] } {
  const { kind, items } = manifest.content;
  const isList = typeof kind === "string" && kind.endsWith("List") && Array.isArray(items) && !isRecord(manifest.content["spec"]);
  if (!isList) return { manifests: [manifest], problems: [] };
  const manifests: Manifest[] = [];
  const problems: Problem[] = [];
  for (const [index, item] of (items as readonly Template[]).entries()) {
    const placeOf = (path: readonly (string | number)[]): Place => manifest.placeOf(["items", index, ...path]);
    if (!isRecord(item)) problems.push({ code: "not-an-object", message: `item ${index + 1} of the ${kind} is not an object`, ...placeOf([]) });
    // Items of a typed list may leave out what the list says.
    else
      manifests.push({
        content: kind === "List" ? item : { apiVersion: manifest.content["apiVersion"] ?? null, kind: kind.slice(0, -"List".length), ...item },
        place: placeOf([]),
        placeOf,
      });
  }
  return { manifests, problems };
}

function yamlProblem(file: string, error: unknown): Problem {
  if (!(error instanceof YAMLException)) return { code: "invalid-yaml", message: "the file cannot be read as YAML", file, hint: "look at how deeply it nests" };
  // A map as a key is told at the map that holds it; what people meant is a template's braces.
  const braces = error.reason.startsWith("a key must be text") ? (error.mark?.buffer.indexOf("{{") ?? -1) : -1;
  if (error.mark !== undefined && braces >= 0)
    return { code: "invalid-yaml", message: error.reason, ...placesIn(file, error.mark.buffer)(braces), hint: templateHint };
  const place = error.mark === undefined ? { file } : { file, line: error.mark.line + 1, column: error.mark.column + 1 };
  const hint = yamlHint(error.reason, error.mark === undefined ? "" : linesAround(error.mark.buffer, error.mark.position));
  return { code: error.reason.startsWith("duplicated") ? "duplicate-key" : "invalid-yaml", message: error.reason, ...place, hint };
}

const templateHint = "this looks like a Helm template: a chart needs a Chart.yaml beside its templates folder";

/** The line of an offset and the one before it: parsers often notice a line too late. */
function linesAround(text: string, offset: number): string {
  const start = text.lastIndexOf("\n", text.lastIndexOf("\n", offset - 1) - 1) + 1;
  const end = text.indexOf("\n", offset);
  return text.slice(start, end < 0 ? undefined : end).slice(0, 2_000);
}

function yamlHint(reason: string, lines: string): string {
  if (reason.startsWith("duplicated")) return "keep one of them";
  if (lines.includes("{{")) return templateHint;
  if (lines.includes("${")) return "inside { } or [ ], put ${…} in quotes";
  if (reason.includes("tab")) return "indent with spaces";
  return "look at indentation, quotes and brackets here and just above";
}

function tooLarge(file: string, what: string): Problem {
  return { code: "file-too-large", message: `the file ${what}`, file, hint: "split it" };
}

function isRecord(value: unknown): value is { readonly [key: string]: Template } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof TypedReference);
}

function describeShape(value: unknown): string {
  return Array.isArray(value) ? "list" : value instanceof TypedReference ? "reference" : typeof value;
}

interface Size {
  readonly values: number;
  readonly depth: number;
}

/**
 * How many values, and levels of them, a document has once aliases are unfolded. Shared parts are measured once; an anchor
 * stands before its aliases, so the walk never goes deeper than the text nests.
 */
function sizeOf(root: unknown): Size {
  const known = new Map<object, Size>();
  const measure = (value: unknown): Size => {
    if (typeof value !== "object" || value === null) return { values: 1, depth: 0 };
    const before = known.get(value);
    if (before !== undefined) return before;
    // A part that holds itself is endless.
    known.set(value, { values: Number.POSITIVE_INFINITY, depth: Number.POSITIVE_INFINITY });
    let values = 1;
    let depth = 0;
    for (const member of Array.isArray(value) ? value : Object.values(value)) {
      const size = measure(member);
      values += size.values;
      depth = Math.max(depth, size.depth);
    }
    const size = { values, depth: depth + 1 };
    known.set(value, size);
    return size;
  };
  return measure(root);
}

/** A key that JavaScript programs stumble over. Nobody's ConfigMap needs it. */
function unsafeKey(root: unknown): string | undefined {
  const seen = new Set<object>();
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    if (Object.hasOwn(value, "__proto__")) return "__proto__";
    for (const member of Array.isArray(value) ? value : Object.values(value)) pending.push(member);
  }
  return undefined;
}

function firstOffset(events: DocumentEvents): number {
  for (const event of events) {
    if ("start" in event) return event.start;
    if ("valueStart" in event && event.valueStart >= 0) return event.valueStart;
  }
  return 0;
}

/** Where the value at a path stands, or else the nearest one above it. */
function offsetOf(events: DocumentEvents, source: string, path: readonly (string | number)[]): number {
  let at = 1;
  let offset = firstOffset(events);
  for (const part of path) {
    const found = memberOf(events, source, at, part);
    if (found === undefined) return offset;
    at = found.value;
    offset = found.offset;
  }
  return offset;
}

/** The event at which a member's value begins, and the offset to show: the key's in a map, the item's in a list. */
function memberOf(events: DocumentEvents, source: string, at: number, part: string | number): { value: number; offset: number } | undefined {
  const container = events[at];
  if (container?.type !== EVENT_ID.MAPPING && container?.type !== EVENT_ID.SEQUENCE) return undefined;
  let next = at + 1;
  for (let index = 0; next < events.length && events[next]?.type !== EVENT_ID.POP; index += 1) {
    if (container.type === EVENT_ID.SEQUENCE) {
      if (index === part) return { value: next, offset: startOf(events[next]) };
      next = skip(events, next);
      continue;
    }
    const key = events[next];
    const value = skip(events, next);
    if (key?.type === EVENT_ID.SCALAR && getScalarValue(source, key) === String(part)) return { value, offset: key.valueStart };
    next = skip(events, value);
  }
  return undefined;
}

/** The event after the node that begins here. */
function skip(events: DocumentEvents, at: number): number {
  let depth = 0;
  for (let next = at; next < events.length; next += 1) {
    const type = events[next]?.type;
    if (type === EVENT_ID.MAPPING || type === EVENT_ID.SEQUENCE) depth += 1;
    if (type === EVENT_ID.POP) depth -= 1;
    if (depth <= 0) return next + 1;
  }
  return events.length;
}

function startOf(event: Event | undefined): number {
  if (event === undefined) return 0;
  if ("start" in event) return event.start;
  if ("valueStart" in event) return event.valueStart;
  return "anchorStart" in event ? event.anchorStart : 0;
}
