import type pg from "pg";
import { leaseMs, leaseRenewMs, leaseTryMs } from "../limits.ts";
import { inTransaction, type TransactionOptions } from "./pool.ts";
import { StoreError } from "./store-error.ts";

/** A right to do what must be single, e.g. "intake" or "repository/7". */
export interface Lease {
  readonly name: string;
  /** Unique per process, e.g. the hub's id and a random part. */
  readonly holder: string;
  /** Grows with every change of holder. */
  readonly fence: bigint;
}

/** The lease, when it is free, ran out, or is this holder's own (whose older work is then fenced off); else undefined. */
export async function acquireLease(pool: pg.Pool | pg.ClientBase, name: string, holder: string, durationMs = leaseMs): Promise<Lease | undefined> {
  const { rows } = await pool.query<{ fence: string }>({
    name: "acquire-lease",
    text: `INSERT INTO leases AS l (name, holder, fence, until) VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 ms')
           ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, fence = l.fence + 1, until = EXCLUDED.until
           WHERE l.until < clock_timestamp() OR l.holder = EXCLUDED.holder
           RETURNING fence`,
    values: [name, holder, durationMs],
  });
  return rows[0] === undefined ? undefined : { name, holder, fence: BigInt(rows[0].fence) };
}

/** Whether the lease is still held, and now for another `durationMs`. */
export async function renewLease(pool: pg.Pool | pg.ClientBase, lease: Lease, durationMs = leaseMs): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: "renew-lease",
    text: "UPDATE leases SET until = clock_timestamp() + $4 * interval '1 ms' WHERE name = $1 AND holder = $2 AND fence = $3",
    values: [lease.name, lease.holder, lease.fence, durationMs],
  });
  return rowCount === 1;
}

/** Lets others in at once. The row stays, so that fences keep growing. */
export async function releaseLease(pool: pg.Pool | pg.ClientBase, lease: Lease): Promise<void> {
  await pool.query({
    name: "release-lease",
    text: "UPDATE leases SET until = '-infinity' WHERE name = $1 AND holder = $2 AND fence = $3",
    values: [lease.name, lease.holder, lease.fence],
  });
}

/**
 * Fails the transaction unless the lease's fence is current. Call it last: the row is locked until the commit, so that a
 * successor begins only after it and sees all of it.
 *
 * @throws StoreError `fenced`.
 */
export async function fenced(client: pg.ClientBase, lease: Lease): Promise<void> {
  const { rowCount } = await client.query({
    name: "check-fence",
    text: "SELECT 1 FROM leases WHERE name = $1 AND holder = $2 AND fence = $3 FOR SHARE",
    values: [lease.name, lease.holder, lease.fence],
  });
  if (rowCount !== 1) throw new StoreError("fenced", `the lease '${lease.name}' went to another replica`);
}

/** A transaction whose commit is refused once the lease went to another. */
export function inFencedTransaction<T>(pool: pg.Pool, lease: Lease, work: (client: pg.PoolClient) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
  return inTransaction(
    pool,
    async (client) => {
      const result = await work(client);
      await fenced(client, lease);
      return result;
    },
    options,
  );
}

export interface HoldOptions {
  readonly name: string;
  readonly holder: string;
  /** Ends the holding for good; the lease is then released. */
  readonly signal: AbortSignal;
  readonly durationMs?: number;
  readonly renewMs?: number;
  readonly onError?: (error: unknown) => void;
}

/**
 * Holds a lease whenever it can, for ever. `work` runs while it is held; its signal aborts when the lease is lost or the
 * holding ends. When `work` ends or throws, the lease is let go and tried for again.
 */
export async function holdLease(pool: pg.Pool, options: HoldOptions, work: (lease: Lease, signal: AbortSignal) => Promise<void>): Promise<void> {
  const { name, holder, signal, durationMs = leaseMs } = options;
  while (!signal.aborted) {
    const lease = await acquireLease(pool, name, holder, durationMs).catch((error: unknown) => {
      options.onError?.(error);
      return undefined;
    });
    if (lease !== undefined) {
      await workUnder(pool, lease, options, work).catch((error: unknown) => options.onError?.(error));
      await releaseLease(pool, lease).catch(() => undefined);
    }
    if (!signal.aborted) await pause(leaseTryMs, signal);
  }
}

async function workUnder(pool: pg.Pool, lease: Lease, options: HoldOptions, work: (lease: Lease, signal: AbortSignal) => Promise<void>): Promise<void> {
  const durationMs = options.durationMs ?? leaseMs;
  const ending = new AbortController();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  let until = Date.now() + durationMs;
  let renewing = false;
  const timer = setInterval(() => {
    if (Date.now() >= until) ending.abort(new StoreError("fenced", `the lease '${lease.name}' ran out`));
    if (renewing) return;
    renewing = true;
    const asked = Date.now();
    void renewLease(pool, lease, durationMs)
      .then((held) => {
        if (held) until = asked + durationMs;
        else ending.abort(new StoreError("fenced", `the lease '${lease.name}' went to another replica`));
      })
      .catch((error: unknown) => options.onError?.(error))
      .finally(() => (renewing = false));
  }, options.renewMs ?? leaseRenewMs);
  try {
    await work(lease, signal);
  } finally {
    clearInterval(timer);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
