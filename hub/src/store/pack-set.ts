/** A set of pack numbers of one segment, a bit each: bit 0 of byte 0 is pack 0. As short as its greatest number allows. */
export type PackSet = Uint8Array;

export function packSetOf(packs: Iterable<number>): PackSet {
  const numbers = [...packs];
  const set = new Uint8Array(Math.ceil((Math.max(-1, ...numbers) + 1) / 8));
  for (const pack of numbers) set[pack >> 3] = (set[pack >> 3] ?? 0) | (1 << (pack & 7));
  return set;
}

/** What all of them hold, ascending. */
export function packsInAll(sets: readonly PackSet[]): number[] {
  const bytes = Math.min(...sets.map((set) => set.length));
  const packs: number[] = [];
  for (let byte = 0; byte < bytes; byte += 1) {
    const bits = sets.reduce((all, set) => all & (set[byte] ?? 0), 0xff);
    for (let bit = 0; bit < 8; bit += 1) if (bits & (1 << bit)) packs.push(byte * 8 + bit);
  }
  return packs;
}
