import { RefusedPathError, type SourceTree } from "../domain/source-tree.ts";
import { bundleBytesMax } from "../limits.ts";

/**
 * Read a bundle's files, not more than one may have.
 *
 * @throws RefusedPathError when there are more, or the tree refuses one.
 */
export async function readBounded(tree: SourceTree, paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
  const contents = await tree.read(paths);
  let bytes = 0;
  for (const content of contents.values()) bytes += content.length;
  if (bytes <= bundleBytesMax) return contents;
  throw new RefusedPathError({
    code: "bundle-too-large",
    message: `the bundle's files have ${bytes} bytes; they may have ${bundleBytesMax}`,
    hint: "split the bundle",
  });
}
