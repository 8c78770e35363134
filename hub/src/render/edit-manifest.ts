import type { Json } from "@flotilla/proto/digest";
import {
  Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseAllDocuments,
  visit,
  type Node,
  type Pair,
  type ParsedNode,
  type Scalar,
} from "yaml";
import { placeOfField, type FieldName, type FieldPlace } from "../domain/field-place.ts";

/** An object in a file: the document, and the item where the document is a List. */
export interface ManifestPlace {
  readonly document: number;
  readonly item: readonly (string | number)[];
}

export type ManifestEdit =
  | { readonly kind: "edited"; readonly source: string }
  /** A reference (`${…}`) stands there: its value comes from fleet.yaml. */
  | { readonly kind: "reference"; readonly text: string }
  /** An alias, an anchor or a merge key stands there or above it, or nothing leads there. */
  | { readonly kind: "not there" };

/** Everything in a file that could be an object, as plain values; what cannot be parsed gives none. */
export function objectsInFile(source: string): { readonly place: ManifestPlace; readonly content: unknown }[] {
  const documents = parse(source);
  if (documents.some(({ errors }) => errors.length > 0)) return [];
  return documents.flatMap((document, index) => {
    const content: unknown = document.toJS({ maxAliasCount: 1_000 });
    const items = (content as { kind?: unknown; items?: unknown } | null)?.items;
    const isList = String((content as { kind?: unknown } | null)?.kind).endsWith("List") && Array.isArray(items);
    return isList
      ? (items as unknown[]).map((item, at) => ({ place: { document: index, item: ["items", at] }, content: item }))
      : [{ place: { document: index, item: [] }, content }];
  });
}

/**
 * Set one field of an object in a YAML (or JSON) file, or take it away (`undefined`), and leave all else as it is written: a scalar takes the
 * place of a scalar, with its style and its comment; only where more changes the one document is laid out anew, comments kept.
 *
 * @param references whether `${…}` means a value here.
 */
export function editManifest(
  source: string,
  { document: index, item }: ManifestPlace,
  field: FieldName,
  value: Json | undefined,
  references: boolean,
): ManifestEdit {
  const document = parse(source)[index];
  if (document === undefined) return { kind: "not there" };
  const content: unknown = document.toJS({ maxAliasCount: 1_000 });
  const object = item.reduce<unknown>((at, step) => (at as never)?.[step], content);
  const inObject = placeOfField(object, field);
  if (inObject === undefined) return { kind: "not there" };
  const place = [...item, ...inObject];
  if (isBehindAlias(document, place)) return { kind: "not there" };
  const node = document.getIn(place, true) as Node | undefined;
  const text = node?.range ? source.slice(node.range[0], node.range[1]) : "";
  if (references && text.includes("${")) return { kind: "reference", text };
  // What others repeat by an alias would change for them too, or leave them without it.
  if (hasAnchor(node)) return { kind: "not there" };
  const written = value === undefined ? withoutLines(source, document, place) : spliced(source, document, node, value, place);
  return { kind: "edited", source: written ?? laidOut(source, index, place, value) };
}

type Parsed = ReturnType<typeof parse>[number];

function parse(source: string) {
  // As the hub and kubectl read it: YAML 1.1.
  const documents = parseAllDocuments(source, { version: "1.1", logLevel: "silent" });
  return Array.isArray(documents) ? (documents as Document.Parsed<ParsedNode>[]) : [];
}

function isBehindAlias(document: Parsed, place: FieldPlace): boolean {
  return place.some((_, depth) => {
    const node = document.getIn(place.slice(0, depth + 1), true);
    const isLast = depth === place.length - 1;
    return isAlias(node) || (isLast ? false : !isCollection(node));
  });
}

function hasAnchor(node: Node | undefined): boolean {
  let found = false;
  if (node !== undefined)
    visit(node, {
      Value: (_key, value) => {
        if (value.anchor === undefined) return undefined;
        found = true;
        return visit.BREAK;
      },
    });
  return found;
}

/** A scalar in the place of a scalar; undefined when it cannot be done in place. */
function spliced(source: string, document: Parsed, node: Node | undefined, value: Json, place: FieldPlace): string | undefined {
  if (!isScalar(node) || !node.range || node.tag?.startsWith("!") === true || typeof value === "object") return undefined;
  const [start, end] = node.range;
  if (start === end) return undefined;
  const block = node.type === "BLOCK_LITERAL" || node.type === "BLOCK_FOLDED";
  const text = block && typeof value === "string" ? blockText(source.slice(start, end), value) : scalarText(value, node, isInFlow(document, place));
  const rest = block && !text.endsWith("\n") ? `\n${source.slice(end)}` : source.slice(end);
  return source.slice(0, start) + text + rest;
}

function isInFlow(document: Parsed, place: FieldPlace): boolean {
  return place.some((_, depth) => {
    const above = document.getIn(place.slice(0, depth), true);
    return isCollection(above) && above.flow === true;
  });
}

