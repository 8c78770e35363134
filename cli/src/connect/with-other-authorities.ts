import { X509Certificate } from "node:crypto";
import type { AuthorityRow } from "@flotilla/proto/rest/contract";

/**
 * The CAs (PEM) that a login is to trust: those given, and when one of them is the hub's own, all that the hub trusts now. It was verified by one of
 * them, and changes them now and then: a login that knows the next one outlives the change.
 */
export async function withOtherAuthorities(hub: { authorities(): Promise<readonly AuthorityRow[]> }, ca: string): Promise<string> {
  // A hub of the version before has one, and does not say so.
  const rows = await hub.authorities().catch(() => []);
  const trusted = rows.filter(({ state }) => state !== "retired").map(({ certificate }) => `${certificate.trim()}\n`);
  const known = new Set(fingerprintsIn(ca));
  return fingerprintsIn(trusted.join("")).some((fingerprint) => known.has(fingerprint)) ? trusted.join("") : ca;
}

function fingerprintsIn(pem: string): string[] {
  const parts = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return parts.map((part) => new X509Certificate(part).fingerprint256);
}
