import { describe, expect, it } from "vitest";
import { RolloutWorld } from "./rollout-world.ts";

/** `FLOTILLA_ROLLOUT_SEEDS=10000` plays so many fleets; `FLOTILLA_ROLLOUT_SEED=n` begins at one that failed. */
const seeds = Number(process.env.FLOTILLA_ROLLOUT_SEEDS ?? "300");
const first = Number(process.env.FLOTILLA_ROLLOUT_SEED ?? "1");

function play(seed: number, size: number, events: number): RolloutWorld {
  try {
    const world = new RolloutWorld(seed, size);
    world.live(events);
    world.settle();
    return world;
  } catch (error) {
    throw new Error(`FLOTILLA_ROLLOUT_SEED=${seed} (${size} clusters): ${(error as Error).message}`, { cause: error });
  }
}

describe("rollouts of fleets to which everything happens", () => {
  it(`keep every rule and end, in ${seeds} small fleets`, () => {
    const ends = new Map<string, number>();
    for (let seed = first; seed < first + seeds; seed += 1) {
      for (const end of play(seed, 1 + (seed % 30), 120).ends) ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    // It is no proof when nothing ever goes wrong, or nothing ever ends well.
    if (seeds >= 100) expect([...ends.keys()].sort()).toEqual(["Done", "Failed", "RolledBack"]);
  }, 1_200_000);

  it("keep every rule and end, in fleets of 1,000 clusters", () => {
    const large = Math.max(3, Math.floor(seeds / 100));
    for (let seed = first; seed < first + large; seed += 1) play(seed, 1_000, 40);
  }, 1_200_000);
});
