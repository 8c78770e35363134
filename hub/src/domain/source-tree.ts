import type { Problem } from "./problem.ts";

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
 * Symlinks, submodules and unsafe names are refused where they are asked for: elsewhere in the repository they do no harm.
 */
export interface SourceTree {
  /** Full commit hash; "local" for a folder. */
  readonly revision: string;
  /** Git tree id of the root. */
  readonly treeId: string;
  /** What a path is; undefined when nothing is there, or something that is refused. "" is the root folder. */
  kindOf(path: string): "file" | "folder" | undefined;
  /**
   * Why a path, a folder above it or anything under it is not read: a symlink, a submodule, an unsafe name, a file or a folder
   * beyond the limits. Undefined when all of it may be read.
   */
  refused(path: string): Problem | undefined;
  /**
   * All files under a folder, sorted by path.
   *
   * @throws RefusedPathError when something under the folder is refused.
   */
  files(folder: string): readonly TreeFile[];
  /**
   * Content of files, in one round trip.
   *
   * @throws RefusedPathError when a path is refused, missing, a Git LFS pointer, or all together are beyond the limit.
   */
  read(paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Git id of the file or folder at a path: equal ids, equal content. */
  idOf(path: string): string | undefined;
}

/** Something in the tree that is not read; `problem` names the file and the reason. */
export class RefusedPathError extends Error {
  override readonly name = "RefusedPathError";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/**
 * Where a relative reference leads, seen from a folder of the repository: a path from the root, "" for the root itself.
 * Undefined when it leads out of the repository, is absolute, or has a backslash or a control character.
 */
export function resolveInside(folder: string, reference: string): string | undefined {
  if (reference.startsWith("/") || hasUnsafeCharacter(reference) || hasUnsafeCharacter(folder)) return undefined;
  const parts: string[] = [];
  for (const part of `${folder}/${reference}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/");
}

/** Backslash (a separator elsewhere), NUL and other control characters. */
export function hasUnsafeCharacter(path: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u001f\u007f\\]/.test(path);
}
