import { healWindowMs } from "@flotilla/proto/limits";
import type { AuditedWrite } from "./audited-writes.ts";
import type { ChaosRecord, FaultSpan, Meddling } from "./chaos-record.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/**
 * An edit is healed within 57 ms (p99, `npm run bench -- drift`) by an agent that has the processor for itself. Here two cores run everything; and it is
 * shorter than most absences of the hub, so that an agent which waits for the hub is late.
 */
const healWithinMs = 5_000;

/** Before an edit of the same object: of many in a row each waits longer, and beyond five they are a fight. */
const earlierEditsMax = 2;

/**
 * Until an agent is itself again: after a restart and a list; after a watch that was refused for seconds, which is asked for again after one, two, four, eight;
 * a watch that passes nothing any more must be noticed first.
 */
const strikesCluster: readonly { readonly fault: RegExp; readonly lastsMs: number }[] = [
  { fault: /^(agent|API server) /, lastsMs: 15_000 },
  { fault: /^wire to an API server damaged: (reset|cut off|slow)$/, lastsMs: 15_000 },
  { fault: /^wire to an API server/, lastsMs: 45_000 },
];

/** Faults that take away what is not the cluster's own. */
const strikesHub = /^(hub|disk of the hub|broker|Postgres|links|wires to the broker|Git)/;

/** Whether the hub, or what it needs, is away or out of reach just then. */
export function isHubAway(faults: readonly FaultSpan[], at: number): boolean {
  return faults.some(({ name, from, to }) => strikesHub.test(name) && from <= at && at <= to);
}

/** G9: what somebody edits in a cluster is put right by its agent, whatever became of hub, broker and Git meanwhile. */
export function judgeHeals({ edits, faults, peaceAt }: Pick<ChaosRecord, "edits" | "faults" | "peaceAt">, writes: readonly AuditedWrite[]): Verdict {
  const answers = Map.groupBy(
    writes.filter(({ byAgent }) => byAgent),
    ({ cluster, object }) => `${object} in ${cluster}`,
  );
  const judged = edits
    .filter((edit) => isFresh(edit, edits))
    .map((edit) => ({ edit, deadline: deadlineOf(edit, faults) }))
    .filter(({ deadline }) => deadline < peaceAt)
    .map(({ edit, deadline }) => {
      const answeredAt = answers.get(`${edit.object} in ${edit.cluster}`)?.find((write) => write.at >= edit.at)?.at ?? Number.POSITIVE_INFINITY;
      return { edit, deadline, answeredAt };
    });
  const away = judged.filter(({ edit: { at }, answeredAt }) => isHubAway(faults, at) && isHubAway(faults, answeredAt));
  const late = judged.filter(({ deadline, answeredAt }) => answeredAt > deadline);
  return {
    guarantee: "G9",
    looked: `${judged.length} of ${edits.length} edits by hand, ${away.length} of them made and put right while the hub, what it needs or the way to it was away${tellTimes(judged)}`,
    problems: late
      .slice(0, problemsMax)
      .map(({ edit: { object, cluster, at } }) => `${object} in ${cluster} was edited at ${new Date(at).toISOString()}, and its agent did nothing in time`),
  };
}

/** What was put right in clusters that nothing struck took so long; and where the slowest was, which is worth a look. */
function tellTimes(judged: readonly { readonly edit: Meddling; readonly deadline: number; readonly answeredAt: number }[]): string {
  const answered = judged
    .filter(({ edit, deadline, answeredAt }) => deadline === edit.at + healWithinMs && Number.isFinite(answeredAt))
    .toSorted((a, b) => a.answeredAt - a.edit.at - (b.answeredAt - b.edit.at));
  const [middle, slowest] = [answered[Math.floor(answered.length / 2)], answered.at(-1)];
  if (middle === undefined || slowest === undefined) return "";
  const { object, cluster, at } = slowest.edit;
  return `; ${answered.length} in clusters that nothing struck, after ${middle.answeredAt - middle.edit.at} ms in the median and ${slowest.answeredAt - at} ms at most (${object} in ${cluster}, ${new Date(at).toISOString()})`;
}

/** Whether an object was edited so seldom before this that its agent heals it at once. */
export function isFresh({ cluster, object, at }: Meddling, edits: readonly Meddling[]): boolean {
  const earlier = edits.filter((other) => other.cluster === cluster && other.object === object && other.at < at && other.at > at - healWindowMs);
  return earlier.length <= earlierEditsMax;
}

/**
 * The end of the first stretch in which agent, wire and API server could put it right: nothing strikes them in it, and what struck them before is not felt
 * any more.
 */
function deadlineOf({ cluster, at }: Meddling, faults: readonly FaultSpan[]): number {
  const struck = faults.flatMap((fault) => {
    const kind = strikesCluster.find((one) => one.fault.test(`${fault.name}: ${fault.what ?? ""}`));
    return kind !== undefined && (fault.cluster ?? cluster) === cluster ? [{ from: fault.from, until: fault.to + kind.lastsMs }] : [];
  });
  let begin = at;
  for (const { from, until } of struck.toSorted((a, b) => a.from - b.from)) if (until > begin && from < begin + healWithinMs) begin = until;
  return begin + healWithinMs;
}
