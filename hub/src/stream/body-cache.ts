import { encodeOnce, type Encoded } from "@flotilla/proto/grpc";
import { ConnectResponseSchema } from "@flotilla/proto/gen/link";
import { maxChunkBytes } from "@flotilla/proto/limits";

export interface EncodedBody {
  /** Ready to be written, in order. */
  readonly chunks: readonly Encoded[];
  readonly bytes: number;
}

/**
 * Bodies as encoded chunks, read and encoded once for all the agents of a fan-out. Keeps up to `bytesMax`; at most
 * `loadsAtOnce` are read at a time, the others wait their turn.
 */
export class BodyCache {
  readonly #read: (digest: string) => Promise<Uint8Array | undefined>;
  readonly #bytesMax: number;
  readonly #loadsAtOnce: number;
  readonly #kept = new Map<string, EncodedBody>();
  readonly #loading = new Map<string, Promise<EncodedBody | undefined>>();
  readonly #turns: (() => void)[] = [];
  #bytes = 0;
  #running = 0;

  constructor(read: (digest: string) => Promise<Uint8Array | undefined>, bytesMax: number, loadsAtOnce: number) {
    this.#read = read;
    this.#bytesMax = bytesMax;
    this.#loadsAtOnce = loadsAtOnce;
  }

  /**
   * The body, or undefined when there is none of this digest.
   *
   * @throws what `read` throws.
   */
  async load(digest: string): Promise<EncodedBody | undefined> {
    const kept = this.#kept.get(digest);
    if (kept !== undefined) {
      this.#kept.delete(digest);
      this.#kept.set(digest, kept);
      return kept;
    }
    const loading = this.#loading.get(digest) ?? this.#loadInTurn(digest);
    this.#loading.set(digest, loading);
    return await loading;
  }

  async #loadInTurn(digest: string): Promise<EncodedBody | undefined> {
    if (this.#running >= this.#loadsAtOnce) await new Promise<void>((resolve) => this.#turns.push(resolve));
    this.#running += 1;
    try {
      const content = await this.#read(digest);
      if (content === undefined) return undefined;
      const body = { chunks: encodeChunks(digest, content), bytes: content.byteLength };
      this.#keep(digest, body);
      return body;
    } finally {
      this.#running -= 1;
      this.#loading.delete(digest);
      this.#turns.shift()?.();
    }
  }

  #keep(digest: string, body: EncodedBody): void {
    this.#kept.set(digest, body);
    this.#bytes += body.bytes;
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#kept.delete(oldest);
      this.#bytes -= bytes;
    }
  }
}

/** A body in parts of at most maxChunkBytes; an empty one is one empty part. */
export function encodeChunks(digest: string, content: Uint8Array): Encoded[] {
  const chunks: Encoded[] = [];
  for (let offset = 0; offset === 0 || offset < content.byteLength; offset += maxChunkBytes) {
    const value = { digest, offset: BigInt(offset), totalBytes: BigInt(content.byteLength), content: content.subarray(offset, offset + maxChunkBytes) };
    chunks.push(encodeOnce(ConnectResponseSchema, { message: { case: "bodyChunk", value } }));
  }
  return chunks;
}
