import { healWindowMs } from "@flotilla/proto/limits";
import type { DriftedField } from "./report-rows.ts";

/** One object's drift from when it was first seen until it was healed. Drift that comes back within the window of a fight is the same episode. */
export interface DriftEpisode {
  readonly bundle: string;
  readonly fields: readonly DriftedField[];
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  /** How often it was detected. */
  readonly times: number;
  readonly healedAt: Date | null;
}

/**
 * What one report said about an object's drift, in order.
 *
 * - `detected`: an event told it; counted.
 * - `seen`: its state has drifted fields; counted only where it opens an episode.
 * - `healed`: an event told it, its state has no drift, or the object is gone.
 */
export type DriftMark =
  | { readonly kind: "detected" | "seen"; readonly at: Date; readonly bundle: string; readonly fields: readonly DriftedField[] }
  | { readonly kind: "healed"; readonly at: Date };

/** The object's last episode (if any) after the marks, with new ones after it. Same marks, same result, however they are split. */
export function foldDrift(last: DriftEpisode | undefined, marks: readonly DriftMark[]): DriftEpisode[] {
  const episodes: DriftEpisode[] = last === undefined ? [] : [last];
  for (const mark of marks) {
    const current = episodes.at(-1);
    if (mark.kind === "healed") {
      if (current !== undefined && current.healedAt === null) episodes[episodes.length - 1] = { ...current, healedAt: mark.at };
    } else if (current !== undefined && continues(current, mark.at)) {
      episodes[episodes.length - 1] = again(current, mark);
    } else {
      episodes.push({ bundle: mark.bundle, fields: mark.fields, firstSeenAt: mark.at, lastSeenAt: mark.at, times: 1, healedAt: null });
    }
  }
  return episodes;
}

function continues(episode: DriftEpisode, at: Date): boolean {
  return episode.healedAt === null || at.getTime() - episode.healedAt.getTime() <= healWindowMs;
}

function again(episode: DriftEpisode, mark: DriftMark & { kind: "detected" | "seen" }): DriftEpisode {
  const counted = mark.kind === "detected" || episode.healedAt !== null;
  return {
    bundle: mark.bundle === "" ? episode.bundle : mark.bundle,
    fields: mark.fields.length === 0 ? episode.fields : mark.fields,
    firstSeenAt: episode.firstSeenAt,
    lastSeenAt: mark.at,
    times: episode.times + (counted ? 1 : 0),
    healedAt: null,
  };
}
