import type { NatsConnection } from "@nats-io/transport-node";
import type pg from "pg";
import { decodeReport, type BrokerMessage, type DecodedReport } from "../intake/decode-report.ts";
import { runIntake, type OpenStream } from "../intake/run-intake.ts";
import { saveIntakePosition, startIntakeAt } from "../store/intake-position.ts";
import { holdLease, inFencedTransaction, type Lease } from "../store/leases.ts";
import { saveReports, type ReportBatch } from "../store/save-reports.ts";
import { isDataFailure } from "../store/store-error.ts";

export interface RecordLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface IntakeOptions {
  readonly pool: pg.Pool;
  readonly nats: NatsConnection;
  /** Unique per process. */
  readonly holder: string;
  /** Makes the report stream when it is not there. */
  ensureStream(): Promise<void>;
  readonly log: RecordLog;
  /** Of the lease; default leaseMs. */
  readonly leaseDurationMs?: number;
}

export interface RunningIntake {
  /** Stops after the batch at hand and lets another replica in. */
  close(): Promise<void>;
}

const intakeLease = "intake";

/**
 * Step 14: folds what agents report into Postgres. One replica at a time does it, under the lease `intake`; the others stand by. Every
 * failure ends the turn, and the next one begins from what is committed.
 */
export function startIntake(options: IntakeOptions): RunningIntake {
  const { pool, nats, log } = options;
  const stopped = new AbortController();
  const onError = (error: unknown): void => {
    if (!stopped.signal.aborted) log.warn({ error: error instanceof Error ? error.message : String(error) }, "the intake begins anew");
  };
  const hold = {
    name: intakeLease,
    holder: options.holder,
    signal: stopped.signal,
    onError,
    ...(options.leaseDurationMs !== undefined && { durationMs: options.leaseDurationMs }),
  };
  const done = holdLease(pool, hold, (lease, signal) =>
    runIntake(
      {
        nats,
        log,
        ensureStream: () => options.ensureStream(),
        startAt: (stream) => startIntakeAt(pool, lease, stream),
        record: (stream, messages) => recordReports({ pool, log }, lease, stream, messages),
      },
      signal,
    ),
  );
  return {
    async close() {
      stopped.abort();
      await done;
    },
  };
}

/**
 * Commits a batch of messages: states, drift, events, phases, watermarks and the place in the stream, all or nothing. A message that cannot be
 * decoded is kept as a dead letter; one whose content Postgres refuses is found by halving, and kept likewise. Neither stops the others.
 */
export async function recordReports(
  ports: { readonly pool: pg.Pool; readonly log: RecordLog },
  lease: Lease,
  stream: OpenStream,
  messages: readonly BrokerMessage[],
): Promise<void> {
  await commit(ports, lease, stream, messages.map(decodeReport));
}

async function commit(
  ports: { readonly pool: pg.Pool; readonly log: RecordLog },
  lease: Lease,
  stream: OpenStream,
  decoded: readonly DecodedReport[],
): Promise<void> {
  try {
    await inFencedTransaction(ports.pool, lease, async (client) => {
      await saveReports(client, batchOf(decoded));
      await saveIntakePosition(client, stream.created, Math.max(...decoded.map(({ streamSeq }) => streamSeq)));
    });
  } catch (error) {
    if (!isDataFailure(error)) throw error;
    const [only, ...others] = decoded;
    if (only === undefined) return;
    if (others.length > 0) {
      const middle = Math.ceil(decoded.length / 2);
      await commit(ports, lease, stream, decoded.slice(0, middle));
      return commit(ports, lease, stream, decoded.slice(middle));
    }
    // Poison that cannot even be kept is a fault of ours: then nothing may be lost silently.
    if (only.kind === "poison") throw error;
    ports.log.warn(
      { cluster: only.cluster, streamSeq: only.streamSeq, error: (error as Error).message },
      "a report was refused by Postgres; kept as a dead letter",
    );
    await commit(ports, lease, stream, [poisonOf(only, error as Error)]);
  }
}

function poisonOf(report: DecodedReport & { kind: "report" }, error: Error): DecodedReport {
  const { subject, streamSeq, cluster, content, envelope } = report;
  return { kind: "poison", subject, streamSeq, cluster, content, reason: error.message, place: { epoch: envelope.epoch, seq: envelope.seq } };
}

/** By cluster, in the order they came. Poison takes its place in the order when that is known, so that what follows is not waited for. */
function batchOf(decoded: readonly DecodedReport[]): ReportBatch {
  const clusters = new Map<string, ReportBatch["clusters"][number]["received"][number][]>();
  const deadLetters: ReportBatch["deadLetters"][number][] = [];
  for (const report of decoded) {
    const { cluster, subject, streamSeq } = report;
    const received = clusters.get(cluster) ?? [];
    clusters.set(cluster, received);
    if (report.kind === "report") {
      received.push({ kind: "report", envelope: report.envelope });
      continue;
    }
    deadLetters.push({ cluster, subject, streamSeq, reason: report.reason, content: report.content });
    if (report.place !== undefined) received.push({ kind: "poison", ...report.place });
  }
  return { clusters: [...clusters].map(([cluster, received]) => ({ cluster, received })), deadLetters };
}
