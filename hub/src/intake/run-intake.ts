import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager, type ConsumerMessages, type JetStreamManager, type JsMsg } from "@nats-io/jetstream";
import { nanos, type NatsConnection } from "@nats-io/transport-node";
import { failpoint } from "@flotilla/proto/failpoint";
import { reportConsumer, reportStream } from "@flotilla/proto/subjects";
import {
  intakeAckWaitMs,
  intakeBatchBytesMax,
  intakeBatchMax,
  intakeBatchMs,
  intakeFetchMax,
  intakeLingerMs,
  intakePendingMax,
  intakePurgeLookMs,
  intakePurgeMs,
  intakePurgeReports,
  intakeStallCheckMs,
  intakeStallsMax,
} from "../limits.ts";
import { collectBatches } from "./collect-batches.ts";
import type { BrokerMessage } from "./decode-report.ts";

export interface IntakeLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** The stream that a turn of the intake reads. */
export interface OpenStream {
  /** Creation time: another one is another stream. */
  readonly created: string;
  readonly lastSeq: number;
}

export interface IntakePorts {
  readonly nats: NatsConnection;
  /** Makes the stream when it is not there. */
  ensureStream(): Promise<void>;
  /** After which message to begin. */
  startAt(stream: OpenStream): Promise<{ readonly afterSeq: number; readonly wiped: boolean }>;
  /** Commits a batch, or throws: then nothing of it counts and the intake begins anew from what is committed. */
  record(stream: OpenStream, messages: readonly BrokerMessage[]): Promise<void>;
  readonly log: IntakeLog;
}

/**
 * One turn of the intake's owner: makes the durable consumer anew, after the last message that Postgres has, and records batch after
 * batch, acknowledging after the commit. Ends when the signal aborts; throws when the broker, the stream or the store fails, or messages stop
 * coming though there are some. Whoever runs it begins another turn: nothing is remembered between turns but what is committed.
 */
export async function runIntake(ports: IntakePorts, signal: AbortSignal): Promise<void> {
  await ports.ensureStream();
  const manager = await jetstreamManager(ports.nats);
  const { created, state } = await manager.streams.info(reportStream);
  const stream = { created, lastSeq: state.last_seq };
  const { afterSeq, wiped } = await ports.startAt(stream);
  if (wiped) ports.log.warn({ stream: reportStream }, "the broker lost its store; agents publish again from their watermarks");
  await renewConsumer(manager, afterSeq);
  const consumer = await jetstream(ports.nats).consumers.get(reportStream, reportConsumer);
  const messages = await consumer.consume({ max_messages: intakeFetchMax, expires: 10_000, abort_on_missing_resource: true });
  const progress: Progress = { received: 0, recording: false, committedSeq: afterSeq };
  const turn = new Turn(messages, signal);
  const watches = [watchReconnects(ports, turn), watchStream(manager, stream, progress, turn), purgeCommitted(manager, progress, turn)];
  try {
    await recordAll(ports, stream, messages, progress);
    turn.rethrow();
  } finally {
    turn.end();
    await Promise.allSettled(watches);
  }
}

interface Progress {
  received: number;
  recording: boolean;
  committedSeq: number;
}

/** Ends the consumption once, and remembers why. */
class Turn {
  readonly ended: AbortSignal;
  readonly #messages: ConsumerMessages;
  readonly #ending = new AbortController();
  #reason: Error | undefined;

  constructor(messages: ConsumerMessages, signal: AbortSignal) {
    this.#messages = messages;
    this.ended = this.#ending.signal;
    if (signal.aborted) this.end();
    else signal.addEventListener("abort", () => this.end(), { once: true });
  }

  end(reason?: Error): void {
    if (this.ended.aborted) return;
    this.#reason = reason;
    this.#ending.abort();
    // Resolves when its subscription is gone, which without a broker is later than now.
    void this.#messages.close().catch(() => undefined);
  }

  rethrow(): void {
    if (this.#reason !== undefined) throw this.#reason;
    if (!this.ended.aborted) throw new Error("the consumer ended by itself");
  }
}

async function renewConsumer(manager: JetStreamManager, afterSeq: number): Promise<void> {
  await manager.consumers.delete(reportStream, reportConsumer).catch(() => undefined);
  await manager.consumers.add(reportStream, {
    durable_name: reportConsumer,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(intakeAckWaitMs),
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: afterSeq + 1,
    max_ack_pending: intakePendingMax,
    // No max_deliver: poison is recorded and acknowledged here, so that no message is given for ever, and none is given up unseen.
  });
}

async function recordAll(ports: IntakePorts, stream: OpenStream, messages: ConsumerMessages, progress: Progress): Promise<void> {
  const bounds = { itemsMax: intakeBatchMax, bytesMax: intakeBatchBytesMax, lingerMs: intakeLingerMs, ms: intakeBatchMs };
  for await (const batch of collectBatches<JsMsg>(messages, bounds, (message) => message.data.length)) {
    progress.received += batch.length;
    progress.recording = true;
    await ports.record(stream, batch.map(brokerMessage));
    failpoint("after-commit-before-ack");
    progress.committedSeq = Math.max(progress.committedSeq, ...batch.map(({ seq }) => seq));
    progress.recording = false;
    for (const message of batch) message.ack();
  }
}

function brokerMessage(message: JsMsg): BrokerMessage {
  return { subject: message.subject, streamSeq: message.seq, content: message.data, messageId: message.headers?.get("Nats-Msg-Id") ?? "" };
}

/** What was on its way when the connection broke comes again only after the ack wait: a new consumer gives it at once. */
async function watchReconnects(ports: IntakePorts, turn: Turn): Promise<void> {
  const events = ports.nats.status();
  const stop = (): void => (events as { stop?: () => void }).stop?.();
  turn.ended.addEventListener("abort", stop, { once: true });
  for await (const { type } of events) {
    if (turn.ended.aborted) return;
    if (type === "reconnect") turn.end(new Error("the broker was away"));
  }
}

/** The broker's own word, not the client's belief: another stream, or messages that do not come. */
async function watchStream(manager: JetStreamManager, stream: OpenStream, progress: Progress, turn: Turn): Promise<void> {
  let stalls = 0;
  let received = progress.received;
  while (await pause(intakeStallCheckMs, turn.ended)) {
    try {
      const [info, consumer] = await Promise.all([manager.streams.info(reportStream), manager.consumers.info(reportStream, reportConsumer)]);
      if (info.created !== stream.created) return turn.end(new Error("the stream was made anew"));
      const waiting = consumer.num_pending > 0;
      stalls = waiting && !progress.recording && progress.received === received ? stalls + 1 : 0;
    } catch {
      stalls += 1;
    }
    received = progress.received;
    if (stalls >= intakeStallsMax) return turn.end(new Error("the broker holds messages that do not come"));
  }
}

async function purgeCommitted(manager: JetStreamManager, progress: Progress, turn: Turn): Promise<void> {
  let purged = 0;
  let purgedAt = performance.now();
  while (await pause(intakePurgeLookMs, turn.ended)) {
    const seq = progress.committedSeq;
    const isDue = seq - purged >= intakePurgeReports || performance.now() - purgedAt >= intakePurgeMs;
    if (seq === purged || !isDue) continue;
    purgedAt = performance.now();
    // A failure leaves more in the stream than is needed; the next time takes it along.
    await manager.streams.purge(reportStream, { seq: seq + 1 }).then(
      () => (purged = seq),
      () => undefined,
    );
  }
}

/** Resolves to false when the signal came first. */
function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const timer = setTimeout(() => resolve(true), ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve(false)), { once: true });
  });
}
