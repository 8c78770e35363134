import "reflect-metadata";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { beforeAll, describe, expect, it } from "vitest";
import { spkiHashOf } from "../domain/authorities.ts";
import { authorityOf, type CertificateAuthority, createAuthority, CsrError } from "./certificate-authority.ts";

const algorithm = (namedCurve: string) => ({ name: "ECDSA", namedCurve, hash: "SHA-256" });

async function csr(name = "", curve = "P-256"): Promise<Uint8Array> {
  const keys = await crypto.subtle.generateKey(algorithm(curve), true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys,
    signingAlgorithm: algorithm(curve),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://flotilla/cluster/other" }])],
  });
  return new Uint8Array(request.rawData);
}

describe("the certificate authority", () => {
  let ca: CertificateAuthority;
  beforeAll(async () => {
    ca = await authorityOf(await createAuthority());
  });

  it("is called by the hash of its key, and by a name of its own, for OpenSSL to tell two apart that are trusted", async () => {
    const keys = await createAuthority();
    const other = await createAuthority();
    expect((await authorityOf(keys)).caHash).toBe(keys.hash);
    expect(spkiHashOf(keys.certificatePem)).toBe(keys.hash);
    expect(new X509Certificate(keys.certificatePem).subject).not.toBe(new X509Certificate(other.certificatePem).subject);
  });

  it("names the token's cluster, whatever the request says", async () => {
    const issued = await ca.issueClient(await csr("CN=other"), "berlin-1");
    const certificate = new X509Certificate(issued.certificatePem);
    expect(certificate.subjectAltName).toBe("URI:spiffe://flotilla/cluster/berlin-1");
    expect(certificate.subject).toBe("CN=berlin-1");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect(certificate.serialNumber.toLowerCase()).toBe(issued.serial);
    expect(certificate.verify(new X509Certificate(ca.caPem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo)).toBe(issued.notAfter.getTime());
    expect(Date.now() - Date.parse(certificate.validFrom)).toBeGreaterThan(4 * 60_000);
    expect(Date.parse(certificate.validTo) - Date.now()).toBeLessThanOrEqual(24 * 3_600_000);
  });

  it("gives servers the fixed name and those asked for", async () => {
    const { chainPem } = await ca.issueServer(["localhost", "127.0.0.1"]);
    const leaf = new X509Certificate(chainPem);
    expect(leaf.subjectAltName).toBe("DNS:hub.flotilla.internal, DNS:localhost, IP Address:127.0.0.1");
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(chainPem).toContain(ca.caPem);
  });

  it("refuses what is no request, too long, of another curve, or signed by another key", async () => {
    await expect(ca.issueClient(new Uint8Array(5_000), "a")).rejects.toThrow(CsrError);
    await expect(ca.issueClient(new Uint8Array([1, 2, 3]), "a")).rejects.toThrow("not PKCS#10");
    await expect(ca.issueClient(await csr("", "P-384"), "a")).rejects.toThrow("P-256");
    const forged = await csr();
    forged[forged.length - 1]! ^= 1;
    await expect(ca.issueClient(forged, "a")).rejects.toThrow("does not verify");
    const other = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "der" });
    await expect(ca.issueClient(new Uint8Array(other), "a")).rejects.toThrow(CsrError);
  });
});
