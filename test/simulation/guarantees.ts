import { allowedPrunes } from "@flotilla/agent/domain/prune-policy";
import { parseObjectKey } from "@flotilla/agent/domain/object-id";
import { RemovalPolicy } from "@flotilla/proto/gen/target";
import { defaultPruneBudget, healWindowMs, maxHealsPerWindow } from "@flotilla/proto/limits";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import type { GitHistory } from "./git-history.ts";
import type { Deletion, FollowedTarget, History, ReleasedRow } from "./history.ts";
import type { HubDatabase } from "./hub-database.ts";
import type { LiveCluster } from "./live-cluster.ts";

/** What the validators look at when a run is over. */
export interface Evidence {
  readonly history: History;
  readonly db: HubDatabase;
  readonly clusters: ReadonlyMap<string, LiveCluster>;
  readonly repositories: ReadonlyMap<string, GitHistory>;
}

/** Every guarantee that a run broke, each as "G<number>: what and where". */
export function brokenGuarantees(evidence: Evidence): string[] {
  return [
    ...lostReports(evidence),
    ...doubledReports(evidence),
    ...disorderedReports(evidence),
    ...incompleteReleases(evidence),
    ...judgedDeletions(evidence),
    ...fights(evidence.history),
    ...forgottenWrites(evidence),
  ];
}

/** G1: what was recorded was taken, or a gap that was taken stands for it: of an outbox that ran over, or, after a restored backup, of what the hub had had. */
function lostReports({ history, db }: Evidence): string[] {
  const isRestored = (history.faults.get("database restored") ?? 0) > 0;
  const counted = db.taken.filter(({ lossReason }) => lossReason === "" || lossReason === "the outbox was full" || isRestored);
  const ranges = Map.groupBy(counted, ({ cluster, epoch }) => `${cluster} ${epoch}`);
  return [...history.recorded].flatMap(([cluster, reports]) => {
    const lost = reports.filter(({ epoch, seq }) => {
      if (history.lostEpochs.has(epoch)) return false;
      return !ranges.get(`${cluster} ${epoch}`)?.some((range) => range.firstSeq <= seq && seq <= range.seq);
    });
    return lost.slice(0, 3).map(({ epoch, seq }) => `G1: report ${seq} of epoch ${epoch.slice(0, 6)} of ${cluster} was recorded and is lost`);
  });
}

/** G2: no event is there twice, and none that nobody recorded. */
function doubledReports({ history, db }: Evidence): string[] {
  const known = new Set([...history.recorded.values()].flatMap((reports) => reports.map(({ mark }) => mark)));
  const seen = new Set<string>();
  const found: string[] = [];
  for (const { cluster, mark, seq } of db.events) {
    if (seen.has(mark)) found.push(`G2: report ${seq} of ${cluster} counted twice`);
    if (!known.has(mark)) found.push(`G2: report ${seq} of ${cluster} was never recorded`);
    seen.add(mark);
  }
  return found.slice(0, 3);
}

/** G3: of each cluster in the order of (epoch, seq). */
function disorderedReports({ db }: Evidence): string[] {
  const found: string[] = [];
  for (const [cluster, events] of Map.groupBy(db.events, (event) => event.cluster)) {
    const ended = new Set<string>();
    for (const [index, { epoch, seq }] of events.entries()) {
      const before = events[index - 1];
      if (before === undefined) continue;
      if (before.epoch === epoch && seq <= before.seq) found.push(`G3: report ${seq} of ${cluster} counted after ${before.seq}`);
      if (before.epoch !== epoch) ended.add(before.epoch);
      if (ended.has(epoch)) found.push(`G3: epoch ${epoch} of ${cluster} came again after it had ended`);
    }
  }
  return found.slice(0, 3);
}

/** G5: the hub releases nothing but whole revisions that can be read. */
function incompleteReleases({ history, repositories }: Evidence): string[] {
  return history.released.flatMap((row) => {
    const why = row.tombstone === null ? whyIncomplete(row, repositories) : undefined;
    return why === undefined ? [] : [`G5: released to ${row.cluster}: ${why}`];
  });
}

function whyIncomplete({ fleet, revision, bundles }: ReleasedRow, repositories: ReadonlyMap<string, GitHistory>): string | undefined {
  const git = repositories.get(fleet);
  const commit = git?.all.get(revision);
  if (!git || !commit) return `a revision of ${fleet} that nobody pushed`;
  if (commit.isBroken) return `a revision of ${fleet} that cannot be read`;
  const missing = [...commit.bundles.keys()].find((name) => !bundles.some((bundle) => bundle.name === name));
  if (missing !== undefined) return `revision ${revision.slice(0, 6)} of ${fleet} without its bundle ${missing}`;
  const isOther = bundles.some(({ name, digest }) => !["dev", "prod"].some((environment) => git.bodyOf(revision, name, environment)?.digest === digest));
  return isOther ? `something else than what revision ${revision.slice(0, 6)} of ${fleet} says` : undefined;
}

