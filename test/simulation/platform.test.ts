import { describe, expect, it } from "vitest";
import type { PlantedBug } from "./history.ts";
import { PlatformWorld } from "./platform-world.ts";

/** `FLOTILLA_SIMULATION_SEEDS=10000` plays so many platforms; `FLOTILLA_SIMULATION_SEED=n` begins at one that failed. */
const seeds = Number(process.env.FLOTILLA_SIMULATION_SEEDS ?? "60");
const first = Number(process.env.FLOTILLA_SIMULATION_SEED ?? "1");
const events = 30;

interface Played {
  readonly world: PlatformWorld;
  readonly broken: readonly string[];
}

function play(seed: number, bug?: PlantedBug): Played {
  const world = new PlatformWorld(seed, bug);
  try {
    world.live(events);
    return { world, broken: world.settle() };
  } catch (error) {
    throw new Error(`FLOTILLA_SIMULATION_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  }
}

function show(seed: number, { world, broken }: Played): string {
  const told = seeds === 1 ? `\n${world.history.told.join("\n")}` : "";
  return `FLOTILLA_SIMULATION_SEED=${seed} FLOTILLA_SIMULATION_SEEDS=1 plays it again:\n${broken.join("\n")}${told}`;
}

describe("hub and agents to which everything happens", () => {
  it(`keep every guarantee that their cores carry, in ${seeds} platforms`, () => {
    const faults = new Map<string, number>();
    const done = { deletions: 0, approvals: 0, corrections: 0, gaps: 0, rollbacks: 0 };
    for (let seed = first; seed < first + seeds; seed += 1) {
      const played = play(seed);
      if (played.broken.length > 0) throw new Error(show(seed, played));
      const { history, db } = played.world;
      for (const [fault, count] of history.faults) faults.set(fault, (faults.get(fault) ?? 0) + count);
      done.deletions += history.deletions.length;
      done.approvals += history.deletions.filter(({ approval }) => approval !== "").length;
      done.corrections += history.corrections.length;
      done.gaps += db.taken.filter(({ firstSeq, seq }) => firstSeq < seq).length;
      done.rollbacks += [...db.fleets.values()].filter(({ last }) => last === "RolledBack").length;
    }
    if (seeds < 60) return;
    // It is no proof when what the guarantees are about never happens.
    expect(faults.size).toBe(40);
    expect(done.deletions).toBeGreaterThan(seeds);
    expect(done.approvals).toBeGreaterThan(0);
    expect(done.corrections).toBeGreaterThan(seeds);
    expect(done.gaps).toBeGreaterThan(0);
  }, 3_600_000);

  it("are played the same way again by the same seed", () => {
    const [once, again] = [play(7).world.history, play(7).world.history];
    expect(again.told).toEqual(once.told);
    expect([...again.recorded]).toEqual([...once.recorded]);
  });
});

/** Within how many seeds each planted bug must be found, and by the validator of which guarantee. */
const planted: readonly (readonly [guarantee: string, bug: PlantedBug, seedsMax: number])[] = [
  ["G1", "watermark before commit", 60],
  ["G2", "position apart from rows", 60],
  ["G3", "order of arrival", 20],
  ["G4", "what is gone is not told", 100],
  ["G5", "follow what is empty", 60],
  ["G5", "leave out what cannot be rendered", 30],
  ["G6", "no budget", 30],
  ["G6", "any approval", 100],
  ["G7", "any UID", 100],
  ["G8", "forgotten before it is deleted", 60],
  ["G15", "answer before commit", 100],
  ["G16", "forget corrections", 30],
  ["G17", "poison stops all", 30],
];

describe("the validators", () => {
  it.each(planted)("find a planted bug against %s: %s", (guarantee, bug, seedsMax) => {
    for (let seed = 1; seed <= seedsMax; seed += 1) if (play(seed, bug).broken.some((broken) => broken.startsWith(`${guarantee}:`))) return;
    throw new Error(`"${bug}" was not found in ${seedsMax} seeds`);
  });
});
