import { createHash, randomBytes } from "node:crypto";
import type pg from "pg";
import { enrolTokenLifetimeMaxMs, enrolTokenLifetimeMs } from "@flotilla/proto/limits";
import type { Actor } from "../domain/actor.ts";
import type { IssuedCertificate, RevokedBrokerUser } from "../domain/link-rows.ts";
import { awaitTurn, inActTransaction, recordAct } from "./audit-log.ts";
import { notify } from "./listen.ts";
import { inTransaction } from "./pool.ts";
import { StoreError } from "./store-error.ts";

/** What became of a token that was shown. */
export type TokenUse =
  | { readonly outcome: "accepted"; readonly cluster: string }
  | { readonly outcome: "used" | "expired" | "removed"; readonly cluster: string }
  | { readonly outcome: "unknown" };

/** An act of enrolment, for the events that people read. */
export interface EnrolmentEvent {
  readonly cluster: string;
  readonly reason: "AgentEnrolled" | "EnrolmentRefused" | "CertificateRenewed" | "CredentialsRevoked" | "LinkRefused";
  readonly severity: "Normal" | "Warning";
  readonly message: string;
}

/** The rows behind enrolment, certificates and broker users. */
export function openEnrolmentStore(pool: pg.Pool) {
  return {
    /**
     * Takes a token, once, and records the certificate that `issue` makes for its cluster: of two that show it at the same time one
     * gets it, and where `issue` throws it is as if it had not been shown. Certificates of an earlier agent of the cluster end:
     * whoever has the new token is the cluster now. `source` is the address that it was shown from.
     */
    enrol: (token: string, issue: (cluster: string) => Promise<IssuedCertificate>, source: string): Promise<TokenUse> =>
      inTransaction(pool, async (client) => {
        const hash = tokenHash(token);
        // Strangers, who show tokens that nobody made, must not hold up the acts of people.
        const known = await client.query("SELECT 1 FROM enrol_tokens WHERE hash = $1 AND used_at IS NULL", [hash]);
        if (known.rowCount !== 1) return await whyRefused(client, hash);
        await awaitTurn(client);
        const { rows } = await client.query<{ cluster: string }>({
          name: "use-enrol-token",
          text: `UPDATE enrol_tokens t SET used_at = now() FROM clusters c
                 WHERE t.hash = $1 AND t.used_at IS NULL AND t.expires_at > now() AND c.name = t.cluster AND c.removed_at IS NULL
                 RETURNING t.cluster`,
          values: [hash],
        });
        const cluster = rows[0]?.cluster;
        if (cluster === undefined) return await whyRefused(client, hash);
        await recordAct(client, { id: "enrolment", source, reason: "" }, { act: "agent.enrol", cluster });
        const certificate = await issue(cluster);
        await holdAuthority(client, certificate);
        await revokeRows(client, cluster);
        await insertCertificate(client, certificate);
        // It knows the hub by the CA that signed, and has yet to hear of others.
        await client.query(
          "UPDATE clusters SET enrolled_at = COALESCE(enrolled_at, now()), trusted_authorities = $2, version = nextval('change_version') WHERE name = $1",
          [cluster, JSON.stringify([certificate.authority])],
        );
        await notify(client, "flotilla_revoked", { clusters: [cluster] });
        await notify(client, "flotilla_changes", { fleets: [], clusters: [cluster] });
        return { outcome: "accepted", cluster };
      }),

    /**
     * Records a renewed certificate. The one it was asked with stays valid until it expires or the new one renews; those before it
     * end: two at most are alive.
     *
     * @returns false when the asking certificate was revoked, or the cluster removed.
     */
    recordRenewal: (certificate: IssuedCertificate, askedWith: string): Promise<boolean> =>
      inTransaction(pool, async (client) => {
        await holdAuthority(client, certificate);
        const { rowCount } = await client.query(
          `SELECT 1 FROM certificates t JOIN clusters c ON c.name = t.cluster AND c.removed_at IS NULL
           WHERE t.serial = $1 AND t.cluster = $2 AND t.revoked_at IS NULL FOR UPDATE OF c`,
          [askedWith, certificate.cluster],
        );
        if (rowCount !== 1) return false;
        await client.query("UPDATE certificates SET revoked_at = now() WHERE cluster = $1 AND serial <> $2 AND revoked_at IS NULL", [
          certificate.cluster,
          askedWith,
        ]);
        await insertCertificate(client, certificate);
        return true;
      }),

    /** Records a broker user; false when the certificate it was asked with was revoked meanwhile, or the cluster removed. */
    async recordBrokerUser(user: { readonly cluster: string; readonly publicKey: string; readonly notAfter: Date }, askedWith: string): Promise<boolean> {
      const { rowCount } = await pool.query({
        name: "record-broker-user",
        text: `INSERT INTO broker_users AS u (public_key, cluster, not_after)
               SELECT $1, t.cluster, $3 FROM certificates t JOIN clusters c ON c.name = t.cluster AND c.removed_at IS NULL
               WHERE t.serial = $4 AND t.cluster = $2 AND t.revoked_at IS NULL
               ON CONFLICT (public_key) DO UPDATE SET not_after = EXCLUDED.not_after, issued_at = now()
               WHERE u.cluster = EXCLUDED.cluster AND u.revoked_at IS NULL`,
        values: [user.publicKey, user.cluster, user.notAfter, askedWith],
      });
      return rowCount === 1;
    },

    /** Broker users whose rights ended before their time, and whose JWTs are still alive. */
    async readRevokedBrokerUsers(): Promise<RevokedBrokerUser[]> {
      const { rows } = await pool.query<{ public_key: string; revoked_at: Date }>({
        name: "read-revoked-broker-users",
        text: "SELECT public_key, revoked_at FROM broker_users WHERE revoked_at IS NOT NULL AND not_after > now() ORDER BY public_key",
      });
      return rows.map((row) => ({ publicKey: row.public_key, revokedAt: row.revoked_at }));
    },

    /** Writes an event. Its cluster may be "" when nobody knows it. */
    async recordEvent(event: EnrolmentEvent): Promise<void> {
      await pool.query("INSERT INTO events (at, cluster, reason, severity, message) VALUES (now(), $1, $2, $3, $4)", [
        event.cluster,
        event.reason,
        event.severity,
        event.message,
      ]);
    },
  };
}

