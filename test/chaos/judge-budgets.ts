import { defaultPruneBudget } from "@flotilla/proto/limits";
import type { ApprovedList } from "./approve-held.ts";
import type { AuditedWrite } from "./audited-writes.ts";
import { bundleOf } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import { followedAt, type Released } from "./judge-deletes.ts";
import { catchUpMs, isInTail, tellLost } from "./lost-tails.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/** What was deleted by hand a moment ago still counts in an inventory, and does not live. */
const deletedByHandMax = 3;

/**
 * G6: of what has the budget that everybody has, no agent deletes more for one revision than max(5, 10 %) of its objects, besides what is on a list that a
 * person let go for that revision. An agent may be late: a delete is put down to the oldest revision that it may still have in its hand and that allows it.
 */
export function judgeBudgets(
  { pushed, approved, lostTails }: Pick<ChaosRecord, "pushed" | "approved" | "lostTails">,
  writes: readonly AuditedWrite[],
  releases: readonly Released[],
): Verdict {
  const contents = new Map(pushed.map((push) => [push.revision, push.contents]));
  const live = new Map<string, Set<string>>();
  const first = firstOfRuns(releases);
  const budgets = new Map<Released, { readonly allowed: number; spent: number }>();
  const [over, counts] = [[] as AuditedWrite[], { covered: 0, free: 0, lost: 0 }];
  for (const write of writes) {
    const { cluster, object, at, kind, byAgent } = write;
    const alive = live.get(cluster) ?? new Set();
    live.set(cluster, alive);
    const allowed = Math.max(defaultPruneBudget.objects, Math.floor(((alive.size + deletedByHandMax) * defaultPruneBudget.percent) / 100));
    if (kind === "deleted") alive.delete(object);
    else alive.add(object);
    if (kind !== "deleted" || !byAgent || bundleOf(object) !== "stock") continue;
    // Its releases are not known any more.
    if (isInTail(lostTails, at, { afterMs: catchUpMs })) {
      counts.lost += 1;
      continue;
    }
    const candidates = followedAt(releases, cluster, at).filter(({ revision }) => contents.get(revision)?.has(object) === false);
    if (isApproved(approved, write, candidates)) {
      counts.covered += 1;
      continue;
    }
    const runs = [...new Set(candidates.toReversed().map((release) => first.get(release) ?? release))];
    for (const release of runs) if (!budgets.has(release)) budgets.set(release, { allowed, spent: 0 });
    const budget = runs.map((release) => budgets.get(release)).find((one) => one !== undefined && one.spent < one.allowed);
    if (budget === undefined) over.push(write);
    else [budget.spent, counts.free] = [budget.spent + 1, counts.free + 1];
  }
  return {
    guarantee: "G6",
    looked: `${counts.covered} deletes of approved lists, ${counts.free} within budgets, ${approved.length} approvals in all clusters${tellLost(counts.lost)}`,
    problems: over.slice(0, problemsMax).map(({ object, cluster }) => `${object} was deleted in ${cluster}, over the budget and on no list that was approved`),
  };
}

function isApproved(approved: readonly ApprovedList[], { cluster, object, at }: AuditedWrite, candidates: readonly Released[]): boolean {
  return approved.some(
    (list) => list.cluster === cluster && list.at <= at && list.objects.includes(object) && candidates.some(({ revision }) => revision === list.revision),
  );
}

/** The release with which a cluster came to each one's revision: labels and approvals release the same one again, and that is no new budget. */
function firstOfRuns(releases: readonly Released[]): Map<Released, Released> {
  const first = new Map<Released, Released>();
  for (const ofCluster of Map.groupBy(releases, ({ cluster }) => cluster).values()) {
    let begin: Released | undefined;
    for (const release of ofCluster.toSorted((a, b) => a.at - b.at)) {
      if (begin?.revision !== release.revision) begin = release;
      first.set(release, begin);
    }
  }
  return first;
}
