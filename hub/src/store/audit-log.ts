import { type AuditedAct, auditHash, auditStart } from "@flotilla/proto/audit";
import { canonicalJson } from "@flotilla/proto/digest";
import type { AuditRow } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Act, Actor } from "../domain/actor.ts";
import { cleanText } from "../domain/read-report.ts";
import { auditReasonCharsMax } from "../limits.ts";
import { inTransaction } from "./pool.ts";
import { Conditions, type PageOf, readPage } from "./read-page.ts";
import type { ListBounds } from "./read-fleets.ts";
import { StoreError } from "./store-error.ts";

const auditLock = 7_021_961;

/** Acts take turns from here to their commit: the chain has one end. Before any row is locked, or two acts could wait for each other crosswise. */
export async function awaitTurn(client: pg.ClientBase): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock($1)", [auditLock]);
}

/**
 * Writes an act into the audit log, in the transaction of the act itself: nothing takes effect that is not written. Call it first, or
 * after awaitTurn.
 */
export async function recordAct(client: pg.ClientBase, actor: Actor, act: Act, outcome: AuditedAct["outcome"] = "done"): Promise<void> {
  await awaitTurn(client);
  const { rows } = await client.query<{ seq: string | null; hash: string | null; actor_name: string | null }>({
    name: "read-audit-head",
    text: `SELECT h.seq, h.hash, (SELECT description FROM api_tokens WHERE id = $1) AS actor_name
           FROM (SELECT 1) one LEFT JOIN (SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1) h ON true`,
    values: [actor.id],
  });
  const head = rows[0];
  const entry: AuditedAct = {
    seq: Number(head?.seq ?? 0) + 1,
    at: new Date().toISOString(),
    actor: cleanText(actor.id),
    actorName: cleanText(head?.actor_name ?? ""),
    act: act.act,
    fleet: cleanText(act.fleet ?? ""),
    cluster: cleanText(act.cluster ?? ""),
    // As it will be read back: without what JSON does not have.
    details: JSON.parse(canonicalJson(act.details ?? {})) as Record<string, unknown>,
    reason: cleanText(actor.reason, auditReasonCharsMax),
    source: cleanText(actor.source),
    outcome,
    previous: head?.hash ?? auditStart,
  };
  await client.query({
    name: "append-audit",
    text: `INSERT INTO audit_log (seq, at, actor, actor_name, act, fleet, cluster, details, reason, source, outcome, previous, hash)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    values: [
      entry.seq,
      entry.at,
      entry.actor,
      entry.actorName,
      entry.act,
      entry.fleet,
      entry.cluster,
      canonicalJson(entry.details),
      entry.reason,
      entry.source,
      entry.outcome,
      entry.previous,
      auditHash(entry),
    ],
  });
}

/** Refusals that say something about the one who asked; a store that is away says nothing. */
const refusals: ReadonlySet<string> = new Set(["conflict", "not-found", "ambiguous"]);

/**
 * Does an act of a person or token in one transaction, written in the audit log first. An act that the store refuses is in the
 * log as refused, and changed nothing.
 *
 * @throws StoreError; whatever `work` throws.
 */
export async function inActTransaction<T>(pool: pg.Pool, actor: Actor, act: Act, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  try {
    return await inTransaction(pool, async (client) => {
      await recordAct(client, actor, act);
      return await work(client);
    });
  } catch (error) {
    if (error instanceof StoreError && refusals.has(error.code)) await recordRefusal(pool, actor, act, error.message);
    throw error;
  }
}

async function recordRefusal(pool: pg.Pool, actor: Actor, act: Act, refusal: string): Promise<void> {
  const refused = { ...act, details: { ...act.details, refusal: cleanText(refusal, auditReasonCharsMax) } };
  await inTransaction(pool, (client) => recordAct(client, actor, refused, "refused"));
}

export interface AuditFilter extends ListBounds {
  readonly fleet?: string | undefined;
  readonly cluster?: string | undefined;
  readonly actor?: string | undefined;
  readonly act?: string | undefined;
  readonly order?: "asc" | "desc" | undefined;
}

interface StoredAct {
  readonly seq: string;
  readonly at: Date;
  readonly actor: string;
  readonly actor_name: string;
  readonly act: string;
  readonly fleet: string;
  readonly cluster: string;
  readonly details: string;
  readonly reason: string;
  readonly source: string;
  readonly outcome: AuditedAct["outcome"];
  readonly previous: string;
  readonly hash: string;
}

/** Acts, newest first unless told otherwise. */
export async function readAuditLog(pool: pg.Pool, query: AuditFilter): Promise<PageOf<AuditRow>> {
  const where = new Conditions()
    .add("a.fleet = ¤", query.fleet)
    .add("a.cluster = ¤", query.cluster)
    .add("a.actor = ¤", query.actor)
    .add("a.act = ¤", query.act);
  const page = await readPage<StoredAct>(pool, {
    from: "audit_log a",
    select: "a.*",
    where,
    keys: [["a.seq", "bigint"]],
    descending: query.order !== "asc",
    limit: query.limit,
    cursor: query.cursor,
  });
  return { ...page, items: page.items.map(auditRow) };
}

/** Text that was made unreadable behind the hub's back is shown as it is: its hash will not fit. */
function readDetails(text: string): AuditRow["details"] {
  try {
    return JSON.parse(text) as AuditRow["details"];
  } catch {
    return { unreadable: text };
  }
}

function auditRow(row: StoredAct): AuditRow {
  const { actor, act, fleet, cluster, reason, source, outcome, previous, hash } = row;
  return {
    seq: Number(row.seq),
    at: row.at.toISOString(),
    actor,
    actorName: row.actor_name,
    act,
    fleet,
    cluster,
    details: readDetails(row.details),
    reason,
    source,
    outcome,
    previous,
    hash,
  };
}
