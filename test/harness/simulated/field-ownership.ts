import { isDeepStrictEqual } from "node:util";
import { decodeFields, encodeFields, FieldSet, tellPath } from "./field-set.ts";
import type { Schema } from "./schema.ts";
import { compareTyped, type Fields, fieldsOf, isFields, mergeTyped, removeFields, withNamedFields, textOf } from "./typed-value.ts";

/** Who writes, and how. */
export interface Writer {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
}

/** One manager's fields. */
interface Owner extends Writer {
  readonly set: FieldSet;
  readonly time: string;
}

export interface FieldConflict {
  readonly reason: "FieldManagerConflict";
  readonly message: string;
  readonly field: string;
}

/** An apply was refused: others hold what it would change. */
export class ConflictError extends Error {
  override readonly name = "ConflictError";
  readonly causes: readonly FieldConflict[];

  constructor(message: string, causes: readonly FieldConflict[]) {
    super(message);
    this.causes = causes;
  }
}

/** Never owned by anybody: the server writes them, or they say which object it is. */
const unowned = FieldSet.of(
  ["f:apiVersion"],
  ["f:kind"],
  ["f:metadata"],
  ...["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"].map((name) => [
    "f:metadata",
    `f:${name}`,
  ]),
);

/** Bounds the list of managers of updates; Kubernetes' own number. */
const maxUpdateManagers = 10;

type Owners = Map<string, Owner>;

function keyOf({ manager, operation, apiVersion, subresource }: Writer): string {
  return JSON.stringify([manager, operation, operation === "Apply" ? "" : apiVersion, subresource]);
}

function readOwners(object: Fields): Owners {
  const entries = ((object.metadata as Fields | undefined)?.managedFields ?? []) as Fields[];
  return new Map(
    entries.map((entry) => {
      const owner: Owner = {
        manager: textOf(entry.manager ?? ""),
        operation: entry.operation === "Apply" ? "Apply" : "Update",
        apiVersion: textOf(entry.apiVersion ?? ""),
        subresource: textOf(entry.subresource ?? ""),
        set: decodeFields(entry.fieldsV1),
        time: textOf(entry.time ?? ""),
      };
      return [keyOf(owner), owner];
    }),
  );
}

function withOwners(object: Fields, owners: Owners): Fields {
  const entries = [...owners.values()].filter(({ set }) => !set.isEmpty).toSorted(inOrder);
  const { managedFields: _, ...metadata } = (object.metadata ?? {}) as Fields;
  return {
    ...object,
    metadata: {
      ...metadata,
      ...(entries.length > 0 && {
        managedFields: entries.map(({ manager, operation, apiVersion, subresource, set, time }) => ({
          manager,
          operation,
          apiVersion,
          ...(time !== "" && { time }),
          fieldsType: "FieldsV1",
          fieldsV1: encodeFields(set),
          ...(subresource !== "" && { subresource }),
        })),
      }),
    },
  };
}

function inOrder(a: Owner, b: Owner): number {
  const [left, right] = [a, b].map((owner) => [owner.operation, owner.time, owner.manager, owner.apiVersion, owner.subresource]);
  for (const [index, text] of (left as string[]).entries()) if (text !== right?.[index]) return text < (right?.[index] ?? "") ? -1 : 1;
  return 0;
}

/** What one write needs to know of its kind. */
export interface WriteContext {
  readonly schema: Schema;
  readonly writer: Writer;
  /** Fields that this endpoint puts back, and that nobody owns by writing here. */
  readonly ignored: FieldSet;
  readonly now: string;
}

/**
 * An object as an update leaves it: what was changed belongs to the writer now. Of an object that nobody owns anything of, nothing is
 * recorded: its list of managers was emptied once.
 */
export function updateOwned(live: Fields, next: Fields, { schema, writer, ignored, now }: WriteContext, isNew = false): Fields {
  const owners = ownersNamed(next, live);
  const [before, after] = [withoutOwners(live), withoutOwners(next)];
  if (owners.size === 0 && !isNew) return after;
  const change = changes(schema, before, after, ignored);
  settle(owners, change, undefined);
  const mine = change.modified.union(change.added).difference(unowned);
  if (!mine.isEmpty) {
    const key = keyOf(writer);
    owners.set(key, { ...writer, set: (owners.get(key)?.set ?? new FieldSet()).union(mine), time: now });
  }
  return withOwners(after, capped(owners, now));
}

/** A writer may clear the list, or leave it out; what else it says of it is taken from the live object. */
function ownersNamed(next: Fields, live: Fields): Owners {
  const given = (next.metadata as Fields | undefined)?.managedFields;
  if (Array.isArray(given) && given.length === 1 && isFields(given[0]) && Object.keys(given[0]).length === 0) return new Map();
  return Array.isArray(given) && given.length > 0 ? readOwners(next) : readOwners(live);
}

/** An object that nobody owned yet, owned whole by whoever wrote it before the first apply. */
function ownedSoFar(live: Fields, empty: Fields, context: WriteContext): Fields {
  if (readOwners(live).size > 0) return live;
  const writer: Writer = { manager: "before-first-apply", operation: "Update", apiVersion: context.writer.apiVersion, subresource: "" };
  return updateOwned(empty, live, { ...context, writer }, true);
}

