import { canonicalJson } from "@flotilla/proto/digest";
import { apiGroup, fieldManager } from "@flotilla/proto/names";
import { escapePointer, type ManagedFieldsEntry, walkOwned } from "./owned-fields.ts";

/** An object as an API server gives it, as far as adoption looks at it. */
interface Shown {
  readonly metadata: { readonly labels?: object; readonly annotations?: object; readonly managedFields?: unknown; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

/** At most so many places are told. */
const maxTold = 5;

/** JSON pointers where two forms of one object differ, apart from our own marks and what the API server counts. */
export function differencesBeyondMarks(before: Shown, after: Shown): string[] {
  const found: string[] = [];
  collect(bare(before), bare(after), "", found);
  return found;
}

function bare({ metadata, ...rest }: Shown): object {
  const { managedFields: _fields, resourceVersion: _version, generation: _generation, labels, annotations, ...others } = metadata;
  return { ...rest, metadata: { ...others, labels: withoutMarks(labels), annotations: withoutMarks(annotations) } };
}

/** Without what is about us: label, owner, directives. No labels, and none left, are the same. */
function withoutMarks(entries: object | undefined): object {
  return Object.fromEntries(Object.entries(entries ?? {}).filter(([key]) => !key.startsWith(`${apiGroup}/`)));
}

function collect(before: unknown, after: unknown, pointer: string, found: string[]): void {
  if (found.length >= maxTold || canonicalJson(before) === canonicalJson(after)) return;
  if (!isRecord(before) || !isRecord(after)) {
    found.push(pointer === "" ? "/" : pointer);
    return;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) collect(before[key], after[key], `${pointer}/${escapePointer(key)}`, found);
}

/**
 * JSON pointers of `wanted` whose values other managers hold in the live object, and hold differently: what an apply that does not take
 * anything from anybody has to leave out.
 */
export function heldByOthers(wanted: Shown, live: Shown): string[] {
  const rows = Array.isArray(live.metadata.managedFields) ? (live.metadata.managedFields as ManagedFieldsEntry[]) : [];
  const pointers = new Set<string>();
  for (const row of rows) {
    if (row.manager === fieldManager || !row.fieldsV1) continue;
    const theirs = new Map(walkOwned(row.fieldsV1, live).map((leaf) => [leaf.members.join("\u0000"), leaf.value]));
    for (const leaf of walkOwned(row.fieldsV1, wanted)) {
      const isShape = leaf.members.at(-1) === ".";
      if (!isShape && leaf.value !== undefined && canonicalJson(leaf.value) !== canonicalJson(theirs.get(leaf.members.join("\u0000"))))
        pointers.add(leaf.pointer);
    }
  }
  // Later items of a list go first: the positions of those before stay right.
  return [...pointers].sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
