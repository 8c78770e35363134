import { type Arrivals, liveKey, type ShownRevision } from "./arrival-tap.ts";
import { isBesideBroken } from "./chaos-fleet.ts";
import type { ChaosRecord, Pushed } from "./chaos-record.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/**
 * A bad neighbour may cost 5 s (G17). The hub asks Git every 2 s, two looks are half a second apart, and here two cores run everything. It is well below what
 * somebody would take who waits for the neighbour: a silent wire is noticed after thirty seconds.
 */
export const reachWithinMs = 10_000;

/** What came a moment before the end of a siege is seen by the next look. */
const lookMs = 1_000;

/** One push in one cluster that nothing struck. */
interface Neighbour {
  readonly push: Pushed;
  readonly cluster: string;
  /** The cluster that was in trouble. */
  readonly struck: string;
  /** How long it took; infinite when it did not come at all. */
  readonly tookMs: number;
}

/**
 * G17: while one cluster is in trouble, what is pushed comes to the others in time: by what their API servers have where there are real ones, by what the hub
 * shows everywhere. A commit with an object that every API server refuses holds up nothing that is not of its bundle.
 */
export function judgeNeighbours({ pushed, sieges }: Pick<ChaosRecord, "pushed" | "sieges">, arrivals: Arrivals): Verdict {
  const pairs = sieges.flatMap(({ cluster: struck, from, to }) =>
    pushed.flatMap((push, index) => {
      if (push.at < from || push.at > to) return [];
      const others = [...arrivals.shown.keys()].filter((cluster) => cluster !== struck);
      const came = others.map((cluster) => ({ push, cluster, struck, tookMs: arrivedAt(pushed, index, cluster, arrivals) - push.at }));
      // Whether it comes without the end of the trouble is only known of what came before, and of what had its time before.
      return came.filter(({ tookMs }) => push.at + Math.min(tookMs, reachWithinMs) <= to + lookMs);
    }),
  );
  const late = pairs.filter(({ tookMs }) => tookMs > reachWithinMs);
  const broken = pairs.filter(({ push }) => push.hasBroken);
  return {
    guarantee: "G17",
    looked: `${pairs.length} times a push in a cluster that nothing struck while another was in trouble (${sieges.length} times), ${broken.length} of them with a broken object${tellTimes(pairs)}`,
    problems: late.slice(0, problemsMax).map(({ push: { revision, hasBroken }, cluster, struck }) => {
      const what = `${revision.slice(0, 12)}${hasBroken ? ", which has a broken object," : ""}`;
      return `${what} was not whole in ${cluster} within ${reachWithinMs / 1_000} s, while ${struck} was in trouble`;
    }),
  };
}

function tellTimes(pairs: readonly Neighbour[]): string {
  const times = pairs.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
  const [middle, longest] = [times[Math.floor(times.length / 2)], times.at(-1)];
  return middle === undefined ? "" : `; after ${Math.round(middle)} ms in the median and ${longest} ms at most`;
}

/** When all that this push asks of a cluster was seen there, epoch ms; infinite when it was not. */
function arrivedAt(pushed: readonly Pushed[], index: number, cluster: string, { live, shown }: Arrivals): number {
  const seen = live.get(cluster);
  const objects = seen === undefined ? [] : owedBy(pushed, index).map(([object, value]) => seen.get(liveKey(object, value)) ?? Number.POSITIVE_INFINITY);
  return Math.max(shownAt(pushed, index, shown.get(cluster) ?? []), ...objects);
}

/**
 * Objects that only this push gives their value, and no later one takes it away before it is due. Those beside a broken one are not asked for: their bundle
 * may wait.
 */
function owedBy(pushed: readonly Pushed[], index: number): [string, string][] {
  const push = pushed[index];
  if (push === undefined) return [];
  const later = pushed.slice(index + 1).filter(({ at }) => at <= push.at + reachWithinMs);
  return [...push.contents].filter(
    ([object, value]) =>
      !(push.hasBroken && isBesideBroken(object)) &&
      pushed.slice(0, index).every(({ contents }) => contents.get(object) !== value) &&
      later.every(({ contents }) => contents.get(object) === value),
  );
}

/** When the hub showed this push, or one that came after it, as what the cluster runs. */
function shownAt(pushed: readonly Pushed[], index: number, steps: readonly ShownRevision[]): number {
  const times = pushed.slice(index).flatMap(({ revision, at }) =>
    steps.flatMap((step, place) => {
      const until = steps[place + 1]?.at ?? Number.POSITIVE_INFINITY;
      // A branch that goes back to what runs already has come when it was pushed.
      return step.revision === revision && until > at ? [Math.max(step.at, at)] : [];
    }),
  );
  return Math.min(Number.POSITIVE_INFINITY, ...times);
}

/** The revisions that the branch was at from this one on. */
export function revisionsSince(pushed: readonly Pushed[], revision: string): ReadonlySet<string> {
  return new Set(pushed.slice(pushed.findLastIndex((push) => push.revision === revision)).map((push) => push.revision));
}
