import type { BundlePolicy } from "./fleet-spec.ts";
import type { Problem } from "./problem.ts";

/** A cluster as placement sees it. */
export interface PlacedCluster {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** One bundle of a target: what to run, by digest, and how to keep it. */
export interface TargetBundle {
  readonly name: string;
  readonly digest: string;
  readonly objectCount: number;
  readonly bodyBytes: number;
  readonly dependsOn: readonly string[];
  readonly policy: BundlePolicy;
  /** Object ids in the body that another fleet or bundle owns in this cluster, sorted: the agent leaves them alone. */
  readonly excluded: readonly string[];
}

/** A person's word that held prunes may go: for this revision and this list. */
export interface TargetApproval {
  readonly revision: string;
  readonly digest: string;
  readonly approvedBy: string;
  /** RFC 3339. */
  readonly approvedAt: string;
}

/** What one cluster should run for one fleet, before it is given a generation. */
export interface PlacedTarget {
  readonly fleet: string;
  readonly cluster: string;
  readonly revision: string;
  /** targetDigest over bundles (proto/src/digest.ts). */
  readonly digest: string;
  readonly bundles: readonly TargetBundle[];
  /** What this cluster does not get, and why. */
  readonly problems: readonly Problem[];
}
