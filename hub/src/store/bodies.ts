import type pg from "pg";
import type { Problem } from "../domain/problem.ts";
import { inTransaction } from "./pool.ts";
import type { Sealing } from "./sealing.ts";

/** A body that is in the store, without its content. */
export interface StoredBody {
  readonly digest: string;
  readonly objectCount: number;
  /** Compressed. */
  readonly bodyBytes: number;
  readonly objectIds: readonly string[];
  readonly warnings: readonly Problem[];
}

export interface BodyToStore {
  readonly digest: string;
  readonly objectCount: number;
  readonly compressed: Uint8Array;
  readonly objectIds: readonly string[];
  readonly warnings: readonly Problem[];
}

/** What was rendered before, by key, as far as its body is still here. */
export async function findRenders(pool: pg.Pool, keys: readonly string[]): Promise<Map<string, StoredBody>> {
  if (keys.length === 0) return new Map();
  const { rows } = await pool.query<{ key: string; digest: string; object_count: number; body_bytes: string; object_ids: string[]; warnings: Problem[] }>({
    name: "find-renders",
    text: "SELECT r.key, r.digest, b.object_count, b.body_bytes, b.object_ids, r.warnings FROM renders r JOIN bodies b USING (digest) WHERE r.key = ANY($1::text[])",
    values: [keys],
  });
  return new Map(
    rows.map(({ key, digest, object_count: objectCount, body_bytes: bodyBytes, object_ids: objectIds, warnings }) => [
      key,
      { digest, objectCount, bodyBytes: Number(bodyBytes), objectIds, warnings },
    ]),
  );
}

/** Keeps what a key rendered to; the body once, sealed, whatever the number of keys. */
export async function saveRender(pool: pg.Pool, sealing: Sealing, key: string, body: BodyToStore): Promise<void> {
  await inTransaction(pool, async (client) => {
    const { rowCount } = await client.query({ name: "touch-body", text: "UPDATE bodies SET created_at = now() WHERE digest = $1", values: [body.digest] });
    if (rowCount === 0) {
      await client.query({
        name: "save-body",
        text: "INSERT INTO bodies (digest, object_count, body_bytes, sealed_body, object_ids) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        values: [body.digest, body.objectCount, body.compressed.length, sealing.seal(body.compressed), body.objectIds],
      });
    }
    await client.query({
      name: "save-render",
      text: "INSERT INTO renders (key, digest, warnings) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET digest = EXCLUDED.digest, warnings = EXCLUDED.warnings, rendered_at = now()",
      values: [key, body.digest, JSON.stringify(body.warnings)],
    });
  });
}

/** The two above as the renderer's cache. */
export function renderCache(
  pool: pg.Pool,
  sealing: Sealing,
): { find(keys: readonly string[]): Promise<ReadonlyMap<string, StoredBody>>; save(key: string, body: BodyToStore): Promise<void> } {
  return { find: (keys) => findRenders(pool, keys), save: (key, body) => saveRender(pool, sealing, key, body) };
}

/** Compressed content of bodies by digest; those that are not here are left out. */
export async function loadBodies(pool: pg.Pool, sealing: Sealing, digests: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  const { rows } = await pool.query<{ digest: string; sealed_body: Buffer }>({
    name: "load-bodies",
    text: "SELECT digest, sealed_body FROM bodies WHERE digest = ANY($1::text[])",
    values: [digests],
  });
  return new Map(rows.map((row) => [row.digest, sealing.open(row.sealed_body)]));
}
