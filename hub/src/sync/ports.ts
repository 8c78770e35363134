import type { LabelSelector } from "../domain/fleet-spec.ts";
import type { TargetedCluster } from "../domain/plan-removals.ts";
import type { Problem } from "../domain/problem.ts";

/** A right to do what must be single; every write under it checks the fence. */
export interface Lease {
  readonly name: string;
  readonly holder: string;
  readonly fence: bigint;
}

/** A fleet as its follower needs it. */
export interface FollowedFleet {
  readonly name: string;
  readonly ref: GitRef;
  /** The fleet's folder in the repository; "" is the root. */
  readonly path: string;
  readonly selector: LabelSelector | null;
  /** The last good revision: what targets are made of. */
  readonly revision: string | null;
  /** The newest revision seen, good or bad. */
  readonly seenRevision: string | null;
  /** The tag that a semver range came to then. */
  readonly seenTag: string | null;
  readonly problems: readonly Problem[];
  readonly deleting: "orphan" | "delete" | null;
  /** Until the grace of the first cluster that leaves is over, by the database's clock; null when none leaves. */
  readonly leavesInMs: number | null;
}

export type GitRef = { readonly branch: string } | { readonly tag: string } | { readonly commit: string } | { readonly semver: string };

/** What a ref names now. */
export interface FoundRevision {
  readonly revision: string;
  readonly tree: string;
  readonly author: string;
  readonly subject: string;
  readonly committedAt: Date | null;
  /** The tag that a semver range came to. */
  readonly tag?: string;
  /** The ref went back or aside: what was there before is not an ancestor. */
  readonly rewound: boolean;
}

/** What began the work on a revision, and when. */
export interface SyncCause {
  readonly kind: "webhook" | "poll";
  readonly startedAt: Date;
  /** When the fetch began and ended. */
  readonly fetchedFrom: Date;
  readonly fetchedAt: Date;
  /** W3C trace context of who asked, if any. */
  readonly traceparent: string | null;
}

export interface Removal {
  readonly cluster: string;
  readonly policy: "orphan" | "delete";
  /** Set when the fleet no longer selects the cluster: the labels that say so. It goes only while it still has them. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What the store knows of clusters that may leave. */
export interface Targeted {
  readonly clusters: readonly TargetedCluster[];
  /** Clusters that left within removalWindowMs when their grace ended. */
  readonly leftLately: number;
  /** Digests of removals that people approved and that were not used. */
  readonly approved: readonly string[];
}
