import { sha256 } from "@flotilla/proto/digest";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { RefusedPathError, type SourceTree, type TreeFile } from "../domain/source-tree.ts";

/** A tree in memory; what is listed as refused stands for symlinks and their like. */
export function treeOf(
  contents: Readonly<Record<string, string | Uint8Array>>,
  refused: Readonly<Record<string, string>> = {},
): SourceTree & { readonly reads: string[] } {
  const paths = Object.keys(contents).sort();
  const reads: string[] = [];
  const blobOf = (path: string): string => sha256(contents[path] ?? "");
  const inside = (folder: string): string[] => paths.filter((path) => folder === "" || path === folder || path.startsWith(`${folder}/`));
  const refusal = (path: string): string | undefined =>
    Object.keys(refused).find((bad) => path === "" || bad === path || bad.startsWith(`${path}/`) || path.startsWith(`${bad}/`));
  const fileOf = (path: string): TreeFile => ({ path, bytes: contents[path]?.length ?? 0, blob: blobOf(path) });
  const problemOf = (bad: string): { code: string; message: string; file: string } => ({ code: "symlink", message: refused[bad] ?? "", file: bad });
  return {
    revision: "local",
    treeId: sha256(paths.join("\n")),
    reads,
    kindOf: (path) => (path in contents ? "file" : path === "" || inside(path).length > 0 ? "folder" : undefined),
    refused: (path) => {
      const bad = refusal(path);
      return bad === undefined ? undefined : problemOf(bad);
    },
    files: (folder) => {
      const bad = refusal(folder);
      if (bad !== undefined) throw new RefusedPathError(problemOf(bad));
      return inside(folder).map(fileOf);
    },
    read: async (wanted) => {
      reads.push(...wanted);
      return new Map(wanted.map((path) => [path, Buffer.from(contents[path] ?? "")]));
    },
    idOf: (path) =>
      path in contents
        ? blobOf(path)
        : inside(path).length > 0
          ? sha256(
              inside(path)
                .map((file) => `${file.slice(path.length)} ${blobOf(file)}`)
                .join(),
            )
          : undefined,
  };
}

/** A folder on disk as such a tree. */
export function treeOfFolder(root: string): SourceTree & { readonly reads: string[] } {
  const contents: Record<string, Uint8Array> = {};
  const walk = (folder: string): void => {
    for (const name of readdirSync(join(root, folder))) {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (statSync(join(root, path)).isDirectory()) walk(path);
      else contents[path] = readFileSync(join(root, path));
    }
  };
  walk("");
  return treeOf(contents);
}
