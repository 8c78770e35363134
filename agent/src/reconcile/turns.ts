/** Lets a few in at a time; the others wait for their turn, in order. */
export class Turns {
  readonly #atOnce: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(atOnce: number, waitingMax: number) {
    this.#atOnce = atOnce;
    this.#waitingMax = waitingMax;
  }

  /** @throws Error when too many wait already. */
  async take<T>(act: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) {
      if (this.#waiting.length >= this.#waitingMax) throw new Error(`more than ${this.#waitingMax} wait for their turn in this cluster already`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      return await act();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
