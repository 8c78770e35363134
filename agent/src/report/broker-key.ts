import { generateKeyPairSync, sign } from "node:crypto";
import { nkeyText } from "@flotilla/proto/nkey";
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
  const publicKey = nkeyText("user", Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url"));
  return {
    publicKey,
    authenticator: (jwt) => (nonce) => ({
      jwt,
      nkey: publicKey,
      sig: nonce === undefined ? "" : sign(null, Buffer.from(nonce), privateKey).toString("base64url"),
    }),
  };
}
