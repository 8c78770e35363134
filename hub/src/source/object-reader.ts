import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { gitOutputBytesMax, objectReaderIdleMs } from "../limits.ts";

type ObjectType = "blob" | "tree" | "commit";

interface Wanted {
  /** An id, or what Git finds one by. */
  readonly name: string;
  readonly type: ObjectType;
  /** As a tree or somebody else says; left out where nobody has said. */
  readonly bytes?: number;
}

/** An object as Git has it; undefined where a name names none. */
interface Found {
  readonly id: string;
  readonly bytes: number;
  readonly content: Uint8Array;
}

/** A commit as it is written. */
export interface CommitText {
  readonly id: string;
  readonly text: string;
}

interface Batch {
  readonly wanted: readonly Wanted[];
  readonly found: (Found | undefined)[];
  resolve(found: readonly (Found | undefined)[]): void;
  reject(error: Error): void;
}

/** The clone does not hold what it should, or holds something else. */
export class DamagedObjectError extends Error {
  override readonly name = "DamagedObjectError";
}

interface PartialContent {
  readonly id: string;
  readonly buffer: Buffer;
  filled: number;
}

/** One reader's batches that wait; each is one bundle's render. */
const batchesMax = 1_000;

/** An object that is larger than anything that is read whole. */
export class LargeObjectError extends Error {
  override readonly name = "LargeObjectError";
}

/**
 * Objects of a clone by long-lived Git processes: two thousand in a few tens of milliseconds, against a process each. What is asked is answered in
 * its order; every object's hash is checked, so what is rendered is what the commit says.
 */
export class ObjectReader {
  readonly #contents: ObjectPipe;
  readonly #sizes: ObjectPipe;

  constructor(env: Readonly<Record<string, string>>) {
    this.#contents = new ObjectPipe(env, "--batch");
    this.#sizes = new ObjectPipe(env, "--batch-check");
  }

