import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type DurationSchema, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type DeadlinesSchema,
  DriftMode,
  RemovalPolicy,
  type SuspensionSchema,
  type SyncWindowsSchema,
  type Target,
  type TargetBundle as TargetBundleMessage,
  TargetBundleSchema,
  TargetSchema,
  WhenClosed,
} from "@flotilla/proto/gen/target";
import type { SyncWindow, SyncWindows } from "@flotilla/proto/sync-windows";
import type { ReleasedTarget } from "../domain/link-rows.ts";
import type { OverrideRow, SuspensionRow } from "../domain/suspension.ts";
import type { TargetBundle } from "../domain/target.ts";

const driftModes = { heal: DriftMode.HEAL, report: DriftMode.REPORT, "heal-unless-drifted": DriftMode.HEAL_UNLESS_DRIFTED } as const;
const policies = { orphan: RemovalPolicy.ORPHAN, delete: RemovalPolicy.DELETE } as const;

/** A released target as the agent gets it. Complete by construction: the row was written whole. */
export function wireTarget(target: ReleasedTarget, traceparent: string): Target {
  const { fleet, cluster, generation, revision, digest, tombstone, releasedAt, suspensions = [], overrides = [] } = target;
  const whole = suspensions.find(({ bundle }) => bundle === "");
  const ofBundles = suspensions.filter(({ bundle }) => bundle !== "").map((row) => [row.bundle, wireSuspension(row)] as const);
  return create(TargetSchema, {
    fleet,
    cluster,
    generation,
    revision,
    digest,
    complete: true,
    bundles: tombstone === null ? wireBundles(target, suspensions, overrides) : [],
    ...(whole && { suspension: wireSuspension(whole) }),
    suspendedBundles: Object.fromEntries(ofBundles),
    ...(tombstone !== null && { tombstone: { policy: policies[tombstone], reason: `the cluster no longer belongs to fleet ${fleet}` } }),
    traceparent,
    releasedAt: timestampFromDate(releasedAt),
    ...(target.pruneApproval !== null && {
      pruneApproval: { ...target.pruneApproval, approvedAt: timestampFromDate(new Date(target.pruneApproval.approvedAt)) },
    }),
  });
}

const plain = new WeakMap<readonly TargetBundle[], TargetBundleMessage[]>();

/** Clusters that get the same share the bundles; where nobody suspended or overrode anything they share the message too. */
function wireBundles({ bundles }: ReleasedTarget, suspensions: readonly SuspensionRow[], overrides: readonly OverrideRow[]): TargetBundleMessage[] {
  const made = (acts: (name: string) => ReturnType<typeof wireActs>) =>
    bundles.map((bundle) => create(TargetBundleSchema, wireBundle(bundle, acts(bundle.name))));
  if (overrides.length > 0 || suspensions.some(({ bundle }) => bundle !== "")) return made((name) => wireActs(name, suspensions, overrides));
  const known = plain.get(bundles) ?? made(() => ({}));
  plain.set(bundles, known);
  return known;
}

function wireSuspension({ reason, by, since }: SuspensionRow): MessageInitShape<typeof SuspensionSchema> {
  return { reason, by, since: timestampFromDate(since) };
}

/** What people did to one bundle: of several overrides the one that lasts longest counts. */
function wireActs(name: string, suspensions: readonly SuspensionRow[], overrides: readonly OverrideRow[]) {
  const suspension = suspensions.find(({ bundle }) => bundle === name);
  const [override] = overrides.filter(({ bundle }) => bundle === "" || bundle === name).toSorted((a, b) => b.until.getTime() - a.until.getTime());
  return {
    ...(suspension && { suspension: wireSuspension(suspension) }),
    ...(override && { windowOverride: { reason: override.reason, by: override.by, until: timestampFromDate(override.until) } }),
  };
}

function wireBundle(bundle: TargetBundle, acts: ReturnType<typeof wireActs>): MessageInitShape<typeof TargetBundleSchema> {
  const { name, digest, objectCount, bodyBytes, dependsOn, policy, excluded } = bundle;
  return {
    name,
    digest,
    objectCount,
    bodyBytes: BigInt(bodyBytes),
    dependsOn: [...dependsOn],
    driftMode: driftModes[policy.drift],
    ignore: policy.ignore.map((rule) => ({
      ...rule,
      paths: [...(rule.paths ?? [])],
      queries: [...(rule.queries ?? [])],
      managers: [...(rule.managers ?? [])],
    })),
    ignoreDefaultsOff: [...(policy.ignoreDefaultsOff ?? [])],
    healthTimeout: durationOf(policy.healthTimeoutMs),
    pruneBudget: policy.pruneBudget,
    excluded: [...(excluded ?? [])],
    ...(policy.defaults !== undefined && { defaults: { ...policy.defaults } }),
    ...acts,
    readiness: [...(policy.readiness ?? [])],
    ...(policy.deadlinesMs && { deadlines: wireDeadlines(policy.deadlinesMs) }),
    syncWindows: (policy.syncWindows ?? []).map(wireWindows),
    serviceAccount: policy.serviceAccount ?? "",
    healthChecks: (policy.healthChecks ?? []).map((check) => ({ ...check })),
  };
}

function wireDeadlines(ms: NonNullable<TargetBundle["policy"]["deadlinesMs"]>): MessageInitShape<typeof DeadlinesSchema> {
  return Object.fromEntries(Object.entries(ms).map(([phase, value]) => [phase, durationOf(value)]));
}

const whenClosed = { finish: WhenClosed.FINISH, stop: WhenClosed.STOP } as const;

function wireWindows(windows: SyncWindows): MessageInitShape<typeof SyncWindowsSchema> {
  const wire = ({ durationMs, ...window }: SyncWindow) => ({ ...window, ...(durationMs !== undefined && { duration: durationOf(durationMs) }) });
  return { allow: windows.allow.map(wire), deny: windows.deny.map(wire), whenClosed: whenClosed[windows.whenClosed], heal: windows.heal };
}

/** Milliseconds as a protobuf duration. */
export function durationOf(ms: number): MessageInitShape<typeof DurationSchema> {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 };
}