/**
 * An object as a server-side apply leaves it, before defaults.
 *
 * @param empty what there is of the kind before there is anything, when the object exists.
 * @throws ConflictError
 */
export function applyOwned(
  live: Fields,
  config: Fields,
  { schema, writer, ignored, now }: WriteContext,
  force: boolean,
  empty: Fields | undefined,
): { readonly merged: Fields; withOwners(object: Fields): Fields } {
  const before = withoutOwners(live);
  const owners = readOwners(empty === undefined ? live : ownedSoFar(live, empty, { schema, writer, ignored: new FieldSet(), now }));
  const key = keyOf(writer);
  const last = owners.get(key);
  const set = fieldsOf(schema, config).without(ignored).difference(unowned);
  owners.set(key, { ...writer, set, time: last?.time ?? "" });
  const merged = last ? prune(schema, mergeTyped(schema, before, config), owners, last.set) : mergeTyped(schema, before, config);
  const change = changes(schema, before, merged, ignored);
  settle(owners, change, force ? undefined : key, key);
  const mine = owners.get(key);
  // Who only comes to share what is there has no time.
  if (mine && !isDeepStrictEqual(before, merged)) owners.set(key, { ...mine, time: now });
  return { merged: merged as Fields, withOwners: (object) => withOwners(object, owners) };
}

function changes(schema: Schema, before: unknown, after: unknown, ignored: FieldSet) {
  const { added, modified, removed } = compareTyped(schema, before, after);
  return { added: added.without(ignored), modified: modified.without(ignored), removed: removed.without(ignored) };
}

/** Take from everybody else what was changed or removed. With `asker`, what others hold and would change is a conflict instead. */
function settle(owners: Owners, change: ReturnType<typeof changes>, asker: string | undefined, except = asker): void {
  const touched = change.modified.union(change.added);
  const conflicts: [Owner, FieldSet][] = [];
  for (const [key, owner] of owners) {
    if (key === except) continue;
    const conflict = owner.set.intersection(touched);
    if (!conflict.isEmpty) conflicts.push([owner, conflict]);
  }
  if (asker !== undefined && conflicts.length > 0) throw conflictError(conflicts);
  for (const [key, owner] of owners) {
    if (key === except) continue;
    const set = owner.set.difference(touched).difference(change.removed);
    if (set.isEmpty) owners.delete(key);
    else owners.set(key, { ...owner, set });
  }
}

/** Without what its applier no longer sends, as far as nobody else owns it. */
function prune(schema: Schema, merged: unknown, owners: Owners, last: FieldSet): unknown {
  const named = (set: FieldSet) => withNamedFields(schema, set);
  const all = named(fieldsOf(schema, merged));
  const left = (value: unknown) => named(fieldsOf(schema, value));
  let pruned = removeFields(schema, merged, named(last));
  const owned = [...owners.values()].reduce((set, owner) => set.union(owner.set), new FieldSet());
  pruned = removeFields(schema, merged, all.difference(left(pruned).union(named(owned))));
  // What is not of the applier's last set was never its to remove.
  return removeFields(schema, merged, all.difference(left(pruned)).intersection(named(last)));
}

function conflictError(conflicts: readonly (readonly [Owner, FieldSet])[]): ConflictError {
  const rows = conflicts.flatMap(([owner, set]) => set.paths().map((path) => ({ manager: tellOwner(owner), field: tellPath(path) })));
  const causes = rows.map(({ manager, field }) => ({ reason: "FieldManagerConflict" as const, message: `conflict with ${manager}`, field }));
  const [first] = rows;
  if (rows.length === 1) return new ConflictError(`Apply failed with 1 conflict: conflict with ${first?.manager}: ${first?.field}`, causes);
  const blocks = [...Map.groupBy(rows, ({ manager }) => manager)]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([manager, held]) => [`conflicts with ${manager}:`, ...held.map(({ field }) => `- ${field}`)].join("\n"));
  return new ConflictError(`Apply failed with ${rows.length} conflicts: ${blocks.join("\n")}`, causes);
}

function tellOwner({ manager, operation, apiVersion, subresource }: Writer): string {
  const name = `${JSON.stringify(manager)}${subresource === "" ? "" : ` with subresource ${JSON.stringify(subresource)}`}`;
  return operation === "Update" ? `${name} using ${apiVersion}` : name;
}

/** Many managers of updates become one, the oldest first. */
function capped(owners: Owners, now: string): Owners {
  const updates = [...owners].filter(([, owner]) => owner.operation === "Update");
  if (updates.length <= maxUpdateManagers) return owners;
  const oldest = updates.toSorted(([, a], [, b]) => inOrder(a, b)).slice(0, updates.length - maxUpdateManagers + 1);
  for (const [key] of oldest) owners.delete(key);
  for (const [version, group] of Map.groupBy(oldest, ([, owner]) => owner.apiVersion)) {
    const writer: Writer = { manager: "ancient-changes", operation: "Update", apiVersion: version, subresource: "" };
    const set = group.reduce((union, [, owner]) => union.union(owner.set), owners.get(keyOf(writer))?.set ?? new FieldSet());
    owners.set(keyOf(writer), { ...writer, set, time: group.at(-1)?.[1].time ?? now });
  }
  return owners;
}

function withoutOwners(object: Fields): Fields {
  const { managedFields: _, ...metadata } = (object.metadata ?? {}) as Fields;
  return { ...object, metadata };
}
