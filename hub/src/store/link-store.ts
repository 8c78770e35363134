import { randomUUID } from "node:crypto";
import type pg from "pg";
import { commandLifetimeMs } from "@flotilla/proto/limits";
import type {
  CommandAnswer,
  HeldTargetRow,
  LinkState,
  KeptTrust,
  PendingCommand,
  ReleasedTarget,
  SendPhase,
  SessionKey,
  SessionOpening,
  WaitingClusters,
} from "../domain/link-rows.ts";
import type { EndedGate, GateQuestion } from "../domain/gates.ts";
import type { DryRunQuestion } from "../domain/preview.ts";
import type { OverrideRow, SuspensionRow } from "../domain/suspension.ts";
import type { TargetApproval, TargetBundle } from "../domain/target.ts";
import { loadBodies } from "./bodies.ts";
import { answerGate } from "./gates.ts";
import { notify } from "./listen.ts";
import { answerDryRun } from "./previews.ts";
import { noteHeldTargets } from "./note-held-targets.ts";
import { inTransaction } from "./pool.ts";
import type { Sealing } from "./sealing.ts";
import { SpecMemory } from "./target-specs.ts";
import { specsRemembered } from "../limits.ts";

interface TargetRow {
  fleet: string;
  cluster: string;
  generation: string;
  revision: string;
  digest: string;
  tombstone: "orphan" | "delete" | null;
  traceparent: string | null;
  released_at: Date;
  suspensions: JsonTimes<SuspensionRow>[] | null;
  overrides: JsonTimes<OverrideRow>[] | null;
  prune_approval: TargetApproval | null;
}

interface CommandRow {
  id: string;
  cluster: string;
  kind: string;
  fleet: string;
  expires_at: Date;
  bundle: string;
  objects: string[];
  force: boolean;
  question: GateQuestion | EndedGate | DryRunQuestion | null;
}

/** As JSON brings it: times are text. */
type JsonTimes<Row> = { [Key in keyof Row]: Row[Key] extends Date ? string : Row[Key] };

const targetColumns = "fleet, cluster, generation, revision, digest, tombstone, traceparent, released_at, prune_approval";

