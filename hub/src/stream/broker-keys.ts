import { createPrivateKey, sign } from "node:crypto";
import { createAccount, createOperator, createUser, fromSeed, type KeyPair } from "@nats-io/nkeys";

/** Ed25519 in PKCS#8 up to the 32 bytes of the seed. */
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex");
const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const makers = { operator: createOperator, account: createAccount, user: createUser } as const;

/** A new seed ("SO…", "SA…", "SU…"). */
export function newSeed(kind: keyof typeof makers): string {
  return Buffer.from(makers[kind]().getSeed()).toString("latin1");
}

/**
 * The key pair of a seed, signing natively: a JWT costs 0.02 ms instead of the library's 15 ms, which 10,000 reconnecting agents
 * would feel.
 *
 * @throws Error when it is not an nkey seed.
 */
export function keyPairOf(seed: string): KeyPair {
  const pair = fromSeed(new TextEncoder().encode(seed));
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Head, rawSeed(seed)]), format: "der", type: "pkcs8" });
  const publicKey = pair.getPublicKey();
  // Asked for with every JWT, only to see that there is one.
  const privateKey = pair.getPrivateKey();
  return {
    getPublicKey: () => publicKey,
    getPrivateKey: () => privateKey,
    getSeed: () => pair.getSeed(),
    sign: (input) => new Uint8Array(sign(null, input, key)),
    verify: (input, signature) => pair.verify(input, signature),
    clear: () => pair.clear(),
    seal: (input, recipient, nonce) => pair.seal(input, recipient, nonce),
    open: (message, sender) => pair.open(message, sender),
  };
}

/** An nkey seed is base32 of two prefix bytes, the 32 bytes, and two of a checksum (which fromSeed has looked at). */
function rawSeed(seed: string): Buffer {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const letter of seed) {
    value = (value << 5) | base32.indexOf(letter);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >>> bits) & 0xff);
    value &= (1 << bits) - 1;
  }
  return Buffer.from(bytes.slice(2, 34));
}

/** Whether a text is a user's public nkey: "U" and 55 letters of base32. What an agent sends is checked with it. */
export function isUserPublicKey(text: string): boolean {
  return /^U[A-Z2-7]{55}$/.test(text);
}
