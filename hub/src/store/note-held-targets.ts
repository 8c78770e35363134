import type pg from "pg";
import type { HeldTargetRow } from "../domain/link-rows.ts";
import { eventOf } from "./create-fleet.ts";
import { notify } from "./listen.ts";
import { inTransaction } from "./pool.ts";
import { saveEvents } from "./save-events.ts";

/** Generations that an agent may claim: REST shows them as numbers. */
const generationMax = 2n ** 52n;

/**
 * Compares what agents hold with the rows. A row that is behind (the database was restored from a backup) is marked, and its fleet is
 * placed again: a generation is never used twice, and the old content is never sent over the new (releaseTargets). Tombstones that are
 * older than what an agent holds, and fleets that the database does not know, are told and change nothing.
 */
export async function noteHeldTargets(pool: pg.Pool, held: readonly HeldTargetRow[]): Promise<void> {
  const rows = held.filter(({ generation }) => generation > 0n && generation < generationMax);
  if (rows.length === 0) return;
  await inTransaction(pool, async (client) => {
    const values = [
      rows.map(({ cluster }) => cluster),
      rows.map(({ fleet }) => fleet),
      rows.map(({ generation }) => generation),
      rows.map(({ digest }) => digest),
      rows.map(({ releasedAt }) => releasedAt?.getTime() ?? null),
    ];
    const from = "unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::float8[]) AS h (cluster, fleet, generation, digest, released_ms)";
    // As compareHeld has it; Postgres keeps microseconds.
    const isOther = "(h.digest <> t.digest OR floor(extract(epoch FROM t.released_at) * 1000) <> h.released_ms)";
    const isAhead = `(h.generation > t.generation OR (h.generation = t.generation AND ${isOther}))`;
    const behind = await client.query<{ fleet: string; cluster: string; held: string; own: string }>({
      name: "note-held-targets",
      text: `UPDATE targets t SET held_generation = h.generation FROM ${from}
             WHERE t.fleet = h.fleet AND t.cluster = h.cluster AND t.tombstone IS NULL AND ${isAhead} AND t.held_generation IS DISTINCT FROM h.generation
             RETURNING t.fleet, t.cluster, h.generation AS held, t.generation AS own`,
      values,
    });
    const others = await client.query<{ fleet: string; cluster: string; held: string; own: string | null }>({
      name: "note-held-others",
      text: `SELECT h.fleet, h.cluster, h.generation AS held, t.generation AS own FROM ${from} LEFT JOIN targets t ON t.fleet = h.fleet AND t.cluster = h.cluster
             WHERE (t.fleet IS NULL OR (t.tombstone IS NOT NULL AND ${isAhead}))
               AND NOT EXISTS (SELECT 1 FROM events e WHERE e.fleet = h.fleet AND e.cluster = h.cluster AND e.reason = 'HubBehind' AND e.committed_at > now() - interval '1 day')`,
      values,
    });
    const fleets = [...new Set(behind.rows.map(({ fleet }) => fleet))];
    if (fleets.length > 0) {
      await notify(client, "flotilla_placement", { fleets });
      await notify(client, "flotilla_changes", { fleets, clusters: [...new Set(behind.rows.map(({ cluster }) => cluster))] });
    }
    await saveEvents(client, [
      ...behind.rows.map(({ fleet, cluster, held: newer, own }) =>
        told(fleet, cluster, `holds generation ${newer}, and this hub's database is at ${own}; what Git says now is sent above it`),
      ),
      ...others.rows.map(({ fleet, cluster, held: newer, own }) =>
        own === null
          ? told(
              fleet,
              cluster,
              `holds generation ${newer} of a fleet that this hub's database does not know; the cluster keeps it, nothing is deleted. Create the fleet again, or uninstall the agent`,
            )
          : told(
              fleet,
              cluster,
              `holds generation ${newer}, newer than the tombstone ${own} of this hub's database; the cluster keeps what it has, nothing is deleted. Label it into the fleet again, or remove the cluster`,
            ),
      ),
    ]);
  });
}

function told(fleet: string, cluster: string, message: string): ReturnType<typeof eventOf> {
  return eventOf(fleet, "HubBehind", `the agent ${message}. Was the database restored from a backup?`, { cluster, severity: "Warning" });
}
