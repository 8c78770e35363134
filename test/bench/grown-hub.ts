import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page, EventRow } from "@flotilla/proto/rest/contract";
import pg from "pg";
import { waitForValue } from "../harness/wait-for.ts";
import { manyApps, settled } from "./crowd-fleet.ts";
import { type CrowdRig, say, startCrowdRig } from "./crowd-rig.ts";

/**
 * A real hub whose Postgres holds far more clusters than this machine could run: one real agent reported a whole life (a first revision, a second one that changed
 * every app, objects that somebody edited and the agent healed), and every row that the hub wrote about its cluster is copied for the others, with their own names,
 * uids and digests of certificates. What is measured is thus of the shape that the product writes, whatever that becomes.
 */
export interface GrownHub {
  readonly rig: CrowdRig;
  /** Without a timeout of statements: filling takes minutes. */
  readonly db: pg.Client;
  /** That hold rows for each cluster. */
  readonly tables: readonly string[];
  stop(): Promise<void>;
}

export interface GrownHubOptions {
  readonly clusters: number;
  readonly apps: number;
  readonly hubEnv?: NodeJS.ProcessEnv;
}

const sample = "sim-00000";

export async function startGrownHub({ clusters, apps, hubEnv = {} }: GrownHubOptions): Promise<GrownHub> {
  const rig = await startCrowdRig({ count: 1, processes: 1, files: manyApps(apps, 1), maxEvents: 1_000, hubEnv });
  let db: pg.Client | undefined;
  const stop = async (): Promise<void> => {
    await db?.end().catch(() => undefined);
    await rig.stop();
  };
  try {
    await liveOnce(rig, apps);
    await rig.crowd.stop();
    db = new pg.Client({ connectionString: await embeddedUrl(rig.hub.dataDir) });
    await db.connect();
    say(`  copying the rows of one cluster for ${clusters} …`);
    const tables = await growClusters(db, clusters);
    await db.query("VACUUM ANALYZE");
    return { rig, db, tables, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Everything that a cluster goes through in common: a first revision, a second that changes each app, and drift that is healed. */
async function liveOnce(rig: CrowdRig, apps: number): Promise<void> {
  await settled(rig, 1);
  const { revision } = await rig.forge.push(manyApps(apps, 2));
  await waitForValue(
    () => rig.hub.api.fleet("shop"),
    (row) => row.revision === revision && row.tally.synced === 1 && row.tally.current === 1,
    { what: "the second revision", timeoutMs: 120_000 },
  );
  const edited = await rig.crowd.write(20, "somebody");
  await waitForValue(
    () => rig.hub.api.request<Page<EventRow>>("GET", `/api/v1/events?limit=500&reason=DriftHealed`),
    ({ total }) => total >= edited,
    { what: "healed drift", timeoutMs: 60_000 },
  );
  await settled(rig, 1);
}

export async function embeddedUrl(dataDir: string): Promise<string> {
  const [password, port] = await Promise.all(["password", "port"].map((name) => readFile(join(dataDir, "postgres", name), "utf8")));
  return `postgres://flotilla:${password?.trim()}@127.0.0.1:${port?.trim()}/flotilla`;
}

/** Not of the life of a cluster: history that is grown for itself, what only waits, and the audit log, whose rows are a chain. */
const notCopied = new Set(["events", "audit_log", "commands", "dead_letters", "enrol_tokens", "preview_answers"]);

/** What no two clusters share; as long as what the product wrote. */
const own = new Map([
  ["object_states.uid", "md5(r.uid || g.name)::uuid::text"],
  ...[
    "certificates.serial",
    "certificates.spki_hash",
    "broker_users.public_key",
    "clusters.epoch",
    "clusters.snapshot_id",
    "target_states.epoch",
    "phases.span_id",
  ].map((column) => {
    const value = `r.${column.split(".")[1]}`;
    return [column, `left(md5(${value} || g.name) || md5(g.name || ${value}), length(${value}))`] as const;
  }),
]);

/**
 * Clusters come last: the hub places for those that it sees. In the order of a hash and not of names: nobody installs a thousand clusters from A to Z, and an index
 * that grows at its end is smaller than one that does not.
 */
async function growClusters(db: pg.Client, count: number): Promise<string[]> {
  await db.query(
    `CREATE TEMP TABLE grown AS SELECT name FROM (SELECT 'sim-' || lpad(i::text, 5, '0') AS name FROM generate_series(1, $1) i) n ORDER BY md5(name)`,
    [count - 1],
  );
  const { rows } = await db.query<{ table: string; column: string; key: string }>(
    `SELECT c.table_name AS "table", c.column_name AS "column", CASE WHEN c.table_name = 'clusters' THEN 'name' ELSE 'cluster' END AS key
     FROM information_schema.columns c JOIN pg_class p ON p.relname = c.table_name AND p.relkind = 'r' AND NOT p.relispartition AND p.relnamespace = 'public'::regnamespace
     WHERE c.table_schema = 'public' AND c.is_identity = 'NO'
       AND EXISTS (SELECT 1 FROM information_schema.columns k WHERE k.table_schema = 'public' AND k.table_name = c.table_name
                     AND k.column_name = CASE WHEN c.table_name = 'clusters' THEN 'name' ELSE 'cluster' END)
     ORDER BY c.table_name = 'clusters', c.table_name, c.ordinal_position`,
  );
  const tables = [...new Set(rows.map((row) => row.table))].filter((name) => !notCopied.has(name));
  for (const table of tables) {
    const columns = rows.filter((row) => row.table === table);
    const values = columns.map(({ column, key }) => (column === key ? "g.name" : (own.get(`${table}.${column}`) ?? `r.${column}`)));
    await db.query(`CREATE TEMP TABLE lived AS SELECT * FROM ${table} WHERE ${columns[0]?.key} = '${sample}'`);
    await db.query(
      `INSERT INTO ${table} (${columns.map(({ column }) => column).join(", ")}) SELECT ${values.join(", ")} FROM grown g CROSS JOIN LATERAL (SELECT * FROM lived WHERE g.name <> '' OFFSET 0) r`,
    );
    await db.query("DROP TABLE lived");
  }
  return tables;
}

/** Copies of the events that the hub wrote about its one cluster, `count` in all, of random clusters, in the order of ids; of today, or of a day that is over. */
export async function growEvents(db: pg.Client, clusters: number, count: number, day = "now()"): Promise<void> {
  await db.query(
    `WITH s AS MATERIALIZED (SELECT row_number() OVER (ORDER BY id) - 1 AS n, e.* FROM events e WHERE cluster = $1),
          total AS MATERIALIZED (SELECT count(*) AS of FROM s)
     INSERT INTO events (at, fleet, cluster, bundle, object_id, reason, severity, message, revision, trace_id, committed_at)
     SELECT s.at, s.fleet, 'sim-' || lpad((random() * ($2 - 1))::integer::text, 5, '0'), s.bundle, s.object_id, s.reason, s.severity, s.message, s.revision,
            CASE WHEN s.trace_id = '' THEN '' ELSE md5(s.trace_id || (i / 1000)::text) END, ${day}
     FROM generate_series(1, $3::integer) i CROSS JOIN total JOIN s ON s.n = i % total.of`,
    [sample, clusters, count],
  );
}

/** Of a hundred clusters: one is silent, one has a failed bundle, two have drift that nobody healed, one is at work. */
export async function addTrouble(db: pg.Client): Promise<void> {
  await db.query(
    "UPDATE clusters SET lease_until = now() + interval '1 day', hub_id = 'bench', labels = jsonb_build_object('env', CASE WHEN right(name, 1) < '3' THEN 'prod' ELSE 'test' END, 'region', 'r-' || right(name, 2))",
  );
  await db.query("UPDATE clusters SET lease_until = now() - interval '1 hour' WHERE right(name, 2) = '17'");
  await db.query(
    "UPDATE bundle_states SET health = 'Failed', failed = 1, message = 'ConfigMap default/app-7: refused' WHERE right(cluster, 2) = '23' AND bundle = 'app-7'",
  );
  await db.query("UPDATE object_states SET health = 'Failed', message = 'refused' WHERE right(cluster, 2) = '23' AND bundle = 'app-7'");
  await db.query("UPDATE target_states SET health = 'Failed', failed = 1, message = 'ConfigMap default/app-7: refused' WHERE right(cluster, 2) = '23'");
  await db.query("UPDATE target_states SET sync = 'OutOfSync', drifted = 1 WHERE right(cluster, 2) IN ('31', '32')");
  await db.query("UPDATE bundle_states SET sync = 'OutOfSync', drifted = 1 WHERE right(cluster, 2) IN ('31', '32') AND bundle = 'app-9'");
  await db.query("UPDATE object_states SET sync = 'OutOfSync' WHERE right(cluster, 2) IN ('31', '32') AND bundle = 'app-9'");
  await db.query(
    "UPDATE drifts SET healed_at = NULL, healed_by = NULL WHERE id IN (SELECT max(id) FROM drifts WHERE right(cluster, 2) IN ('31', '32') GROUP BY cluster)",
  );
  await db.query("UPDATE target_states SET health = 'InProgress', healthy = healthy - 1 WHERE right(cluster, 2) = '41'");
  await db.query("VACUUM ANALYZE");
}
