import { fromSeed } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import { isUserPublicKey, keyPairOf, newSeed } from "./broker-keys.ts";

describe("keys of the broker", () => {
  it("are those that NATS' library makes of the same seed, and their signatures hold there", () => {
    for (const kind of ["operator", "account", "user"] as const) {
      const seed = newSeed(kind);
      const [own, library] = [keyPairOf(seed), fromSeed(new TextEncoder().encode(seed))];
      expect(own.getPublicKey()).toBe(library.getPublicKey());
      expect(Buffer.from(own.getPrivateKey())).toEqual(Buffer.from(library.getPrivateKey()));
      expect(Buffer.from(own.getSeed()).toString()).toBe(seed);
      const said = Buffer.from("a claim");
      expect(library.verify(said, own.sign(said))).toBe(true);
      expect(own.verify(said, library.sign(said))).toBe(true);
      expect(isUserPublicKey(own.getPublicKey())).toBe(kind === "user");
    }
  });

  it("are not made of what is no seed", () => {
    const seed = newSeed("account");
    // The last two bits of a seed's text are none of its bytes': "B" would be the same seed as "A".
    const other = seed.endsWith("A") ? "E" : "A";
    for (const bad of ["", "SU", seed.slice(0, -1), seed.slice(0, -1) + other, seed.replace("SA", "SX"), keyPairOf(seed).getPublicKey()])
      expect(() => keyPairOf(bad), bad).toThrow();
  });
});