  /**
   * Contents of blobs, in the order asked.
   *
   * @throws DamagedObjectError when one is missing, of another size or of another hash.
   */
  async read(wanted: readonly { readonly blob: string; readonly bytes: number }[]): Promise<readonly Uint8Array[]> {
    return contentsOf(await this.#contents.ask(wanted.map(({ blob, bytes }) => ({ name: blob, type: "blob", bytes }))));
  }

  /**
   * Trees as Git keeps them, in the order asked.
   *
   * @throws DamagedObjectError, LargeObjectError
   */
  async readTrees(ids: readonly string[]): Promise<readonly Uint8Array[]> {
    return contentsOf(await this.#contents.ask(ids.map((name) => ({ name, type: "tree" }))));
  }

  /**
   * What refs of our own name now, tags peeled, in the order asked; undefined for one that names no commit.
   *
   * @throws DamagedObjectError, LargeObjectError
   */
  async readCommits(refs: readonly string[]): Promise<readonly (CommitText | undefined)[]> {
    const found = await this.#contents.ask(refs.map((ref) => ({ name: `${ref}^{commit}`, type: "commit" })));
    return found.map((commit) => commit && { id: commit.id, text: Buffer.from(commit.content).toString("utf8") });
  }

  /**
   * Sizes of blobs, in the order asked.
   *
   * @throws DamagedObjectError when one is missing.
   */
  async sizesOf(blobs: readonly string[]): Promise<readonly number[]> {
    const found = await this.#sizes.ask(blobs.map((name) => ({ name, type: "blob" })));
    return found.map((blob) => blob?.bytes ?? 0);
  }

  close(): void {
    this.#contents.close();
    this.#sizes.close();
  }
}

/** Only names can name nothing: an id that is missing is an error. */
function contentsOf(found: readonly (Found | undefined)[]): readonly Uint8Array[] {
  return found.flatMap((object) => object?.content ?? []);
}

/** One `git cat-file`. Batches go through one after the other; the process ends by itself when idle and comes back when asked. */
class ObjectPipe {
  readonly #env: Readonly<Record<string, string>>;
  readonly #mode: "--batch" | "--batch-check";
  readonly #waiting: Batch[] = [];
  #running: Batch | undefined;
  #child: ChildProcessWithoutNullStreams | undefined;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;
  #pending: Buffer = Buffer.alloc(0);
  #content: PartialContent | undefined;

  constructor(env: Readonly<Record<string, string>>, mode: "--batch" | "--batch-check") {
    this.#env = env;
    this.#mode = mode;
  }

  ask(wanted: readonly Wanted[]): Promise<readonly (Found | undefined)[]> {
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
    child.stdin.write(`${batch.wanted.map(({ name }) => name).join("\n")}\n`);
  }

  #start(): ChildProcessWithoutNullStreams {
    const child = spawn("git", ["cat-file", this.#mode], { env: this.#env, cwd: "/", stdio: ["pipe", "pipe", "pipe"] });
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
      this.#fail(new DamagedObjectError("Git ended while objects were read"));
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

  /** "<id> <type> <size>\n", then size bytes and "\n" where contents are asked for; or "<name> missing\n". */
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
    const [id = "", type, size] = line.split(" ");
    const bytes = Number(size);
    if (wanted !== undefined && !isId(wanted.name) && line === `${wanted.name} missing`) this.#add(undefined);
    else if (wanted === undefined || !isObject(wanted, id, type, bytes)) {
      this.#fail(new DamagedObjectError(`${wanted?.type ?? "object"} ${wanted?.name ?? ""} is not in the clone as it should be`));
      return Buffer.alloc(0);
    } else if (this.#mode === "--batch-check") this.#add({ id, bytes, content: nothing });
    else if (wanted.bytes === undefined && bytes > gitOutputBytesMax) {
      this.#fail(new LargeObjectError(`${type} ${id} has ${bytes} bytes`));
      return Buffer.alloc(0);
    }
    // One byte more: the line's end after the content.
    else this.#content = { id, buffer: Buffer.allocUnsafe(bytes + 1), filled: 0 };
    return chunk.subarray(end + 1);
  }

  #takeContent(chunk: Buffer, content: PartialContent): Buffer {
    const taken = Math.min(chunk.length, content.buffer.length - content.filled);
    chunk.copy(content.buffer, content.filled, 0, taken);
    content.filled += taken;
    if (content.filled === content.buffer.length) this.#finish(content.id, content.buffer.subarray(0, -1));
    return chunk.subarray(taken);
  }

  #finish(id: string, content: Buffer): void {
    this.#content = undefined;
    const wanted = this.#running?.wanted[this.#running.found.length];
    if (wanted === undefined) return;
    if (objectId(wanted.type, content, id.length) !== id) {
      this.#fail(new DamagedObjectError(`${wanted.type} ${id} holds something else than its name says`));
      return;
    }
    this.#add({ id, bytes: content.length, content });
  }

  #add(found: Found | undefined): void {
    const batch = this.#running;
    if (batch === undefined) return;
    batch.found.push(found);
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

const nothing = new Uint8Array();

function isId(name: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name);
}

function isObject(wanted: Wanted, id: string, type: string | undefined, bytes: number): boolean {
  if (type !== wanted.type || !isId(id) || !Number.isSafeInteger(bytes)) return false;
  return (id === wanted.name || !isId(wanted.name)) && (wanted.bytes === undefined || wanted.bytes === bytes);
}

/** Git's id of a blob; the hash is told by an id's length. */
export function blobId(content: Uint8Array, idChars = 40): string {
  return objectId("blob", content, idChars);
}

function objectId(type: ObjectType, content: Uint8Array, idChars: number): string {
  return createHash(idChars === 64 ? "sha256" : "sha1")
    .update(`${type} ${content.length}\0`)
    .update(content)
    .digest("hex");
}
