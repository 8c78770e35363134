import type pg from "pg";
import { foldDrift, type DriftEpisode, type DriftMark } from "../domain/drift-episodes.ts";
import type { DriftedField } from "../domain/report-rows.ts";
import { batchRowsMax } from "../limits.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { inBatches } from "./unnest.ts";

interface DriftRowOfObject {
  readonly cluster: string;
  readonly fleet: string;
  readonly objectId: string;
  readonly marks: readonly DriftMark[];
}

interface StoredEpisode extends DriftEpisode {
  readonly id: string;
}

export async function saveDrifts(client: pg.ClientBase, fleets: readonly FleetOfCluster[]): Promise<void> {
  const marked: DriftRowOfObject[] = fleets.flatMap(({ cluster, fleet, fold }) =>
    [...fold.drift].map(([objectId, marks]) => ({ cluster, fleet, objectId, marks })),
  );
  for (const part of inBatches(marked, batchRowsMax)) {
    const last = await readLastEpisodes(client, part);
    const updates: StoredEpisode[] = [];
    const inserts: (DriftEpisode & Omit<DriftRowOfObject, "marks">)[] = [];
    for (const { cluster, fleet, objectId, marks } of part) {
      const stored = last.get([cluster, fleet, objectId].join("\n"));
      const [first, ...others] = foldDrift(stored, marks);
      if (stored === undefined && first !== undefined) others.unshift(first);
      else if (stored !== undefined && first !== undefined && first !== stored) updates.push({ ...first, id: stored.id });
      inserts.push(...others.map((episode) => ({ ...episode, cluster, fleet, objectId })));
    }
    await updateEpisodes(client, updates);
    await insertEpisodes(client, inserts);
  }
}

async function readLastEpisodes(client: pg.ClientBase, objects: readonly DriftRowOfObject[]): Promise<Map<string, StoredEpisode>> {
  interface EpisodeRow {
    readonly cluster: string;
    readonly fleet: string;
    readonly object_id: string;
    readonly id: string;
    readonly bundle: string;
    readonly fields: readonly DriftedField[];
    readonly first_seen_at: Date;
    readonly last_seen_at: Date;
    readonly times: number;
    readonly healed_at: Date | null;
  }
  const { rows } = await client.query<EpisodeRow>({
    name: "read-last-episodes",
    text: `SELECT d.* FROM unnest($1::text[], $2::text[], $3::text[]) AS r (cluster, fleet, object_id)
           CROSS JOIN LATERAL (SELECT * FROM drifts d WHERE d.cluster = r.cluster AND d.fleet = r.fleet AND d.object_id = r.object_id
                               ORDER BY d.id DESC LIMIT 1) d`,
    values: [objects.map(({ cluster }) => cluster), objects.map(({ fleet }) => fleet), objects.map(({ objectId }) => objectId)],
  });
  return new Map(
    rows.map((row) => [
      [row.cluster, row.fleet, row.object_id].join("\n"),
      {
        id: row.id,
        bundle: row.bundle,
        fields: row.fields,
        firstSeenAt: row.first_seen_at,
        lastSeenAt: row.last_seen_at,
        times: row.times,
        healedAt: row.healed_at,
      },
    ]),
  );
}

async function updateEpisodes(client: pg.ClientBase, episodes: readonly StoredEpisode[]): Promise<void> {
  if (episodes.length === 0) return;
  await client.query({
    name: "update-drifts",
    text: `UPDATE drifts d SET bundle = r.bundle, fields = r.fields, last_seen_at = r.last_seen_at, times = r.times, healed_at = r.healed_at
           FROM unnest($1::bigint[], $2::text[], $3::jsonb[], $4::timestamptz[], $5::integer[], $6::timestamptz[]) AS r (id, bundle, fields, last_seen_at, times, healed_at)
           WHERE d.id = r.id`,
    values: [
      episodes.map(({ id }) => id),
      episodes.map(({ bundle }) => bundle),
      episodes.map(({ fields }) => JSON.stringify(fields)),
      episodes.map(({ lastSeenAt }) => lastSeenAt),
      episodes.map(({ times }) => times),
      episodes.map(({ healedAt }) => healedAt),
    ],
  });
}

async function insertEpisodes(client: pg.ClientBase, episodes: readonly (DriftEpisode & Omit<DriftRowOfObject, "marks">)[]): Promise<void> {
  if (episodes.length === 0) return;
  await client.query({
    name: "insert-drifts",
    text: `INSERT INTO drifts (cluster, fleet, object_id, bundle, fields, first_seen_at, last_seen_at, times, healed_at)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::timestamptz[], $7::timestamptz[], $8::integer[], $9::timestamptz[])`,
    values: [
      episodes.map(({ cluster }) => cluster),
      episodes.map(({ fleet }) => fleet),
      episodes.map(({ objectId }) => objectId),
      episodes.map(({ bundle }) => bundle),
      episodes.map(({ fields }) => JSON.stringify(fields)),
      episodes.map(({ firstSeenAt }) => firstSeenAt),
      episodes.map(({ lastSeenAt }) => lastSeenAt),
      episodes.map(({ times }) => times),
      episodes.map(({ healedAt }) => healedAt),
    ],
  });
}
