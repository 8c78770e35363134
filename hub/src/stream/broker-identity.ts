import { readFile } from "node:fs/promises";
import { brokerUserLifetimeMs, maxReportBytes } from "@flotilla/proto/limits";
import { inboxPrefix, reportSubject } from "@flotilla/proto/subjects";
import { encodeAccount, encodeOperator, encodeUser } from "@nats-io/jwt";
import type { KeyPair } from "@nats-io/nkeys";
import { type Authenticator, jwtAuthenticator } from "@nats-io/transport-node";
import type { RevokedBrokerUser } from "../domain/link-rows.ts";
import { brokerUserSubscriptionsMax, brokerUserUnrevocableMs } from "../limits.ts";
import { isUserPublicKey, keyPairOf, newSeed } from "./broker-keys.ts";
import type { HubSecrets } from "./hub-secrets.ts";

/** What a nats-server of ours is configured with (EmbeddedNatsOptions.operator takes it). */
export interface BrokerOperator {
  readonly jwt: string;
  readonly accounts: { readonly id: string; readonly jwt: string }[];
  readonly systemAccountId: string;
}

/** Who may do what at the broker. Agents get users that may publish their own report subject and nothing else. */
export interface BrokerIdentity {
  /** Public key of the account that holds the reports. */
  readonly accountId: string;
  /** How long a user of an agent lives: shorter where it could not be revoked. */
  readonly userLifetimeMs: number;
  /** Undefined for an account of somebody else's broker. */
  readonly operator: BrokerOperatorSource | undefined;
  /** The hub's own rights in the account: everything. */
  hubAuthenticator(): Authenticator;
  /**
   * A user for a cluster's agent, bound to the public key that the agent made.
   *
   * @throws BrokerIdentityError when the key is not a user's public nkey.
   */
  issueUser(cluster: string, publicKey: string): Promise<{ readonly jwt: string; readonly notAfter: Date }>;
}

/** Claims that only the operator can sign. */
export interface BrokerOperatorSource {
  /** Operator and account JWTs in which these users are revoked. */
  claims(revoked: readonly RevokedBrokerUser[]): Promise<BrokerOperator>;
  /** Rights in the system account: pushing account JWTs. */
  systemAuthenticator(): Authenticator;
}

export class BrokerIdentityError extends Error {
  override readonly name = "BrokerIdentityError";
}

const secretName = "broker-seeds";

/** Opens the hub's own operator, account and system account; the first start makes them. */
export async function openBrokerIdentity(secrets: HubSecrets): Promise<BrokerIdentity> {
  const fresh = () => JSON.stringify({ operator: newSeed("operator"), account: newSeed("account"), system: newSeed("account") });
  const kept = (await secrets.load(secretName)) ?? (await secrets.createOnce(secretName, fresh()));
  const seeds = JSON.parse(kept) as { operator: string; account: string; system: string };
  const [operator, account, system] = [keyPairOf(seeds.operator), keyPairOf(seeds.account), keyPairOf(seeds.system)];
  const authenticator = await userOf(account, account.getPublicKey());
  const systemAuthenticator = await userOf(system, system.getPublicKey());
  const operatorJwt = await encodeOperator("flotilla", operator, { system_account: system.getPublicKey() });
  const systemJwt = await encodeAccount("flotilla-system", system, { limits: systemLimits }, { signer: operator });
  return {
    accountId: account.getPublicKey(),
    userLifetimeMs: brokerUserLifetimeMs,
    operator: {
      async claims(revoked) {
        const jwt = await encodeAccount("flotilla", account, { limits: accountLimits, revocations: revocations(revoked) }, { signer: operator });
        return {
          jwt: operatorJwt,
          accounts: [
            { id: account.getPublicKey(), jwt },
            { id: system.getPublicKey(), jwt: systemJwt },
          ],
          systemAccountId: system.getPublicKey(),
        };
      },
      systemAuthenticator: () => systemAuthenticator,
    },
    hubAuthenticator: () => authenticator,
    issueUser: (cluster, publicKey) => issueUser(account, account.getPublicKey(), cluster, publicKey, brokerUserLifetimeMs),
  };
}