function scalarText(value: string | number | boolean | null, { type }: Scalar, inFlow: boolean): string {
  if (typeof value !== "string") return JSON.stringify(value);
  if (inFlow && type !== "QUOTE_SINGLE") return type === "PLAIN" && /^[A-Za-z][\w.-]*$/.test(value) ? plainText(value) : JSON.stringify(value);
  if (type === "QUOTE_SINGLE" && !/['\n\r\t]/.test(value)) return `'${value}'`;
  if (type === "QUOTE_DOUBLE" || /[\n\r\t]/.test(value)) return JSON.stringify(value);
  return plainText(value);
}

/** Without quotes where no reader of YAML 1.1 or 1.2 takes it for something else. */
function plainText(value: string): string {
  const texts = (["1.1", "1.2"] as const).map((version) => new Document(value, { version }).toString({ lineWidth: 0 }).trimEnd());
  return texts.find((text) => text !== value) ?? value;
}

/** A block as the old one is indented; undefined characters of blocks go into quotes. */
function blockText(old: string, value: string): string {
  const indent = /\n( +)\S/.exec(old)?.[1];
  const body = value.replace(/\n$/, "");
  if (indent === undefined || body === "" || /^[\s]|\n$|[\r\t]| \n/.test(body)) return JSON.stringify(value);
  const lines = body.split("\n").map((line) => (line === "" ? "" : indent + line));
  return `|${value.endsWith("\n") ? "" : "-"}\n${lines.join("\n")}\n`;
}

/** Without the lines of a map's key; undefined when the key shares its lines with others, or is the only one. */
function withoutLines(source: string, document: Parsed, place: FieldPlace): string | undefined {
  const above = document.getIn(place.slice(0, -1), true);
  if (!isMap(above) || above.flow === true || above.items.length < 2) return undefined;
  const pair = above.items.find((one) => isPair(one) && isScalar(one.key) && String(one.key.value) === String(place.at(-1))) as Pair<Scalar, Node> | undefined;
  const [start, end] = [pair?.key.range?.[0], pair?.value?.range?.[2]];
  if (start === undefined || end === undefined) return undefined;
  const lineStart = source.lastIndexOf("\n", start - 1) + 1;
  if (source.slice(lineStart, start).trim() !== "" || (source[end - 1] !== "\n" && end !== source.length)) return undefined;
  return source.slice(0, lineStart) + source.slice(end);
}

/** The document laid out anew, its comments kept; the others as they are. */
function laidOut(source: string, index: number, place: FieldPlace, value: Json | undefined): string {
  const documents = parse(source);
  const document = documents[index];
  if (document === undefined) return source;
  if (value === undefined) document.deleteIn(place);
  else document.setIn(place, document.createNode(value));
  const [start, , end] = document.range;
  const indentSeq = !/^( *)[\w./"'-]+:[^\S\n]*(?:#.*)?\n\1- /m.test(source);
  return source.slice(0, index === 0 ? 0 : start) + document.toString({ lineWidth: 0, indentSeq }) + source.slice(end);
}

/** Add operations to the patches of a kustomization, into the patch that has them from before where there is one. */
export function addPatch(source: string, target: Readonly<Record<string, string>>, operations: readonly object[]): string {
  const document = parse(source)[0];
  if (document === undefined) return source;
  const patches = document.get("patches", true);
  const own = isSeq(patches) ? patches.items.findIndex((item) => isOperationsFor(item, target)) : -1;
  if (isSeq(patches) && own >= 0) {
    const before = parse(String(document.getIn(["patches", own, "patch"])))[0]?.toJS() as readonly { readonly path?: string }[];
    const paths = new Set(operations.map((operation) => (operation as { path?: string }).path));
    const kept = before.filter(({ path }) => !paths.has(path));
    document.setIn(["patches", own, "patch"], blockNode(document, [...kept, ...operations]));
    return document.toString({ lineWidth: 0, indentSeq: hasIndentedLists(source) });
  }
  const entry = document.createNode({ target }) as unknown as { set(key: string, value: unknown): void };
  entry.set("patch", blockNode(document, operations));
  if (isSeq(patches)) {
    patches.add(entry);
    return document.toString({ lineWidth: 0, indentSeq: hasIndentedLists(source) });
  }
  const addition = new Document({ patches: [] });
  addition.setIn(["patches", 0], entry);
  const text = addition.toString({ lineWidth: 0, indentSeq: hasIndentedLists(source) });
  return `${source}${source === "" || source.endsWith("\n") ? "" : "\n"}${text}`;
}

function hasIndentedLists(source: string): boolean {
  return !/^( *)[\w./"'-]+:[^\S\n]*(?:#.*)?\n\1- /m.test(source);
}

function isOperationsFor(item: unknown, target: Readonly<Record<string, string>>): boolean {
  if (!isMap(item) || typeof item.get("patch") !== "string") return false;
  const written = (item.get("target", true) as Node | undefined)?.toJS(new Document()) as Record<string, string> | undefined;
  const same = JSON.stringify(Object.entries(written ?? {}).sort()) === JSON.stringify(Object.entries(target).sort());
  return same && Array.isArray(parse(String(item.get("patch")))[0]?.toJS());
}

function blockNode(document: Document, operations: readonly object[]): Scalar {
  const text = new Document(operations, { version: "1.1" }).toString({ lineWidth: 0 });
  const node = document.createNode(text) as Scalar;
  node.type = "BLOCK_LITERAL";
  return node;
}
