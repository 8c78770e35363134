import { sha256 } from "@flotilla/proto/digest";
import type pg from "pg";
import { migrations } from "./migrations/embedded.ts";
import { StoreError } from "./store-error.ts";

export interface Migration {
  /** "0001_init": number and name; they run in this order. */
  readonly name: string;
  readonly sql: string;
}

/** Replicas that start together migrate one after another. */
const migrationLock = 7_021_959;

/**
 * Brings the database to this version's schema, each file in a transaction of its own.
 *
 * @throws StoreError `schema` when the database was migrated by a newer version, or a file was edited after it ran.
 */
export async function migrate(pool: pg.Pool, wanted: readonly Migration[] = migrations): Promise<{ readonly applied: readonly string[] }> {
  const client = await pool.connect();
  try {
    // Another replica's migration may take longer than any statement.
    await client.query("SET statement_timeout = 0");
    await client.query("SELECT pg_advisory_lock($1)", [migrationLock]);
    return { applied: await applyMissing(client, wanted) };
  } finally {
    await client.query("SELECT pg_advisory_unlock_all()").catch(() => undefined);
    // With its changed timeout it must not go back into the pool.
    client.release(true);
  }
}

async function applyMissing(client: pg.PoolClient, wanted: readonly Migration[]): Promise<string[]> {
  await client.query(
    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
  );
  const { rows } = await client.query<{ name: string; checksum: string }>("SELECT name, checksum FROM schema_migrations ORDER BY name");
  checkApplied(rows, wanted);
  const ran = new Set(rows.map(({ name }) => name));
  const applied: string[] = [];
  for (const { name, sql } of wanted.filter((migration) => !ran.has(migration.name))) {
    await client.query("BEGIN");
    try {
      await client.query(sql);
      await client.query("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", [name, sha256(sql)]);
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK").catch(() => undefined);
      throw new StoreError("schema", `migration ${name} failed: ${(error as Error).message}`, { cause: error });
    }
    applied.push(name);
  }
  return applied;
}

/** Files may come later than others with higher numbers that ran already (two people, two branches): none may need what a higher number makes. */
function checkApplied(applied: readonly { name: string; checksum: string }[], wanted: readonly Migration[]): void {
  const known = new Map(wanted.map((migration) => [migration.name, migration]));
  for (const { name, checksum } of applied) {
    const migration = known.get(name);
    if (migration === undefined) {
      throw new StoreError("schema", `the database has migration ${name}, which this version does not know`, {
        hint: "start the newer hub again, or restore a backup from before the upgrade",
      });
    }
    if (sha256(migration.sql) !== checksum) {
      throw new StoreError("schema", `migration ${name} of the database is not this version's: it was edited after it ran`, {
        hint: "migrations that ran are never edited; use the version that made this database, or a fresh database",
      });
    }
  }
}
