import { zstdDecompressSync } from "node:zlib";
import { sha256, type KubeObject } from "@flotilla/proto/digest";
import { maxUnpackedBodyBytes } from "@flotilla/proto/limits";
import { stateLimits } from "../limits.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObjects } from "./state-objects.ts";

const annotation = { digest: "flotilla.dev/body-digest", parts: "flotilla.dev/body-parts" } as const;

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
 * Bundle bodies by digest, compressed, in Secrets of 700 KiB parts, with a small cache of what was used last. A body counts
 * as held when all its parts are written.
 */
export class BodyStore {
  readonly #objects: StateObjects;
  /** Digest → number of parts, of bodies that are whole; with the time they came. */
  readonly #held = new Map<string, { readonly parts: number; readonly since: number }>();
  readonly #compressed = new Map<string, CacheEntry<Uint8Array>>();
  readonly #open = new Map<string, CacheEntry<OpenBody>>();
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(objects: StateObjects) {
    this.#objects = objects;
  }

  /** Read which bodies the cluster holds; their content stays there. */
  async load(): Promise<void> {
    const parts = await this.#objects.list("Secret", "body", { metadataOnly: true });
    for (const [digest, found] of Map.groupBy(parts, (part) => part.metadata.annotations?.[annotation.digest] ?? "")) {
      const whole = Number(found[0]?.metadata.annotations?.[annotation.parts]);
      if (found.length === whole) this.#held.set(digest, { parts: whole, since: Date.parse(found[0]?.metadata.creationTimestamp ?? "") || 0 });
    }
  }

  has(digest: string): boolean {
    return this.#held.has(digest);
  }

  /**
   * Keep a body.
   *
   * @throws KubeError when it cannot be written; it is not held then.
   */
  async put(digest: string, compressed: Uint8Array): Promise<void> {
    if (this.#held.has(digest)) return;
    const parts = Math.max(1, Math.ceil(compressed.byteLength / stateLimits.bodyChunkBytes));
    for (let part = 0; part < parts; part++) {
      const chunk = compressed.subarray(part * stateLimits.bodyChunkBytes, (part + 1) * stateLimits.bodyChunkBytes);
      const notes = { [annotation.digest]: digest, [annotation.parts]: String(parts) };
      await this.#objects.put("Secret", "body", nameOf(digest, part), notes, { body: Buffer.from(chunk).toString("base64") });
    }
    this.#held.set(digest, { parts, since: Date.now() });
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

  /** Remove bodies that no target names, apart from those that came lately: their target may be on its way. */
  async collect(named: ReadonlySet<string>): Promise<void> {
    const before = Date.now() - stateLimits.bodyGraceMs;
    for (const [digest, { parts, since }] of this.#held) {
      if (named.has(digest) || since > before) continue;
      this.#held.delete(digest);
      this.#compressed.delete(digest);
      for (let part = 0; part < parts; part++) await this.#objects.remove("Secret", nameOf(digest, part));
    }
  }

  async #read(digest: string): Promise<Uint8Array> {
    const cached = this.#compressed.get(digest);
    if (cached) return cached.value;
    const held = this.#held.get(digest);
    if (!held) throw new KubeError("unusable", `body ${digest} is not held`);
    const parts: Buffer[] = [];
    for (let part = 0; part < held.parts; part++) {
      const secret = await this.#objects.get("Secret", nameOf(digest, part));
      if (secret?.data?.body === undefined) {
        this.#held.delete(digest);
        throw new KubeError("unusable", `part ${part} of body ${digest} is missing: somebody deleted it. It is asked for again at the next target`);
      }
      parts.push(Buffer.from(secret.data.body, "base64"));
    }
    const compressed = Buffer.concat(parts);
    remember(this.#compressed, digest, { value: compressed, bytes: compressed.byteLength }, stateLimits.bodyCacheBytes);
    return compressed;
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

function nameOf(digest: string, part: number): string {
  return `flotilla-body-${digest}-${part}`;
}
