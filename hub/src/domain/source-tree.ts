/** One regular file of a revision. */
export interface TreeFile {
  /** Relative to the repository's root, '/' between parts, never with "." or "..". */
  readonly path: string;
  readonly bytes: number;
  /** Git blob id. */
  readonly blob: string;
}

/**
 * A bounded, immutable view of one revision's files, read from Git's object store or, for `fleet lint`, from a folder.
 * A tree that holds symlinks, submodules or unsafe names in the part that is asked for was refused before it came here.
 */
export interface SourceTree {
  /** Full commit hash; "local" for a folder. */
  readonly revision: string;
  /** Git tree id of the root. */
  readonly treeId: string;
  /** What a path is; undefined when nothing is there. "" is the root folder. */
  kindOf(path: string): "file" | "folder" | undefined;
  /** All files under a folder, sorted by path. */
  files(folder: string): readonly TreeFile[];
  /** Content of files that `files` named, in one round trip. */
  read(paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Git id of the file or folder at a path: equal ids, equal content. */
  idOf(path: string): string | undefined;
}
