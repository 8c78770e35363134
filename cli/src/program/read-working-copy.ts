import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { promisify } from "node:util";
import { FleetError, wrongUse } from "../fleet-error.ts";
import { exitCodes } from "../exit-codes.ts";
import { workingCopyBytesMax, workingCopyFilesMax } from "../limits.ts";

export interface CopiedFile {
  /** From the repository's root. */
  readonly path: string;
  /** Base64. */
  readonly content: string;
}

/**
 * The files of a working copy as a commit of it would have them: of a Git work tree what is tracked or would be added, of another folder
 * everything but `.git`. Symlinks are left out: the hub refuses them anyway where they matter.
 *
 * @param fleetPath the fleet's folder in the repository; a folder that has none of that name is taken to be it.
 * @throws FleetError when there is no such folder, or it is too large to be sent.
 */
export async function readWorkingCopy(folder: string, fleetPath: string): Promise<readonly CopiedFile[]> {
  const given = resolve(folder);
  if (!(await isFolder(given))) throw wrongUse(`${folder} is not a folder`, "name the folder of your working copy");
  const root = workTreeOf(given) ?? given;
  const isWhole = fleetPath === "" || (await isFolder(join(root, fleetPath)));
  const [from, prefix] = isWhole ? [root, ""] : [given, `${fleetPath}/`];
  const names = workTreeOf(from) === undefined ? await walk(from) : await tracked(from);
  if (names.length > workingCopyFilesMax) throw tooLarge(folder, `${names.length} files`, `${workingCopyFilesMax} files`);
  const files: CopiedFile[] = [];
  let bytes = 0;
  for (const name of names) {
    const info = await stat(join(from, name)).catch(() => undefined);
    if (!info?.isFile()) continue;
    bytes += info.size;
    if (bytes > workingCopyBytesMax) throw tooLarge(folder, "more", `${workingCopyBytesMax / 2 ** 20} MiB`);
    files.push({ path: `${prefix}${name}`, content: (await readFile(join(from, name))).toString("base64") });
  }
  if (files.length === 0) throw wrongUse(`${folder} has no files`, "name the folder of your working copy");
  return files;
}

function tooLarge(folder: string, has: string, takes: string): FleetError {
  return new FleetError(`${folder} has ${has}; a preview takes ${takes}`, exitCodes.failed, { hint: "push a branch, and preview that: fleet diff … --branch" });
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function workTreeOf(folder: string): string | undefined {
  for (let above = folder; ; above = dirname(above)) {
    if (existsSync(join(above, ".git"))) return above;
    if (dirname(above) === above) return undefined;
  }
}

async function tracked(root: string): Promise<string[]> {
  try {
    const args = ["-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    const { stdout } = await promisify(execFile)("git", args, { maxBuffer: 64 * 2 ** 20 });
    return [...new Set(stdout.split("\0").filter((name) => name !== ""))].sort();
  } catch {
    // No Git here, or a damaged work tree: then everything.
    return await walk(root);
  }
}

async function walk(root: string): Promise<string[]> {
  const names: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== ".git") await visit(path);
      else if (entry.isFile()) names.push(relative(root, path).split(sep).join("/"));
      if (names.length > workingCopyFilesMax) return;
    }
  };
  await visit(root);
  return names.sort();
}
