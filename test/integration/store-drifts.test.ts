import { create } from "@bufbuild/protobuf";
import { migrate } from "@flotilla/hub/store/migrate";
import { migrations } from "@flotilla/hub/store/migrations/embedded";
import { openPool } from "@flotilla/hub/store/pool";
import { readDrifts } from "@flotilla/hub/store/read-history";
import { saveReports } from "@flotilla/hub/store/save-reports";
import { runUpkeep } from "@flotilla/hub/store/upkeep";
import { driftsKeptMax } from "@flotilla/hub/limits";
import { Health, ReportEnvelopeSchema, SyncState } from "@flotilla/proto/gen/report";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

const object = { group: "", kind: "ConfigMap", namespace: "shop", name: "web" };
const field = (live: string, manager: string) => ({
  path: "/data/a",
  desired: '"1"',
  live,
  manager,
  operation: "Update",
  subresource: "",
  members: ["f:data", "f:a"],
});

describe("drift in the store", () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let seq = 0;

  beforeEach(async () => {
    seq = 0;
    database = await createTestDatabase({ migrate: async () => undefined, templateKey: "unmigrated" });
    pool = openPool({ url: database.url });
  });
  afterEach(async () => {
    await pool.end();
    await database.drop();
  });

  /** One report of the cluster, `minute` minutes into the day. */
  const report = async (minute: number, events: readonly object[], drift: readonly object[] = [], revision = "r1") => {
    seq += 1;
    const state = { id: object, version: "v1", bundle: "app", sync: SyncState.SYNCED, health: Health.CURRENT, drift };
    const at = { seconds: BigInt(1_767_225_600 + minute * 60), nanos: 0 };
    const value = { fleet: "shop", generation: 1n, revision, summary: { objects: 1 }, bundles: [], objects: [state], events: events.map((event) => ({ object, bundle: "app", at, ...event })) };
    const envelope = create(ReportEnvelopeSchema, { cluster: "b", epoch: "a1", seq: BigInt(seq), firstSeq: BigInt(seq), recordedAt: at, report: { case: "fleet", value } as never });
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await saveReports(client, { clusters: [{ cluster: "b", received: [{ kind: "report", envelope }] }], deadLetters: [] });
      await client.query("COMMIT");
    } finally {
      client.release();
    }
  }; // prettier-ignore

  it("keeps each episode's first and last values, managers and end, over reports", async () => {
    await migrate(pool);
    await pool.query("INSERT INTO clusters (name, epoch, enrolled_at) VALUES ('b', 'a1', now())");
    const [blue, green] = [field('"blue"', "kubectl"), field('"green"', "helm")];
    await report(1, [{ reason: "DriftReported", drift: [blue] }], [blue]);
    await report(2, [{ reason: "DriftReported", drift: [green] }], [green]);
    await report(3, [{ reason: "DriftAccepted" }], [], "r2");
    await report(
      60,
      [
        { reason: "DriftDetected", drift: [blue] },
        { reason: "DriftHealed", drift: [blue] },
      ],
      [],
      "r2",
    );
    const { items } = await readDrifts(pool, { limit: 10 });
    expect(items).toMatchObject([
      { times: 1, healedBy: "agent", revision: "r2", fields: [{ live: '"blue"', changedAt: null }] },
      { times: 2, healedBy: "accepted", revision: "r1", managers: ["kubectl", "helm"], firstFields: [{ live: '"blue"' }], fields: [{ live: '"green"' }] },
    ]);
    expect(items.map(({ firstSeenAt, healedAt }) => [firstSeenAt.slice(11, 16), healedAt?.slice(11, 16)])).toEqual([["01:00", "01:00"], ["00:01", "00:03"]]); // prettier-ignore
  });

  it("reads what an older hub wrote", async () => {
    await migrate(pool, migrations.filter(({ name }) => !name.startsWith("0004"))); // prettier-ignore
    const old = '[{"path": "/data/a", "desired": "1", "live": "2", "manager": "kubectl"}]';
    await pool.query(`INSERT INTO drifts (fleet, cluster, object_id, bundle, fields, first_seen_at, last_seen_at) VALUES ('shop', 'b', '/ConfigMap/shop/web', 'app', '${old}', now(), now())`); // prettier-ignore
    expect(await migrate(pool)).toEqual({ applied: ["0004_drift"] });
    const [row] = (await readDrifts(pool, { limit: 1, manager: "kubectl" })).items;
    expect(row?.fields).toEqual([
      { path: "/data/a", desired: "1", live: "2", manager: "kubectl", operation: "", subresource: "", changedAt: null, members: [] },
    ]);
    expect(row?.firstFields).toEqual(row?.fields);
  });

  it("forgets the oldest that ended when there are too many, or after a month, and never what is open", async () => {
    await migrate(pool);
    await pool.query(
      `INSERT INTO drifts (fleet, cluster, object_id, bundle, fields, first_seen_at, last_seen_at, healed_at)
       SELECT 'shop', 'b', 'o' || i, 'app', '[]', now() - interval '90 days', now() - interval '90 days', CASE WHEN i > 1 THEN now() - i * interval '1 s' END
       FROM generate_series(1, $1::integer) AS i`,
      [driftsKeptMax + 5],
    );
    await pool.query("UPDATE drifts SET healed_at = now() - interval '31 days' WHERE object_id = 'o2'");
    await runUpkeep(pool);
    const { rows } = await pool.query("SELECT count(*)::integer AS left, bool_or(healed_at IS NULL) AS open, bool_or(object_id = 'o2') AS old FROM drifts");
    expect(rows).toEqual([{ left: driftsKeptMax + 1, open: true, old: false }]);
    expect((await pool.query("SELECT 1 FROM drifts WHERE object_id = $1", [`o${driftsKeptMax + 5}`])).rows).toEqual([]);
  });
});
