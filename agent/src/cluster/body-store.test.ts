import { randomBytes } from "node:crypto";
import { packBody } from "@flotilla/proto/body";
import type { KubeObject } from "@flotilla/proto/digest";
import { describe, expect, it } from "vitest";
import { BodyStore } from "./body-store.ts";
import type { StateObject, StateObjects } from "./state-objects.ts";

function memory() {
  const kept = new Map<string, StateObject>();
  let age = 0;
  const objects = {
    kept,
    reads: 0,
    failing: undefined as Error | undefined,
    makeOld: () => (age = 3_600_000),
    put: (_h: string, _k: string, name: string, annotations: Record<string, string>, data: Record<string, string>) => {
      if (objects.failing) return Promise.reject(objects.failing);
      kept.set(name, { metadata: { name, annotations, creationTimestamp: new Date(Date.now()).toISOString() }, data });
      return Promise.resolve();
    },
    get: (_h: string, name: string) => {
      objects.reads += 1;
      return Promise.resolve(kept.get(name));
    },
    remove: (_h: string, name: string) => Promise.resolve(void kept.delete(name)),
    list: () =>
      Promise.resolve([...kept.values()].map(({ metadata }) => ({ metadata: { ...metadata, creationTimestamp: new Date(Date.now() - age).toISOString() } }))),
  };
  return { objects, store: () => new BodyStore(objects as unknown as StateObjects) };
}

const big = (count: number) =>
  packBody(
    Array.from(
      { length: count },
      (_, i) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `n${i}` }, data: { noise: randomBytes(20_000).toString("hex") } }) as KubeObject,
    ),
  );

const small = (number: number) =>
  packBody([{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `n${number}` }, data: { noise: randomBytes(500).toString("hex") } } as KubeObject]);

describe("bodies in Secrets", () => {
  it("are kept in parts and read back object by object, also by the next process", async () => {
    const { objects, store } = memory();
    const body = big(80);
    await store().put(body.digest, body.compressed);
    expect(objects.kept.size).toBeGreaterThan(1);
    for (const { data } of objects.kept.values()) expect(data?.body?.length).toBeLessThan(1_000_000);
    const next = store();
    await next.load();
    expect(next.has(body.digest)).toBe(true);
    const open = await next.open(body.digest);
    expect(open.count).toBe(80);
    expect(open.object(79).metadata.name).toBe("n79");
  });

  it("do not count as held while a part is missing, nor after somebody took one away", async () => {
    const { objects, store } = memory();
    const body = big(80);
    const first = store();
    await first.put(body.digest, body.compressed);
    const [, second] = [...objects.kept.keys()];
    const reader = store();
    await reader.load();
    objects.kept.delete(second ?? "");
    await expect(reader.open(body.digest)).rejects.toThrow(/part 1 of body .* is missing/);
    expect(reader.has(body.digest)).toBe(false);
    const next = store();
    await next.load();
    expect(next.has(body.digest)).toBe(false);
  });

  it("that were damaged are refused", async () => {
    const { store } = memory();
    const [one, other] = [big(1), big(1)];
    const bodies = store();
    await bodies.put(one.digest, other.compressed);
    await expect(bodies.open(one.digest)).rejects.toThrow(/damaged/);
  });

  it("are removed when no target names them, but not when they just came", async () => {
    const { objects, store } = memory();
    const [named, unnamed] = [big(1), big(1)];
    const writer = store();
    for (const body of [named, unnamed]) await writer.put(body.digest, body.compressed);
    await writer.collect(new Set([named.digest]));
    expect(objects.kept.size).toBe(2);
    objects.makeOld();
    const later = store();
    await later.load();
    await later.collect(new Set([named.digest]));
    expect(later.has(unnamed.digest)).toBe(false);
    expect(objects.kept.size).toBe(1);
    expect((await later.open(named.digest)).count).toBe(1);
  });

  it("share a Secret when they are small and come together, and are read together", async () => {
    const { objects, store } = memory();
    const bodies = Array.from({ length: 450 }, (_, i) => small(i));
    const writer = store();
    await Promise.all(bodies.map((body) => writer.put(body.digest, body.compressed)));
    expect(objects.kept.size).toBe(3);
    const reader = store();
    await reader.load();
    const before = objects.reads;
    for (const [i, body] of bodies.entries()) expect((await reader.open(body.digest)).object(0).metadata.name).toBe(`n${i}`);
    expect(objects.reads - before).toBe(3);
  });

  it("that share a Secret stay when others of it go, and move together when most are gone", async () => {
    const { objects, store } = memory();
    const bodies = Array.from({ length: 100 }, (_, i) => small(i));
    const writer = store();
    await Promise.all(bodies.map((body) => writer.put(body.digest, body.compressed)));
    const [first] = [...objects.kept.keys()];
    objects.makeOld();
    const holds = async (count: number) => {
      const next = store();
      await next.load();
      await next.collect(new Set(bodies.slice(0, count).map(({ digest }) => digest)));
      for (const body of bodies.slice(0, count)) expect((await next.open(body.digest)).count).toBe(1);
    };
    await holds(50);
    expect([...objects.kept.keys()]).toEqual([first]);
    await holds(10);
    expect([...objects.kept.keys()]).not.toContain(first);
    expect(Object.keys([...objects.kept.values()][0]?.data ?? {})).toHaveLength(10);
    await holds(0);
    expect(objects.kept.size).toBe(0);
  });

  it("tell each of those that wait when they cannot be written, and are taken at the next try", async () => {
    const { objects, store } = memory();
    const bodies = [small(1), small(2)];
    const writer = store();
    objects.failing = new Error("the API server is away");
    const refused = await Promise.allSettled(bodies.map((body) => writer.put(body.digest, body.compressed)));
    expect(refused.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(bodies.some(({ digest }) => writer.has(digest))).toBe(false);
    objects.failing = undefined;
    await Promise.all(bodies.map((body) => writer.put(body.digest, body.compressed)));
    expect(bodies.every(({ digest }) => writer.has(digest))).toBe(true);
  });
});
