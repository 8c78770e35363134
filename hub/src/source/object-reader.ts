import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { objectReaderIdleMs } from "../limits.ts";

interface Wanted {
  readonly blob: string;
  readonly bytes: number;
}

interface Batch {
  readonly wanted: readonly Wanted[];
  readonly found: Uint8Array[];
  resolve(found: readonly Uint8Array[]): void;
  reject(error: Error): void;
}

/** The clone does not hold what it should, or holds something else. */
export class DamagedObjectError extends Error {
  override readonly name = "DamagedObjectError";
}

/** One reader's batches that wait; each is one bundle's render. */
const batchesMax = 1_000;

/**
 * Blobs by one long-lived `git cat-file --batch`: two thousand in a few tens of milliseconds, against a process each. Batches go
 * through one after the other; every blob's hash is checked, so what is rendered is what the commit says. The process ends by
 * itself when idle and comes back when asked.
 */
export class ObjectReader {
  readonly #env: Readonly<Record<string, string>>;
  readonly #waiting: Batch[] = [];
  #running: Batch | undefined;
  #child: ChildProcessWithoutNullStreams | undefined;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;
  #pending: Buffer = Buffer.alloc(0);
  #content: { readonly buffer: Buffer; filled: number } | undefined;

  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
  }

  /**
   * Contents of blobs, in the order asked.
   *
   * @throws DamagedObjectError when one is missing, of another size or of another hash.
   */
  read(wanted: readonly Wanted[]): Promise<readonly Uint8Array[]> {
    if (wanted.length === 0) return Promise.resolve([]);
    if (this.#closed) return Promise.reject(new DamagedObjectError("the clone was thrown away"));
    if (this.#waiting.length >= batchesMax) return Promise.reject(new Error("too many reads wait for this repository"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ wanted, found: [], resolve, reject });
      this.#next();
    });
  }

  close(): void {
    this.#closed = true;
    this.#fail(new DamagedObjectError("the clone was thrown away"));
    for (const batch of this.#waiting.splice(0)) batch.reject(new DamagedObjectError("the clone was thrown away"));
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const batch = this.#waiting.shift();
    if (batch === undefined) {
      this.#idle ??= setTimeout(() => this.#endChild(), objectReaderIdleMs).unref();
      return;
    }
    clearTimeout(this.#idle);
    this.#idle = undefined;
    this.#running = batch;
    const child = (this.#child ??= this.#start());
    child.ref();
    child.stdin.write(`${batch.wanted.map(({ blob }) => blob).join("\n")}\n`);
  }

  #start(): ChildProcessWithoutNullStreams {
    const child = spawn("git", ["cat-file", "--batch"], { env: this.#env, cwd: "/", stdio: ["pipe", "pipe", "pipe"] });
    this.#pending = Buffer.alloc(0);
    this.#content = undefined;
    child.stdout.on("data", (chunk: Buffer) => {
      if (this.#child === child) this.#take(chunk);
    });
    // Drained, never kept: what matters is on stdout.
    child.stderr.resume();
    child.stdin.on("error", () => undefined);
    const ended = (): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#fail(new DamagedObjectError("Git ended while blobs were read"));
    };
    child.on("error", ended);
    child.on("exit", ended);
    return child;
  }

  #take(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0 && this.#running !== undefined) {
      rest = this.#content === undefined ? this.#takeHeader(rest) : this.#takeContent(rest, this.#content);
    }
  }

  /** "<id> blob <size>\n"; then size bytes and "\n". */
  #takeHeader(chunk: Buffer): Buffer {
    const end = chunk.indexOf(0x0a);
    if (end < 0) {
      this.#pending = Buffer.concat([this.#pending, chunk]);
      return Buffer.alloc(0);
    }
    const line = Buffer.concat([this.#pending, chunk.subarray(0, end)]).toString("latin1");
    this.#pending = Buffer.alloc(0);
    const batch = this.#running;
    const wanted = batch?.wanted[batch.found.length];
    const [id, type, size] = line.split(" ");
    if (wanted === undefined || id !== wanted.blob || type !== "blob" || Number(size) !== wanted.bytes) {
      this.#fail(new DamagedObjectError(`blob ${wanted?.blob ?? ""} is not in the clone as the tree says`));
      return Buffer.alloc(0);
    }
    // One byte more: the line's end after the content.
    this.#content = { buffer: Buffer.allocUnsafe(wanted.bytes + 1), filled: 0 };
    return chunk.subarray(end + 1);
  }

  #takeContent(chunk: Buffer, content: { readonly buffer: Buffer; filled: number }): Buffer {
    const taken = Math.min(chunk.length, content.buffer.length - content.filled);
    chunk.copy(content.buffer, content.filled, 0, taken);
    content.filled += taken;
    if (content.filled === content.buffer.length) this.#finish(content.buffer.subarray(0, -1));
    return chunk.subarray(taken);
  }

  #finish(blob: Buffer): void {
    this.#content = undefined;
    const batch = this.#running;
    const wanted = batch?.wanted[batch.found.length];
    if (batch === undefined || wanted === undefined) return;
    if (blobId(blob, wanted.blob.length) !== wanted.blob) {
      this.#fail(new DamagedObjectError(`blob ${wanted.blob} holds something else than its name says`));
      return;
    }
    batch.found.push(blob);
    if (batch.found.length < batch.wanted.length) return;
    this.#running = undefined;
    this.#child?.unref();
    batch.resolve(batch.found);
    this.#next();
  }

  #fail(error: Error): void {
    const batch = this.#running;
    this.#running = undefined;
    this.#endChild();
    batch?.reject(error);
    if (!this.#closed) this.#next();
  }

  #endChild(): void {
    clearTimeout(this.#idle);
    this.#idle = undefined;
    const child = this.#child;
    this.#child = undefined;
    child?.stdin.end();
    child?.kill("SIGKILL");
  }
}

/** Git's id of a blob; the hash is told by an id's length. */
export function blobId(content: Uint8Array, idChars = 40): string {
  return createHash(idChars === 64 ? "sha256" : "sha1")
    .update(`blob ${content.length}\0`)
    .update(content)
    .digest("hex");
}
