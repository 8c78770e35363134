/** What a program does, step by step: each `yield` is a moment at which anything else may happen, and how long it takes (ms), or what it waits for. */
export type Steps = Generator<number | Wait, void, void>;

interface Wait {
  readonly signal: Signal;
  readonly ms: number;
}

interface Due {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

/** Time that moves only when all that was due is done. What is due at one moment is done in an order drawn from the seed. */
export class VirtualTime {
  now = 1_700_000_000_000;
  readonly random: () => number;
  readonly #due: Due[] = [];

  constructor(random: () => number) {
    this.random = random;
  }

  after(ms: number, act: () => void): void {
    const due = { at: this.now + Math.max(0, ms), order: this.random(), act };
    let index = this.#due.push(due) - 1;
    for (let parent = (index - 1) >> 1; index > 0 && isBefore(due, this.#at(parent)); parent = (index - 1) >> 1) {
      this.#due[index] = this.#at(parent);
      index = parent;
    }
    this.#due[index] = due;
  }

  /** Do all that is due until then. */
  runFor(ms: number): void {
    const end = this.now + ms;
    for (let next = this.#due[0]; next !== undefined && next.at <= end; next = this.#due[0]) {
      this.#removeFirst();
      this.now = next.at;
      next.act();
    }
    this.now = end;
  }

  /** Between a half and one and a half of it. */
  jittered(ms: number): number {
    return ms * (0.5 + this.random());
  }

  #removeFirst(): void {
    const last = this.#due.pop();
    const size = this.#due.length;
    if (last === undefined || size === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      if (child + 1 < size && isBefore(this.#at(child + 1), this.#at(child))) child += 1;
      if (!isBefore(this.#at(child), last)) break;
      this.#due[index] = this.#at(child);
      index = child;
    }
    this.#due[index] = last;
  }

  #at(index: number): Due {
    const due = this.#due[index];
    if (due === undefined) throw new RangeError(`nothing is due at ${index}`);
    return due;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Something that a program waits for: a message, a change. One that came while nobody waited is not lost. */
export class Signal {
  #isRaised = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#isRaised = true;
    this.#wake?.();
  }

  /** To be yielded. */
  atMost(ms: number): Wait {
    return { signal: this, ms };
  }

  /** Calls back once: when it is raised, or was already. */
  onRaised(wake: () => void): void {
    this.#wake = () => {
      this.#wake = undefined;
      this.#isRaised = false;
      wake();
    };
    if (this.#isRaised) this.#wake();
  }
}

/** A process: all its steps end with it, at whatever step they are; frozen it does nothing, and then goes on as if nothing had been. */
export class Program {
  readonly #time: VirtualTime;
  #isAlive = true;
  #frozenUntil = 0;
  #stepsLeft = Infinity;
  #died: () => void = () => undefined;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isFrozen(): boolean {
    return this.#time.now < this.#frozenUntil;
  }

  kill(): void {
    this.#isAlive = false;
  }

  /** It dies in the middle of its work: after so many steps, whichever they are. */
  dieAfter(steps: number, died: () => void): void {
    this.#stepsLeft = steps;
    this.#died = died;
  }

  freeze(ms: number): void {
    this.#frozenUntil = this.#time.now + ms;
  }

  run(steps: Steps): void {
    this.#later(0, () => this.#advance(steps));
  }

  /** Something comes to it from outside. */
  receive(act: () => void, ms = 0): void {
    this.#later(ms, act);
  }

  #advance(steps: Steps): void {
    if ((this.#stepsLeft -= 1) < 0) {
      this.kill();
      return this.#died();
    }
    const { done, value } = steps.next();
    if (done === true) return;
    if (typeof value === "number") return this.#later(this.#time.jittered(value), () => this.#advance(steps));
    let isAwake = false;
    const wake = (): void => {
      if (isAwake) return;
      isAwake = true;
      this.#later(1, () => this.#advance(steps));
    };
    value.signal.onRaised(wake);
    if (value.ms !== Infinity) this.#time.after(value.ms, wake);
  }

  #later(ms: number, act: () => void): void {
    this.#time.after(ms, () => {
      if (!this.#isAlive) return;
      if (this.isFrozen) this.#later(this.#frozenUntil - this.#time.now + 1, act);
      else act();
    });
  }
}
