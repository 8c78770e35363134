import { generateKeyPairSync, sign } from "node:crypto";
import type { Authenticator } from "@nats-io/transport-node";

/**
 * A user's key pair at the broker (an nkey: Ed25519), made and used natively: the library's own arithmetic takes 20 ms of CPU where it is compiled and many times
 * that in an agent, which runs without optimizing compilers.
 */
export interface BrokerKey {
  /** "U…", as the hub binds rights to it. */
  readonly publicKey: string;
  /** Answers the broker's nonce in the name of a user JWT. */
  authenticator(userJwt: string): Authenticator;
}

export function newBrokerKey(): BrokerKey {
  const { publicKey: key, privateKey } = generateKeyPairSync("ed25519");
  const publicKey = userPublicKey(Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url"));
  return {
    publicKey,
    authenticator: (jwt) => (nonce) => ({
      jwt,
      nkey: publicKey,
      sig: nonce === undefined ? "" : sign(null, Buffer.from(nonce), privateKey).toString("base64url"),
    }),
  };
}

/** The prefix byte of a user's public key. */
const userPrefix = 20 << 3;
const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** NATS' text of a public key: base32 of a prefix, the 32 bytes, and their CRC-16 (XMODEM), low byte first. */
function userPublicKey(raw: Buffer): string {
  const body = Buffer.concat([Buffer.from([userPrefix]), raw]);
  const check = crc16(body);
  let text = "";
  let [bits, value] = [0, 0];
  for (const byte of [...body, check & 0xff, check >> 8]) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += base32[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return text;
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}
