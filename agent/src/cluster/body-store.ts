import { zstdDecompressSync } from "node:zlib";
import { sha256, type KubeObject } from "@flotilla/proto/digest";
import { maxUnpackedBodyBytes } from "@flotilla/proto/limits";
import { stateLimits } from "../limits.ts";
import { KubeError } from "./kube-error.ts";
import { BodySecrets, type PackedBody } from "./body-secrets.ts";
import type { StateObjects } from "./state-objects.ts";

/** A body opened for reading: one canonical JSON object a line. */
export interface OpenBody {
  readonly count: number;
  /** One line's bytes. */
  line(index: number): Buffer;
  /** One line as an object. */
  object(index: number): KubeObject;
}

interface CacheEntry<T> {
  readonly value: T;
  readonly bytes: number;
}

/**
 * Bundle bodies by digest, compressed, in Secrets, with a small cache of what was used last. Bodies that come while one is
 * being written are written together.
 */
export class BodyStore {
  readonly #secrets: BodySecrets;
  readonly #compressed = new Map<string, CacheEntry<Uint8Array>>();
  readonly #open = new Map<string, CacheEntry<OpenBody>>();
  #waiting = new Map<string, { readonly body: PackedBody; readonly written: PromiseWithResolvers<void> }>();
  #isWriting = false;
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(objects: StateObjects) {
    this.#secrets = new BodySecrets(objects);
  }

  /** Read which bodies the cluster holds; their content stays there. */
  async load(): Promise<void> {
    await this.#secrets.load();
  }

  has(digest: string): boolean {
    return this.#secrets.has(digest);
  }

  /**
   * Keep a body.
   *
   * @throws KubeError when it cannot be written; it is not held then.
   */
  async put(digest: string, compressed: Uint8Array): Promise<void> {
    if (this.has(digest)) return;
    const waiting = this.#waiting.get(digest) ?? { body: { digest, content: compressed }, written: Promise.withResolvers<void>() };
    this.#waiting.set(digest, waiting);
    void this.#writeWaiting();
    await waiting.written.promise;
    remember(this.#compressed, digest, { value: compressed, bytes: compressed.byteLength }, stateLimits.bodyCacheBytes);
  }

  /**
   * Open a body for reading. Kept open for a few seconds, so that the objects of one plan do not unpack it again and again.
   *
   * @throws KubeError when it is not held, was damaged, or is larger than a bundle may be.
   */
  async open(digest: string): Promise<OpenBody> {
    this.#closeLater();
    const open = this.#open.get(digest);
    if (open) return open.value;
    const body = unpack(digest, await this.#read(digest));
    remember(this.#open, digest, body, stateLimits.openBodyBytes);
    return body.value;
  }

  /** Write those that are no longer held and still lie in memory. */
  async writeAgain(digests: readonly string[]): Promise<void> {
    await Promise.all(
      digests.map(async (digest) => {
        const body = this.#compressed.get(digest);
        if (body) await this.put(digest, body.value);
      }),
    );
  }

  /** Remove bodies that no target names, apart from those that came lately: their target may be on its way. */
  async collect(named: ReadonlySet<string>): Promise<void> {
    await this.#secrets.collect(named);
    for (const digest of this.#compressed.keys()) if (!this.has(digest)) this.#compressed.delete(digest);
  }

  async #writeWaiting(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    // Bodies that arrive in one go are there in one turn of the event loop.
    await new Promise(setImmediate);
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()];
      this.#waiting = new Map();
      const failure = await this.#secrets.write(batch.map(({ body }) => body)).then(
        () => undefined,
        (error: unknown) => error,
      );
      for (const { body, written } of batch) {
        if (this.has(body.digest)) written.resolve();
        else written.reject(failure);
      }
    }
    this.#isWriting = false;
  }

  async #read(digest: string): Promise<Uint8Array> {
    const cached = this.#compressed.get(digest);
    if (cached) return cached.value;
    const read = await this.#secrets.read(digest);
    for (const { digest: found, content } of read) {
      remember(this.#compressed, found, { value: content, bytes: content.byteLength }, stateLimits.bodyCacheBytes);
    }
    const body = read.find(({ digest: found }) => found === digest);
    if (!body) throw new KubeError("unusable", `body ${digest} is not in its Secret: somebody changed it`);
    return body.content;
  }

  #closeLater(): void {
    clearTimeout(this.#closeTimer);
    this.#closeTimer = setTimeout(() => this.#open.clear(), stateLimits.openBodyMs);
    this.#closeTimer.unref();
  }
}

/** Least recently added goes first when the cache is over its bytes; one entry is always kept. */
function remember<T>(cache: Map<string, CacheEntry<T>>, digest: string, entry: CacheEntry<T>, maxBytes: number): void {
  cache.delete(digest);
  cache.set(digest, entry);
  let bytes = [...cache.values()].reduce((sum, { bytes: size }) => sum + size, 0);
  for (const [oldest, { bytes: size }] of cache) {
    if (bytes <= maxBytes || cache.size === 1) return;
    cache.delete(oldest);
    bytes -= size;
  }
}

/**
 * A body opened for reading.
 *
 * @throws KubeError when it is not what its digest says, or larger than a bundle may be.
 */
export function openBody(digest: string, compressed: Uint8Array): OpenBody {
  return unpack(digest, compressed).value;
}

function unpack(digest: string, compressed: Uint8Array): CacheEntry<OpenBody> {
  let text: Buffer;
  try {
    text = zstdDecompressSync(compressed, { maxOutputLength: maxUnpackedBodyBytes });
  } catch (cause) {
    throw new KubeError("unusable", `body ${digest} cannot be unpacked: ${(cause as Error).message}`, { cause });
  }
  if (sha256(text) !== digest) throw new KubeError("unusable", `body ${digest} was damaged where it is kept`);
  const ends: number[] = [];
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, end + 1)) ends.push(end);
  if (text.length > 0) ends.push(text.length);
  const line = (index: number) => text.subarray(index === 0 ? 0 : (ends[index - 1] ?? 0) + 1, ends[index]);
  return { bytes: text.length, value: { count: ends.length, line, object: (index) => JSON.parse(line(index).toString("utf8")) as KubeObject } };
}
