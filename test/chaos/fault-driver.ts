import type { ChaosRig } from "./chaos-rig.ts";
import type { LostTail } from "./lost-tails.ts";

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
  /** While it alone was struck, and all others had what Git said before: epoch ms. */
  readonly alone?: { readonly from: number; readonly to: number };
  /** What Postgres committed then is lost. */
  readonly lost?: LostTail;
  /** More about it, for people. */
  readonly what?: string;
}

/** What a driver needs of those who push. */
export interface People {
  /** Changes objects in each bundle. @returns the revision. */
  push(rig: ChaosRig, more?: { readonly hasBroken?: boolean }): Promise<string>;
  /** The clusters that are known to run this revision, or one that was pushed after it. */
  reached(rig: ChaosRig, revision: string): Promise<ReadonlySet<string>>;
}

export type Subject = "hub" | "agents" | "broker" | "Postgres" | "links" | "API servers" | "disks" | "Git";

/** The hub takes its servers with it. */
export const hubAndServers: readonly Subject[] = ["hub", "broker", "Postgres"];

/** One kind of fault: done, held for a while where that is its nature, and undone by itself. */
export interface FaultDriver {
  readonly name: string;
  /** What it is done to, and what it needs meanwhile: two at once would only undo one another. */
  readonly subjects: readonly Subject[];
  /** It is done where there are so many hubs only. */
  readonly hubs?: 1 | 2;
  /** Whether it can be done here at all; left out where it always can. */
  readonly isPossible?: (rig: ChaosRig) => boolean;
  /** What Postgres commits while it lasts may be lost; how much it was it says when all went well. */
  readonly losesTail?: true;
  readonly act: (rig: ChaosRig, dice: Dice, people: People) => Promise<Struck>;
}

/** Milliseconds, drawn. */
export function between(dice: Dice, fromMs: number, toMs: number): number {
  return fromMs + dice.roll() * (toMs - fromMs);
}

/** As it is told: "5.1 s". */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
