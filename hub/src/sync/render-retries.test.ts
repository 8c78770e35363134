import { describe, expect, it } from "vitest";
import { renderRetryMaxMs, renderRetryMinMs } from "../limits.ts";
import { followedFleet } from "./fleet-for-tests.ts";
import type { FollowedFleet } from "./ports.ts";
import { RenderRetries } from "./render-retries.ts";

const [good, newer, newest] = ["a", "b", "c"].map((letter) => letter.repeat(40)) as [string, string, string];
const late = { code: "render-timeout", message: "helm did not end in time" };

const fleet = (more: Partial<FollowedFleet> = {}): FollowedFleet => followedFleet({ revision: good, seenRevision: newer, problems: [late], ...more });

describe("trying a revision again whose render ran out of time", () => {
  it("comes after a minute, and after each try twice as late, up to half an hour", () => {
    const retries = new RenderRetries();
    let now = 0;
    expect(retries.isDue(fleet(), now, false)).toBe(false);
    const rests: number[] = [];
    for (let tries = 0; tries < 8; tries += 1) {
      const due = retries.firstDue([fleet()], now) ?? Number.NaN;
      expect(retries.isDue(fleet(), due - 1, false)).toBe(false);
      expect(retries.isDue(fleet(), due, false)).toBe(true);
      rests.push(due - now);
      retries.tried(fleet(), due);
      now = due;
    }
    expect(rests.slice(0, 3)).toEqual([renderRetryMinMs, renderRetryMinMs * 2, renderRetryMinMs * 4]);
    expect(rests.at(-1)).toBe(renderRetryMaxMs);
  });

  it("comes sooner when somebody asks, but not without a rest: pushes elsewhere in the repository ask too", () => {
    const retries = new RenderRetries();
    retries.tried(fleet(), 0);
    retries.tried(fleet(), 0);
    expect(retries.isDue(fleet(), renderRetryMinMs - 1, true)).toBe(false);
    expect(retries.isDue(fleet(), renderRetryMinMs, true)).toBe(true);
    expect(retries.isDue(fleet(), renderRetryMinMs, false)).toBe(false);
  });

  it("begins anew with another revision, and is forgotten with the problem", () => {
    const retries = new RenderRetries();
    for (const at of [0, 0, 0]) retries.tried(fleet(), at);
    expect(retries.firstDue([fleet({ seenRevision: newest })], 5)).toBe(5 + renderRetryMinMs);
    expect(retries.firstDue([fleet({ seenRevision: newest, problems: [] })], 10)).toBeUndefined();
    expect(retries.firstDue([fleet({ seenRevision: newest })], 20)).toBe(20 + renderRetryMinMs);
  });

  it("never comes for what would end the same, for a revision that is taken already, or for a fleet that goes", () => {
    const retries = new RenderRetries();
    const others = [
      fleet({ problems: [late, { code: "duplicate-object", message: "twice" }] }),
      fleet({ problems: [{ code: "render-too-large", message: "too much" }] }),
      fleet({ revision: newer }),
      fleet({ deleting: "orphan" }),
    ];
    for (const other of others) {
      expect(retries.firstDue([other], 0)).toBeUndefined();
      expect(retries.isDue(other, Number.MAX_SAFE_INTEGER, true)).toBe(false);
    }
  });
});
