import { zstdDecompressSync } from "node:zlib";
import { sha256 } from "@flotilla/proto/digest";
import type { BodyChunk, HeldTarget } from "@flotilla/proto/gen/link";
import type { Target } from "@flotilla/proto/gen/target";
import { maxBodiesPerRequest, maxBodyBytes, maxChunkBytes, maxUnaskedBodyBytes, maxUnpackedBodyBytes } from "@flotilla/proto/limits";
import { refuseTarget } from "../domain/refuse-target.ts";
import { linkLimits } from "../limits.ts";
import type { Log } from "../log.ts";

/** Where bodies are kept, by digest, compressed. */
export interface BodyStore {
  has(digest: string): boolean;
  put(digest: string, compressed: Uint8Array): Promise<void>;
}

/** The hub sent what this contract does not allow: the stream is ended. */
export class LinkProtocolError extends Error {
  override readonly name = "LinkProtocolError";
}

export interface TargetFetchOptions {
  readonly cluster: string;
  readonly bodies: BodyStore;
  readonly log: Log;
  /** What the agent follows now. */
  held(): readonly HeldTarget[];
  /** Sends a body request. */
  ask(digests: string[]): void;
  /** Sends a receipt; an empty refusal accepts. */
  answer(target: Target, refusal: string): void;
  /** Called when every body is held. */
  onTarget(target: Target): void;
}

/**
 * Turns targets into whole ones: asks for the bodies that are not held, a few megabytes at a time, puts their chunks together,
 * looks at their digests, keeps them. Small ones may come before their target: then it asks for nothing. A newer target of the same fleet takes the place of
 * one that is still being fetched.
 */
export class TargetFetch {
  readonly #options: TargetFetchOptions;
  /** Newest target per fleet whose bodies are not all held. */
  readonly #pending = new Map<string, Target>();
  /** Bodies asked for, or come unasked, and not kept yet: their sizes as the targets say. */
  readonly #asked = new Map<string, number>();
  #current: { readonly digest: string; readonly content: Buffer; filled: number } | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Bodies that came and could not be kept: asked for again, all of them, when the timer is over. */
  readonly #unkept = new Set<string>();
  /** Grows with every stream: what an older one began does not count. */
  #stream = 0;

  constructor(options: TargetFetchOptions) {
    this.#options = options;
  }

