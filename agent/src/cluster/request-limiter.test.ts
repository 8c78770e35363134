import { describe, expect, it } from "vitest";
import { RequestLimiter } from "./request-limiter.ts";

describe("the request limiter", () => {
  it("lets eight through at first, and urgent ones before those that waited longer", async () => {
    const limiter = new RequestLimiter();
    for (let i = 0; i < 8; i++) expect(limiter.enter(false)).toBeUndefined();
    const order: string[] = [];
    const waiting = [false, true].map(async (urgent) => {
      await limiter.enter(urgent);
      order.push(urgent ? "urgent" : "ordinary");
    });
    limiter.leave(undefined);
    limiter.leave(undefined);
    await Promise.all(waiting);
    expect(order).toEqual(["urgent", "ordinary"]);
  });

  it("holds everybody back for as long as the server asks", async () => {
    const limiter = new RequestLimiter();
    limiter.pause(60);
    const started = performance.now();
    await limiter.enter(true);
    expect(performance.now() - started).toBeGreaterThanOrEqual(55);
  });
});
