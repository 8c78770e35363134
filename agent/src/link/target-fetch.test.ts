import { create } from "@bufbuild/protobuf";
import { type Body, packBody } from "@flotilla/proto/body";
import { BodyChunkSchema } from "@flotilla/proto/gen/link";
import { type Target, TargetSchema } from "@flotilla/proto/gen/target";
import { maxUnaskedBodyBytes } from "@flotilla/proto/limits";
import { expect, it, vi } from "vitest";
import { linkLimits } from "../limits.ts";
import { silentLog } from "../log.ts";
import { LinkProtocolError, TargetFetch } from "./target-fetch.ts";

const bodyOf = (name: string): Body => packBody([{ apiVersion: "v1", kind: "ConfigMap", metadata: { name } }]);
const [a, b, c] = ["a", "b", "c"].map(bodyOf) as [Body, Body, Body];

function targetOf(generation: number, bodies: readonly Body[], more: Partial<Target> = {}): Target {
  const bundles = bodies.map((body, index) => ({ name: `b${index}`, digest: body.digest, objectCount: 1, bodyBytes: BigInt(body.compressed.length) }));
  return Object.assign(
    create(TargetSchema, { fleet: "shop", cluster: "berlin-1", generation: BigInt(generation), digest: `d${generation}`, complete: true, bundles }),
    more,
  );
}

function startFetch(held: { fleet: string; generation: bigint; digest: string }[] = []) {
  const bodies = new Map<string, Uint8Array>();
  const asked: string[][] = [];
  const answers: string[] = [];
  const followed: bigint[] = [];
  const trouble = { isOn: false };
  const put = async (digest: string, content: Uint8Array): Promise<void> => {
    if (trouble.isOn) throw new Error("the API server is away");
    bodies.set(digest, content);
  };
  const fetch = new TargetFetch({
    cluster: "berlin-1",
    bodies: { has: (digest) => bodies.has(digest), put },
    log: silentLog,
    held: () => held.map((target) => ({ $typeName: "fleet.v1.HeldTarget", ...target })),
    ask: (digests) => void asked.push(digests),
    answer: ({ generation }, refusal) => void answers.push(`${generation}${refusal === "" ? "" : `: ${refusal}`}`),
    onTarget: ({ generation }) => void followed.push(generation),
  });
  const send = (body: Body, size = 20) => {
    const { length } = body.compressed;
    for (let offset = 0; offset < length; offset += size) fetch.chunk(chunkOf(body.digest, offset, length, body.compressed.subarray(offset, offset + size)));
  };
  return { fetch, bodies, asked, answers, followed, send, trouble };
}

const chunkOf = (digest: string, offset: number, total: number, content: Uint8Array) =>
  create(BodyChunkSchema, { digest, offset: BigInt(offset), totalBytes: BigInt(total), content });
const settled = () => new Promise((resolve) => setImmediate(resolve));

it("asks only for what is missing, and hands over the target when all of it is held", async () => {
  const { fetch, bodies, asked, answers, followed, send } = startFetch();
  bodies.set(a.digest, a.compressed);
  fetch.offer(targetOf(1, [a, b, b]));
  expect(asked).toEqual([[b.digest]]);
  expect(followed).toEqual([]);
  send(b);
  await settled();
  expect(followed).toEqual([1n]);
  expect(answers).toEqual(["1"]);
});

it("follows the newer target when one comes before the bodies of the older are there", async () => {
  const { fetch, asked, followed, send } = startFetch();
  fetch.offer(targetOf(1, [a, b]));
  fetch.offer(targetOf(2, [b, c]));
  expect(asked.flat().sort()).toEqual([a, b, c].map((body) => body.digest).sort());
  for (const body of [a, b, c]) send(body);
  await settled();
  expect(followed).toEqual([2n]);
});

it.each([
  ["incomplete", { complete: false }, "not complete"],
  ["of another cluster", { cluster: "rome-1" }, 'for cluster "rome-1"'],
  ["older than what is held", { generation: 4n }, "older than 5"],
  ["empty", { bundles: [] }, "empty"],
])("refuses a target that is %s, and says why", (_, more, reason) => {
  const { fetch, asked, answers, followed } = startFetch([{ fleet: "shop", generation: 5n, digest: "d5" }]);
  fetch.offer(targetOf(6, [a], more));
  expect(answers).toHaveLength(1);
  expect(answers[0]).toContain(reason);
  expect([asked, followed]).toEqual([[], []]);
});

