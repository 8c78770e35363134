import type { ChaosRig } from "./chaos-rig.ts";

/** What a fault is drawn with. */
export interface Dice {
  /** In [0, 1). */
  roll(): number;
  pick<T>(from: readonly T[]): T;
}

/** What a driver did. */
export interface Struck {
  /** The one cluster that it struck. */
  readonly cluster?: string;
  /** More about it, for people. */
  readonly what?: string;
}

export type Subject = "hub" | "agents" | "broker" | "Postgres" | "links" | "API servers" | "disks" | "Git";

/** The hub takes its servers with it. */
export const hubAndServers: readonly Subject[] = ["hub", "broker", "Postgres"];

/** One kind of fault: done, held for a while where that is its nature, and undone by itself. */
export interface FaultDriver {
  readonly name: string;
  /** What it is done to, and what it needs meanwhile: two at once would only undo one another. */
  readonly subjects: readonly Subject[];
  /** Whether it can be done here at all; left out where it always can. */
  readonly isPossible?: (rig: ChaosRig) => boolean;
  /** What Postgres committed while it lasts is lost. */
  readonly losesTail?: true;
  readonly act: (rig: ChaosRig, dice: Dice) => Promise<Struck>;
}

/** Milliseconds, drawn. */
export function between(dice: Dice, fromMs: number, toMs: number): number {
  return fromMs + dice.roll() * (toMs - fromMs);
}

/** As it is told: "5.1 s". */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
