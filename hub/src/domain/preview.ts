import type { Preview } from "@flotilla/proto/rest/contract";
import type { Problem } from "./problem.ts";
import type { RolloutSpec } from "./fleet-spec.ts";
import type { TargetBundle } from "./target.ts";
import { waveOf } from "./rollout-plan.ts";
import type { Labels } from "./select-clusters.ts";

/** What would become of one object: see DryRunAction of fleet/v1/link.proto. */
export type PreviewAction = "create" | "configure" | "recreate" | "prune" | "hold-prune" | "let-go" | "refuse" | "conflict" | "keep" | "run-hook";

export interface PreviewObject {
  /** "group/kind/namespace/name". */
  readonly object: string;
  readonly bundle: string;
  readonly action: PreviewAction;
  readonly message: string;
  /** JSON text, "" for absent; of Secret-like kinds hashes. */
  readonly fields: readonly { readonly path: string; readonly before: string; readonly after: string }[];
  readonly moreFields: number;
}

/** What one cluster says a target would do to it, or why it cannot say. */
export type DryRunAnswer =
  | { readonly error: string }
  | { readonly objects: readonly PreviewObject[]; readonly leftOut: number; readonly unchanged: number; readonly effect: string };

/** What a cluster is asked. */
export interface DryRunQuestion {
  readonly revision: string;
  readonly baseDigest: string;
  readonly digest: string;
  readonly bundles: readonly TargetBundle[];
  /** Of bodies that the cluster does not hold. */
  readonly bodies: readonly string[];
  /** Hex. */
  readonly hashKey: string;
}

/** Clusters on which a change does the same. */
export interface PreviewGroup {
  readonly clusters: readonly string[];
  readonly objects: readonly PreviewObject[];
  readonly leftOut: number;
  readonly unchanged: number;
}

/** Clusters of which nothing is known, and why. */
export interface PreviewSilence {
  readonly clusters: readonly string[];
  readonly reason: string;
}

export interface GroupedAnswers {
  /** The largest first. */
  readonly groups: readonly PreviewGroup[];
  /** Asked, and nothing would change. */
  readonly same: readonly string[];
  readonly unknown: readonly PreviewSilence[];
}

/**
 * Groups clusters by identical effect. Pure; in the same order whatever the order of the answers: large groups first, then by name.
 *
 * @param answers by cluster; undefined: it has not answered in time.
 */
export function groupAnswers(answers: ReadonlyMap<string, DryRunAnswer | undefined>): GroupedAnswers {
  const byEffect = new Map<string, PreviewGroup & { readonly clusters: string[] }>();
  const byReason = new Map<string, string[]>();
  const same: string[] = [];
  for (const [cluster, answer] of [...answers].sort(([left], [right]) => (left < right ? -1 : 1))) {
    if (answer === undefined || "error" in answer) {
      const reason = answer?.error ?? "it did not answer in time";
      byReason.set(reason, [...(byReason.get(reason) ?? []), cluster]);
    } else if (answer.objects.length + answer.leftOut === 0) {
      same.push(cluster);
    } else {
      const { effect, ...rest } = answer;
      const group = byEffect.get(effect) ?? { ...rest, clusters: [] };
      group.clusters.push(cluster);
      byEffect.set(effect, group);
    }
  }
  const bySize = (left: { clusters: readonly string[] }, right: { clusters: readonly string[] }): number => right.clusters.length - left.clusters.length;
  return {
    // A stable sort: equally large ones stay in the order of their first cluster.
    groups: [...byEffect.values()].sort(bySize),
    same,
    unknown: [...byReason].map(([reason, clusters]) => ({ reason, clusters })).sort(bySize),
  };
}

/** What waves would make of a change: how many of the clusters that it concerns are in each, and what each waits for. */
export function wavesOf(
  plan: RolloutSpec | undefined,
  concerned: readonly { readonly name: string; readonly labels: Labels }[],
): readonly { readonly name: string; readonly clusters: number; readonly waits: readonly string[] }[] {
  if (plan === undefined) return [];
  const counts = new Map<number, number>();
  for (const { labels } of concerned) counts.set(waveOf(plan, labels), (counts.get(waveOf(plan, labels)) ?? 0) + 1);
  return plan.waves.map(({ name, after, windows }, index) => ({
    name,
    clusters: counts.get(index) ?? 0,
    waits: [
      ...(windows ? ["its window"] : []),
      ...(after.healthy ? ["healthy"] : []),
      ...(after.soakMs > 0 ? [`soak ${Math.round(after.soakMs / 1_000)} s`] : []),
      ...(after.check === undefined ? [] : ["check"]),
      ...after.metrics.map((gate) => `metric ${gate.name}`),
      ...after.jobs.map((gate) => `Job ${gate.name}`),
      ...(after.approval === undefined ? [] : [`approval by ${after.approval}`]),
    ],
  }));
}

/** How a preview stands; Preview of the REST contract has this with id, fleet and times. */
export interface PreviewFound {
  readonly phase: "Rendering" | "Asking" | "Done" | "Failed";
  /** What was asked for, in words: "branch feature-x". */
  readonly of: string;
  readonly revision: string | null;
  readonly current: string | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly clusters: { readonly total: number; readonly asked: number; readonly answered: number };
  readonly groups: readonly PreviewGroup[];
  /** Clusters that would not change: their target stays, or nothing in it would be done. */
  readonly same: readonly string[];
  readonly unknown: readonly PreviewSilence[];
  /** Clusters that would come to the fleet, and leave it. */
  readonly joining: readonly string[];
  readonly leaving: readonly string[];
  readonly waves: ReturnType<typeof wavesOf>;
  /** How long the fleet's last rollout took; null when there was none. */
  readonly lastRolloutMs: number | null;
}

/** A preview as REST gives it. */
export function previewRow(kept: {
  readonly id: string;
  readonly fleet: string;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  readonly found: PreviewFound;
}): Preview {
  const { id, fleet, createdAt, endedAt, found } = kept;
  const { phase, clusters } = found;
  return {
    id,
    fleet,
    createdAt: createdAt.toISOString(),
    endedAt: endedAt?.toISOString() ?? null,
    mark: `${phase}.${clusters.asked}.${clusters.answered}`,
    ...found,
  } as Preview;
}

/** Nothing is known yet. */
export function emptyPreview(of: string): PreviewFound {
  return {
    phase: "Rendering",
    of,
    revision: null,
    current: null,
    problems: [],
    warnings: [],
    clusters: { total: 0, asked: 0, answered: 0 },
    groups: [],
    same: [],
    unknown: [],
    joining: [],
    leaving: [],
    waves: [],
    lastRolloutMs: null,
  };
}
