import { createHash, X509Certificate } from "node:crypto";
import { maxTrustedCas } from "@flotilla/proto/limits";
import { linkLimits } from "../limits.ts";

/**
 * The hub's CAs in a PEM text, in its order: the first one signs.
 *
 * @throws Error when there is none, too many, or something else among them: an agent never goes on with less than it can read.
 */
export function casIn(pem: string): X509Certificate[] {
  const parts = pem.length > linkLimits.caTextCharsMax ? [] : (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []);
  if (parts.length === 0 || parts.length > maxTrustedCas) throw new Error(`the hub's CAs are not 1 to ${maxTrustedCas} certificates in PEM`);
  const cas = parts.map((part) => new X509Certificate(part));
  const other = cas.find((certificate) => !certificate.ca);
  if (other !== undefined) throw new Error(`among the hub's CAs is a certificate that is none: ${other.subject}`);
  return cas;
}

/** SHA-256 (hex) of the public keys of the CAs in a PEM text, in its order. */
export const caHashesOf = (pem: string): string[] => casIn(pem).map(spkiHashOf);

export function spkiHashOf(certificate: X509Certificate): string {
  return createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
}

/** Whether the CA that signs now has signed this one. */
export function isOfTheFirst(certificatePem: string, caPem: string): boolean {
  const [first] = casIn(caPem);
  return first !== undefined && new X509Certificate(certificatePem).verify(first.publicKey);
}
