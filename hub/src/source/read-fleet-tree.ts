import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type SourceTree, type TreeFile } from "../domain/source-tree.ts";
import { entriesPerTreeMax, folderBytesMax } from "../limits.ts";
import { forgetOldTrees, type Clone } from "./clone.ts";
import { isCommitId } from "./git-ref.ts";
import { listTree } from "./list-tree.ts";
import { DamagedObjectError, LargeObjectError } from "./object-reader.ts";
import { TreeIndex } from "./tree-index.ts";

export type OpenedTree =
  | { readonly ok: true; readonly tree: SourceTree }
  /** `damaged`: throw the clone away and fetch again. */
  | { readonly ok: false; readonly problem: Problem; readonly damaged: boolean };

/** A read failed because the clone does not hold what it should. */
export class DamagedCloneError extends Error {
  override readonly name = "DamagedCloneError";
  readonly problem = cloneDamaged;
}

const cloneDamaged: Problem = { code: "clone-damaged", message: "the hub's copy of the repository is damaged; it is being made anew" };

/**
 * Open one commit of a clone as a tree. Folders that the tree opened before it has as well are not read again. There is no work tree, so a symlink
 * is a blob like any other and leads nowhere. Trees are shared by the fleets of a repository.
 *
 * Codes: revision-not-here (fetch it first), tree-too-big, clone-damaged.
 */
export async function readFleetTree(clone: Clone, revision: string): Promise<OpenedTree> {
  const open = clone.trees.get(revision) as Promise<OpenedTree> | undefined;
  if (open !== undefined) return await open;
  const opening = openTree(clone, revision);
  clone.trees.set(revision, opening);
  forgetOldTrees(clone);
  const opened = await opening;
  if (!opened.ok) clone.trees.delete(revision);
  return opened;
}

async function openTree(clone: Clone, revision: string): Promise<OpenedTree> {
  const facts = isCommitId(revision) ? clone.facts.get(revision) : undefined;
  if (facts === undefined)
    return failed({
      code: "revision-not-here",
      message: `commit ${revision.slice(0, 64)} is not in the hub's copy of the repository`,
      hint: "it is fetched when a fleet follows it",
    });
  try {
    const found = await listTree(clone.reader, facts.tree, clone.listed);
    if (found === undefined) return failed(tooManyEntries);
    clone.listed = found.listed;
    return { ok: true, tree: new GitTree(clone, revision, facts.tree, new TreeIndex(facts.tree, found.entries)) };
  } catch (error) {
    if (error instanceof LargeObjectError) return failed(tooManyEntries);
    if (error instanceof DamagedObjectError) return { ok: false, problem: cloneDamaged, damaged: true };
    throw error;
  }
}

const tooManyEntries: Problem = {
  code: "tree-too-big",
  message: `the repository has more than ${entriesPerTreeMax} files and folders`,
  hint: "keep what clusters run in a repository of its own",
};

function failed(problem: Problem): OpenedTree {
  return { ok: false, problem, damaged: false };
}

class GitTree implements SourceTree {
  readonly revision: string;
  readonly treeId: string;
  readonly #clone: Clone;
  readonly #index: TreeIndex;

  constructor(clone: Clone, revision: string, treeId: string, index: TreeIndex) {
    this.#clone = clone;
    this.revision = revision;
    this.treeId = treeId;
    this.#index = index;
  }

  kindOf(path: string): "file" | "folder" | undefined {
    return this.#index.kindOf(path);
  }

  refused(path: string): Problem | undefined {
    return this.#index.refused(path);
  }

  files(folder: string): readonly TreeFile[] {
    return this.#index.files(folder);
  }

  idOf(path: string): string | undefined {
    return this.#index.idOf(path);
  }

  async read(paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const files = paths.map((path) => findFile(this.#index, path));
    refuseTooMuch(files);
    const contents = await this.#readBlobs(files);
    return new Map(files.map((file, index) => [file.path, refusePointer(file.path, contents[index] ?? new Uint8Array())]));
  }

  async #readBlobs(files: readonly TreeFile[]): Promise<readonly Uint8Array[]> {
    try {
      return await this.#clone.reader.read(files);
    } catch (error) {
      if (error instanceof DamagedObjectError) throw new DamagedCloneError(error.message, { cause: error });
      throw error;
    }
  }
}

function findFile(index: TreeIndex, path: string): TreeFile {
  const refused = index.kindOf(path) === undefined ? index.refused(path) : undefined;
  const file = index.file(path);
  if (refused !== undefined) throw new RefusedPathError(refused);
  if (file === undefined) throw new RefusedPathError({ code: "missing-path", message: `'${path}' is not a file of the repository`, file: path });
  return file;
}

/** One read is one bundle's files. */
export function refuseTooMuch(files: readonly TreeFile[]): void {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes <= folderBytesMax) return;
  throw new RefusedPathError({
    code: "tree-too-big",
    message: `the files read together are ${Math.ceil(bytes / 1024 ** 2)} MiB; at most ${folderBytesMax / 1024 ** 2} are read`,
    hint: "split the bundle",
  });
}

/** A Git LFS pointer is not the file it stands for. Rendered, it would be an empty bundle or worse. */
export function refusePointer(path: string, content: Uint8Array): Uint8Array {
  const begins = "version https://git-lfs.github.com/spec/";
  if (content.length > 1_024 || Buffer.from(content.buffer, content.byteOffset, Math.min(content.length, begins.length)).toString("latin1") !== begins)
    return content;
  throw new RefusedPathError({
    code: "lfs-pointer",
    message: `'${path}' is a Git LFS pointer; its content is not in the repository`,
    file: path,
    hint: "commit the file itself: git lfs untrack, then add it again",
  });
}
