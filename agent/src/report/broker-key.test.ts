import { nkeys } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { newBrokerKey } from "./broker-key.ts";

describe("a key for the broker", () => {
  it("has a public key that NATS reads, and signs nonces that it accepts", () => {
    for (let round = 0; round < 20; round += 1) {
      const key = newBrokerKey();
      expect(key.publicKey).toMatch(/^U[A-Z2-7]{55}$/);
      const answer = key.authenticator("the-jwt")("a nonce") as { jwt: string; nkey: string; sig: string };
      expect(answer).toMatchObject({ jwt: "the-jwt", nkey: key.publicKey });
      const signature = Buffer.from(answer.sig, "base64url");
      expect(nkeys.fromPublic(key.publicKey).verify(Buffer.from("a nonce"), signature)).toBe(true);
      expect(nkeys.fromPublic(key.publicKey).verify(Buffer.from("another"), signature)).toBe(false);
    }
  });

  it("is another one each time", () => {
    expect(new Set(Array.from({ length: 5 }, () => newBrokerKey().publicKey)).size).toBe(5);
  });

  it("signs nothing for a broker that asks for nothing", () => {
    expect(newBrokerKey().authenticator("jwt")(undefined)).toMatchObject({ sig: "" });
  });
});
