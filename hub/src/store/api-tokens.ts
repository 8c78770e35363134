import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type pg from "pg";
import type { TokenRow } from "@flotilla/proto/rest/contract";
import type { Access, TokenHolder } from "../domain/access.ts";
import { type Actor, hubActor } from "../domain/actor.ts";
import { awaitTurn, inActTransaction, recordAct } from "./audit-log.ts";
import { isoOrNull } from "./iso-time.ts";
import { inTransaction } from "./pool.ts";
import { StoreError } from "./store-error.ts";

const tokenForm = /^flt_([0-9a-f]{12})_([0-9a-f]{64})$/;

/** What a new token may do, and in whose name it approves. */
export interface TokenRights {
  readonly access: Access;
  readonly roles: readonly string[];
}

const allRights: TokenRights = { access: "admin", roles: ["*"] };

/** Makes an API token: `flt_<id>_<256 bits>`; only its SHA-256 is stored. */
export async function createApiToken(
  pool: pg.Pool,
  actor: Actor,
  description: string,
  expiresAt: Date | null = null,
  { access, roles }: TokenRights = allRights,
): Promise<string> {
  const id = randomBytes(6).toString("hex");
  const token = `flt_${id}_${randomBytes(32).toString("hex")}`;
  const act = { act: "api-token.create", details: { token: id, description, expiresAt: expiresAt?.toISOString() ?? null, access, roles } };
  await inActTransaction(pool, actor, act, (client) =>
    client.query("INSERT INTO api_tokens (id, hash, description, expires_at, access, roles) VALUES ($1, $2, $3, $4, $5, $6)", [
      id,
      hashOf(token),
      description,
      expiresAt,
      access,
      roles,
    ]),
  );
  return token;
}

/** Who a valid token stands for, or undefined. */
export async function checkApiToken(pool: pg.Pool, token: string): Promise<TokenHolder | undefined> {
  const id = tokenForm.exec(token)?.[1];
  if (id === undefined) return undefined;
  const { rows } = await pool.query<{ hash: string; access: Access }>({
    name: "check-api-token",
    text: "SELECT hash, access FROM api_tokens WHERE id = $1 AND (expires_at IS NULL OR expires_at > now())",
    values: [id],
  });
  const [row] = rows;
  const [stored, given] = [Buffer.from(row?.hash ?? "", "hex"), Buffer.from(hashOf(token), "hex")];
  if (!row || stored.length !== given.length || !timingSafeEqual(stored, given)) return undefined;
  // Once a minute is enough to see which tokens are used.
  await pool.query({
    name: "touch-api-token",
    text: "UPDATE api_tokens SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
    values: [id],
  });
  return { id, access: row.access };
}

/** Newest first; what has ended stays for the audit log's sake. */
export async function readApiTokens(pool: pg.Pool): Promise<TokenRow[]> {
  const { rows } = await pool.query<Pick<TokenRow, "id" | "description" | "access" | "roles"> & { created: Date; expires: Date | null; used: Date | null }>(
    "SELECT id, description, access, roles, created_at AS created, expires_at AS expires, last_used_at AS used FROM api_tokens ORDER BY created_at DESC, id LIMIT 1000",
  );
  return rows.map(({ created, expires, used, ...row }) => ({
    ...row,
    createdAt: created.toISOString(),
    expiresAt: isoOrNull(expires),
    lastUsedAt: isoOrNull(used),
  }));
}

/**
 * Ends a token now.
 *
 * @throws StoreError `not-found`; `conflict` when it is the one that asks, because then nobody may be left who could.
 */
export async function revokeApiToken(pool: pg.Pool, actor: Actor, id: string): Promise<void> {
  await inActTransaction(pool, actor, { act: "api-token.revoke", details: { token: id } }, async (client) => {
    if (id === actor.id) throw new StoreError("conflict", "it is the token that you are using", { hint: "revoke it with another administrator's" });
    const { rowCount } = await client.query("UPDATE api_tokens SET expires_at = now() WHERE id = $1 AND (expires_at IS NULL OR expires_at > now())", [id]);
    if (rowCount === 0) throw new StoreError("not-found", `there is no valid token ${id}`, { hint: "fleet token list" });
  });
}

/** Roles of whoever acts; of the hub itself none. */
export async function rolesOf(client: pg.ClientBase, actor: Actor): Promise<readonly string[]> {
  const { rows } = await client.query<{ roles: string[] }>("SELECT roles FROM api_tokens WHERE id = $1", [actor.id]);
  return rows[0]?.roles ?? [];
}

/**
 * Writes down that somebody tried to act with a token that was valid once; once a minute, so that a program which does not notice fills
 * nothing. Tokens that never were say nothing about anybody and are not written.
 */
export async function recordExpiredToken(pool: pg.Pool, token: string, source: string, request: string): Promise<void> {
  const id = tokenForm.exec(token)?.[1];
  if (id === undefined) return;
  const { rowCount } = await pool.query("SELECT 1 FROM api_tokens WHERE id = $1 AND hash = $2 AND expires_at <= now()", [id, hashOf(token)]);
  if (rowCount !== 1) return;
  await recordTry(pool, { id, source, reason: "" }, "api-token.expired", { request, refusal: "the token has expired" });
}

/** Writes down that somebody tried what his token does not allow; once a minute for each token. */
export async function recordDeniedToken(
  pool: pg.Pool,
  id: string,
  denied: { readonly source: string; readonly request: string; readonly refusal: string },
): Promise<void> {
  const { source, request, refusal } = denied;
  await recordTry(pool, { id, source, reason: "" }, "api-token.denied", { request, refusal });
}

async function recordTry(
  pool: pg.Pool,
  actor: Actor,
  act: "api-token.expired" | "api-token.denied",
  details: { readonly request: string; readonly refusal: string },
): Promise<void> {
  const isTold = async (client: pg.Pool | pg.ClientBase): Promise<boolean> => {
    const { rowCount } = await client.query(
      "SELECT 1 FROM audit_log WHERE actor = $1 AND act = $2 AND act IN ('api-token.expired', 'api-token.denied') AND at > now() - interval '1 minute' LIMIT 1",
      [actor.id, act],
    );
    return rowCount !== 0;
  };
  // Asked first without a turn: a program that tries on and on keeps nobody's act waiting.
  if (await isTold(pool)) return;
  await inTransaction(pool, async (client) => {
    await awaitTurn(client);
    if (!(await isTold(client))) await recordAct(client, actor, { act, details }, "refused");
  });
}

/**
 * The first administrator's token: made at the first start and written to the file, mode 0600. A file whose token is valid is left as it is;
 * when it was lost, or belongs to another database, a new token takes its place.
 */
export async function ensureAdminToken(pool: pg.Pool, options: { readonly file: string }): Promise<{ readonly created: boolean }> {
  const { file } = options;
  const known = await readFile(file, "utf8").catch(() => "");
  if (known !== "") {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0)
      throw new StoreError("sealing", `others on this machine may read the administrator's token ${file}`, { hint: `chmod 600 ${file}` });
    if ((await checkApiToken(pool, known.trim())) !== undefined) return { created: false };
  }
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const part = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const token = await createApiToken(pool, hubActor, "administrator of the first start");
  try {
    await writeFile(part, `${token}\n`, { mode: 0o600, flag: "wx" });
    await rename(part, file);
  } finally {
    await rm(part, { force: true });
  }
  return { created: true };
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
