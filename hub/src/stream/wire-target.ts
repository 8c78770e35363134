import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type DurationSchema, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DriftMode, RemovalPolicy, type Target, type TargetBundleSchema, TargetSchema } from "@flotilla/proto/gen/target";
import type { ReleasedTarget } from "../domain/link-rows.ts";
import type { TargetBundle } from "../domain/target.ts";

const driftModes = { heal: DriftMode.HEAL, report: DriftMode.REPORT, "heal-unless-drifted": DriftMode.HEAL_UNLESS_DRIFTED } as const;
const policies = { orphan: RemovalPolicy.ORPHAN, delete: RemovalPolicy.DELETE } as const;

/** A released target as the agent gets it. Complete by construction: the row was written whole. */
export function wireTarget(target: ReleasedTarget, traceparent: string): Target {
  const { fleet, cluster, generation, revision, digest, tombstone, releasedAt } = target;
  return create(TargetSchema, {
    fleet,
    cluster,
    generation,
    revision,
    digest,
    complete: true,
    bundles: tombstone === null ? target.bundles.map(wireBundle) : [],
    ...(tombstone !== null && { tombstone: { policy: policies[tombstone], reason: `the cluster no longer belongs to fleet ${fleet}` } }),
    traceparent,
    releasedAt: timestampFromDate(releasedAt),
    ...(target.pruneApproval !== null && {
      pruneApproval: { ...target.pruneApproval, approvedAt: timestampFromDate(new Date(target.pruneApproval.approvedAt)) },
    }),
  });
}

function wireBundle(bundle: TargetBundle): MessageInitShape<typeof TargetBundleSchema> {
  const { name, digest, objectCount, bodyBytes, dependsOn, policy, excluded } = bundle;
  return {
    name,
    digest,
    objectCount,
    bodyBytes: BigInt(bodyBytes),
    dependsOn: [...dependsOn],
    driftMode: driftModes[policy.drift],
    ignore: policy.ignore.map((rule) => ({ ...rule, paths: [...rule.paths] })),
    healthTimeout: durationOf(policy.healthTimeoutMs),
    pruneBudget: policy.pruneBudget,
    excluded: [...(excluded ?? [])],
    ...(policy.defaults !== undefined && { defaults: { ...policy.defaults } }),
    serviceAccount: policy.serviceAccount ?? "",
    healthChecks: (policy.healthChecks ?? []).map((check) => ({ ...check })),
  };
}

/** Milliseconds as a protobuf duration. */
export function durationOf(ms: number): MessageInitShape<typeof DurationSchema> {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 };
}
