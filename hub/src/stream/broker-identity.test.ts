import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "@nats-io/jwt";
import { createUser, fromPublic } from "@nats-io/nkeys";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BrokerIdentity, openBrokerIdentity, readBrokerIdentity } from "./broker-identity.ts";
import { keyPairOf, newSeed } from "./broker-keys.ts";

interface UserClaims {
  pub: { allow: string[]; deny?: string[] };
  sub: { allow: string[]; deny?: string[] };
  issuer_account?: string;
}

it("signs natively what the library verifies", () => {
  for (const kind of ["operator", "account", "user"] as const) {
    const pair = keyPairOf(newSeed(kind));
    const input = new TextEncoder().encode("flotilla");
    expect(fromPublic(pair.getPublicKey()).verify(input, pair.sign(input))).toBe(true);
  }
});

describe("the hub's own identity", () => {
  const kept = new Map<string, string>();
  const secrets = {
    load: async (name: string) => kept.get(name),
    createOnce: async (name: string, value: string) => (kept.has(name) || kept.set(name, value), kept.get(name)!),
  };
  let identity: BrokerIdentity;
  beforeAll(async () => {
    identity = await openBrokerIdentity(secrets);
  });

  it("is the same at the next start", async () => {
    expect((await openBrokerIdentity(secrets)).accountId).toBe(identity.accountId);
  });

  it("gives a cluster its own subject and inbox by allow-lists, for a day", async () => {
    const publicKey = createUser().getPublicKey();
    const { jwt, notAfter } = await identity.issueUser("berlin-1", publicKey);
    const claims = decode<UserClaims>(jwt);
    expect(claims).toMatchObject({
      iss: identity.accountId,
      sub: publicKey,
      nats: { pub: { allow: ["flotilla.report.berlin-1"] }, sub: { allow: ["_INBOX_berlin-1.>"] } },
    });
    expect(claims.exp! * 1_000).toBeCloseTo(notAfter.getTime(), -4);
    expect(notAfter.getTime() - Date.now()).toBeLessThanOrEqual(24 * 3_600_000);
    await expect(identity.issueUser("berlin-1", identity.accountId)).rejects.toThrow("nkey of a user");
  });

  it("names revoked users in the account's claims", async () => {
    const { accounts } = await identity.operator!.claims([{ publicKey: "UX", revokedAt: new Date(1_500) }]);
    expect(decode<{ revocations: object }>(accounts[0]!.jwt).nats.revocations).toEqual({ UX: 2 });
  });
});

describe("an identity in somebody else's account", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-creds-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const file = async (text: string) => {
    const path = join(folder, "creds");
    await writeFile(path, text);
    return path;
  };

  it("signs with the account's seed, or with a signing key in the account's name, for an hour", async () => {
    const account = newSeed("account");
    const signer = newSeed("account");
    const accountId = keyPairOf(account).getPublicKey();
    const publicKey = createUser().getPublicKey();
    const own = await readBrokerIdentity(await file(`${account}\n`));
    expect([own.accountId, own.operator]).toEqual([accountId, undefined]);
    const delegated = await readBrokerIdentity(await file(`account ${accountId}\nseed ${signer}\n`));
    const { jwt, notAfter } = await delegated.issueUser("berlin-1", publicKey);
    expect(decode<UserClaims>(jwt)).toMatchObject({ iss: keyPairOf(signer).getPublicKey(), nats: { issuer_account: accountId } });
    expect(notAfter.getTime() - Date.now()).toBeLessThanOrEqual(3_600_000);
  });

  it("says what the file must hold", async () => {
    await expect(readBrokerIdentity(join(folder, "none"))).rejects.toThrow("cannot be read");
    await expect(readBrokerIdentity(await file("hello"))).rejects.toThrow("holds no account seed");
    await expect(readBrokerIdentity(await file("-----BEGIN NATS USER JWT-----\nx\n"))).rejects.toThrow("credentials of one user");
  });
});
