import "reflect-metadata";
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, type webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { certificateBackdateMs, certificateLifetimeMs } from "@flotilla/proto/limits";
import { clusterSpiffeId, hubServerName } from "@flotilla/proto/names";
import * as x509 from "@peculiar/x509";
import { type AuthorityKeys, spkiHashOf } from "../domain/authorities.ts";
import { caLifetimeMs, csrBytesMax, serverBackdateMs, serverCertificateMs } from "../limits.ts";

/** A request for a certificate that is refused; the message is for the one who sent it. */
export class CsrError extends Error {
  override readonly name = "CsrError";
}

/** A client certificate, and what is recorded of it. */
export interface ClientCertificate {
  readonly certificatePem: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** SHA-256 (hex) of the subject's public key. */
  readonly spkiHash: string;
  readonly notAfter: Date;
  /** Hash of the CA that signed it. */
  readonly authority: string;
}

/** A server's key and its certificate, followed by the CA's: agents look for the pinned CA in what is presented. */
export interface ServerCertificate {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly notAfter: Date;
}

export interface CertificateAuthority {
  /** PEM. */
  readonly caPem: string;
  /** SHA-256 (hex) of the CA's public key (SPKI, DER): what a token is printed with. */
  readonly caHash: string;
  /**
   * A certificate for what speaks for `cluster`. Of the request only the public key counts: a name in it changes nothing.
   *
   * @throws CsrError when it is unreadable, too long, not P-256, or its signature does not verify.
   */
  issueClient(csr: Uint8Array, cluster: string, lifetimeMs?: number): Promise<ClientCertificate>;
  /** A certificate for the hub's listeners under these names and IP addresses, and under hubServerName. */
  issueServer(names: readonly string[]): Promise<ServerCertificate>;
}

const signing = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** A CA that can sign. */
export async function authorityOf({ keyPem, certificatePem }: Pick<AuthorityKeys, "keyPem" | "certificatePem">): Promise<CertificateAuthority> {
  const issuer = new x509.X509Certificate(certificatePem);
  const signingKey = await importKey(keyPem);
  const caHash = spkiHashOf(certificatePem);
  const keyId = await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey);
  return {
    caPem: certificatePem,
    caHash,
    async issueClient(csr, cluster, lifetimeMs = certificateLifetimeMs) {
      const publicKey = await publicKeyOf(csr);
      const serial = newSerial();
      const { notBefore, notAfter } = validity(lifetimeMs);
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial,
        subject: [{ CN: [cluster] }],
        issuer: issuer.subjectName,
        notBefore,
        notAfter,
        publicKey,
        signingKey,
        signingAlgorithm: signing,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
          new x509.SubjectAlternativeNameExtension([{ type: "url", value: clusterSpiffeId(cluster) }]),
          keyId,
        ],
      });
      const certificatePem = certificate.toString("pem");
      return { certificatePem, serial, spkiHash: spkiHashOf(certificatePem), notAfter, authority: caHash };
    },
    async issueServer(names) {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const { notBefore, notAfter } = validity(serverCertificateMs, serverBackdateMs);
      const sans = [...new Set([hubServerName, ...names])].map((name) => ({ type: isIP(name) ? ("ip" as const) : ("dns" as const), value: name }));
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: newSerial(),
        subject: [{ CN: [hubServerName] }],
        issuer: issuer.subjectName,
        notBefore,
        notAfter,
        publicKey: new x509.PublicKey(publicKey.export({ type: "spki", format: "der" })),
        signingKey,
        signingAlgorithm: signing,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension(sans),
          keyId,
        ],
      });
      const keyPem = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
      return { keyPem, chainPem: `${certificate.toString("pem")}\n${certificatePem}\n`, notAfter };
    },
  };
}

/** A new CA, trusted by nobody yet. */
export async function createAuthority(): Promise<AuthorityKeys> {
  const keys = await crypto.subtle.generateKey(signing, true, ["sign", "verify"]);
  const hash = createHash("sha256")
    .update(Buffer.from(await crypto.subtle.exportKey("spki", keys.publicKey)))
    .digest("hex");
  const { notBefore, notAfter } = validity(caLifetimeMs, serverBackdateMs);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    // Names of CAs that are trusted at the same time differ: OpenSSL looks for an issuer by its name.
    name: [{ CN: [`Flotilla hub CA ${hash.slice(0, 12)}`] }],
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const keyPem = createPrivateKey({ key, format: "der", type: "pkcs8" }).export({ type: "pkcs8", format: "pem" }) as string;
  return { hash, keyPem, certificatePem: certificate.toString("pem") };
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
  return crypto.subtle.importKey("pkcs8", new Uint8Array(der), signing, false, ["sign"]);
}

async function publicKeyOf(csr: Uint8Array): Promise<x509.PublicKey> {
  if (csr.byteLength === 0 || csr.byteLength > csrBytesMax)
    throw new CsrError(`the certificate request has ${csr.byteLength} bytes; it takes 1 to ${csrBytesMax}`);
  let request: x509.Pkcs10CertificateRequest;
  try {
    request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
  } catch {
    throw new CsrError("the certificate request is not PKCS#10 in DER");
  }
  const { algorithm } = request.publicKey as { algorithm: { name?: string; namedCurve?: string } };
  if (algorithm.name !== "ECDSA" || algorithm.namedCurve !== "P-256") throw new CsrError("the certificate request's key is not an elliptic key on P-256");
  if (!(await request.verify().catch(() => false))) throw new CsrError("the certificate request's signature does not verify");
  return request.publicKey;
}

function validity(lifetimeMs: number, backdateMs = certificateBackdateMs): { notBefore: Date; notAfter: Date } {
  // Certificates count in seconds: what is recorded of them must not end later than they do.
  const now = Math.floor(Date.now() / 1_000) * 1_000;
  return { notBefore: new Date(now - backdateMs), notAfter: new Date(now + Math.floor(lifetimeMs / 1_000) * 1_000) };
}

/** 127 random bits whose first digit is never zero, so that every library prints it alike. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}
