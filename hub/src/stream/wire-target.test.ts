import { TargetSchema } from "@flotilla/proto/gen/target";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { ReleasedTarget } from "../domain/link-rows.ts";
import type { BundlePolicy } from "../domain/fleet-spec.ts";
import { wireTarget } from "./wire-target.ts";

function released(policy: Partial<BundlePolicy>, more: Partial<ReleasedTarget> = {}): ReleasedTarget {
  const whole: BundlePolicy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 }, ...policy };
  return {
    fleet: "shop",
    cluster: "berlin-1",
    generation: 7n,
    revision: "r",
    digest: "d",
    bundles: [{ name: "app", digest: "b", objectCount: 1, bodyBytes: 1, dependsOn: [], policy: whole, excluded: [] }],
    tombstone: null,
    traceparent: null,
    releasedAt: new Date(0),
    pruneApproval: null,
    ...more,
  };
}

const sent = (target: ReleasedTarget) => fromBinary(TargetSchema, toBinary(TargetSchema, wireTarget(target, "")));

describe("a target on the wire", () => {
  it("has the bundle's defaults as fleet.yaml says them, and nothing where it says nothing", () => {
    expect(sent(released({ defaults: { prune: "confirm", adopt: "never" } })).bundles[0]?.defaults).toMatchObject({
      prune: "confirm",
      ssa: "",
      force: "",
      adopt: "never",
    });
    expect(sent(released({})).bundles[0]?.defaults).toBeUndefined();
  });

  it("has the approval with the revision and the list that it is bound to", () => {
    const pruneApproval = { revision: "r", digest: "l", approvedBy: "ops", approvedAt: "2026-11-25T03:00:00.000Z" };
    expect(sent(released({}, { pruneApproval })).pruneApproval).toMatchObject({ revision: "r", digest: "l", approvedBy: "ops" });
    expect(sent(released({})).pruneApproval).toBeUndefined();
  });

  it("names no bundles beside a tombstone", () => {
    const target = sent(released({}, { tombstone: "delete" }));
    expect([target.bundles.length, target.tombstone?.policy]).toEqual([0, 2]);
  });
});
