import { healWindowMs } from "@flotilla/proto/limits";
import type { DriftRow } from "@flotilla/proto/rest/contract";
import { driftManagersMax } from "../limits.ts";
import type { DriftedField } from "./report-rows.ts";

/** How a drift ended; null when nobody said. */
export type HealedBy = DriftRow["healedBy"];

/** One object's drift from when it was first seen until it was healed. Drift that comes back within the window of a fight is the same episode. */
export interface DriftEpisode {
  readonly bundle: string;
  /** As last seen, and as first seen. */
  readonly fields: readonly DriftedField[];
  readonly firstFields: readonly DriftedField[];
  /** Every manager that held one of the fields, in the order they came; at most driftManagersMax. */
  readonly managers: readonly string[];
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  /** How often it was detected. */
  readonly times: number;
  /** Of the target when it was last seen. */
  readonly revision: string;
  readonly healedAt: Date | null;
  readonly healedBy: HealedBy;
}

/**
 * What one report said about an object's drift, in order.
 *
 * - `detected`: an event told it; counted.
 * - `seen`: its state has drifted fields; counted only where it opens an episode.
 * - `healed`: an event told it, its state has no drift, or the object is gone.
 */
export type DriftMark =
  | { readonly kind: "detected" | "seen"; readonly at: Date; readonly bundle: string; readonly revision: string; readonly fields: readonly DriftedField[] }
  | { readonly kind: "healed"; readonly at: Date; readonly by: HealedBy };

/** The object's last episode (if any) after the marks, with new ones after it. Same marks, same result, however they are split. */
export function foldDrift(last: DriftEpisode | undefined, marks: readonly DriftMark[]): DriftEpisode[] {
  const episodes: DriftEpisode[] = last === undefined ? [] : [last];
  for (const mark of marks) {
    const current = episodes.at(-1);
    if (mark.kind === "healed") {
      if (current !== undefined) episodes[episodes.length - 1] = ended(current, mark);
    } else if (current !== undefined && continues(current, mark.at)) {
      episodes[episodes.length - 1] = again(current, mark);
    } else {
      episodes.push(opened(mark));
    }
  }
  return episodes;
}

/** The event that says how it ended may come after the state that says that it did. */
function ended(episode: DriftEpisode, mark: EndMark): DriftEpisode {
  if (episode.healedAt === null) return { ...episode, healedAt: mark.at, healedBy: healerOf(episode, mark) };
  return episode.healedBy === null && mark.by !== null && mark.by !== "gone" ? { ...episode, healedBy: mark.by } : episode;
}

type EndMark = DriftMark & { kind: "healed" };
type SightingMark = DriftMark & { kind: "detected" | "seen" };

function opened({ bundle, fields, at, revision }: SightingMark): DriftEpisode {
  const managers = withManagers([], fields);
  return { bundle, fields, firstFields: fields, managers, firstSeenAt: at, lastSeenAt: at, times: 1, revision, healedAt: null, healedBy: null };
}

function continues(episode: DriftEpisode, at: Date): boolean {
  return episode.healedAt === null || at.getTime() - episode.healedAt.getTime() <= healWindowMs;
}

function again(episode: DriftEpisode, mark: SightingMark): DriftEpisode {
  const counted = mark.kind === "detected" || episode.healedAt !== null;
  return {
    ...episode,
    bundle: mark.bundle === "" ? episode.bundle : mark.bundle,
    fields: mark.fields.length === 0 ? episode.fields : mark.fields,
    managers: withManagers(episode.managers, mark.fields),
    lastSeenAt: mark.at,
    times: episode.times + (counted ? 1 : 0),
    revision: mark.revision === "" ? episode.revision : mark.revision,
    healedAt: null,
    healedBy: null,
  };
}

function withManagers(known: readonly string[], fields: readonly DriftedField[]): readonly string[] {
  const held = fields.map(({ manager }) => manager).filter((manager) => manager !== "");
  return [...new Set([...known, ...held])].slice(0, driftManagersMax);
}

/** Somebody deleted it, and now Git does not want it either: Git took that over. */
function healerOf({ fields }: DriftEpisode, { by }: EndMark): HealedBy {
  const wasDeleted = fields.length === 1 && fields[0]?.path === "" && fields[0].live === "";
  return by === "gone" && wasDeleted ? "accepted" : by;
}
