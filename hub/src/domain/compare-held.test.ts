import { describe, expect, it } from "vitest";
import { compareHeld } from "./compare-held.ts";

const at = (ms: number) => new Date(1_700_000_000_000 + ms);
const target = { generation: 4n, digest: "d", releasedAt: at(0) };

describe("what an agent holds", () => {
  it.each([
    ["the same release", target, "same"],
    ["the same, of an agent that does not say when it was released", { generation: 4n, digest: "d" }, "same"],
    ["one before", { ...target, generation: 3n }, "older"],
    ["one that the hub has not made yet", { ...target, generation: 5n }, "ahead"],
    ["another content under the generation", { ...target, digest: "e" }, "ahead"],
    ["another release of the same content under the generation", { ...target, releasedAt: at(1) }, "ahead"],
  ] as const)("is compared when it is %s", (_what, held, verdict) => {
    expect(compareHeld(held, target)).toBe(verdict);
  });
});