/**
 * Identity in an account of a broker that is operated by somebody else. The file holds the account's seed ("SA…"), or a signing
 * key's seed and, on a line of its own, the account's public key ("A…"). Revocations cannot be pushed to such a broker: its
 * users live an hour instead of a day.
 *
 * @throws BrokerIdentityError that says what the file must hold.
 */
export async function readBrokerIdentity(file: string): Promise<BrokerIdentity> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BrokerIdentityError(`the broker credentials ${file} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const seed = /\bSA[A-Z2-7]{56}\b/.exec(text)?.[0];
  if (seed === undefined) {
    const isUser = /BEGIN NATS USER JWT/.test(text);
    throw new BrokerIdentityError(
      isUser
        ? `${file} holds the credentials of one user; agents need users of their own. Give a file with the account's seed (SA…), or a signing key's seed and the account's public key (A…)`
        : `${file} holds no account seed; it takes a line with the account's seed (SA…), or a signing key's seed and the account's public key (A…)`,
    );
  }
  const signer = keyPairOf(seed);
  const accountId = /\bA[A-Z2-7]{55}\b/.exec(text.replace(seed, ""))?.[0] ?? signer.getPublicKey();
  const authenticator = await userOf(signer, accountId);
  return {
    accountId,
    userLifetimeMs: brokerUserUnrevocableMs,
    operator: undefined,
    hubAuthenticator: () => authenticator,
    issueUser: (cluster, publicKey) => issueUser(signer, accountId, cluster, publicKey, brokerUserUnrevocableMs),
  };
}

/** Allow-lists only: deny rules of brokers have been walked around. */
async function issueUser(signer: KeyPair, accountId: string, cluster: string, publicKey: string, lifetimeMs: number): Promise<{ jwt: string; notAfter: Date }> {
  if (!isUserPublicKey(publicKey)) throw new BrokerIdentityError("the broker user's public key is not an nkey of a user (U…)");
  const notAfter = new Date(Date.now() + lifetimeMs);
  const rights = {
    pub: { allow: [reportSubject(cluster)] },
    sub: { allow: [`${inboxPrefix(cluster)}.>`] },
    subs: brokerUserSubscriptionsMax,
    // Headers come on top of a report.
    payload: maxReportBytes + 16_384,
    allowed_connection_types: ["STANDARD" as const],
  };
  const jwt = await encodeUser(cluster, publicKey, ...issuerOf(signer, accountId), rights, {
    ...signedBy(signer, accountId),
    exp: Math.floor(notAfter.getTime() / 1_000),
  });
  return { jwt, notAfter };
}

/** A user with every right in the account, as an authenticator; it lives as long as this process. */
async function userOf(signer: KeyPair, accountId: string): Promise<Authenticator> {
  const seed = newSeed("user");
  const jwt = await encodeUser("hub", keyPairOf(seed).getPublicKey(), ...issuerOf(signer, accountId), {}, signedBy(signer, accountId));
  return jwtAuthenticator(jwt, new TextEncoder().encode(seed));
}

const isIdentity = (signer: KeyPair, accountId: string) => signer.getPublicKey() === accountId;

/** An account signs by itself; a signing key signs in the account's name. */
function issuerOf(signer: KeyPair, accountId: string): [KeyPair | string] {
  return [isIdentity(signer, accountId) ? signer : accountId];
}

function signedBy(signer: KeyPair, accountId: string): { signer?: KeyPair } {
  return isIdentity(signer, accountId) ? {} : { signer };
}

/** An account that names no limits has none of anything. */
const systemLimits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: 0 } as const;

const accountLimits = {
  ...systemLimits,
  mem_storage: -1,
  disk_storage: -1,
  streams: -1,
  consumer: -1,
} as const;

/** Every JWT of the user that was issued up to then is void. */
function revocations(revoked: readonly RevokedBrokerUser[]): Record<string, number> {
  return Object.fromEntries(revoked.map(({ publicKey, revokedAt }) => [publicKey, Math.ceil(revokedAt.getTime() / 1_000)]));
}
