import { listDigest } from "@flotilla/proto/digest";
import type { HeldPruneRow, Page, PruneApprovals } from "@flotilla/proto/rest/contract";
import type { HubApi } from "../harness/hub-api.ts";

/** A list of deletions that a person let go in one cluster, for one revision. */
export interface ApprovedList {
  readonly cluster: string;
  readonly revision: string;
  /** Names of its objects. */
  readonly objects: readonly string[];
  /** When it was asked for, epoch ms: it may count although the answer was lost. */
  readonly at: number;
}

/**
 * As a person with `fleet approve prune --all-clusters`: looks at the lists that are held, and lets exactly these go. Each is noted before it is asked for.
 * One that changes meanwhile is refused by the hub, and stays for the next time.
 */
export async function approveHeld(api: HubApi, approved: ApprovedList[]): Promise<void> {
  const { items } = await api.request<Page<HeldPruneRow>>("GET", "/api/v1/fleets/chaos/held-prunes?limit=500");
  const waiting = items.filter(({ whole, approvedBy }) => whole && approvedBy === null);
  for (const same of Map.groupBy(waiting, ({ revision, digest }) => `${revision} ${digest}`).values()) {
    const [first] = same;
    if (first === undefined) continue;
    const { revision, digest } = first;
    const seen = await api.objects({ fleet: "chaos", cluster: first.cluster, prune: "held" });
    const ids = seen.map(({ group, kind, namespace, name }) => `${group}/${kind}/${namespace}/${name}`);
    if (listDigest(ids) !== digest) continue;
    const clusters = same.map(({ cluster }) => cluster);
    const objects = seen.map(({ name }) => name);
    for (const cluster of clusters) approved.push({ cluster, revision, objects, at: Date.now() });
    await api.request<PruneApprovals>("POST", "/api/v1/fleets/chaos/prune-approvals", { clusters, revision, digest, reason: "seen in chaos" });
  }
}
