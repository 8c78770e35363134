import { describe, expect, it } from "vitest";
import { retryDelayMs } from "./retry-delay.ts";

describe("retries of one object", () => {
  it("come soon for what passes by itself, patiently for what does not, and are capped", () => {
    expect(retryDelayMs("soon", 1, 0.5)).toBe(150);
    expect(retryDelayMs("soon", 100, 0.5)).toBe(5_000);
    expect(retryDelayMs("patient", 1, 0.5)).toBe(1_000);
    expect(retryDelayMs("patient", 1_000, 1)).toBe(72_000);
  });
});
