import type { ObjectKey } from "./object-id.ts";

/** An object that is to be deleted, or is being deleted. */
export interface StagedPrune {
  readonly key: ObjectKey;
  readonly bundle: string;
  readonly stage: number;
}

/** Which prunes may go now, and what the others wait for. */
export interface PruneTurn {
  readonly now: readonly ObjectKey[];
  /** Key → the object of a later stage that is to be gone before. */
  readonly later: ReadonlyMap<ObjectKey, ObjectKey>;
}

/**
 * Deletes go backwards through the stages of each bundle: the highest stage that is left goes, those below it wait until it is gone. Pure.
 *
 * @param open to be deleted, in the order in which they go inside a stage.
 * @param going being deleted, or tried and still there.
 */
export function nextPrunes(open: readonly StagedPrune[], going: readonly StagedPrune[]): PruneTurn {
  const highest = new Map<string, StagedPrune>();
  for (const candidate of [...going, ...open]) {
    const before = highest.get(candidate.bundle);
    if (!before || candidate.stage > before.stage) highest.set(candidate.bundle, candidate);
  }
  const now: ObjectKey[] = [];
  const later = new Map<ObjectKey, ObjectKey>();
  for (const { key, bundle, stage } of open) {
    const top = highest.get(bundle);
    if (!top || stage >= top.stage) now.push(key);
    else later.set(key, top.key);
  }
  return { now, later };
}
