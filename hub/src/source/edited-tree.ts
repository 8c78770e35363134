import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import { blobId } from "./object-reader.ts";

/** A tree in which some of its files say something else: what would be if it were committed. */
export function editedTree(tree: SourceTree, edits: ReadonlyMap<string, string>): SourceTree {
  const contents = new Map([...edits].map(([path, text]) => [path, Buffer.from(text)]));
  const blobs = new Map([...contents].map(([path, content]) => [path, blobId(content)]));
  const isAbove = (path: string): boolean => [...blobs.keys()].some((file) => path === "" || file.startsWith(`${path}/`));
  return {
    revision: tree.revision,
    get treeId() {
      return this.idOf("") ?? "";
    },
    kindOf: (path) => tree.kindOf(path),
    refused: (path) => tree.refused(path),
    files: (folder) => tree.files(folder).map((file) => ({ ...file, ...ofEdit(file.path) })),
    idOf: (path) => blobs.get(path) ?? (isAbove(path) ? [tree.idOf(path), ...blobs.values()].join(" ") : tree.idOf(path)),
    async read(paths) {
      const others = paths.filter((path) => !contents.has(path));
      const read = new Map(others.length === 0 ? [] : await tree.read(others));
      for (const path of paths) {
        const content = contents.get(path) ?? read.get(path);
        if (content === undefined) throw new RefusedPathError({ code: "missing-path", message: `'${path}' cannot be read`, file: path });
        read.set(path, content);
      }
      return read;
    },
  };

  function ofEdit(path: string): { bytes?: number; blob?: string } {
    const [content, blob] = [contents.get(path), blobs.get(path)];
    return content === undefined || blob === undefined ? {} : { bytes: content.length, blob };
  }
}
