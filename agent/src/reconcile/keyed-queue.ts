import { engineLimits } from "../limits.ts";

/** How soon a key is due, and whether it goes before others. */
export interface Due {
  readonly delayMs?: number;
  readonly urgent?: boolean;
}

/**
 * A queue of keys, not of events: a key waits at most once, however often it is added, and the earliest time wins. A key
 * that is added while it is being worked on is worked on again afterwards, never twice at once. Due keys are taken in the
 * order they became due, urgent ones first.
 */
export class KeyedQueue {
  readonly #work: (key: string) => Promise<void>;
  readonly #workers: number;
  /** Key → when it is due (performance.now()), of keys that wait for their time. */
  readonly #later = new Map<string, { readonly at: number; readonly urgent: boolean }>();
  readonly #ready = new Set<string>();
  readonly #readyUrgent = new Set<string>();
  readonly #running = new Set<string>();
  /** Added again while running. */
  readonly #again = new Map<string, Due>();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #stopped = false;
  #idle: PromiseWithResolvers<void> | undefined;

  /** @param work must not throw; an error is the worker's to contain, and would end the process. */
  constructor(workers: number, work: (key: string) => Promise<void>) {
    this.#workers = workers;
    this.#work = work;
  }

  /** Keys that wait or run. */
  get size(): number {
    return this.#later.size + this.#ready.size + this.#readyUrgent.size + this.#running.size;
  }

  add(key: string, due: Due = {}): void {
    if (this.#stopped) return;
    if (this.#running.has(key)) {
      const before = this.#again.get(key);
      this.#again.set(
        key,
        before ? { delayMs: Math.min(before.delayMs ?? 0, due.delayMs ?? 0), urgent: (before.urgent ?? false) || (due.urgent ?? false) } : due,
      );
      return;
    }
    if (this.size >= engineLimits.maxQueueKeys) throw new Error(`more than ${engineLimits.maxQueueKeys} keys wait`);
    if ((due.delayMs ?? 0) > 0 && !this.#ready.has(key) && !this.#readyUrgent.has(key)) this.#addLater(key, due);
    else this.#addReady(key, due.urgent ?? false);
    this.#pump();
  }

  /** Forget a key that waits; one that runs goes on to its end. */
  remove(key: string): void {
    this.#later.delete(key);
    this.#ready.delete(key);
    this.#readyUrgent.delete(key);
    this.#again.delete(key);
  }

  /** Take no more keys, and wait for those that run. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#later.clear();
    this.#ready.clear();
    this.#readyUrgent.clear();
    this.#again.clear();
    if (this.#running.size === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }

  #addLater(key: string, due: Due): void {
    const at = performance.now() + (due.delayMs ?? 0);
    const before = this.#later.get(key);
    this.#later.set(key, { at: Math.min(at, before?.at ?? Infinity), urgent: (due.urgent ?? false) || (before?.urgent ?? false) });
    this.#wakeAt(at);
  }

  #addReady(key: string, urgent: boolean): void {
    const wasUrgent = this.#later.get(key)?.urgent ?? false;
    this.#later.delete(key);
    if (!urgent && !wasUrgent) {
      if (!this.#readyUrgent.has(key)) this.#ready.add(key);
      return;
    }
    this.#ready.delete(key);
    this.#readyUrgent.add(key);
  }

  #wakeAt(at: number): void {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, at - performance.now()));
  }

  #wake(): void {
    [this.#timer, this.#timerAt] = [undefined, Infinity];
    const now = performance.now();
    let next = Infinity;
    // Timers fire up to a millisecond early.
    for (const [key, { at, urgent }] of this.#later) {
      if (at <= now + 1) this.#addReady(key, urgent);
      else next = Math.min(next, at);
    }
    if (next !== Infinity) this.#wakeAt(next);
    this.#pump();
  }

  #pump(): void {
    while (!this.#stopped && this.#running.size < this.#workers) {
      const from = this.#readyUrgent.size > 0 ? this.#readyUrgent : this.#ready;
      const [key] = from;
      if (key === undefined) return;
      from.delete(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key);
    try {
      await this.#work(key);
    } finally {
      this.#running.delete(key);
      const again = this.#again.get(key);
      this.#again.delete(key);
      if (again) this.add(key, again);
      if (this.#running.size === 0) this.#idle?.resolve();
      this.#pump();
    }
  }
}
