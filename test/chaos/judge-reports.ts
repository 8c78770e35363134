import { waitForValue } from "../harness/wait-for.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import { type ChaosRig, rightTime } from "./chaos-rig.ts";
import { commitLagMs, isInTail, lateWordMs, type LostTail } from "./lost-tails.ts";
import { shownEvent, type TappedEvent } from "./outbox-tap.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/** An event as the hub serves it. */
export type ServedEvent = Pick<TappedEvent, "cluster" | "text">;

/** G1, G2, G3: what was seen on the agents' disks is what the hub serves, once each and in the order of each cluster. */
export async function judgeReports(rig: ChaosRig, { lostTails }: Pick<ChaosRecord, "lostTails">): Promise<Verdict[]> {
  const all = rig.tap.events;
  const tapped = owedOf(all, lostTails);
  const served = await waitForValue(
    () => servedEvents(rig),
    (events) => missingOf(tapped, countsOf(events)).length === 0,
    {
      what: "every recorded event at the hub",
      timeoutMs: 30_000,
      everyMs: 1_000,
    },
  ).catch(() => servedEvents(rig));
  const told = await rig.api.events({ reason: "ReportsLost" });
  const gaps = gapsOf(
    told.map(({ cluster, at, message }) => ({ cluster, at: rightTime(rig, cluster, at), message })),
    lostTails,
  );
  const counts = countsOf(served);
  const looked = `${all.length} events in ${rig.tap.reports} reports that were seen on disks`;
  const excused = all.length === tapped.length ? "" : `, ${all.length - tapped.length} of which may be lost with a tail of Postgres`;
  const lost = missingOf(tapped, counts).map(({ cluster, text }) => `${cluster} recorded, and the hub has not: ${text}`);
  return [
    {
      guarantee: "G1",
      looked: `${looked}${excused}`,
      problems: [...gaps, ...lost].slice(0, problemsMax),
    },
    { guarantee: "G2", looked, problems: doubledIn(all, counts).slice(0, problemsMax) },
    { guarantee: "G3", looked: `${looked}, and the order of ${served.length} events at the hub`, problems: disorderIn(all, served).slice(0, problemsMax) },
  ];
}

/** Losses that agents told, and that are not of what Postgres lost. */
export function gapsOf(told: readonly { readonly cluster: string; readonly at: number; readonly message: string }[], lostTails: readonly LostTail[]): string[] {
  return told.filter(({ at }) => !isInTail(lostTails, at, { afterMs: commitLagMs })).map(({ cluster, message }) => `${cluster}: ${message}`);
}

/** In the order in which they were committed, which is that of their ids. */
async function servedEvents(rig: ChaosRig): Promise<ServedEvent[]> {
  const events = await rig.api.events({});
  return events.toSorted((a, b) => a.id - b.id).map((event) => ({ cluster: event.cluster, text: shownEvent(event) }));
}

function countsOf(events: readonly ServedEvent[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const event of events) counts.set(keyOf(event), (counts.get(keyOf(event)) ?? 0) + 1);
  return counts;
}

function keyOf({ cluster, text }: ServedEvent): string {
  return `${cluster} ${text}`;
}

/**
 * All but what Postgres may have lost for good: what was recorded before it came back, and left its outbox then, at the word of a hub that had committed it.
 * What had left before is in the copy, and what stayed is published again.
 */
export function owedOf(tapped: readonly TappedEvent[], lostTails: readonly LostTail[]): TappedEvent[] {
  return tapped.filter(({ notBefore, goneAt }) => !lostTails.some(({ from, to }) => notBefore <= to && goneAt >= from && goneAt <= to + lateWordMs));
}

/** Recorded, and not so often at the hub. */
export function missingOf(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): TappedEvent[] {
  const left = new Map(served);
  return tapped.filter((event) => {
    const count = left.get(keyOf(event)) ?? 0;
    left.set(keyOf(event), count - 1);
    return count <= 0;
  });
}

/** More often at the hub than it was recorded. */
export function doubledIn(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): string[] {
  return [...countsOf(tapped)]
    .filter(([key, count]) => (served.get(key) ?? 0) > count)
    .map(([key, count]) => `recorded ${count} times, served ${served.get(key)}: ${key}`);
}

/**
 * Of each cluster, what was recorded must be found at the hub one after the other. What the hub has not at all is another verdict's.
 *
 * @param tapped each cluster's in the order of (epoch, seq, place in the report).
 * @param served in the order in which the hub committed them.
 */
export function disorderIn(tapped: readonly TappedEvent[], served: readonly ServedEvent[]): string[] {
  const missing = new Set(missingOf(tapped, countsOf(served)));
  const places = Map.groupBy(
    served.map((event, place) => ({ key: keyOf(event), place })),
    ({ key }) => key,
  );
  const last = new Map<string, { readonly place: number; readonly text: string }>();
  return tapped.flatMap((event) => {
    if (missing.has(event)) return [];
    const before = last.get(event.cluster);
    const found = places.get(keyOf(event))?.find(({ place }) => place > (before?.place ?? -1));
    if (found) last.set(event.cluster, { place: found.place, text: event.text });
    return found ? [] : [`${event.cluster} recorded it after "${before?.text}", and the hub has it before: ${event.text}`];
  });
}
