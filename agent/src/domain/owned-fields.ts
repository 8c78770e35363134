import { hash } from "node:crypto";
import { canonicalJson } from "@flotilla/proto/digest";
import { fieldManager } from "@flotilla/proto/names";

/**
 * Kubernetes' FieldsV1: which fields a field manager owns. Members are "f:<field>", "k:<key fields as JSON>" (an item of
 * a keyed list), "v:<value as JSON>" (an item of a set), "i:<index>", and "." (the node itself).
 */
export interface OwnedFields {
  readonly [member: string]: OwnedFields;
}

/** One row of metadata.managedFields. */
export interface ManagedFieldsEntry {
  readonly manager?: string;
  readonly operation?: string;
  readonly apiVersion?: string;
  readonly subresource?: string;
  readonly time?: string;
  readonly fieldsV1?: OwnedFields;
}

/** One field that a manager owns, as found by walkOwned. */
export interface OwnedLeaf {
  /** Members from the root, stable under reordering of keyed lists. */
  readonly members: readonly string[];
  /** JSON pointer (RFC 6901) in the first value given. */
  readonly pointer: string;
  readonly value: unknown;
}

/** What Flotilla's own apply owns of a live object; undefined when it owns nothing. */
export function ownFieldsOf(managedFields: unknown): OwnedFields | undefined {
  if (!Array.isArray(managedFields)) return undefined;
  const rows = managedFields as ManagedFieldsEntry[];
  return rows.find(isOurApply)?.fieldsV1;
}

/** What webhooks change during our own apply is of our name too, and is not our apply. */
function isOurApply(row: ManagedFieldsEntry): boolean {
  return row.manager === fieldManager && row.operation === "Apply" && !row.subresource;
}

/**
 * Every field of `value` that `owned` names, as leaves. A member without children stands for the whole value below it
 * (a scalar, or an atomic list or map). A field that is owned but absent gives the value undefined.
 */
export function walkOwned(owned: OwnedFields, value: unknown, members: readonly string[] = [], pointer = ""): OwnedLeaf[] {
  const leaves: OwnedLeaf[] = [];
  collectOwned(owned, value, members, pointer, leaves);
  return leaves;
}

function collectOwned(owned: OwnedFields, value: unknown, members: readonly string[], pointer: string, into: OwnedLeaf[]): void {
  for (const member of Object.keys(owned).sort()) {
    const below = owned[member] as OwnedFields;
    if (member === ".") {
      if (members.length > 0) into.push({ members: [...members, "."], pointer, value: value === undefined ? undefined : shapeOf(value) });
      continue;
    }
    const child = stepInto(value, member);
    const [path, steps] = [`${pointer}/${escapePointer(child.step)}`, [...members, member]];
    if (Object.keys(below).length === 0) into.push({ members: steps, pointer: path, value: child.value });
    else collectOwned(below, child.value, steps, path, into);
  }
}

/** The child of a value that a FieldsV1 member names, with the step of a JSON pointer that leads to it. */
export function stepInto(value: unknown, member: string): { readonly step: string; readonly value: unknown } {
  const [kind, rest] = [member.slice(0, 2), member.slice(2)];
  if (kind === "f:") return { step: rest, value: isRecord(value) ? value[rest] : undefined };
  if (!Array.isArray(value)) return { step: rest, value: undefined };
  if (kind === "i:") return { step: rest, value: value[Number(rest)] };
  const wanted: unknown = JSON.parse(rest);
  const index = value.findIndex((item) => (kind === "k:" ? hasKeys(item, wanted) : canonicalJson(item) === canonicalJson(wanted)));
  return index < 0 ? { step: rest, value: undefined } : { step: String(index), value: value[index] };
}

/**
 * Short hash (128 bits, base64url) over what our own apply owns of a live object, paths and values, without the pointers
 * that `isIgnored` names. Equal hashes mean that nobody changed what we applied. "" when we own nothing.
 */
export function hashOwned(object: { readonly metadata?: unknown }, isIgnored: (pointer: string) => boolean): string {
  const owned = ownFieldsOf((object.metadata as { managedFields?: unknown } | undefined)?.managedFields);
  if (!owned) return "";
  let text = "";
  // One string and one hash: this runs for every event of every watch.
  for (const leaf of walkOwned(owned, object)) {
    if (!isIgnored(leaf.pointer)) text += `${leaf.members.join("\u0000")}\u0001${canonicalJson(leaf.value)}\u0002`;
  }
  return hash("sha256", text, "base64url").slice(0, 22);
}

/** The JSON pointer to which FieldsV1 members lead in a value; undefined when they lead nowhere there. "." stands for the node itself. */
export function pointerOfMembers(members: readonly string[], value: unknown): string | undefined {
  let [at, pointer] = [value, ""];
  for (const member of members) {
    if (member === ".") return undefined;
    const child = stepInto(at, member);
    if (child.value === undefined) return undefined;
    [at, pointer] = [child.value, `${pointer}/${escapePointer(child.step)}`];
  }
  return pointer;
}

/** Who holds a field, as managedFields tells it. */
export interface FieldHolder {
  readonly manager: string;
  /** "Apply" or "Update". */
  readonly operation: string;
  /** E.g. "scale"; "" for the object itself. */
  readonly subresource: string;
  /** When that manager last changed any of its fields, RFC 3339; "" when it does not tell. */
  readonly time: string;
}

/** Whether anybody but us holds fields of the object, apart from its status. */
export function isHeldByOthers(managedFields: unknown): boolean {
  if (!Array.isArray(managedFields)) return false;
  const rows = managedFields as ManagedFieldsEntry[];
  return rows.some((row) => row.manager !== fieldManager && row.subresource !== "status" && row.fieldsV1 !== undefined);
}

/** Who, apart from us, owns the field at these members: the newest such manager; undefined when nobody does. */
export function otherOwnerOf(managedFields: unknown, members: readonly string[]): FieldHolder | undefined {
  if (!Array.isArray(managedFields)) return undefined;
  const rows = managedFields as ManagedFieldsEntry[];
  const holders = rows.filter((row) => !isOurApply(row) && row.fieldsV1 !== undefined && owns(row.fieldsV1, members));
  holders.sort((a, b) => (b.time ?? "").localeCompare(a.time ?? ""));
  const [holder] = holders;
  if (!holder) return undefined;
  const { manager = "", operation = "", subresource = "", time = "" } = holder;
  return { manager, operation, subresource, time };
}

/** One step of a JSON pointer, escaped. */
export function escapePointer(step: string): string {
  if (!step.includes("~") && !step.includes("/")) return step;
  return step.replaceAll("~", "~0").replaceAll("/", "~1");
}

function owns(fields: OwnedFields, members: readonly string[]): boolean {
  let at: OwnedFields = fields;
  for (const member of members) {
    if (member === ".") return true;
    const below = at[member];
    if (below === undefined) return false;
    if (Object.keys(below).length === 0) return true;
    at = below;
  }
  return true;
}

function hasKeys(item: unknown, keys: unknown): boolean {
  if (!isRecord(item) || !isRecord(keys)) return false;
  return Object.entries(keys).every(([name, wanted]) => canonicalJson(item[name]) === canonicalJson(wanted));
}

/** "." owns that the node is there, not what others put into it. */
function shapeOf(value: unknown): string {
  return Array.isArray(value) ? "list" : isRecord(value) ? "map" : "value";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