/** The rows behind the agents' streams. */
export function openLinkStore(pool: pg.Pool, sealing: Sealing) {
  const specs = new SpecMemory(pool, specsRemembered);
  return {
    /**
     * Begins a session: the cluster's session number grows, and what an older session writes changes nothing any more. An epoch
     * that differs from the row's becomes current with watermark 0: the agent that is connected is the authority on its outbox.
     *
     * @returns undefined when the certificate was revoked, is not known, or the cluster was removed.
     */
    async openSession(opening: SessionOpening, leaseMs: number): Promise<{ readonly session: bigint; readonly watermark: bigint } | undefined> {
      const { rows } = await pool.query<{ session: string; watermark: string }>({
        name: "open-session",
        text: `UPDATE clusters c SET
                 session = c.session + 1, hub_id = $3, last_seen_at = now(), lease_until = now() + $4 * interval '1 ms',
                 agent_version = $5, kubernetes_version = $6, facts = $7, enrolled_at = COALESCE(c.enrolled_at, now()),
                 watermark = CASE WHEN c.epoch IS NOT DISTINCT FROM $8 THEN c.watermark ELSE 0 END,
                 snapshot_id = CASE WHEN c.epoch IS NOT DISTINCT FROM $8 THEN c.snapshot_id END,
                 snapshot_parts = CASE WHEN c.epoch IS NOT DISTINCT FROM $8 THEN c.snapshot_parts ELSE 0 END,
                 snapshot_seen = CASE WHEN c.epoch IS NOT DISTINCT FROM $8 THEN c.snapshot_seen ELSE 0 END,
                 snapshot_from = CASE WHEN c.epoch IS NOT DISTINCT FROM $8 THEN c.snapshot_from ELSE 0 END,
                 epoch = $8, wants_resend = false, certificate = $2, trusted_authorities = $9, version = nextval('change_version')
               WHERE c.name = $1 AND c.removed_at IS NULL
                 AND EXISTS (SELECT 1 FROM certificates t WHERE t.serial = $2 AND t.cluster = $1 AND t.revoked_at IS NULL)
               RETURNING c.session, c.watermark`,
        values: [
          opening.cluster,
          opening.serial,
          opening.hubId,
          leaseMs,
          opening.agentVersion,
          opening.kubernetesVersion,
          JSON.stringify(opening.facts),
          opening.epoch,
          JSON.stringify(opening.caHashes),
        ],
      });
      return rows[0] && { session: BigInt(rows[0].session), watermark: BigInt(rows[0].watermark) };
    },

    /** Which CAs agents trust from now on. */
    async saveTrust(kept: readonly KeptTrust[]): Promise<void> {
      await pool.query({
        name: "save-trust",
        text: `UPDATE clusters c SET trusted_authorities = k.trusted
               FROM unnest($1::text[], $2::bigint[], $3::jsonb[]) AS k (cluster, session, trusted) WHERE c.name = k.cluster AND c.session = k.session`,
        values: [kept.map((row) => row.cluster), kept.map((row) => row.session), kept.map((row) => JSON.stringify(row.caHashes))],
      });
    },

    /** Agents that were heard within so long, at any replica. */
    async countAgents(withinMs: number): Promise<number> {
      const { rows } = await pool.query<{ agents: number }>({
        name: "count-agents",
        text: "SELECT count(*)::integer AS agents FROM clusters WHERE removed_at IS NULL AND last_seen_at > now() - $1 * interval '1 ms'",
        values: [withinMs],
      });
      return rows[0]?.agents ?? 0;
    },

    /** Lets go of a session; its lease runs out by itself. */
    async closeSessions(keys: readonly SessionKey[]): Promise<void> {
      await pool.query({
        name: "close-sessions",
        text: `UPDATE clusters c SET hub_id = NULL FROM unnest($1::text[], $2::bigint[]) AS k (cluster, session)
               WHERE c.name = k.cluster AND c.session = k.session`,
        values: [keys.map((key) => key.cluster), keys.map((key) => key.session)],
      });
    },

    /** Everything said about these clusters counts for another `leaseMs`. */
    async keepLeases(keys: readonly SessionKey[], leaseMs: number): Promise<void> {
      await pool.query({
        name: "keep-leases",
        text: `UPDATE clusters c SET last_seen_at = now(), lease_until = now() + $3 * interval '1 ms'
               FROM unnest($1::text[], $2::bigint[]) AS k (cluster, session) WHERE c.name = k.cluster AND c.session = k.session`,
        values: [keys.map((key) => key.cluster), keys.map((key) => key.session), leaseMs],
      });
    },

    async readLinkStates(keys: readonly SessionKey[]): Promise<LinkState[]> {
      const { rows } = await pool.query<{
        cluster: string;
        session: string;
        revoked: boolean;
        superseded: boolean;
        epoch: string | null;
        watermark: string | null;
        wants_snapshot: boolean | null;
        wants_resend: boolean | null;
      }>({
        name: "read-link-states",
        text: `SELECT k.cluster, k.session, c.removed_at IS NOT NULL OR c.name IS NULL OR t.serial IS NULL OR t.revoked_at IS NOT NULL AS revoked,
                      COALESCE(c.session <> k.session, true) AS superseded, c.epoch, c.watermark, c.wants_snapshot, c.wants_resend
               FROM unnest($1::text[], $2::bigint[], $3::text[]) AS k (cluster, session, serial)
               LEFT JOIN clusters c ON c.name = k.cluster
               LEFT JOIN certificates t ON t.serial = k.serial AND t.cluster = k.cluster`,
        values: [keys.map((key) => key.cluster), keys.map((key) => key.session), keys.map((key) => key.serial)],
      });
      return rows.map((row) => ({
        cluster: row.cluster,
        session: BigInt(row.session),
        isRevoked: row.revoked,
        isSuperseded: row.superseded,
        epoch: row.epoch ?? "",
        watermark: BigInt(row.watermark ?? "0"),
        wantsSnapshot: row.wants_snapshot ?? false,
        wantsResend: row.wants_resend ?? false,
      }));
    },

    /** Clusters with something that waits for their agents: commands, a wish of the intake's, rights that were taken away within so long. */
    async readWaiting(withinMs: number): Promise<WaitingClusters> {
      const { rows } = await pool.query<WaitingClusters>({
        name: "read-waiting",
        text: `SELECT ARRAY(SELECT DISTINCT cluster FROM commands WHERE acked_at IS NULL AND expires_at > now()) AS commands,
                 ARRAY(SELECT name FROM clusters WHERE wants_snapshot OR wants_resend
                       UNION SELECT cluster FROM certificates WHERE revoked_at IS NOT NULL AND revoked_at > now() - $1 * interval '1 ms') AS states`,
        values: [withinMs],
      });
      return rows[0] ?? { commands: [], states: [] };
    },

    /** Every target that these clusters should follow or let go of. With `releasedWithinMs` only those released lately. */
    async readTargets(clusters: readonly string[], releasedWithinMs?: number): Promise<ReleasedTarget[]> {
      const { rows } = await pool.query<TargetRow>({
        name: "read-targets-to-send",
        text: `SELECT ${targetColumns},
                 (SELECT json_agg(s) FROM (SELECT fleet, cluster, bundle, reason, by_name AS by, since FROM suspensions s
                    WHERE s.fleet IN ('', t.fleet) AND s.cluster IN ('', t.cluster) ORDER BY s.bundle, s.cluster, s.fleet) s) AS suspensions,
                 (SELECT json_agg(w) FROM (SELECT fleet, cluster, bundle, reason, by_name AS by, since, until FROM window_overrides w
                    WHERE w.fleet = t.fleet AND w.cluster IN ('', t.cluster) AND w.until > now()) w) AS overrides
               FROM targets t
               WHERE cluster = ANY ($1) AND removed_at IS NULL AND ($2::double precision IS NULL OR released_at > now() - $2 * interval '1 ms')`,
        values: [clusters, releasedWithinMs ?? null],
      });
      const bundles = await specs.read(rows.filter(isMadeOfSpec).map(({ digest }) => digest));
      // One whose spec is not there is not sent: an incomplete target is none.
      return rows.flatMap((row) => {
        const own = isMadeOfSpec(row) ? bundles.get(row.digest) : noBundles;
        return own === undefined ? [] : [toTarget(row, own)];
      });
    },

    /** Tells of rows that are behind what agents hold. */
    noteHeldTargets: (held: readonly HeldTargetRow[]): Promise<void> => noteHeldTargets(pool, held),

    /** A compressed body, or undefined when there is none of this digest. */
    async readBody(digest: string): Promise<Uint8Array | undefined> {
      const { rows } = await pool.query<{ sealed_body: Buffer }>({
        name: "read-body",
        text: "SELECT sealed_body FROM bodies WHERE digest = $1",
        values: [digest],
      });
      return rows[0] && sealing.open(rows[0].sealed_body);
    },

    /** Commands that wait for these clusters, oldest first, whether or not they were sent before: an agent acts once per id. */
    async readCommands(clusters: readonly string[]): Promise<PendingCommand[]> {
      const { rows } = await pool.query<CommandRow>({
        name: "read-commands",
        text: "SELECT id, cluster, kind, fleet, expires_at, bundle, objects, force, question FROM commands WHERE cluster = ANY ($1) AND acked_at IS NULL AND expires_at > now() ORDER BY created_at, id",
        values: [clusters],
      });
      const contents = await loadBodies(pool, sealing, [
        ...new Set(rows.flatMap(({ kind, question }) => (kind === "dry-run" ? (question as DryRunQuestion).bodies : []))),
      ]);
      return rows.flatMap(({ kind, expires_at: expiresAt, question, ...rest }): PendingCommand[] => {
        if (kind === "dry-run") return [{ ...rest, kind, expiresAt, dryRun: { ...(question as DryRunQuestion), contents } }];
        if (kind === "end-gate") return [{ ...rest, kind, expiresAt, ended: question as EndedGate | null }];
        return isKind(kind) ? [{ ...rest, kind, expiresAt, question: question as GateQuestion | null }] : [];
      });
    },

    async markCommandSent(id: string): Promise<void> {
      await pool.query("UPDATE commands SET sent_at = now() WHERE id = $1 AND sent_at IS NULL", [id]);
    },

    /** An answer counts only from the cluster that the command was for. */
    ackCommand: (id: string, cluster: string, { error, gate, dryRun }: CommandAnswer): Promise<void> =>
      inTransaction(pool, async (client) => {
        const { rows } = await client.query<{ kind: string }>(
          "UPDATE commands SET acked_at = now(), error = $3 WHERE id = $1 AND cluster = $2 AND acked_at IS NULL RETURNING kind",
          [id, cluster, error === "" ? null : error],
        );
        const kind = rows[0]?.kind;
        const tooOld = "its agent is too old to say: update it";
        if (kind === "dry-run") await answerDryRun(client, id, cluster, dryRun ?? { error: error === "" ? tooOld : error });
        if (kind !== "gate") return;
        const silent = { verdict: "unknown" as const, message: error === "" ? "its agent is too old to answer gates: update it" : error };
        await answerGate(client, id, { cluster, ...(gate ?? silent) });
      }),

    /** Turns the wish for a snapshot into a command that waits like any other: it survives this replica. */
    askSnapshots: (clusters: readonly string[]): Promise<void> =>
      inTransaction(pool, async (client) => {
        const { rows } = await client.query<{ name: string }>(
          "UPDATE clusters SET wants_snapshot = false WHERE name = ANY ($1) AND wants_snapshot RETURNING name",
          [clusters],
        );
        if (rows.length === 0) return;
        const names = rows.map((row) => row.name);
        await client.query(
          `INSERT INTO commands (id, cluster, kind, expires_at)
           SELECT id, cluster, 'snapshot', now() + $3 * interval '1 ms' FROM unnest($1::text[], $2::text[]) AS k (id, cluster)`,
          [names.map(() => randomUUID()), names, commandLifetimeMs],
        );
        await notify(client, "flotilla_commands", { clusters: names });
      }),

    async clearResends(clusters: readonly string[]): Promise<void> {
      await pool.query("UPDATE clusters SET wants_resend = false WHERE name = ANY ($1) AND wants_resend", [clusters]);
    },

    async saveSendPhases(phases: readonly SendPhase[]): Promise<void> {
      await pool.query({
        name: "save-send-phases",
        text: `INSERT INTO phases (fleet, revision, cluster, phase, started_at, ended_at, error, span_id)
               SELECT k.fleet, k.revision, k.cluster, 'send', k.started_at, k.ended_at, k.error, k.span_id
               FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[])
                    AS k (fleet, revision, cluster, started_at, ended_at, error, span_id)
               ON CONFLICT (fleet, revision, cluster, phase) DO NOTHING`,
        values: [
          phases.map((row) => row.fleet),
          phases.map((row) => row.revision),
          phases.map((row) => row.cluster),
          phases.map((row) => row.startedAt),
          phases.map((row) => row.endedAt),
          phases.map((row) => row.error),
          phases.map((row) => row.spanId),
        ],
      });
    },

    /** Tells readers that watch. */
    tellChanged: (clusters: readonly string[]): Promise<void> => notify(pool, "flotilla_changes", { fleets: [], clusters }),
  };
}

const noBundles: readonly TargetBundle[] = [];

function isMadeOfSpec({ tombstone }: TargetRow): boolean {
  return tombstone === null;
}

function toTarget(row: TargetRow, bundles: readonly TargetBundle[]): ReleasedTarget {
  const { fleet, cluster, revision, digest, tombstone, traceparent } = row;
  return {
    fleet,
    cluster,
    generation: BigInt(row.generation),
    revision,
    digest,
    bundles,
    tombstone,
    traceparent,
    releasedAt: row.released_at,
    pruneApproval: row.prune_approval,
    suspensions: (row.suspensions ?? []).map((suspension) => ({ ...suspension, since: new Date(suspension.since) })),
    overrides: (row.overrides ?? []).map((override) => ({ ...override, since: new Date(override.since), until: new Date(override.until) })),
  };
}

function isKind(kind: string): kind is PendingCommand["kind"] {
  return kind === "sync" || kind === "snapshot" || kind === "renew" || kind === "gate";
}
