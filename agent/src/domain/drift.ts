import { createHmac } from "node:crypto";
import { canonicalJson } from "@flotilla/proto/digest";
import { maxDriftFieldsPerObject, maxDriftValueChars } from "@flotilla/proto/limits";
import { isIgnoredIn, isLeftTo, type Ignored } from "./ignore.ts";
import { isSecretLike } from "./object-id.ts";
import { escapePointer, otherOwnerOf, ownFieldsOf, stepInto, type OwnedFields } from "./owned-fields.ts";

/** One owned field that differs. Values are JSON text, "" for absent; those of Secret-like kinds are keyed hashes. */
export interface FieldDrift {
  readonly path: string;
  readonly desired: string;
  readonly live: string;
  /** Field manager that holds the live value, with what managedFields tell of it; "" where they do not. */
  readonly manager: string;
  readonly operation: string;
  readonly subresource: string;
  /** RFC 3339. */
  readonly time: string;
  /** The path in the words of managedFields; empty for Secret-like kinds, whose keys may hold a value, and for the whole object. */
  readonly members: readonly string[];
}

/** Nobody holds the field. */
export const noHolder = Object.freeze({ manager: "", operation: "", subresource: "", time: "" });

interface Differing {
  readonly members: readonly string[];
  readonly pointer: string;
  readonly desired: unknown;
  readonly live: unknown;
}

/**
 * The owned fields in which `live` differs from `applied`: the object as the API server gives it back from an apply or
 * a dry run, so that defaults, quantities and conversions are the server's own. At most maxDriftFieldsPerObject.
 *
 * @param hashKey keys the hashes that stand for values of Secret-like kinds: a short secret cannot be guessed from them.
 */
export function driftFields(applied: LiveLike, live: LiveLike, ignored: Ignored, hashKey: Uint8Array): FieldDrift[] {
  const owned = ownFieldsOf(applied.metadata?.managedFields);
  if (!owned) return [];
  const [isIgnored, isLeft] = [isIgnoredIn(ignored, applied), isLeftTo(ignored, applied)];
  const isSecret = isSecretLike(applied.kind ?? "");
  const show = showFor(applied.kind ?? "", hashKey);
  const found: FieldDrift[] = [];
  for (const field of differing(owned, applied, live, [], "")) {
    const holder = otherOwnerOf(live.metadata?.managedFields, field.members) ?? noHolder;
    if (isIgnored(field.pointer) || isLeft(field.pointer, holder.manager)) continue;
    found.push({
      path: field.pointer,
      desired: show(field.desired, field.pointer),
      live: show(field.live, field.pointer),
      members: isSecret ? [] : field.members,
      ...holder,
    });
    if (found.length === maxDriftFieldsPerObject) break;
  }
  return found;
}

/** What drift needs to see of an object. */
export interface LiveLike {
  readonly kind?: string;
  readonly metadata?: { readonly managedFields?: unknown; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

function* differing(owned: OwnedFields, applied: unknown, live: unknown, members: readonly string[], pointer: string): Generator<Differing> {
  for (const member of Object.keys(owned)) {
    if (member === ".") continue;
    const below = owned[member] as OwnedFields;
    const [ours, theirs] = [stepInto(applied, member), stepInto(live, member)];
    const here = { members: [...members, member], pointer: `${pointer}/${escapePointer(ours.step)}` };
    if (ours.value === undefined && theirs.value === undefined) continue;
    const isLeaf = Object.keys(below).length === 0;
    // What is gone as a whole is one difference, not one for each of its leaves.
    if (isLeaf || theirs.value === undefined) {
      if (canonicalJson(ours.value) !== canonicalJson(theirs.value)) yield { ...here, desired: ours.value, live: theirs.value };
    } else {
      yield* differing(below, ours.value, theirs.value, here.members, here.pointer);
    }
  }
}

/** How values of a kind are shown. */
function showFor(kind: string, hashKey: Uint8Array): (value: unknown, pointer: string) => string {
  return isSecretLike(kind) ? (value, pointer) => showSecret(value, pointer, hashKey) : showValue;
}

/** Whether an object, as a new revision made it, has everywhere what was found there before: Git took the drift over. */
export function isAccepted(drift: readonly FieldDrift[], now: LiveLike, hashKey: Uint8Array): boolean {
  const show = showFor(now.kind ?? "", hashKey);
  return drift.every(({ path, live, members }) => {
    const value = members.length > 0 ? members.reduce<unknown>((at, member) => stepInto(at, member).value, now) : valueAtPointer(now, path);
    return path !== "" && !live.endsWith("…") && show(value, path) === live;
  });
}

function valueAtPointer(object: unknown, pointer: string): unknown {
  return pointer
    .split("/")
    .slice(1)
    .reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], object);
}

function showValue(value: unknown): string {
  if (value === undefined) return "";
  const text = canonicalJson(value);
  return text.length <= maxDriftValueChars ? text : `${text.slice(0, maxDriftValueChars - 1)}…`;
}

/** Labels and other metadata of a Secret are no secret, apart from annotations, which often carry a copy of it. */
function showSecret(value: unknown, pointer: string, hashKey: Uint8Array): string {
  if (value === undefined) return "";
  if (pointer.startsWith("/metadata/labels/") || pointer === "/type") return showValue(value);
  return JSON.stringify(`hash:${createHmac("sha256", hashKey).update(canonicalJson(value)).digest("hex").slice(0, 16)}`);
}