it("asks for nothing that came before the target, small and unasked", async () => {
  const { fetch, asked, followed, send } = startFetch();
  send(a);
  fetch.offer(targetOf(1, [a]));
  await settled();
  expect(followed).toEqual([1n]);
  send(b);
  await settled();
  fetch.offer(targetOf(2, [a, b]));
  expect(followed).toEqual([1n, 2n]);
  expect(asked).toEqual([]);
});

it("asks for what came unasked and could not be kept", async () => {
  vi.useFakeTimers();
  try {
    const { fetch, asked, followed, send, trouble } = startFetch();
    trouble.isOn = true;
    send(a);
    fetch.offer(targetOf(1, [a]));
    await vi.advanceTimersByTimeAsync(0);
    expect([asked, followed]).toEqual([[], []]);
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(linkLimits.bodyRetryMs);
    expect(asked).toEqual([[a.digest]]);
    send(a);
    await vi.advanceTimersByTimeAsync(0);
    expect(followed).toEqual([1n]);
  } finally {
    vi.useRealTimers();
  }
});

it("gives up a target whose body is not to be had, and no other", async () => {
  const { fetch, answers, followed, send } = startFetch();
  fetch.offer(targetOf(1, [a]));
  fetch.offer(targetOf(1, [b], { fleet: "other" }));
  fetch.unavailable(a.digest, "gone");
  send(b);
  await settled();
  expect(answers).toEqual([`1: body ${a.digest} is not available: gone`, "1"]);
  expect(followed).toEqual([1n]);
});

it("asks again for every body that could not be kept, not only for the first", async () => {
  vi.useFakeTimers();
  try {
    const { fetch, asked, followed, send, trouble } = startFetch();
    fetch.offer(targetOf(1, [a, b]));
    trouble.isOn = true;
    for (const body of [a, b]) send(body);
    await vi.advanceTimersByTimeAsync(linkLimits.bodyRetryMs - 1);
    expect(asked).toHaveLength(1);
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.at(-1)?.toSorted()).toEqual([a.digest, b.digest].toSorted());
    for (const body of [a, b]) send(body);
    await vi.advanceTimersByTimeAsync(0);
    expect(followed).toEqual([1n]);
  } finally {
    vi.useRealTimers();
  }
});

it("ends the stream over chunks that nobody asked for, that are out of order, too large, or damaged", () => {
  const bad: ((fetch: TargetFetch) => void)[] = [
    (fetch) => fetch.chunk(chunkOf(b.digest, 0, maxUnaskedBodyBytes + 1, new Uint8Array(10))),
    (fetch) => fetch.chunk(chunkOf(b.digest, 5, 10, new Uint8Array(5))),
    (fetch) => fetch.chunk(chunkOf(b.digest, 0, 10, new Uint8Array(10))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 5, 10, new Uint8Array(5))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 0, 10, new Uint8Array(11))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 0, 10, new Uint8Array(0))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 0, 2 ** 40, new Uint8Array(5))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 0, 10, new Uint8Array(10))),
    (fetch) => fetch.chunk(chunkOf(a.digest, 0, b.compressed.length, b.compressed)),
    (fetch) => {
      fetch.chunk(chunkOf(a.digest, 0, 10, new Uint8Array(5)));
      fetch.chunk(chunkOf(a.digest, 0, 10, new Uint8Array(5)));
      fetch.chunk(chunkOf(a.digest, 4, 10, new Uint8Array(5)));
    },
  ];
  for (const send of bad) {
    const { fetch } = startFetch();
    fetch.offer(targetOf(1, [a]));
    expect(() => send(fetch)).toThrow(LinkProtocolError);
  }
});

it("begins anew with every stream", async () => {
  const { fetch, asked, followed, send } = startFetch();
  fetch.offer(targetOf(1, [a]));
  fetch.chunk(chunkOf(a.digest, 0, a.compressed.length, a.compressed.subarray(0, 10)));
  fetch.restart();
  expect(() => fetch.chunk(chunkOf(a.digest, 10, a.compressed.length, a.compressed.subarray(10)))).toThrow(LinkProtocolError);
  fetch.offer(targetOf(1, [a]));
  expect(asked).toHaveLength(2);
  send(a);
  await settled();
  expect(followed).toEqual([1n]);
});
