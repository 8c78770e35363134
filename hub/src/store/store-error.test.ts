import { describe, expect, it } from "vitest";
import { asStoreError, isDataFailure, isSerializationFailure, isUnreachable } from "./store-error.ts";

const postgresError = (code: string, message = "x"): Error => Object.assign(new Error(message), { code });

describe("errors of Postgres", () => {
  it("say a full disk with its remedy", () => {
    expect(asStoreError(postgresError("53100", 'could not extend file "base/1/2": No space left on device'))).toMatchObject({
      code: "disk-full",
      hint: expect.stringContaining("free space"),
    });
  });

  it.each(["57P01", "57P03", "08006", "25006", "53300", "ECONNREFUSED", "ECONNRESET", "EPIPE"])("count %s as not reachable, never as poison", (code) => {
    expect(isUnreachable(postgresError(code))).toBe(true);
    expect(isDataFailure(postgresError(code))).toBe(false);
    expect(asStoreError(postgresError(code))).toMatchObject({ code: "unreachable" });
  });

  it("count a Unix socket that is not there, or has too many before it, as not reachable, and a file that is not there as what it is", () => {
    for (const code of ["ENOENT", "EAGAIN"]) expect(isUnreachable(Object.assign(postgresError(code), { syscall: "connect" }))).toBe(true);
    expect(isUnreachable(Object.assign(postgresError("ENOENT"), { syscall: "open" }))).toBe(false);
  });

  it.each(["22021", "22P05", "23505", "54000"])("count %s as the content's fault", (code) => {
    expect(isDataFailure(postgresError(code))).toBe(true);
    expect(isUnreachable(postgresError(code))).toBe(false);
  });

  it("try again what crossed, and leave the rest as it is", () => {
    expect(isSerializationFailure(postgresError("40P01"))).toBe(true);
    const other = postgresError("42P01");
    expect(asStoreError(other)).toBe(other);
  });
});
