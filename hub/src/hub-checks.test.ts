import { beforeAll, describe, expect, it } from "vitest";
import { checkAuthorities } from "./hub-checks.ts";
import { createAuthority } from "./stream/certificate-authority.ts";

describe("the check of the hub's CA", () => {
  let certificate: string;
  beforeAll(async () => {
    certificate = (await createAuthority()).certificatePem;
  });
  const row = (state: "staged" | "active" | "retiring" | "retired", holders = 0) => ({ hash: state.repeat(10), certificate, state, holders });
  const inYears = (years: number) => new Date(Date.now() + years * 365 * 24 * 3_600_000);

  it("says how long it signs, and what becomes of others", () => {
    expect(checkAuthorities([row("active", 3)], new Date())).toMatchObject({
      ok: true,
      message: expect.stringMatching(/^activeactive signs until \d{4}-\d\d-\d\d$/),
    });
    const { ok, message } = checkAuthorities([row("staged"), row("active"), row("retiring", 2), row("retired")], new Date());
    expect(ok).toBe(true);
    expect(message).toMatch(/; stagedstaged is staged; retiringreti is retiring, and 2 agents have a certificate of it$/);
  });

  it("wants it changed half a year before it ends", () => {
    expect(checkAuthorities([row("active")], inYears(9)).ok).toBe(true);
    expect(checkAuthorities([row("active")], inYears(9.6))).toMatchObject({ ok: false, hint: expect.stringContaining("fleet ca stage") });
  });
});
