import { isDirective, readDirectives, type Directives } from "@flotilla/proto/directives";
import { ownerAnnotation } from "@flotilla/proto/names";

/** How far an object is guarded against deletion; each word is stricter than the one before. */
const strictness = ["enabled", "last", "confirm", "disabled"] as const;
export type PruneWord = (typeof strictness)[number];

/** What annotations, or a bundle's defaults, ask for when an object is no longer in Git. One object for each combination. */
export interface Guard {
  readonly prune: PruneWord;
  /** Stays when the cluster leaves the fleet, whatever the removal policy. */
  readonly keep: boolean;
  /** Neither applied, healed nor deleted. */
  readonly paused: boolean;
}

const guards = new Map<string, Guard>();
for (const prune of strictness)
  for (const keep of [false, true])
    for (const paused of [false, true]) {
      const guard = Object.freeze({ prune, keep, paused });
      guards.set(encodeGuard(guard), guard);
    }

/** An object that nobody guards. */
export const unguarded: Guard = decodeGuard("");

/** The guard that directives amount to. What is not reconciled, or extraneous on purpose, is not pruned either. */
export function guardOf(directives: Directives): Guard {
  const paused = directives.reconcile === "disabled";
  const prune = paused || directives.ignoreExtraneous ? "disabled" : directives.prune;
  return decodeGuard(encodeGuard({ prune, keep: directives.keepOnRemoval, paused }));
}

/** The guard that a live object's own annotations amount to: most have none, and this runs for every event of every watch. */
export function liveGuardOf(metadata: { readonly annotations?: Readonly<Record<string, string>> }): Guard {
  for (const name in metadata.annotations) {
    if (name !== ownerAnnotation && isDirective(name)) return guardOf(readDirectives({ metadata: { name: "", annotations: metadata.annotations } }).directives);
  }
  return unguarded;
}

/** What both ask for: a guard that somebody set by hand counts, and never weakens what Git says. */
export function strictest(a: Guard, b: Guard): Guard {
  if (a === b) return a;
  const prune = strictness.indexOf(a.prune) >= strictness.indexOf(b.prune) ? a.prune : b.prune;
  return decodeGuard(encodeGuard({ prune, keep: a.keep || b.keep, paused: a.paused || b.paused }));
}

/** A guard as words, "" for none: how the inventory keeps it. */
export function encodeGuard({ prune, keep, paused }: Guard): string {
  return [prune === "enabled" ? "" : prune, keep ? "keep" : "", paused ? "paused" : ""].filter((word) => word !== "").join(" ");
}

/** @throws Error when the words are not those of a guard: an inventory that cannot be read must not look less guarded than it is. */
export function decodeGuard(words: string): Guard {
  const guard = guards.get(words);
  if (!guard) throw new Error(`"${words}" is not a guard`);
  return guard;
}
