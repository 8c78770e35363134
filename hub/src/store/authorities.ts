import type { AuthorityRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { type AuthorityKeys, type AuthorityState, faultOfAct, namesShown, spkiHashOf, type TrustedAuthority } from "../domain/authorities.ts";
import { authoritiesTrustedMax, authoritySettleMs } from "../limits.ts";
import { inActTransaction } from "./audit-log.ts";
import { revokeCredentials } from "./enrolment-store.ts";
import { notify } from "./listen.ts";
import { inTransaction } from "./pool.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";

/** Where a hub of the version before kept its one CA. */
const oneAuthority = "certificate-authority";

/** The hub's CAs, for its own use. */
export function openAuthorityStore(pool: pg.Pool, sealing: Sealing) {
  return {
    /** Sees to it that there is a CA: replicas that start together share the first, and a hub that had one of the version before keeps it. */
    begin: (make: () => Promise<AuthorityKeys>): Promise<void> =>
      inTransaction(pool, async (client) => {
        await client.query("LOCK TABLE authorities IN EXCLUSIVE MODE");
        const { rowCount } = await client.query("SELECT 1 FROM authorities LIMIT 1");
        if (rowCount !== 0) return;
        const { rows } = await client.query<{ sealed_value: Buffer }>("DELETE FROM hub_secrets WHERE name = $1 RETURNING sealed_value", [oneAuthority]);
        const first = rows[0] === undefined ? await make() : readKept(sealing.open(rows[0].sealed_value).toString("utf8"));
        await insertAuthority(client, sealing, first, "active");
      }),

    /** Those that are trusted, oldest first. */
    async readTrusted(): Promise<TrustedAuthority[]> {
      const { rows } = await pool.query<{ hash: string; certificate: string; sealed_key: Buffer; state: TrustedAuthority["state"] }>({
        name: "read-trusted-authorities",
        text: "SELECT hash, certificate, sealed_key, state FROM authorities WHERE state <> 'retired' ORDER BY number",
      });
      return rows.map(({ hash, certificate, sealed_key: sealedKey, state }) => ({
        hash,
        certificatePem: certificate,
        keyPem: sealing.open(sealedKey).toString("utf8"),
        state,
      }));
    },
  };
}

function readKept(text: string): AuthorityKeys {
  const { keyPem, certificatePem } = JSON.parse(text) as { keyPem: string; certificatePem: string };
  return { hash: spkiHashOf(certificatePem), keyPem, certificatePem };
}

async function insertAuthority(client: pg.ClientBase, sealing: Sealing, { hash, certificatePem, keyPem }: AuthorityKeys, state: AuthorityState): Promise<void> {
  await client.query(
    "INSERT INTO authorities (hash, certificate, sealed_key, state, activated_at) VALUES ($1, $2, $3, $4, CASE WHEN $4 = 'active' THEN now() END)",
    [hash, certificatePem, sealing.seal(keyPem), state],
  );
}

/**
 * The certificate that each cluster's agent uses: the one that its last stream came with, or the newest where there was no stream yet. Those that
 * have expired are not here: whoever has only such a one needs a token, whichever CA signed it.
 */
const currentCertificates = `
  SELECT DISTINCT ON (t.cluster) t.cluster, COALESCE(t.authority, (SELECT hash FROM authorities ORDER BY number LIMIT 1)) AS authority,
         c.trusted_authorities AS trusted, (c.hub_id IS NOT NULL AND c.lease_until > now()) AS connected
  FROM certificates t JOIN clusters c ON c.name = t.cluster AND c.removed_at IS NULL
  WHERE t.revoked_at IS NULL AND t.not_after > now()
  ORDER BY t.cluster, (t.serial = c.certificate) DESC NULLS LAST, t.issued_at DESC`;

/** Every CA that there was, newest first, with what still hangs on it. */
export async function readAuthorities(pool: pg.Pool): Promise<AuthorityRow[]> {
  const { rows } = await pool.query<{
    hash: string;
    certificate: string;
    state: AuthorityState;
    created_at: Date;
    activated_at: Date | null;
    retired_at: Date | null;
    holders: number;
    trusting: number;
    clusters: number;
  }>(
    `WITH current AS MATERIALIZED (${currentCertificates})
     SELECT a.hash, a.certificate, a.state, a.created_at, a.activated_at, a.retired_at,
            (SELECT count(*)::integer FROM current k WHERE k.authority = a.hash) AS holders,
            (SELECT count(*)::integer FROM current k WHERE k.trusted ? a.hash) AS trusting,
            (SELECT count(*)::integer FROM current) AS clusters
     FROM authorities a ORDER BY a.number DESC`,
  );
  return rows.map(({ created_at: createdAt, activated_at: activatedAt, retired_at: retiredAt, ...row }) => ({
    ...row,
    createdAt: createdAt.toISOString(),
    activatedAt: activatedAt?.toISOString() ?? null,
    retiredAt: retiredAt?.toISOString() ?? null,
  }));
}

/**
 * Has hub and agents trust another CA, which signs nothing yet.
 *
 * @returns its hash.
 * @throws StoreError `conflict` when one is staged already, or too many are trusted.
 */
export async function stageAuthority(pool: pg.Pool, sealing: Sealing, actor: Actor, authority: AuthorityKeys): Promise<string> {
  return await inActTransaction(pool, actor, { act: "authority.stage", details: { hash: authority.hash } }, async (client) => {
    const { rows } = await client.query<{ hash: string; state: AuthorityState }>("SELECT hash, state FROM authorities WHERE state <> 'retired'");
    const staged = rows.find(({ state }) => state === "staged");
    if (staged !== undefined)
      throw new StoreError("conflict", `a CA is staged already: ${staged.hash.slice(0, 12)}`, {
        hint: "fleet ca activate HASH, or give it up: fleet ca retire HASH",
      });
    if (rows.length >= authoritiesTrustedMax)
      throw new StoreError("conflict", `${rows.length} CAs are trusted already`, { hint: "retire one first: fleet ca list, fleet ca retire HASH" });
    await insertAuthority(client, sealing, authority, "staged");
    await notify(client, "flotilla_authorities", {});
    return authority.hash;
  });
}

/** A CA that people name, and why what keeps it is not to be waited for. */
export interface AuthorityChoice {
  /** A hash or the beginning of one. */
  readonly hash: string;
  readonly force: boolean;
}

/**
 * Has a trusted CA sign from now on. The one that signed until then stays trusted.
 *
 * @returns its hash.
 * @throws StoreError `not-found`, `ambiguous`; `conflict` when it signs already or was retired, when a replica may not trust it yet, and, unless forced,
 * while an agent that is connected does not.
 */
export async function activateAuthority(pool: pg.Pool, actor: Actor, { hash: named, force }: AuthorityChoice): Promise<string> {
  return await inActTransaction(pool, actor, { act: "authority.activate", details: { hash: named, force } }, async (client) => {
    const { hash, agedMs } = await findAuthority(client, named, "activate");
    if (agedMs < authoritySettleMs)
      throw new StoreError("conflict", `CA ${hash.slice(0, 12)} was staged a moment ago, and not every replica of the hub trusts it yet`, {
        hint: `try again in ${Math.ceil((authoritySettleMs - agedMs) / 1_000)} s`,
      });
    const unaware = await namesOf(client, "k.connected AND NOT k.trusted ? $1", [hash]);
    if (unaware.length > 0 && !force)
      throw new StoreError("conflict", `agents that are connected do not trust CA ${hash.slice(0, 12)} yet: ${namesShown(unaware)}`, {
        hint: "they are told within seconds; one that stays here is of an older version: update it, or give --force and a --reason",
      });
    await client.query("UPDATE authorities SET state = 'retiring' WHERE state = 'active'");
    await client.query("UPDATE authorities SET state = 'active', activated_at = now() WHERE hash = $1", [hash]);
    await notify(client, "flotilla_authorities", {});
    return hash;
  });
}

/**
 * Ends the trust in a CA that does not sign, and destroys its key. Agents that come with a certificate of it are refused from then on, and need a token.
 *
 * @returns its hash, and the clusters that are locked out by it.
 * @throws StoreError `not-found`, `ambiguous`; `conflict` when it signs or was retired, and, unless forced, while agents hang on it.
 */
export async function retireAuthority(
  pool: pg.Pool,
  actor: Actor,
  { hash: named, force }: AuthorityChoice,
): Promise<{ readonly hash: string; readonly lockedOut: readonly string[] }> {
  return await inActTransaction(pool, actor, { act: "authority.retire", details: { hash: named, force } }, async (client) => {
    const { hash, state } = await findAuthority(client, named, "retire");
    const holders = await namesOf(client, "k.authority = $1", [hash]);
    const unaware = state === "staged" ? [] : await namesOf(client, "NOT k.trusted ? (SELECT hash FROM authorities WHERE state = 'active')", []);
    const hanging = [...new Set([...holders, ...unaware])].toSorted();
    if (hanging.length > 0 && !force)
      throw new StoreError("conflict", `agents still hang on CA ${hash.slice(0, 12)}: ${namesShown(hanging)}`, {
        hint: "they change by themselves when they are connected; remove clusters that are gone, or give --force and a --reason: those that are left need a new token then",
      });
    for (const cluster of hanging) await revokeCredentials(client, cluster);
    await client.query("UPDATE authorities SET state = 'retired', retired_at = now(), sealed_key = NULL WHERE hash = $1", [hash]);
    await client.query(
      "UPDATE certificates SET revoked_at = now() WHERE revoked_at IS NULL AND COALESCE(authority, (SELECT hash FROM authorities ORDER BY number LIMIT 1)) = $1",
      [hash],
    );
    await notify(client, "flotilla_authorities", {});
    return { hash, lockedOut: hanging };
  });
}

/** Locked, so that nothing is signed by it while it is retired. */
async function findAuthority(
  client: pg.ClientBase,
  named: string,
  act: "activate" | "retire",
): Promise<{ readonly hash: string; readonly state: AuthorityState; readonly agedMs: number }> {
  const { rows } = await client.query<{ hash: string; state: AuthorityState; aged_ms: number }>(
    `SELECT hash, state, extract(epoch FROM clock_timestamp() - created_at)::double precision * 1000 AS aged_ms
     FROM authorities WHERE starts_with(hash, $1) ORDER BY hash FOR UPDATE`,
    [named],
  );
  const [row, other] = rows;
  if (row === undefined) throw new StoreError("not-found", `there is no CA '${named}'`, { hint: "`fleet ca list` shows those there are" });
  if (other !== undefined) throw new StoreError("ambiguous", `'${named}' is the beginning of more than one CA's hash`, { hint: "give more digits" });
  const fault = faultOfAct(act, row.state);
  if (fault !== undefined) throw new StoreError("conflict", `CA ${row.hash.slice(0, 12)}: ${fault}`, { hint: "`fleet ca list` shows what each one does" });
  return { hash: row.hash, state: row.state, agedMs: row.aged_ms };
}

async function namesOf(client: pg.ClientBase, condition: string, values: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ cluster: string }>(`SELECT k.cluster FROM (${currentCertificates}) k WHERE ${condition} ORDER BY k.cluster`, [
    ...values,
  ]);
  return rows.map(({ cluster }) => cluster);
}
