import { createHash } from "node:crypto";
import { constants, type Dirent, lstatSync, readdirSync, readFileSync, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Problem } from "../domain/problem.ts";
import { hasUnsafeCharacter, RefusedPathError, type SourceTree, type TreeFile } from "../domain/source-tree.ts";
import { entriesPerTreeMax, fileBytesMax } from "../limits.ts";
import { blobId } from "./object-reader.ts";
import { refusePointer, refuseTooMuch } from "./read-fleet-tree.ts";
import { refusal, TreeIndex, type TreeEntry } from "./tree-index.ts";

/**
 * A folder on disk as a source tree, for `fleet lint .` and `fleet render .`: the same answers and refusals as for the commit that would
 * hold it. Only the folders that are asked for are looked at; `.git` is left out.
 */
export function openLocalTree(folder: string): SourceTree {
  return new LocalTree(folder);
}

class LocalTree implements SourceTree {
  readonly revision = "local";
  readonly #root: string;
  /** Content of every folder that was asked for, by path. */
  readonly #indexes = new Map<string, TreeIndex>();
  readonly #blobs = new Map<string, string>();

  constructor(root: string) {
    this.#root = root;
  }

  get treeId(): string {
    return this.idOf("") ?? "";
  }

  kindOf(path: string): "file" | "folder" | undefined {
    if (this.#refusedAbove(path) !== undefined) return undefined;
    const found = lookAt(this.#place(path));
    if (found?.isDirectory() === true) return "folder";
    return found?.isFile() === true ? "file" : undefined;
  }

  refused(path: string): Problem | undefined {
    return this.#refusedAbove(path) ?? (this.kindOf(path) === "folder" ? this.#index(path).refused("") : undefined);
  }

  files(folder: string): readonly TreeFile[] {
    const problem = this.refused(folder);
    if (problem !== undefined) throw new RefusedPathError(problem);
    if (this.kindOf(folder) !== "folder") return [];
    return this.#index(folder)
      .files("")
      .map((file) => ({ ...file, blob: this.#blob(file.path) }));
  }

  idOf(path: string): string | undefined {
    const kind = this.kindOf(path);
    if (kind === "file") return this.#blob(path);
    if (kind !== "folder" || this.refused(path) !== undefined) return undefined;
    const hash = createHash("sha1");
    for (const file of this.files(path)) hash.update(`${file.path.slice(path === "" ? 0 : path.length + 1)}\0${file.blob}\0`);
    return hash.digest("hex");
  }

  async read(paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const files = paths.map((path) => ({ path, bytes: this.#fileBytes(path), blob: "" }));
    refuseTooMuch(files);
    const contents = new Map<string, Uint8Array>();
    for (const { path } of files) contents.set(path, refusePointer(path, await readPlainFile(this.#place(path), path)));
    return contents;
  }

  #fileBytes(path: string): number {
    const problem = this.#refusedAbove(path);
    if (problem !== undefined) throw new RefusedPathError(problem);
    if (this.kindOf(path) !== "file") throw new RefusedPathError({ code: "missing-path", message: `'${path}' is not a file of the repository`, file: path });
    return lstatSync(this.#place(path)).size;
  }

  #blob(path: string): string {
    let blob = this.#blobs.get(path);
    if (blob === undefined) {
      blob = blobId(readFileSync(this.#place(path)));
      this.#blobs.set(path, blob);
    }
    return blob;
  }

  #place(path: string): string {
    return join(this.#root, path);
  }

  /** The path itself or a folder above it is a symlink, a device or has an unsafe name. */
  #refusedAbove(path: string): Problem | undefined {
    if (hasUnsafeCharacter(path) || path.startsWith("/") || path.split("/").includes("..")) return refusal(path, "its path leads out of the repository");
    const parts = path === "" ? [] : path.split("/");
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const above = parts.slice(0, depth).join("/");
      const found = lookAt(this.#place(above));
      if (found === undefined) return undefined;
      const entry = entryOf(above, modeOf(found), found.size);
      const problem = new TreeIndex("", [entry]).refused(above);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #index(folder: string): TreeIndex {
    let index = this.#indexes.get(folder);
    if (index === undefined) {
      index = new TreeIndex("", this.#walk(folder));
      this.#indexes.set(folder, index);
    }
    return index;
  }

  #walk(folder: string): TreeEntry[] {
    const entries: TreeEntry[] = [];
    const folders = [folder];
    for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
      for (const found of readdirSync(this.#place(next), { withFileTypes: true })) {
        if (found.name === ".git") continue;
        const path = next === "" ? found.name : `${next}/${found.name}`;
        const mode = modeOf(found);
        entries.push(entryOf(path, mode, mode === "100644" ? lstatSync(this.#place(path)).size : 0));
        if (mode === "040000") folders.push(path);
        if (entries.length > entriesPerTreeMax)
          throw new RefusedPathError({
            code: "tree-too-big",
            message: `'${folder}' holds more than ${entriesPerTreeMax} files and folders`,
            hint: "point the fleet at a smaller folder",
          });
      }
    }
    return entries;
  }
}

/** Undefined when nothing is there, also when what should be a folder above it is a file. */
function lookAt(place: string): Stats | undefined {
  try {
    return lstatSync(place, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function entryOf(path: string, mode: string, bytes: number): TreeEntry {
  return { mode, id: "", bytes, path };
}

function modeOf(found: Pick<Dirent, "isSymbolicLink" | "isDirectory" | "isFile">): string {
  if (found.isSymbolicLink()) return "120000";
  if (found.isDirectory()) return "040000";
  return found.isFile() ? "100644" : "device";
}

/** The file may have become a link since it was looked at: the open itself refuses to follow one. */
async function readPlainFile(place: string, path: string): Promise<Uint8Array> {
  const handle = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => {
    throw new RefusedPathError({ code: "missing-path", message: `'${path}' cannot be read`, file: path });
  });
  try {
    const { size } = await handle.stat();
    if (size > fileBytesMax) throw new RefusedPathError(refusal(path, `it is larger than ${fileBytesMax / 1024 ** 2} MiB`));
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}
