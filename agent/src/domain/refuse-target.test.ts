import { create } from "@bufbuild/protobuf";
import { TargetSchema } from "@flotilla/proto/gen/target";
import { describe, expect, it } from "vitest";
import { refuseTarget } from "./refuse-target.ts";

const bundle = { name: "web", digest: "a".repeat(64), objectCount: 1 };
const good = { fleet: "shop", cluster: "c1", generation: 5n, digest: "d5", complete: true, bundles: [bundle] };
const refuse = (more: object, held?: { generation: bigint; digest: string }) => refuseTarget(create(TargetSchema, { ...good, ...more }), "c1", held);

describe("a target", () => {
  it("is followed when it is whole, for this cluster and not older", () => {
    expect(refuse({})).toBeUndefined();
    expect(refuse({}, { generation: 5n, digest: "d5" })).toBeUndefined();
    expect(refuse({ bundles: [], tombstone: { policy: 1 } })).toBeUndefined();
  });

  const refused: readonly (readonly [object, RegExp])[] = [
    [{ complete: false }, /not complete/],
    [{ bundles: [] }, /empty/],
    [{ bundles: [{ ...bundle, objectCount: 0 }] }, /bundle web is empty/],
    [{ bundles: [bundle, bundle] }, /twice/],
    [{ bundles: [{ ...bundle, digest: "" }] }, /no digest/],
    [{ bundles: [{ ...bundle, name: "../x" }] }, /cannot name a bundle/],
    [{ cluster: "c2" }, /for cluster "c2"/],
    [{ fleet: "" }, /names no fleet/],
    [{ generation: 4n }, /older than 5/],
    [{ digest: "other" }, /two different digests/],
    [{ tombstone: { policy: 2 } }, /must not name bundles/],
  ];
  for (const [more, reason] of refused) {
    it(`is refused when it ${reason.source}`, () => {
      expect(refuse(more, { generation: 5n, digest: "d5" })).toMatch(reason);
    });
  }
});
