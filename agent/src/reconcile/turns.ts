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

  /**
   * @param patienceMs for how long a turn is waited for; without end when left out.
   * @throws Error when too many wait already, or no turn came in time.
   */
  async take<T>(act: () => Promise<T>, patienceMs?: number): Promise<T> {
    if (this.#running < this.#atOnce) this.#running += 1;
    else await this.#wait(patienceMs);
    try {
      return await act();
    } finally {
      // The next one has this turn: nobody slips in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  #wait(patienceMs: number | undefined): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) throw new Error(`more than ${this.#waitingMax} wait for their turn in this cluster already`);
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(new Error(`no turn within ${(patienceMs ?? 0) / 1_000} s: ${this.#running} run in this cluster, and so many may at a time`));
      };
      const timer = patienceMs === undefined ? undefined : setTimeout(giveUp, patienceMs);
      const enter = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.push(enter);
    });
  }
}
