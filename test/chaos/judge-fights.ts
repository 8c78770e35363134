import { healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";
import type { AuditedWrite } from "./audited-writes.ts";
import { fought } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import { commitLagMs, isInTail } from "./lost-tails.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/** An agent's word that it corrected an object, or that it gave up a fight. */
export interface HealWord {
  readonly cluster: string;
  /** As the hub names it. */
  readonly object: string;
  readonly reason: "DriftHealed" | "Fight";
  /** Epoch ms. */
  readonly at: number;
}

interface Correction {
  readonly cluster: string;
  readonly object: string;
  readonly at: number;
}

/** A rival that goes on for so long after the last correction that is allowed must have been told. */
const tellWithinMs = 20_000;

/**
 * G16: of no object there are more than five corrections in any ten minutes, by the audit logs for the one that is fought for and by the agents' words for
 * all. One that is killed between a correction and its being written down may do that one more, and so may one that never gets the answer to it. A fight that
 * reached the bound is told.
 */
export function judgeFights(
  { faults, rival, lostTails, peaceAt }: Pick<ChaosRecord, "faults" | "rival" | "lostTails" | "peaceAt">,
  writes: readonly AuditedWrite[],
  words: readonly HealWord[],
): Verdict {
  const kills = faults.filter(({ name }) => losesCorrections.test(name));
  // The last push changes the object, and is no correction.
  const audited = writes.filter(({ byAgent, kind, object, at }) => byAgent && kind === "changed" && object === fought && at < peaceAt);
  const healed = words.filter(({ reason }) => reason === "DriftHealed");
  const told = words.filter(({ reason, object }) => reason === "Fight" && object.endsWith(`/${fought}`));
  const untold = fightsOf(audited, rival, peaceAt)
    .filter(({ at }) => !isInTail(lostTails, at, { beforeMs: commitLagMs }))
    .filter(({ cluster }) => !told.some((word) => word.cluster === cluster));
  return {
    guarantee: "G16",
    looked: `${audited.length} corrections of what is fought for and ${healed.length} told ones of any object, ${rival.length} writes of the rival, ${told.length} fights told`,
    problems: [
      ...tooMany(audited, kills),
      ...tooMany(healed, kills),
      ...untold.map(({ cluster }) => `${fought} in ${cluster} was corrected ${maxHealsPerWindow} times, its rival went on, and no fight was told`),
    ].slice(0, problemsMax),
  };
}

/** What an agent does not know to have done, it does not count. */
const losesCorrections = /^(agent killed|API server killed|wire to an API server)/;

function tooMany(corrections: readonly Correction[], kills: ChaosRecord["faults"]): string[] {
  return [...Map.groupBy(corrections, ({ cluster, object }) => `${object} in ${cluster}`)].flatMap(([object, unsorted]) => {
    const times = unsorted.toSorted((a, b) => a.at - b.at);
    const most = times.map(({ cluster, at }, index) => {
      const ends = kills.filter((kill) => kill.cluster === cluster && kill.from <= at && kill.from > at - healWindowMs).length;
      const oldest = times[index - maxHealsPerWindow - ends];
      return oldest !== undefined && oldest.at > at - healWindowMs ? maxHealsPerWindow + ends : undefined;
    });
    const bound = most.find((found) => found !== undefined);
    return bound === undefined ? [] : [`${object} was corrected more than ${bound} times in ten minutes`];
  });
}

/** The last correction that is allowed in each cluster where the bound was reached in time, and the rival went on. */
function fightsOf(audited: readonly Correction[], rival: ChaosRecord["rival"], peaceAt: number): Correction[] {
  return [...Map.groupBy(audited, ({ cluster }) => cluster)].flatMap(([cluster, times]) => {
    const last = times[maxHealsPerWindow - 1];
    const wasInTime = last !== undefined && last.at - (times[0]?.at ?? 0) < healWindowMs && last.at < peaceAt - tellWithinMs;
    return wasInTime && rival.some((write) => write.cluster === cluster && write.at > last.at && write.at < peaceAt - tellWithinMs) ? [last] : [];
  });
}
