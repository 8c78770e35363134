import type { HealthWord } from "./verdict.ts";

/** What the roll-up counts of one object. */
export interface CountedObject {
  readonly bundle: string;
  readonly name: string;
  readonly synced: boolean;
  readonly health: HealthWord;
  readonly drifted: boolean;
  readonly failed: boolean;
  readonly message: string;
}

/** Counts and the worst of many objects. */
export interface RollUp {
  readonly synced: boolean;
  readonly health: HealthWord;
  /** The object that is worst, and why; "" when all is well. */
  readonly message: string;
  readonly objects: number;
  readonly healthy: number;
  readonly drifted: number;
  readonly failed: number;
  readonly healthCounts: HealthCounts;
}

/** Objects by their health, without those that are Current. */
export interface HealthCounts {
  readonly inProgress: number;
  readonly failed: number;
  readonly terminating: number;
  readonly notFound: number;
  readonly unknown: number;
}

/** From worst to best. Unknown is never shown as healthy, and never hides a failure (G4). */
const worstFirst: readonly HealthWord[] = ["Failed", "NotFound", "Unknown", "Terminating", "InProgress", "Current"];

/** The worse of two healths. */
export function worseOf(a: HealthWord, b: HealthWord): HealthWord {
  return worstFirst.indexOf(a) <= worstFirst.indexOf(b) ? a : b;
}

/**
 * What counts of an object's health. One that is in Git no more is on its way out: that it is ill must not fail what takes its place, above all not while
 * its deletion waits for a person.
 */
export function healthThatCounts(health: HealthWord, isWanted: boolean): HealthWord {
  return !isWanted && (health === "Failed" || health === "InProgress") ? "Current" : health;
}

/** Fold objects into one line. No objects at all are Current and in sync: there is nothing that could be otherwise. */
export function rollUp(objects: Iterable<CountedObject>): RollUp {
  let [count, drifted, failed, synced] = [0, 0, 0, true];
  const counts = { Current: 0, InProgress: 0, Failed: 0, Terminating: 0, NotFound: 0, Unknown: 0 };
  let health: HealthWord = "Current";
  let worst: { rank: number; message: string } = { rank: 0, message: "" };
  for (const object of objects) {
    count += 1;
    counts[object.health] += 1;
    if (object.drifted) drifted += 1;
    if (object.failed) failed += 1;
    if (!object.synced) synced = false;
    health = worseOf(health, object.health);
    const rank = rankOf(object);
    if (rank > worst.rank) worst = { rank, message: object.message === "" ? object.name : `${object.name}: ${object.message}` };
  }
  const { Current: healthy, InProgress: inProgress, Failed, Terminating: terminating, NotFound: notFound, Unknown: unknown } = counts;
  const healthCounts = { inProgress, failed: Failed, terminating, notFound, unknown };
  return { synced, health, message: worst.message, objects: count, healthy, drifted, failed, healthCounts };
}

/** Which object the one line is about: a failed apply before failed health before drift before what is still moving. */
function rankOf(object: CountedObject): number {
  if (object.failed) return 5;
  if (object.health === "Failed") return 4;
  if (object.drifted) return 3;
  if (!object.synced) return 2;
  return object.health === "Current" ? 0 : 1;
}