/** G5, G6, G7: what was deleted. */
function judgedDeletions({ history, clusters }: Evidence): string[] {
  const found: string[] = [];
  const unapproved = new Map<string, Deletion[]>();
  for (const deletion of history.deletions) {
    const { cluster, fleet, key, at } = deletion;
    const all = history.followed.filter((followed) => followed.cluster === cluster && followed.target.fleet === fleet && followed.at <= at);
    const followed = all.at(-1);
    const what = `${key} in ${cluster}`;
    if (!followed) {
      found.push(`G5: ${what} was deleted for fleet ${fleet}, of which no target had come`);
      continue;
    }
    const why = whyUnwarranted(deletion, followed, history);
    if (why !== undefined) found.push(`G5: ${what} was deleted ${why}`);
    const unguarded = whyUnguarded(deletion, followed, history);
    if (unguarded !== undefined) found.push(`G6: ${what} was deleted ${unguarded}`);
    const notOurs = whyNotOurs(deletion, clusters);
    if (notOurs !== undefined) found.push(`G7: ${what} was deleted ${notOurs}`);
    if (deletion.approval !== "" || followed.target.tombstone) continue;
    const stint = `${cluster} ${fleet} ${stintOf(all)}`;
    unapproved.set(stint, [...(unapproved.get(stint) ?? []), deletion]);
  }
  for (const [stint, deletions] of unapproved) {
    const allowed = allowedPrunes(defaultPruneBudget, Math.max(...deletions.map(({ inventorySize }) => inventorySize)));
    if (deletions.length > allowed) found.push(`G6: ${deletions.length} objects were deleted without an approval (${stint}), ${allowed} may be`);
  }
  return found.slice(0, 10);
}

function whyUnwarranted({ key }: Deletion, { target, keys }: FollowedTarget, history: History): string | undefined {
  const isReleased = history.released.some((row) => {
    const isSame = row.fleet === target.fleet && row.cluster === target.cluster && row.generation === target.generation && row.digest === target.digest;
    return isSame && (row.tombstone === "delete") === (target.tombstone?.policy === RemovalPolicy.DELETE);
  });
  if (!isReleased) return `for generation ${target.generation}, which the hub never released so`;
  if (target.tombstone) return target.tombstone.policy === RemovalPolicy.DELETE ? undefined : "though the fleet leaves its objects there";
  if (!target.complete || target.bundles.length === 0) return "for a target that is empty or not complete";
  return keys.has(key) ? "though the target names it" : undefined;
}

function whyUnguarded({ key, approval, cluster, fleet }: Deletion, { target }: FollowedTarget, history: History): string | undefined {
  if (approval === "") return whyProtected(parseObjectKey(key)) === undefined ? undefined : "without an approval, though its kind is protected";
  const isApproved = history.approvals.some((one) => {
    return one.fleet === fleet && one.cluster === cluster && one.digest === approval && one.revision === target.revision && one.keys.includes(key);
  });
  return isApproved ? undefined : "for an approval that nobody gave of it";
}

function whyNotOurs({ uid, owner, fleet, cluster }: Deletion, clusters: ReadonlyMap<string, LiveCluster>): string | undefined {
  if (!clusters.get(cluster)?.appliedBy.get(uid)?.has(fleet)) return `though fleet ${fleet} never applied this one (${uid})`;
  return owner !== undefined && !owner.startsWith(`${fleet}/`) ? `though it belonged to ${owner}` : undefined;
}

/** How often the revision has changed so far: a budget is for one stay at a revision. */
function stintOf(followed: readonly FollowedTarget[]): number {
  return followed.filter(({ target }, index) => target.revision !== followed[index - 1]?.target.revision).length;
}

/**
 * G16: corrections of one object in any window. An agent that dies between a correction and its being written down may do that one more; a cluster
 * that leaves the fleet and comes back begins anew.
 */
function fights({ corrections, agentDeaths, followed }: History): string[] {
  const found: string[] = [];
  const leaves = followed.filter(({ target }) => target.tombstone);
  const stay = (correction: History["corrections"][number]): number =>
    leaves.filter(({ at, cluster, target }) => at <= correction.at && cluster === correction.cluster && target.fleet === correction.fleet).length;
  for (const [object, times] of Map.groupBy(corrections, (one) => `${one.cluster} ${one.key} (${one.fleet} ${stay(one)})`)) {
    for (const [index, { at, cluster }] of times.entries()) {
      const deaths = agentDeaths.filter((death) => death.cluster === cluster && death.at <= at && death.at > at - healWindowMs).length;
      const oldest = times[index - maxHealsPerWindow - deaths];
      if (oldest && oldest.at > at - healWindowMs) found.push(`G16: ${object} was corrected more than ${maxHealsPerWindow + deaths} times in ten minutes`);
    }
  }
  return found.slice(0, 3);
}

/** G15: what the API answered is there, or something newer. */
function forgottenWrites({ history, db }: Evidence): string[] {
  return history.answered
    .filter(({ cluster, write }) => (db.clusters.get(cluster)?.write ?? 0) < write)
    .map(({ cluster, write }) => `G15: write ${write} of the labels of ${cluster} was answered and is not there`);
}
