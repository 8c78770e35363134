import type pg from "pg";
import { foldDrift, type DriftEpisode, type DriftMark, type HealedBy } from "../domain/drift-episodes.ts";
import type { DriftedField } from "../domain/report-rows.ts";
import { batchRowsMax } from "../limits.ts";
import type { FleetOfCluster } from "./fleet-of-cluster.ts";
import { inBatches, unnestRows } from "./unnest.ts";

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

interface EpisodeRow {
  readonly id: string;
  readonly cluster: string;
  readonly fleet: string;
  readonly object_id: string;
  readonly bundle: string;
  readonly fields: readonly DriftedField[];
  readonly first_fields: readonly DriftedField[];
  readonly managers: readonly string[];
  readonly first_seen_at: Date;
  readonly last_seen_at: Date;
  readonly times: number;
  readonly revision: string;
  readonly healed_at: Date | null;
  readonly healed_by: HealedBy;
}

async function readLastEpisodes(client: pg.ClientBase, objects: readonly DriftRowOfObject[]): Promise<Map<string, StoredEpisode>> {
  const { rows } = await client.query<EpisodeRow>({
    name: "read-last-episodes",
    text: `SELECT d.* FROM unnest($1::text[], $2::text[], $3::text[]) AS r (cluster, fleet, object_id)
           CROSS JOIN LATERAL (SELECT * FROM drifts d WHERE d.cluster = r.cluster AND d.fleet = r.fleet AND d.object_id = r.object_id
                               ORDER BY d.id DESC LIMIT 1) d`,
    values: [objects.map(({ cluster }) => cluster), objects.map(({ fleet }) => fleet), objects.map(({ objectId }) => objectId)],
  });
  return new Map(
    rows.map(({ id, bundle, fields, managers, times, revision, ...row }) => [
      [row.cluster, row.fleet, row.object_id].join("\n"),
      {
        id, bundle, fields, managers, times, revision, firstFields: row.first_fields,
        firstSeenAt: row.first_seen_at, lastSeenAt: row.last_seen_at, healedAt: row.healed_at, healedBy: row.healed_by,
      },
    ]), // prettier-ignore
  );
}

/** What an episode's row may become. */
const changeable = { bundle: "text", fields: "jsonb", managers: "jsonb", last_seen_at: "timestamptz", times: "integer", revision: "text", healed_at: "timestamptz", healed_by: "text" } as const; // prettier-ignore

function changeableOf({ bundle, fields, managers, lastSeenAt, times, revision, healedAt, healedBy }: DriftEpisode) {
  return {
    bundle, fields: JSON.stringify(fields), managers: JSON.stringify(managers), last_seen_at: lastSeenAt, times, revision, healed_at: healedAt, healed_by: healedBy,
  }; // prettier-ignore
}

async function updateEpisodes(client: pg.ClientBase, episodes: readonly StoredEpisode[]): Promise<void> {
  if (episodes.length === 0) return;
  const { text, values } = unnestRows(
    { id: "bigint", ...changeable },
    episodes.map((episode) => ({ id: episode.id, ...changeableOf(episode) })),
  );
  const set = Object.keys(changeable).map((column) => `${column} = r.${column}`);
  await client.query({ name: "update-drifts", text: `UPDATE drifts d SET ${set.join(", ")} FROM ${text} WHERE d.id = r.id`, values: [...values] });
}

async function insertEpisodes(client: pg.ClientBase, episodes: readonly (DriftEpisode & Omit<DriftRowOfObject, "marks">)[]): Promise<void> {
  if (episodes.length === 0) return;
  const columns = { cluster: "text", fleet: "text", object_id: "text", first_fields: "jsonb", first_seen_at: "timestamptz", ...changeable } as const;
  const { text, values } = unnestRows(
    columns,
    episodes.map((episode) => ({
      cluster: episode.cluster,
      fleet: episode.fleet,
      object_id: episode.objectId,
      first_fields: JSON.stringify(episode.firstFields),
      first_seen_at: episode.firstSeenAt,
      ...changeableOf(episode),
    })),
  );
  await client.query({ name: "insert-drifts", text: `INSERT INTO drifts (${Object.keys(columns).join(", ")}) SELECT * FROM ${text}`, values: [...values] });
}
