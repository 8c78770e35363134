import type { ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { renderOutputBytesMax, renderWorkerBuildsMax, renderWorkerBytesMax, renderWorkerIdleMs, renderWorkerMs } from "../limits.ts";
import { spawnWorker } from "./sandbox.ts";

export interface KustomizeBuild {
  /** From the repository's root. */
  readonly folder: string;
  /** All that the kustomization reads, by path from the root. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly signal: AbortSignal;
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

/**
 * Builds kustomizations in programs that stay (hub/tools/kustomize/worker): starting one takes longer than most builds, and starting a thousand of
 * them is most of the time of a large repository's first render. A program does a bounded number of builds, in the same confinement as one that does a
 * single build, and sees only the files that it is sent.
 *
 * It is a short cut for what goes well. Whatever does not (an error, a time limit, a program that is not there) has no result here, and the caller
 * runs kustomize itself, whose word counts.
 */
export class KustomizeWorkers {
  readonly #file: () => string | undefined;
  readonly #idle: Worker[] = [];
  #closed = false;

  /** @param file the program, or undefined while it is not there. */
  constructor(file: () => string | undefined) {
    this.#file = file;
  }

  /**
   * What kustomize would print; undefined when it has to be run to know.
   *
   * @throws the signal's reason when it fires.
   */
  async build({ folder, files, signal }: KustomizeBuild): Promise<string | undefined> {
    const file = this.#file();
    const bytes = [...files.values()].reduce((sum, content) => sum + content.length, 0);
    if (file === undefined || this.#closed || bytes > renderWorkerBytesMax) return undefined;
    signal.throwIfAborted();
    const worker = this.#idle.pop() ?? new Worker(file);
    const contents = Object.fromEntries([...files].map(([path, content]) => [path, Buffer.from(content).toString("base64")]));
    const answer = await worker.ask(JSON.stringify({ folder, files: contents }), signal);
    if (answer !== undefined && worker.builds < renderWorkerBuildsMax && !this.#closed) this.#rest(worker);
    else worker.end();
    signal.throwIfAborted();
    return answer?.error === "" ? answer.output : undefined;
  }

  close(): void {
    this.#closed = true;
    for (const worker of this.#idle.splice(0)) worker.end();
  }

  #rest(worker: Worker): void {
    this.#idle.push(worker);
    worker.endAfter(renderWorkerIdleMs, () => this.#idle.splice(this.#idle.indexOf(worker), 1));
  }
}

interface Answer {
  readonly output: string;
  readonly error: string;
}

/** Undefined when it is none: the program is not the one that it should be. */
function readAnswer(text: string): Answer | undefined {
  try {
    const { output, error } = JSON.parse(text) as Partial<Answer>;
    return typeof output === "string" && typeof error === "string" ? { output, error } : undefined;
  } catch {
    return undefined;
  }
}

/** One program; it is asked one thing at a time. */
class Worker {
  readonly #child: Child;
  readonly #ended: Promise<undefined>;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #answered: (line: string) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  builds = 0;

  constructor(file: string) {
    this.#child = spawnWorker(file);
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", () => resolve(undefined));
      this.#child.once("exit", () => resolve(undefined));
    });
    // A program that ended is told by its end.
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#letProcessEnd();
  }

  /** Undefined when no answer came: the program is of no use any more. */
  async ask(line: string, signal: AbortSignal): Promise<Answer | undefined> {
    clearTimeout(this.#timer);
    this.builds += 1;
    this.#chunks = [];
    this.#bytes = 0;
    const end = (): void => this.end();
    const deadline = setTimeout(end, renderWorkerMs);
    signal.addEventListener("abort", end, { once: true });
    const answer = new Promise<string>((resolve) => (this.#answered = resolve));
    try {
      this.#child.ref();
      this.#child.stdin.write(`${line}\n`);
      const text = await Promise.race([answer, this.#ended]);
      return text === undefined ? undefined : readAnswer(text);
    } finally {
      clearTimeout(deadline);
      signal.removeEventListener("abort", end);
      this.#child.unref();
    }
  }

  endAfter(ms: number, then: () => void): void {
    this.#timer = setTimeout(() => {
      then();
      this.end();
    }, ms).unref();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#child.stdin.destroy();
    this.#child.kill("SIGKILL");
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (chunk.at(-1) === 0x0a) this.#answered(Buffer.concat(this.#chunks).toString("utf8"));
    else if (this.#bytes > renderOutputBytesMax) this.end();
  }

  /** A program that rests keeps nobody waiting for it. */
  #letProcessEnd(): void {
    this.#child.unref();
    for (const stream of [this.#child.stdin, this.#child.stdout]) (stream as unknown as { unref?: () => void }).unref?.();
  }
}