  offer(target: Target): void {
    const newest = this.#pending.get(target.fleet) ?? this.#options.held().find((held) => held.fleet === target.fleet);
    const refusal = refuseTarget(target, this.#options.cluster, newest);
    if (refusal !== undefined) {
      this.#options.log.warn({ fleet: target.fleet, generation: String(target.generation), refusal }, "target refused");
      return this.#options.answer(target, refusal);
    }
    this.#pending.set(target.fleet, target);
    this.#goOn();
  }

  /**
   * The next part of a body.
   *
   * @throws LinkProtocolError when it was not asked for and is not small, is out of order, too large, or the whole does not have its digest.
   */
  chunk({ digest, offset, totalBytes, content }: BodyChunk): void {
    if (!this.#asked.has(digest)) this.#takeUnasked(digest, offset, totalBytes);
    if (content.byteLength > maxChunkBytes) throw new LinkProtocolError(`a chunk of ${content.byteLength} bytes came; at most ${maxChunkBytes} are allowed`);
    if (offset === 0n) {
      if (totalBytes > BigInt(maxBodyBytes)) throw new LinkProtocolError(`body ${digest} has ${totalBytes} bytes; at most ${maxBodyBytes} are taken`);
      this.#current = { digest, content: Buffer.allocUnsafe(Number(totalBytes)), filled: 0 };
    }
    const current = this.#current;
    if (current?.digest !== digest || BigInt(current.filled) !== offset || BigInt(current.content.length) !== totalBytes) {
      throw new LinkProtocolError(`a chunk of body ${digest} came out of order`);
    }
    if (current.filled + content.byteLength > current.content.length) throw new LinkProtocolError(`body ${digest} is longer than it said`);
    if (content.byteLength === 0 && current.content.length > 0) throw new LinkProtocolError(`an empty chunk of body ${digest} came`);
    current.content.set(content, current.filled);
    current.filled += content.byteLength;
    if (current.filled < current.content.length) return;
    this.#current = undefined;
    checkDigest(digest, current.content);
    void this.#keep(digest, current.content);
  }

  #takeUnasked(digest: string, offset: bigint, totalBytes: bigint): void {
    if (offset !== 0n || totalBytes > BigInt(maxUnaskedBodyBytes) || this.#asked.size >= maxBodiesPerRequest)
      throw new LinkProtocolError(`body ${digest.slice(0, 64)} came without being asked for`);
    this.#asked.set(digest, Number(totalBytes));
  }

  /** The hub does not have a body: targets that name it are not followed. */
  unavailable(digest: string, reason: string): void {
    this.#asked.delete(digest);
    for (const [fleet, target] of this.#pending) {
      if (!names(target, digest)) continue;
      this.#pending.delete(fleet);
      this.#options.log.warn({ fleet, generation: String(target.generation), digest, reason }, "target given up: a body is not available");
      this.#options.answer(target, `body ${digest} is not available: ${reason}`);
    }
    this.#goOn();
  }

  /** The stream ended: the hub sends again what is not held over the next one. */
  restart(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#unkept.clear();
    this.#stream += 1;
    this.#pending.clear();
    this.#asked.clear();
    this.#current = undefined;
  }

  async #keep(digest: string, content: Uint8Array): Promise<void> {
    const stream = this.#stream;
    try {
      await this.#options.bodies.put(digest, content);
    } catch (error) {
      this.#options.log.warn({ digest, error: (error as Error).message }, "a body could not be kept; it is asked for again");
      if (stream !== this.#stream) return;
      this.#unkept.add(digest);
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        for (const unkept of this.#unkept) this.#asked.delete(unkept);
        this.#unkept.clear();
        this.#goOn();
      }, linkLimits.bodyRetryMs);
      return;
    }
    if (stream !== this.#stream) return;
    this.#asked.delete(digest);
    this.#goOn();
  }

  /** Hands over targets that are whole, and asks for more bodies. */
  #goOn(): void {
    const missing = new Map<string, number>();
    for (const [fleet, target] of this.#pending) {
      const lacking = target.bundles.filter((bundle) => !this.#options.bodies.has(bundle.digest));
      for (const { digest, bodyBytes } of lacking) if (!this.#asked.has(digest)) missing.set(digest, Number(bodyBytes));
      if (lacking.length > 0) continue;
      this.#pending.delete(fleet);
      this.#options.answer(target, "");
      this.#options.onTarget(target);
    }
    this.#askFor(missing);
  }

  #askFor(missing: ReadonlyMap<string, number>): void {
    let bytes = [...this.#asked.values()].reduce((sum, size) => sum + size, 0);
    const digests: string[] = [];
    for (const [digest, size] of missing) {
      const fits = this.#asked.size === 0 || bytes + size <= linkLimits.bodiesInFlightBytes;
      if (!fits || digests.length >= maxBodiesPerRequest || this.#asked.size >= maxBodiesPerRequest) break;
      this.#asked.set(digest, size);
      bytes += size;
      digests.push(digest);
    }
    if (digests.length > 0) this.#options.ask(digests);
  }
}

const names = (target: Target, digest: string): boolean => target.bundles.some((bundle) => bundle.digest === digest);

/** Like unpackBody of proto, without making objects of it: an agent's memory is small. */
function checkDigest(digest: string, compressed: Uint8Array): void {
  let actual: string;
  try {
    actual = sha256(zstdDecompressSync(compressed, { maxOutputLength: maxUnpackedBodyBytes }));
  } catch (cause) {
    throw new LinkProtocolError(`body ${digest} cannot be unpacked: ${(cause as Error).message}`, { cause });
  }
  if (actual !== digest) throw new LinkProtocolError(`body ${digest} has digest ${actual}: it was damaged on the way`);
}
