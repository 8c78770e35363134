import { describe, expect, it } from "vitest";
import { PollRound } from "./poll-round.ts";

const names = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, index) => `c${from + index}`);

describe("a round of polls", () => {
  it("comes to every key once in as many parts as it has", () => {
    const round = new PollRound({ keys: () => names(0, 1_003), partMin: 10, partsPerRound: 10 });
    const parts = Array.from({ length: 10 }, () => round.next());
    expect(parts.flat()).toEqual(names(0, 1_003));
    expect(Math.max(...parts.map((part) => part.length))).toBe(101);
    expect(round.next()).toEqual(names(0, 101));
  });

  it("is one part where there are few", () => {
    const round = new PollRound({ keys: () => names(0, 7), partMin: 10, partsPerRound: 10 });
    for (let polls = 0; polls < 3; polls += 1) expect(round.next()).toEqual(names(0, 7));
  });

  it("takes in what came meanwhile with the next round", () => {
    let keys = names(0, 4);
    const round = new PollRound({ keys: () => keys, partMin: 2, partsPerRound: 2 });
    expect(round.next()).toEqual(names(0, 2));
    keys = names(0, 6);
    expect(round.next()).toEqual(names(2, 4));
    expect([...round.next(), ...round.next()]).toEqual(keys);
  });

  it("has nothing to say where nothing is", () => {
    expect(new PollRound({ keys: () => [], partMin: 2, partsPerRound: 2 }).next()).toEqual([]);
  });
});
