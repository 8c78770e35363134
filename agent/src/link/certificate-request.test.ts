import { createPublicKey } from "node:crypto";
import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { newCertificateRequest } from "./certificate-request.ts";

it("is a request with an empty subject that openssl verifies, for the key that goes with it", () => {
  const { csr, privateKeyPem } = newCertificateRequest();
  const openssl = (...args: string[]) =>
    execFileSync("openssl", ["req", "-inform", "DER", ...args], { input: csr, stdio: ["pipe", "pipe", "pipe"] }).toString();
  expect(openssl("-noout", "-subject").trim()).toMatch(/^subject=\s*$/);
  expect(openssl("-verify", "-noout", "-pubkey")).toBe(createPublicKey(privateKeyPem).export({ type: "spki", format: "pem" }));
});
