import { fromBinary } from "@bufbuild/protobuf";
import { ConnectResponseSchema } from "@flotilla/proto/gen/link";
import { maxChunkBytes } from "@flotilla/proto/limits";
import { expect, it } from "vitest";
import { BodyCache, encodeChunks } from "./body-cache.ts";

it("reads a body once for everyone who asks at the same time and afterwards", async () => {
  let reads = 0;
  const cache = new BodyCache(
    async () => {
      reads += 1;
      return new Uint8Array(10);
    },
    100,
    1,
  );
  await Promise.all([cache.load("a"), cache.load("a"), cache.load("a")]);
  await cache.load("a");
  expect(reads).toBe(1);
});

it("keeps no more than its bytes, and lets go of the least recently used", async () => {
  const reads: string[] = [];
  const cache = new BodyCache(
    async (digest) => {
      reads.push(digest);
      return new Uint8Array(40);
    },
    100,
    2,
  );
  for (const digest of ["a", "b", "a", "c", "a", "b"]) await cache.load(digest);
  expect(reads).toEqual(["a", "b", "c", "b"]);
});

it("takes turns, and goes on after a failure", async () => {
  let running = 0;
  let most = 0;
  const cache = new BodyCache(
    async (digest) => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running -= 1;
      if (digest === "bad") throw new Error("no");
      return digest === "none" ? undefined : new Uint8Array(1);
    },
    100,
    2,
  );
  const results = await Promise.allSettled(["a", "bad", "none", "b", "c"].map((digest) => cache.load(digest)));
  expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled"]);
  expect(most).toBeLessThanOrEqual(2);
});

it.each([0, 1, maxChunkBytes, maxChunkBytes + 1, 3 * maxChunkBytes])("cuts %i bytes into parts that make the whole again", (length) => {
  const content = Buffer.alloc(length, 7);
  const parts = encodeChunks("d", content).map(
    ({ bytes }) => fromBinary(ConnectResponseSchema, bytes).message.value as { offset: bigint; totalBytes: bigint; content: Uint8Array },
  );
  expect(Buffer.concat(parts.map((part) => part.content)).equals(content)).toBe(true);
  for (const part of parts) expect(part.content.length).toBeLessThanOrEqual(maxChunkBytes);
  expect(parts.map((part) => Number(part.offset))).toEqual(parts.map((_, index) => index * maxChunkBytes));
  expect(parts.every((part) => Number(part.totalBytes) === length)).toBe(true);
});
