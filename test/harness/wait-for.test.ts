import { describe, expect, it } from "vitest";
import { seededRandom } from "./random.ts";
import { waitFor, waitForValue } from "./wait-for.ts";

describe("waiting for a condition", () => {
  it("gives the first answer that says something, over failures", async () => {
    const answers = [undefined, new Error("not up"), false, null, 0];
    const probe = () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    expect(await waitFor(probe, { everyMs: 1 })).toBe(0);
  });

  it("says what it waited for and what it saw last", async () => {
    await expect(
      waitFor(
        () => {
          throw new Error("refused");
        },
        { what: "the hub", timeoutMs: 5, everyMs: 1 },
      ),
    ).rejects.toThrow(/the hub did not come within 5 ms; last: refused/);
    await expect(
      waitForValue(
        () => ({ ready: 1 }),
        ({ ready }) => ready === 2,
        { what: "two", timeoutMs: 5, everyMs: 1 },
      ),
    ).rejects.toThrow(/two did not come within 5 ms; last: \{"ready":1\}/);
  });
});

describe("the seeded generator", () => {
  it("repeats itself for a seed and not for another", () => {
    const draw = (seed: number) => Array.from({ length: 5 }, seededRandom(seed));
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });
});
