import type { Problem } from "../domain/problem.ts";
import { RefusedPathError, type TreeFile } from "../domain/source-tree.ts";
import { fileBytesMax, filesPerFolderMax, folderBytesMax } from "../limits.ts";
import { refuseLength, refusePath } from "./unsafe-path.ts";

/** One entry of a tree, with its path from the root. */
export interface TreeEntry {
  /** Octal, as Git writes it: 100644, 100755, 040000, 120000 (symlink), 160000 (submodule). */
  readonly mode: string;
  readonly id: string;
  readonly bytes: number;
  readonly path: string;
  /** Why one of its names is refused, and null where none is; left out where nobody has looked. */
  readonly reason?: string | null;
}

/**
 * Which paths are there, which are refused and why. Everything in it is sorted by path, so that a folder is one stretch, found by
 * halving.
 */
export class TreeIndex {
  readonly #files: readonly TreeFile[];
  readonly #folders: ReadonlyMap<string, string>;
  readonly #byPath: ReadonlyMap<string, TreeFile>;
  readonly #refused: readonly { readonly path: string; readonly problem: Problem }[];
  readonly #refusedPaths: ReadonlyMap<string, Problem>;

  constructor(treeId: string, entries: readonly TreeEntry[]) {
    const files: TreeFile[] = [];
    const folders = new Map<string, string>([["", treeId]]);
    const refused = new Map<string, Problem>();
    for (const { mode, id, bytes, path, reason: ofName } of entries) {
      const reason =
        refuseMode(mode) ??
        (ofName === undefined ? refusePath(path) : (ofName ?? refuseLength(path))) ??
        (bytes > fileBytesMax ? `it is larger than ${fileBytesMax / 1024 ** 2} MiB` : undefined);
      if (reason !== undefined) refused.set(path, refusal(path, reason, mode));
      else if (mode === "040000") folders.set(path, id);
      else files.push({ path, bytes, blob: id });
    }
    this.#files = files.sort(byPath);
    this.#folders = folders;
    this.#byPath = new Map(files.map((file) => [file.path, file]));
    this.#refusedPaths = refused;
    this.#refused = [...refused].map(([path, problem]) => ({ path, problem })).sort(byPath);
  }

  kindOf(path: string): "file" | "folder" | undefined {
    if (this.#aboveRefused(path) !== undefined) return undefined;
    if (this.#byPath.has(path)) return "file";
    return this.#folders.has(path) ? "folder" : undefined;
  }

  idOf(path: string): string | undefined {
    return this.#folders.get(path) ?? this.#byPath.get(path)?.blob;
  }

  file(path: string): TreeFile | undefined {
    return this.#byPath.get(path);
  }

  refused(path: string): Problem | undefined {
    return this.#aboveRefused(path) ?? stretch(this.#refused, path)[0]?.problem ?? this.#overLimits(path);
  }

  /** @throws RefusedPathError */
  files(folder: string): readonly TreeFile[] {
    const problem = this.refused(folder);
    if (problem !== undefined) throw new RefusedPathError(problem);
    return stretch(this.#files, folder);
  }

  #overLimits(folder: string): Problem | undefined {
    if (!this.#folders.has(folder)) return undefined;
    const files = stretch(this.#files, folder);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const what =
      files.length > filesPerFolderMax
        ? `${files.length} files; at most ${filesPerFolderMax} are read`
        : bytes > folderBytesMax
          ? `${Math.ceil(bytes / 1024 ** 2)} MiB; at most ${folderBytesMax / 1024 ** 2} are read`
          : undefined;
    if (what === undefined) return undefined;
    return {
      code: "tree-too-big",
      message: `'${folder === "" ? "/" : folder}' holds ${what}`,
      ...(folder === "" ? {} : { file: folder }),
      hint: "point the fleet or the bundle at a smaller folder",
    };
  }

  /** The path itself or a folder above it: behind a symlink or a submodule nothing is read. */
  #aboveRefused(path: string): Problem | undefined {
    for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
      const problem = this.#refusedPaths.get(path.slice(0, end));
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
}

function refuseMode(mode: string): string | undefined {
  if (mode === "120000") return "it is a symlink, which is never followed";
  if (mode === "160000") return "it is a submodule, which is not fetched";
  return ["100644", "100755", "100664", "040000"].includes(mode) ? undefined : `its mode ${mode} is not one of a file or a folder`;
}

const codes: Readonly<Record<string, string>> = { "120000": "symlink", "160000": "submodule" };
const hints: Readonly<Record<string, string>> = {
  "120000": "commit the file itself, or name its real path",
  "160000": "commit the files themselves, or make it a fleet of its own",
};

/** Why one path is not read; the code tells symlinks, submodules, large files and unsafe names apart. */
export function refusal(path: string, reason: string, mode = ""): Problem {
  const code = codes[mode] ?? (reason.startsWith("it is larger") ? "file-too-large" : "unsafe-path");
  const hint = hints[mode];
  // oxlint-disable-next-line no-control-regex -- control characters are what is replaced
  const shown = path.replace(/[\u0000-\u001f\u007f]/g, "?").slice(0, 300);
  return { code, message: `'${shown}' is not read: ${reason}`, file: shown, ...(hint === undefined ? {} : { hint }) };
}

function byPath(left: { readonly path: string }, right: { readonly path: string }): number {
  return left.path < right.path ? -1 : left.path > right.path ? 1 : 0;
}

/** Everything under a folder: in sorted order it lies between "folder/" and "folder0", the character after '/'. */
function stretch<T extends { readonly path: string }>(sorted: readonly T[], folder: string): readonly T[] {
  if (folder === "") return sorted;
  return sorted.slice(firstFrom(sorted, `${folder}/`), firstFrom(sorted, `${folder}0`));
}

function firstFrom(sorted: readonly { readonly path: string }[], path: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.path ?? "") < path) low = middle + 1;
    else high = middle;
  }
  return low;
}
