import { describe, expect, it } from "vitest";
import { reconnectCapMs, triesAfter } from "./reconnect-delay.ts";

/** What the next waits are bounded by when every stream ends like this. */
function caps(greetedMs: number | undefined, isPatient: boolean, count: number): number[] {
  let tries = 0;
  return Array.from({ length: count }, () => {
    tries = triesAfter(tries, { greetedMs, isPatient });
    const cap = reconnectCapMs(tries, 0);
    tries += 1;
    return cap;
  });
}

describe("the wait before the next try", () => {
  it("doubles up to four seconds while a hub is away, and is patient after eight tries", () => {
    expect(caps(undefined, false, 10)).toEqual([500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000, 30_000, 30_000]);
  });

  it("stays short for a hub that greets and ends again, however often", () => {
    expect(Math.max(...caps(1_000, false, 20))).toBe(4_000);
    expect(triesAfter(20, { greetedMs: 60_000, isPatient: false })).toBe(0);
  });

  it("is long from the first refusal, also of one that was greeted: two agents of one cluster do not throw each other out every second", () => {
    for (const greetedMs of [undefined, 100, 60_000]) expect(caps(greetedMs, true, 3)).toEqual([30_000, 30_000, 30_000]);
  });

  it("is never shorter than the hub wants its agents spread over", () => {
    expect(reconnectCapMs(0, 50_000)).toBe(50_000);
    expect(reconnectCapMs(12, 50_000)).toBe(50_000);
  });
});
