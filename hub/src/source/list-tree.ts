import { entriesPerTreeMax, pathCharsMax, pathDepthMax } from "../limits.ts";
import { DamagedObjectError, type ObjectReader } from "./object-reader.ts";
import type { TreeEntry } from "./tree-index.ts";
import { refuseName } from "./unsafe-path.ts";

/** One entry of one folder of Git's: its name, not its path. */
interface FolderEntry {
  readonly mode: string;
  readonly id: string;
  readonly name: string;
  /** Why it is refused, or null: looked at once for as long as the folder stays as it is. */
  readonly reason: string | null;
}

/** What a tree is made of: its folders by id, and the sizes of their files. */
export interface ListedTree {
  readonly folders: ReadonlyMap<string, readonly FolderEntry[]>;
  readonly sizes: ReadonlyMap<string, number>;
}

export const nothingListed: ListedTree = { folders: new Map(), sizes: new Map() };

/**
 * Every file and folder of a tree, each folder before what is in it. Folders that an earlier listing has, by their ids, are not read again: after
 * a commit these are all but the few above the files that it changed.
 *
 * @returns undefined when there are more entries than entriesPerTreeMax.
 * @throws DamagedObjectError, LargeObjectError
 */
export async function listTree(
  reader: ObjectReader,
  treeId: string,
  before: ListedTree,
): Promise<{ readonly entries: readonly TreeEntry[]; readonly listed: ListedTree } | undefined> {
  const folders = await readFolders(reader, treeId, before);
  if (folders === undefined) return undefined;
  const sizes = await readSizes(reader, folders, before);
  const entries: TreeEntry[] = [];
  const listed = { folders, sizes };
  return unfold(listed, treeId, { path: "", depth: 1, reason: null }, entries) ? { entries, listed } : undefined;
}

/** Level by level, each folder once however often it is there. */
async function readFolders(reader: ObjectReader, treeId: string, before: ListedTree): Promise<Map<string, readonly FolderEntry[]> | undefined> {
  const folders = new Map<string, readonly FolderEntry[]>();
  let count = 0;
  let level = [treeId];
  // What lies deeper is refused by its path and need not be looked at.
  for (let depth = 0; level.length > 0 && depth <= pathDepthMax; depth += 1) {
    const unknown = level.filter((id) => !before.folders.has(id));
    const contents = await reader.readTrees(unknown);
    const read = new Map(unknown.map((id, index) => [id, parseFolder(contents[index] ?? new Uint8Array(), id)]));
    const next = new Set<string>();
    for (const id of level) {
      const entries = before.folders.get(id) ?? read.get(id) ?? [];
      folders.set(id, entries);
      count += entries.length;
      for (const { mode, id: inside } of entries) if (mode === folderMode) next.add(inside);
    }
    if (count > entriesPerTreeMax) return undefined;
    level = [...next].filter((id) => !folders.has(id));
  }
  return folders;
}

async function readSizes(reader: ObjectReader, folders: ReadonlyMap<string, readonly FolderEntry[]>, before: ListedTree): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const entries of folders.values()) {
    for (const { mode, id } of entries) if (isFile(mode)) sizes.set(id, before.sizes.get(id) ?? -1);
  }
  const unknown = [...sizes].flatMap(([id, bytes]) => (bytes < 0 ? [id] : []));
  const found = await reader.sizesOf(unknown);
  for (const [index, id] of unknown.entries()) sizes.set(id, found[index] ?? 0);
  return sizes;
}

/** A folder on the way down: a name that is refused in it is refused in all that it holds. */
interface Above {
  readonly path: string;
  readonly depth: number;
  readonly reason: string | null;
}

/** False when there are too many. A folder that is refused for its depth or its path's length stays shut: nothing in it could be read. */
function unfold({ folders, sizes }: ListedTree, id: string, above: Above, entries: TreeEntry[]): boolean {
  const { path, depth } = above;
  for (const entry of folders.get(id) ?? []) {
    const inside = path === "" ? entry.name : `${path}/${entry.name}`;
    const reason = above.reason ?? entry.reason;
    entries.push({ mode: entry.mode, id: entry.id, bytes: sizes.get(entry.id) ?? 0, path: inside, reason });
    if (entries.length > entriesPerTreeMax) return false;
    if (entry.mode !== folderMode || depth > pathDepthMax || inside.length > pathCharsMax) continue;
    if (!unfold({ folders, sizes }, entry.id, { path: inside, depth: depth + 1, reason }, entries)) return false;
  }
  return true;
}

const folderMode = "040000";

/** Neither a folder nor a submodule, which has no content here. */
function isFile(mode: string): boolean {
  return mode !== folderMode && mode !== "160000";
}

/** "<octal mode> <name>\0<id in bytes>", one after the other. */
export function parseFolder(content: Uint8Array, treeId: string): FolderEntry[] {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const idBytes = treeId.length / 2;
  const entries: FolderEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    if (space < 0 || end < 0 || end + 1 + idBytes > bytes.length) throw new DamagedObjectError(`tree ${treeId} is cut off`);
    const name = bytes.toString("utf8", space + 1, end);
    entries.push({
      mode: canonicalMode(Number.parseInt(bytes.toString("latin1", at, space), 8)),
      id: bytes.toString("hex", end + 1, end + 1 + idBytes),
      name,
      reason: refuseName(name) ?? null,
    });
    at = end + 1 + idBytes;
  }
  return entries;
}

/** As Git reads a mode, whatever was written: its kind, and of a file whether it may be run. What is of no kind that it knows is a submodule to it. */
function canonicalMode(mode: number): string {
  switch (mode & 0o170000) {
    case 0o100000:
      return (mode & 0o100) === 0 ? "100644" : "100755";
    case 0o120000:
      return "120000";
    case 0o040000:
      return folderMode;
    default:
      return "160000";
  }
}
