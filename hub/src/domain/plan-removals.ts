import { listDigest } from "@flotilla/proto/digest";
import type { RemovalSpec } from "./fleet-spec.ts";
import type { Problem } from "./problem.ts";

/** What holds where fleet.yaml says nothing: an hour to see a slip, and the objects stay. */
export const defaultRemoval: RemovalSpec = { policy: "orphan", graceMs: 3_600_000 };

/** Of a fleet's clusters, so many may leave without a person's word: one, or this share when that is more. */
const leavingPercentMax = 10;

/** A cluster that has a target of the fleet. */
export interface TargetedCluster {
  readonly cluster: string;
  /** How long the fleet has not selected it, by the database's clock; null while it does. */
  readonly leavingForMs: number | null;
}

export interface RemovalQuestion {
  readonly targeted: readonly TargetedCluster[];
  /** Clusters that the fleet selects now, whether or not they get a new target. */
  readonly staying: ReadonlySet<string>;
  /** Clusters that left lately when their grace ended: edits one after another count together. */
  readonly leftLately: number;
  readonly removal: RemovalSpec;
  /** Digests that people approved. */
  readonly approved: readonly string[];
}

/** Clusters that leave and wait for a person. */
export interface HeldRemoval {
  readonly policy: RemovalSpec["policy"];
  /** Sorted. */
  readonly clusters: readonly string[];
  /** Of policy and clusters: what an approval names. */
  readonly digest: string;
  /** Clusters that the fleet has, these among them, and those that left lately. */
  readonly of: number;
  readonly leftLately: number;
  /** How many may leave without a person. */
  readonly allowed: number;
}

export interface RemovalPlan {
  /** Get a tombstone now. */
  readonly removals: readonly { readonly cluster: string; readonly policy: RemovalSpec["policy"] }[];
  /** Keep what they have; graceMs null: until a person has spoken. */
  readonly leaving: readonly { readonly cluster: string; readonly graceMs: number | null }[];
  readonly held: HeldRemoval | undefined;
  /** Digest of the approval that let the removals go. */
  readonly approval: string | undefined;
}

/**
 * What becomes of clusters that a fleet no longer selects. Each keeps what it has for a grace period, and stays when it is selected
 * again in time. More than a tenth of the fleet's clusters, and at least two, go only by a person's word for exactly this list.
 */
export function planRemovals({ targeted, staying, leftLately, removal, approved }: RemovalQuestion): RemovalPlan {
  const left = targeted.filter(({ cluster }) => !staying.has(cluster));
  const clusters = left.map(({ cluster }) => cluster).sort();
  const { policy, graceMs } = removal;
  const none = { removals: [], leaving: [], held: undefined, approval: undefined };
  if (left.length === 0) return none;
  const digest = removalDigest(policy, clusters);
  if (approved.includes(digest)) return { ...none, removals: clusters.map((cluster) => ({ cluster, policy })), approval: digest };
  const of = targeted.length + leftLately;
  const allowed = Math.max(1, Math.floor((of * leavingPercentMax) / 100));
  if (left.length + leftLately > allowed)
    return { ...none, leaving: clusters.map((cluster) => ({ cluster, graceMs: null })), held: { policy, clusters, digest, of, leftLately, allowed } };
  const isOver = ({ leavingForMs }: TargetedCluster): boolean => leavingForMs !== null && leavingForMs >= graceMs;
  return {
    ...none,
    removals: left.filter(isOver).map(({ cluster }) => ({ cluster, policy })),
    leaving: left.filter((row) => !isOver(row)).map(({ cluster }) => ({ cluster, graceMs })),
  };
}

/** Digest of what a person approves: what becomes of the objects counts as much as which clusters. */
export function removalDigest(policy: string, clusters: readonly string[]): string {
  return listDigest(clusters.map((cluster) => `${policy} ${cluster}`));
}

/** Names shown in a problem; `fleet approve removal` shows all. */
const namesShown = 10;

/** What the fleet is told while the removal waits. */
export function problemOfHeldRemoval(fleet: string, { policy, clusters, of, leftLately, allowed }: HeldRemoval): Problem {
  const names = clusters.slice(0, namesShown).join(", ");
  const more = clusters.length > namesShown ? ` and ${clusters.length - namesShown} more` : "";
  const lately = leftLately === 0 ? "" : `, and ${leftLately} left lately`;
  const fate = policy === "delete" ? "their objects would be deleted" : "their objects would stay";
  return {
    code: "removal-held",
    message: `${clusters.length} of ${of} clusters no longer match the fleet's selector${lately}; ${allowed} may leave without a person's word. Nobody is removed (${fate}): ${names}${more}`,
    hint: `mend the selector or the labels, or let them go: fleet approve removal ${fleet}`,
  };
}
