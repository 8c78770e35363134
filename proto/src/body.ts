import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { canonicalJson, sha256, type KubeObject } from "./digest.ts";
import { maxUnpackedBodyBytes } from "./limits.ts";

/** A bundle's content as it is stored and sent: NDJSON, one canonical object per line, zstd-compressed. */
export interface Body {
  /** SHA-256 (hex) of the NDJSON before compression. */
  readonly digest: string;
  readonly objectCount: number;
  readonly compressed: Uint8Array;
}

/** Pack objects in the order given. Equal objects in equal order give equal digests. */
export function packBody(objects: readonly KubeObject[]): Body {
  const ndjson = objects.map(canonicalJson).join("\n");
  return { digest: sha256(ndjson), objectCount: objects.length, compressed: zstdCompressSync(ndjson) };
}

/**
 * Unpack a body and check it against its digest.
 *
 * @throws Error when it is not zstd, larger than maxUnpackedBodyBytes, not of this digest, or not NDJSON.
 */
export function unpackBody(digest: string, compressed: Uint8Array): KubeObject[] {
  const ndjson = zstdDecompressSync(compressed, { maxOutputLength: maxUnpackedBodyBytes });
  const actual = sha256(ndjson);
  if (actual !== digest) throw new Error(`body ${digest} has digest ${actual}: it was damaged on the way`);
  if (ndjson.length === 0) return [];
  return ndjson
    .toString("utf8")
    .split("\n")
    .map((line) => JSON.parse(line) as KubeObject);
}
