import { adjustConcurrency, startConcurrency, type Concurrency, type Outcome } from "../domain/concurrency.ts";

/** Waiting requests: the engine's own workers are far fewer; past this somebody forgot a bound. */
const maxWaiting = 10_000;

/**
 * Lets as many requests through at once as the API server takes well (domain/concurrency.ts). Urgent ones (heals, deletes
 * that a person waits for) go before the rest.
 */
export class RequestLimiter {
  #state: Concurrency = startConcurrency;
  #inFlight = 0;
  #pausedUntil = 0;
  #wakeTimer: NodeJS.Timeout | undefined;
  readonly #urgent: (() => void)[] = [];
  readonly #ordinary: (() => void)[] = [];

  /** How many requests may be in flight now. */
  get limit(): number {
    return this.#state.limit;
  }

  /** Take a place; give it back with leave. */
  enter(urgent: boolean): Promise<void> | undefined {
    if (this.#mayPass() && this.#urgent.length === 0 && (urgent || this.#ordinary.length === 0)) {
      this.#inFlight += 1;
      return undefined;
    }
    if (this.#urgent.length + this.#ordinary.length >= maxWaiting) throw new Error(`more than ${maxWaiting} requests wait for the API server`);
    return new Promise((resolve) => {
      (urgent ? this.#urgent : this.#ordinary).push(resolve);
      this.#wakeLater();
    });
  }

  /** Give the place back and say how it went; undefined when the outcome tells nothing (the connection broke). */
  leave(outcome: Outcome | undefined): void {
    this.#inFlight -= 1;
    if (outcome) this.#state = adjustConcurrency(this.#state, outcome);
    this.#admit();
  }

  /** Nobody passes for a while: the server asked for it (429 with Retry-After). */
  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + ms);
    this.#wakeLater();
  }

  #mayPass(): boolean {
    return this.#inFlight < this.#state.limit && Date.now() >= this.#pausedUntil;
  }

  #admit(): void {
    while (this.#mayPass()) {
      const next = this.#urgent.shift() ?? this.#ordinary.shift();
      if (!next) return;
      this.#inFlight += 1;
      next();
    }
    this.#wakeLater();
  }

  #wakeLater(): void {
    const wait = this.#pausedUntil - Date.now();
    if (wait <= 0 || this.#wakeTimer) return;
    this.#wakeTimer = setTimeout(() => {
      this.#wakeTimer = undefined;
      this.#admit();
    }, wait);
  }
}