/**
 * A new enrolment token for a cluster that exists; those not used yet are void. The token is shown once and kept as its SHA-256.
 *
 * @throws StoreError `not-found` when there is no such cluster, or it was removed; RangeError for a lifetime of zero or over a day.
 */
export async function mintEnrolToken(
  pool: pg.Pool,
  actor: Actor,
  cluster: string,
  lifetimeMs = enrolTokenLifetimeMs,
): Promise<{ readonly token: string; readonly expiresAt: Date }> {
  if (!(lifetimeMs > 0 && lifetimeMs <= enrolTokenLifetimeMaxMs))
    throw new RangeError(`a token lives more than 0 and at most ${enrolTokenLifetimeMaxMs / 3_600_000} hours`);
  const token = `fle_${randomBytes(32).toString("base64url")}`;
  return await inActTransaction(pool, actor, { act: "enrol-token.create", cluster, details: { lifetimeMs } }, async (client) => {
    const { rowCount } = await client.query("SELECT 1 FROM clusters WHERE name = $1 AND removed_at IS NULL FOR UPDATE", [cluster]);
    if (rowCount !== 1) throw new StoreError("not-found", `there is no cluster '${cluster}'`);
    await client.query("DELETE FROM enrol_tokens WHERE cluster = $1 AND used_at IS NULL", [cluster]);
    const { rows } = await client.query<{ expires_at: Date }>(
      "INSERT INTO enrol_tokens (hash, cluster, expires_at) VALUES ($1, $2, now() + $3 * interval '1 ms') RETURNING expires_at",
      [tokenHash(token), cluster, lifetimeMs],
    );
    return { token, expiresAt: rows[0]?.expires_at ?? new Date(Date.now() + lifetimeMs) };
  });
}

/**
 * Ends everything that a cluster's agent could show: certificates, broker users, tokens not used yet. Within 5 s its stream is
 * ended by whichever replica holds it, and its rights at the broker are gone. Takes part in the caller's transaction when given
 * its client.
 */
export async function revokeCredentials(client: pg.Pool | pg.ClientBase, cluster: string): Promise<void> {
  await revokeRows(client, cluster);
  await client.query("DELETE FROM enrol_tokens WHERE cluster = $1 AND used_at IS NULL", [cluster]);
  await notify(client, "flotilla_revoked", { clusters: [cluster] });
}

async function revokeRows(client: pg.Pool | pg.ClientBase, cluster: string): Promise<void> {
  await client.query("UPDATE certificates SET revoked_at = now() WHERE cluster = $1 AND revoked_at IS NULL", [cluster]);
  await client.query("UPDATE broker_users SET revoked_at = now() WHERE cluster = $1 AND revoked_at IS NULL", [cluster]);
  // What ran out long ago says nothing any more.
  await client.query("DELETE FROM certificates WHERE cluster = $1 AND not_after < now() - interval '30 days'", [cluster]);
  await client.query("DELETE FROM broker_users WHERE cluster = $1 AND not_after < now() - interval '1 day'", [cluster]);
}

/**
 * Holds the CA of a new certificate as it is: one that is being retired is waited for. Before rows of certificates are locked, as its retirement does.
 *
 * @throws StoreError `conflict` when it was retired: a replica that has not heard of it signs once more.
 */
async function holdAuthority(client: pg.ClientBase, { authority }: IssuedCertificate): Promise<void> {
  const { rowCount } = await client.query("SELECT 1 FROM authorities WHERE hash = $1 AND state <> 'retired' FOR SHARE", [authority]);
  if (rowCount !== 1) throw new StoreError("conflict", `the CA ${authority.slice(0, 12)} was retired`, { hint: "try again" });
}

async function insertCertificate(client: pg.ClientBase, { serial, cluster, spkiHash, notAfter, authority }: IssuedCertificate): Promise<void> {
  await client.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after, authority) VALUES ($1, $2, $3, $4, $5)", [
    serial,
    cluster,
    spkiHash,
    notAfter,
    authority,
  ]);
}

async function whyRefused(client: pg.ClientBase, hash: string): Promise<TokenUse> {
  const { rows } = await client.query<{ cluster: string; used: boolean; expired: boolean }>(
    "SELECT cluster, used_at IS NOT NULL AS used, expires_at <= now() AS expired FROM enrol_tokens WHERE hash = $1",
    [hash],
  );
  const row = rows[0];
  if (row === undefined) return { outcome: "unknown" };
  return { outcome: row.used ? "used" : row.expired ? "expired" : "removed", cluster: row.cluster };
}

/** 256 random bits need no slow hash. */
function tokenHash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
