/** Takes keys in turn, a part each time, so that every key that stays comes once in a round; those that came meanwhile begin with the next. */
export class PollRound {
  readonly #keys: () => Iterable<string>;
  readonly #partMin: number;
  readonly #partsPerRound: number;
  #left: string[] = [];
  #size = 0;

  /** A part is one of `partsPerRound`, and not smaller than `partMin`. */
  constructor(options: { readonly keys: () => Iterable<string>; readonly partMin: number; readonly partsPerRound: number }) {
    this.#keys = options.keys;
    this.#partMin = options.partMin;
    this.#partsPerRound = options.partsPerRound;
  }

  next(): string[] {
    if (this.#left.length === 0) {
      this.#left = [...this.#keys()];
      this.#size = Math.max(this.#partMin, Math.ceil(this.#left.length / this.#partsPerRound));
    }
    return this.#left.splice(0, this.#size);
  }
}
