import type { KubeObject } from "@flotilla/proto/digest";
import type { FleetSpec, LabelSelector } from "../domain/fleet-spec.ts";
import type { Problem } from "../domain/problem.ts";
import type { SourceTree } from "../domain/source-tree.ts";
import type { PlacedCluster, PlacedTarget } from "../domain/target.ts";

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
  readonly path: string;
  readonly selector: LabelSelector | null;
  /** The last good revision: what targets are made of. */
  readonly revision: string | null;
  /** The newest revision seen, good or bad. */
  readonly seenRevision: string | null;
  readonly problems: readonly Problem[];
  readonly deleting: "orphan" | "delete" | null;
}

export type GitRef = { readonly branch: string } | { readonly tag: string } | { readonly commit: string } | { readonly semver: string };

/** What a ref names now. */
export interface FoundRevision {
  readonly revision: string;
  readonly tree: string;
  readonly author: string;
  readonly subject: string;
  readonly committedAt: Date | null;
}

/** A body that is in the store. */
export interface StoredBody {
  readonly digest: string;
  readonly objectCount: number;
  readonly bodyBytes: number;
  readonly objectIds: readonly string[];
}

/** Which body a bundle rendered to with certain inputs. */
export interface RenderedBundle extends StoredBody {
  readonly bundle: string;
  /** Digest of the inputs. */
  readonly inputs: string;
}

/** Why work is being done on a fleet. */
export interface SyncCause {
  readonly kind: "webhook" | "poll";
  readonly startedAt: Date;
  /** When the fetch began and ended. */
  readonly fetchedFrom: Date;
  readonly fetchedAt: Date;
  readonly traceparent: string | null;
}

export interface PhaseRow {
  readonly phase: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly error: string;
  readonly spanId: string;
}

export interface Removal {
  readonly cluster: string;
  readonly policy: "orphan" | "delete";
}

export type { FleetSpec, KubeObject, PlacedCluster, PlacedTarget, Problem, SourceTree };
