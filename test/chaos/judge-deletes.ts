import type { Page, ReleaseRow } from "@flotilla/proto/rest/contract";
import type { AuditedWrite } from "./audited-writes.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import type { ChaosRig } from "./chaos-rig.ts";
import { catchUpMs, isInTail, tellLost } from "./lost-tails.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

/** A release of a revision to a cluster, as the hub's history has it. */
export interface Released {
  readonly cluster: string;
  readonly revision: string;
  /** Epoch ms. */
  readonly at: number;
}

export async function releasesOf(rig: ChaosRig): Promise<Released[]> {
  const each = rig.members.map(async ({ name }) => {
    const { items } = await rig.api.request<Page<ReleaseRow>>("GET", `/api/v1/releases?fleet=chaos&cluster=${name}&limit=500`);
    return items.map(({ cluster, revision, releasedAt }) => ({ cluster, revision, at: Date.parse(releasedAt) }));
  });
  return (await Promise.all(each)).flat();
}

/** An agent may be stopped for so long with a target in its hand. */
const mayLagMs = 60_000;

/** Releases that a cluster's agent may have in its hand then, newest first: those of the last minute, and the one before them. */
export function followedAt(releases: readonly Released[], cluster: string, at: number): Released[] {
  const until = releases.filter((release) => release.cluster === cluster && release.at <= at + 1_000).toSorted((a, b) => b.at - a.at);
  return until.filter((_, index) => index === 0 || (until[index - 1]?.at ?? 0) > at - mayLagMs);
}

/** G5, G7: what agents deleted was in none of what their clusters were to run then, and they said whose UID they meant. */
export function judgeDeletes(
  { pushed, lostTails }: Pick<ChaosRecord, "pushed" | "lostTails">,
  writes: readonly AuditedWrite[],
  releases: readonly Released[],
): Verdict[] {
  const deletes = writes.filter(({ byAgent, kind }) => byAgent && kind === "deleted");
  const contents = new Map(pushed.map((push) => [push.revision, push.contents]));
  const judged = deletes.filter(({ at }) => !isInTail(lostTails, at, { afterMs: catchUpMs }));
  const unwarranted = judged.filter(
    ({ cluster, object, at }) => !followedAt(releases, cluster, at).some(({ revision }) => contents.get(revision)?.has(object) === false),
  );
  const looked = `${deletes.length} deletes by agents in the audit logs, ${releases.length} releases`;
  return [
    {
      guarantee: "G5",
      looked: `${looked}${tellLost(deletes.length - judged.length)}`,
      problems: unwarranted.slice(0, problemsMax).map(({ object, cluster }) => `${object} was deleted in ${cluster}, and all that it was to run then names it`),
    },
    {
      guarantee: "G7",
      looked,
      problems: deletes
        .filter(({ hasUid }) => !hasUid)
        .slice(0, problemsMax)
        .map(({ object, cluster }) => `${object} was deleted in ${cluster} without its UID`),
    },
  ];
}
