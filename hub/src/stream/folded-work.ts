import type { StreamLog } from "./stream-log.ts";

export interface FoldedWorkOptions<T> {
  /** For the log. */
  readonly name: string;
  /** Waits this long after the first item for others that come with it. */
  readonly foldMs: number;
  readonly batchMax: number;
  readonly retryMs: number;
  /** When set, the oldest items beyond it are forgotten; else keys must be bounded by what they name. */
  readonly itemsMax?: number;
  readonly log: StreamLog;
  work(items: T[]): Promise<void>;
}

/**
 * Work on keyed items in batches, one batch at a time: what comes meanwhile waits for the next, and an item that comes twice
 * is done once, as it was last. A batch that fails is tried again later; items that came meanwhile stand above it.
 */
export class FoldedWork<T> {
  readonly #options: FoldedWorkOptions<T>;
  #waiting = new Map<string, T>();
  #running: Promise<void> | undefined;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(options: FoldedWorkOptions<T>) {
    this.#options = options;
  }

  add(key: string, item: T): void {
    if (this.#closed) return;
    this.#waiting.delete(key);
    this.#waiting.set(key, item);
    this.#bound();
    this.#running ??= this.#run();
  }

  /** Finishes what waits, once; gives up on what fails. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    await this.#pause(this.#options.foldMs);
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.entries()].slice(0, this.#options.batchMax);
      for (const [key] of batch) this.#waiting.delete(key);
      try {
        await this.#options.work(batch.map(([, item]) => item));
      } catch (error) {
        this.#options.log.warn({ work: this.#options.name, items: batch.length, error: (error as Error).message }, "a batch failed; it is tried again");
        if (this.#closed) break;
        this.#waiting = new Map([...batch, ...this.#waiting]);
        await this.#pause(this.#options.retryMs);
      }
    }
    this.#running = undefined;
  }

  #bound(): void {
    const { itemsMax = Infinity } = this.#options;
    for (const key of this.#waiting.keys()) {
      if (this.#waiting.size <= itemsMax) return;
      this.#waiting.delete(key);
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }
}
