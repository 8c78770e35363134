import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface CertificateRequest {
  readonly privateKey: KeyObject;
  readonly privateKeyPem: string;
  /** PKCS#10, DER, with an empty subject: the hub takes nothing but the public key from it. */
  readonly csr: Uint8Array;
}

/** A new P-256 key and the request for its certificate. A dozen lines of DER cost an agent less than an X.509 library's memory. */
export function newCertificateRequest(): CertificateRequest {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const version = Buffer.from([0x02, 0x01, 0x00]);
  const emptyName = Buffer.from([0x30, 0x00]);
  const noAttributes = Buffer.from([0xa0, 0x00]);
  const content = der(0x30, version, emptyName, publicKey, noAttributes);
  const ecdsaWithSha256 = Buffer.from("300a06082a8648ce3d040302", "hex");
  const signature = der(0x03, Buffer.from([0x00]), sign("sha256", content, privateKey));
  const privateKeyPem = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return { privateKey, privateKeyPem, csr: new Uint8Array(der(0x30, content, ecdsaWithSha256, signature)) };
}

/** One DER value: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
