import pg from "pg";
import { connectMs, idleInTransactionMs, poolConnectionsMax, statementMs, transactionRetriesMax } from "../limits.ts";
import { asStoreError, isSerializationFailure, isUnreachable, StoreError } from "./store-error.ts";
import { silentLog, type StoreLog } from "./store-log.ts";

export interface PoolOptions {
  /** postgres://…; holds the password, so it is never logged. */
  readonly url: string;
  /** Shown in pg_stat_activity, e.g. "flotilla-hub/<hub id>". */
  readonly applicationName?: string;
  readonly connectionsMax?: number;
  readonly statementTimeoutMs?: number;
  readonly log?: StoreLog;
}

/**
 * A pool that outlives Postgres: a broken connection is dropped and made again when it is next asked for. New connections
 * are refused while the server is a standby, so that a write never lands on the wrong side of a failover.
 */
export function openPool(options: PoolOptions): pg.Pool {
  const log = options.log ?? silentLog;
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.applicationName ?? "flotilla-hub",
    max: options.connectionsMax ?? poolConnectionsMax,
    connectionTimeoutMillis: connectMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    statement_timeout: options.statementTimeoutMs ?? statementMs,
    // A stopped replica must not hold locks past its lease.
    idle_in_transaction_session_timeout: idleInTransactionMs,
    // The server's own timeout comes first; this one is for a server that vanished.
    query_timeout: (options.statementTimeoutMs ?? statementMs) + 5_000,
    verify: refuseStandby,
  } as pg.PoolConfig);
  pool.on("error", (error) => log.warn({ error: error.message }, "lost an idle connection to Postgres"));
  // A client that is checked out has no listener of the pool's: without one its error would end the process.
  pool.on("connect", (client) => client.on("error", (error: Error) => log.warn({ error: error.message }, "lost a connection to Postgres")));
  return pool;
}

function refuseStandby(client: pg.PoolClient, done: (error?: Error) => void): void {
  client.query<{ standby: boolean }>("SELECT pg_is_in_recovery() AS standby").then(
    ({ rows }) => done(rows[0]?.standby === true ? new StoreError("unreachable", "Postgres is a standby and takes no writes") : undefined),
    (error: Error) => done(error),
  );
}

export interface TransactionOptions {
  /** Also try again after a lost connection, though the first try may have been committed: only for work that has no effect the second time. */
  readonly idempotent?: boolean;
}

/**
 * Runs `work` in one transaction (read committed), again when it crossed another.
 *
 * @throws StoreError `unreachable` or `disk-full`; whatever `work` throws.
 */
export async function inTransaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await runOnce(pool, work);
    } catch (error) {
      const again = isSerializationFailure(error) || (options.idempotent === true && isUnreachable(error));
      if (!again || tries > transactionRetriesMax) throw asStoreError(error);
    }
  }
}

async function runOnce<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    broken = await client.query("ROLLBACK").then(
      () => undefined,
      (failure: Error) => failure,
    );
    throw error;
  } finally {
    client.release(broken);
  }
}
