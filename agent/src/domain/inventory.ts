import { createHash } from "node:crypto";
import { decodeGuard, encodeGuard, unguarded, type Guard } from "./guard.ts";
import { parseObjectKey, type ObjectKey } from "./object-id.ts";

/** What the agent remembers of one object that it applied or was about to apply. */
export interface InventoryEntry {
  readonly key: ObjectKey;
  readonly apiVersion: string;
  readonly bundle: string;
  /** UID the API server gave; "" between widening and the apply's answer. */
  readonly uid: string;
  /** Hash of the desired object and its ignore rules as last applied; "" when not applied yet. */
  readonly desired: string;
  /** hashOwned of the object as the API server returned it from the apply. */
  readonly owned: string;
  /** Service account ("namespace/name") that wrote it and may delete it; left out for the agent itself. */
  readonly account?: string;
  /** How Git, or the bundle's defaults, guard it against deletion: nobody can ask them any more when it has left Git. Left out: not at all. */
  readonly guard?: Guard;
  /** Digest of the approved list that it is of; left out when nobody approved its deletion. */
  readonly approved?: string;
}

/** All entries of one fleet in one cluster. */
export type Inventory = ReadonlyMap<ObjectKey, InventoryEntry>;

/**
 * Rows as they are stored, one JSON array a line: [key, apiVersion, bundle, uid, desired, owned], and at the end { account, guard, approved }
 * with what there is of them.
 */
export function encodeEntries(entries: Iterable<InventoryEntry>): string {
  const lines = [...entries]
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map((e) => JSON.stringify([e.key, e.apiVersion, e.bundle, e.uid, e.desired, e.owned, ...lastCell(e)]));
  return lines.join("\n");
}

function lastCell({ account, guard, approved }: InventoryEntry): object[] {
  if (account === undefined && guard === undefined && approved === undefined) return [];
  return [{ ...(account !== undefined && { account }), ...(guard && { guard: encodeGuard(guard) }), ...(approved !== undefined && { approved }) }];
}

/**
 * Entries from stored rows.
 *
 * @throws Error that names the line when a row is not one: an inventory that cannot be read must not look smaller than it is.
 */
export function decodeEntries(text: string): InventoryEntry[] {
  if (text === "") return [];
  return text.split("\n").map((line, index) => {
    const { row, more } = parseRow(line, index);
    const [key, apiVersion, bundle, uid, desired, owned] = row as [string, string, string, string, string, string];
    parseObjectKey(key);
    return { key, apiVersion, bundle, uid, desired, owned, ...more };
  });
}

function parseRow(line: string, index: number): { row: unknown[]; more: Pick<InventoryEntry, "account" | "guard" | "approved"> } {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`inventory row ${index + 1} is not JSON`);
  }
  const last: unknown = Array.isArray(row) ? row.at(-1) : undefined;
  const more = typeof last === "object" && last !== null ? (last as { account?: unknown; guard?: unknown; approved?: unknown }) : {};
  if (more === last) (row as unknown[]).pop();
  if (!Array.isArray(row) || row.length !== 6 || row.some((cell) => typeof cell !== "string"))
    throw new Error(`inventory row ${index + 1} has not the six cells of an entry`);
  const word = (cell: unknown) => (typeof cell === "string" ? cell : "");
  return {
    row,
    more: {
      ...(more.account !== undefined && { account: word(more.account) }),
      ...(more.guard !== undefined && { guard: decodeGuard(word(more.guard)) }),
      ...(more.approved !== undefined && { approved: word(more.approved) }),
    },
  };
}

/**
 * The inventory before an apply begins: every object that will be attempted is in it (with an empty UID when it is new),
 * so that a crash at any point leaves an entry too many and never a forgotten object (G8).
 */
export function widen(
  inventory: Inventory,
  attempts: Iterable<{ readonly key: ObjectKey; readonly apiVersion: string; readonly bundle: string }>,
): Map<ObjectKey, InventoryEntry> {
  const wide = new Map(inventory);
  for (const { key, apiVersion, bundle } of attempts) {
    if (!wide.has(key)) wide.set(key, unansweredEntry(key, apiVersion, bundle));
  }
  return wide;
}

/** An entry for an apply whose answer is not known: what comes of it is found again by the owner annotation. */
export function unansweredEntry(key: ObjectKey, apiVersion: string, bundle: string): InventoryEntry {
  return { key, apiVersion, bundle, uid: "", desired: "", owned: "" };
}

/** The entry, guarded so and approved so; what says nothing is left out. */
export function withGuard({ guard: _guard, approved: _approved, ...entry }: InventoryEntry, guard: Guard, approved = ""): InventoryEntry {
  return { ...entry, ...(guard !== unguarded && { guard }), ...(approved !== "" && { approved }) };
}

/** Which of n shards an entry lies in: by the key alone, so that an entry stays where it is while n does. */
export function shardOf(key: ObjectKey, shards: number): number {
  return createHash("sha256").update(key).digest().readUInt32BE(0) % shards;
}
