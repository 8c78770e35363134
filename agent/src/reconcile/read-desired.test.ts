import { create } from "@bufbuild/protobuf";
import { TargetSchema, type Target } from "@flotilla/proto/gen/target";
import type { KubeObject } from "@flotilla/proto/digest";
import { describe, expect, it } from "vitest";
import { readDesired } from "./read-desired.ts";

const configMap = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "n" } }) as KubeObject;
const bodies: Record<string, readonly unknown[]> = { one: [configMap("a"), configMap("b")], two: [configMap("a")], odd: [{ hello: 1 }] };
const open = (digest: string) => {
  const lines = (bodies[digest] ?? []).map((object) => Buffer.from(JSON.stringify(object)));
  return Promise.resolve({ count: lines.length, line: (i: number) => lines[i] as Buffer, object: (i: number) => JSON.parse(String(lines[i])) as KubeObject });
};
const target = (...bundles: object[]): Target => create(TargetSchema, { fleet: "shop", bundles });
const one = { name: "one", digest: "one", objectCount: 2 };

describe("what a target wants", () => {
  it("is an index of its objects, whose hash changes with content and ignore rules", async () => {
    const plain = await readDesired(target(one), open);
    const ignoring = await readDesired(target({ ...one, ignore: [{ name: "a", paths: ["/data"] }] }), open);
    expect([...plain.objects.keys()]).toEqual(["/ConfigMap/n/a", "/ConfigMap/n/b"]);
    const hash = (desired: typeof plain, name: string) => desired.objects.get(`/ConfigMap/n/${name}`)?.hash;
    expect(hash(ignoring, "a")).not.toBe(hash(plain, "a"));
    expect(hash(ignoring, "b")).toBe(hash(plain, "b"));
  });

  it("leaves out what another owns", async () => {
    const desired = await readDesired(target({ ...one, excluded: ["/ConfigMap/n/a"] }), open);
    expect([...desired.objects.keys()]).toEqual(["/ConfigMap/n/b"]);
    expect([...desired.excluded]).toEqual([["/ConfigMap/n/a", "one"]]);
  });

  it("is refused when a body is not what the target says", async () => {
    await expect(readDesired(target({ ...one, objectCount: 3 }), open)).rejects.toThrow(/should have 3 objects, its body has 2/);
    await expect(readDesired(target(one, { name: "two", digest: "two", objectCount: 1 }), open)).rejects.toThrow(
      /ConfigMap n\/a is in bundle one and in bundle two/,
    );
    await expect(readDesired(target({ name: "odd", digest: "odd", objectCount: 1 }), open)).rejects.toThrow(/line 1 of bundle odd is not a Kubernetes object/);
  });

  it("has defaults for what a bundle leaves open", async () => {
    const desired = await readDesired(target(one), open);
    expect(desired.bundles.get("one")).toMatchObject({ driftMode: "heal", healthTimeoutMs: 300_000, budget: undefined });
  });
});
