import { clusterNameLabel } from "@flotilla/proto/names";
import type pg from "pg";
import type { HeldRemoval } from "../domain/plan-removals.ts";
import { problemOfHeldRemoval } from "../domain/plan-removals.ts";
import { batchRowsMax, leavingToldMax } from "../limits.ts";
import { eventOf } from "./create-fleet.ts";
import { saveEvents } from "./save-events.ts";
import { inBatches } from "./unnest.ts";

export interface Leaver {
  readonly cluster: string;
  readonly policy: "orphan" | "delete";
  /** The labels for which the fleet no longer selects it; unset for a fleet that is deleted. */
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * Of the clusters that are to get a tombstone, those that still have the labels that say so: whoever set them right while the fleet was
 * placed is not too late. Their rows stay locked, so that a label that is set from here on comes after the tombstone.
 */
export async function stillLeaving(client: pg.ClientBase, removals: readonly Leaver[]): Promise<readonly Leaver[]> {
  const wanted = removals.filter(({ labels }) => labels !== undefined).toSorted((a, b) => (a.cluster < b.cluster ? -1 : 1));
  if (wanted.length === 0) return removals;
  const same = new Set<string>();
  for (const part of inBatches(wanted, batchRowsMax)) {
    const { rows } = await client.query<{ name: string }>({
      name: "lock-leavers",
      text: `SELECT c.name FROM clusters c JOIN unnest($1::text[], $2::jsonb[]) AS r (cluster, labels) ON r.cluster = c.name
             WHERE c.labels || jsonb_build_object($3::text, c.name) = r.labels ORDER BY c.name FOR SHARE OF c`,
      values: [
        part.map(({ cluster }) => cluster),
        part.map(({ cluster, labels }) => JSON.stringify({ ...labels, [clusterNameLabel]: cluster })),
        clusterNameLabel,
      ],
    });
    for (const { name } of rows) same.add(name);
  }
  return removals.filter(({ cluster, labels }) => labels === undefined || same.has(cluster));
}

export interface LeavingToSave {
  readonly fleet: string;
  readonly staying: readonly string[];
  readonly leaving: readonly { readonly cluster: string; readonly graceMs: number | null }[];
  readonly heldRemoval: HeldRemoval | null;
  readonly usedApproval: string | null;
}

/** Who leaves, until when, and what waits for a person. Returns whether readers see something else now. */
export async function saveLeaving(client: pg.ClientBase, { fleet, staying, leaving, heldRemoval, usedApproval }: LeavingToSave): Promise<boolean> {
  const back = await client.query<{ cluster: string }>({
    name: "stay-targets",
    text: "UPDATE targets SET leaving_since = NULL, leaves_at = NULL WHERE fleet = $1 AND cluster = ANY($2::text[]) AND leaving_since IS NOT NULL RETURNING cluster",
    values: [fleet, staying],
  });
  const going = await client.query<{ cluster: string; leaves_at: Date | null; is_new: boolean }>({
    name: "leave-targets",
    text: `UPDATE targets t SET leaving_since = COALESCE(o.leaving_since, now()), leaves_at = COALESCE(o.leaving_since, now()) + r.grace * interval '1 ms'
           FROM unnest($2::text[], $3::float8[]) AS r (cluster, grace) JOIN targets o ON o.fleet = $1 AND o.cluster = r.cluster
           WHERE t.fleet = $1 AND t.cluster = r.cluster AND t.tombstone IS NULL
             AND (t.leaving_since IS NULL OR t.leaves_at IS DISTINCT FROM t.leaving_since + r.grace * interval '1 ms')
           RETURNING t.cluster, t.leaves_at, o.leaving_since IS NULL AS is_new`,
    values: [fleet, leaving.map(({ cluster }) => cluster), leaving.map(({ graceMs }) => graceMs)],
  });
  if (going.rows.length > 0)
    await leaveRollouts(
      client,
      going.rows.map(({ cluster }) => cluster),
      fleet,
    );
  const saved = await saveHeld(client, fleet, heldRemoval);
  await settleRemovals(client, fleet, heldRemoval?.digest ?? "", usedApproval);
  const waits = heldRemoval === null ? "" : " once a person lets it go";
  const leavers = going.rows.filter(({ is_new: isNew }) => isNew);
  await saveEvents(client, [
    ...told(
      leavers.map(({ cluster, leaves_at: at }) => ({
        cluster,
        text: `no longer selected; leaves the fleet${at === null ? waits : ` at ${at.toISOString()}`}`,
      })),
    ).map(({ cluster, text }) => eventOf(fleet, "ClusterLeaving", text, { cluster, severity: "Warning" })),
    ...told(back.rows.map(({ cluster }) => ({ cluster, text: "selected again; stays in the fleet" }))).map(({ cluster, text }) =>
      eventOf(fleet, "ClusterStays", text, { cluster }),
    ),
    ...(saved.anew && heldRemoval !== null ? [eventOf(fleet, "RemovalHeld", problemOfHeldRemoval(fleet, heldRemoval).message, { severity: "Warning" })] : []),
  ]);
  return back.rows.length > 0 || going.rows.length > 0 || saved.changed;
}

/** The first ones by name, the rest counted. */
function told(rows: readonly { readonly cluster: string; readonly text: string }[]): { cluster: string; text: string }[] {
  const [first, ...more] = rows.slice(leavingToldMax);
  const shown = rows.slice(0, leavingToldMax);
  return first === undefined ? shown : [...shown, { cluster: "", text: `${more.length + 1} more clusters: ${first.text}` }];
}

/** Whether it changed, and whether it is another list. */
async function saveHeld(client: pg.ClientBase, fleet: string, held: HeldRemoval | null): Promise<{ readonly changed: boolean; readonly anew: boolean }> {
  const { rows } = await client.query<{ before: string | null }>({
    name: "save-held-removal",
    text: `UPDATE fleets f SET removal_held = $2::jsonb, version = nextval('change_version')
           FROM (SELECT name, removal_held FROM fleets WHERE name = $1 FOR UPDATE) o
           WHERE f.name = o.name AND o.removal_held IS DISTINCT FROM $2::jsonb RETURNING o.removal_held ->> 'digest' AS before`,
    values: [fleet, held === null ? null : JSON.stringify(held)],
  });
  return { changed: rows.length > 0, anew: rows.length > 0 && held !== null && rows[0]?.before !== held.digest };
}

/** The approval that was used, and those whose list is not what is held any more. */
async function settleRemovals(client: pg.ClientBase, fleet: string, heldDigest: string, usedApproval: string | null): Promise<void> {
  await client.query({
    name: "settle-removals",
    text: `UPDATE approvals SET outcome = CASE WHEN digest = $3 THEN 'used' ELSE 'void' END, why = CASE WHEN digest = $3 THEN '' ELSE 'other clusters leave now, or none' END,
             settled_at = now() WHERE kind = 'removal' AND fleet = $1 AND outcome IS NULL AND digest <> $2`,
    values: [fleet, heldDigest, usedApproval ?? ""],
  });
}

/** Who leaves is no longer counted in rollouts that have not ended; of others the record stays. Without a fleet: it leaves all of them. */
export async function leaveRollouts(client: pg.ClientBase, clusters: readonly string[], fleet?: string): Promise<void> {
  await client.query(
    `DELETE FROM rollout_clusters k USING rollouts r
     WHERE r.id = k.rollout AND r.ended_at IS NULL AND k.cluster = ANY($1::text[]) AND ($2::text IS NULL OR r.fleet = $2)`,
    [clusters, fleet ?? null],
  );
}
