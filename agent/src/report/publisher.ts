import { randomInt } from "node:crypto";
import { reportMessageId } from "@flotilla/proto/subjects";
import { jetstream, type JetStreamClient } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { reportLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { type BrokerKey, newBrokerKey } from "./broker-key.ts";
import type { Outbox, OutboxRecord } from "./outbox.ts";

/** Rights at the broker, bound to the key that was asked with (IssueBrokerCredentialsResponse of the link). */
export interface BrokerGrant {
  readonly userJwt: string;
  readonly urls: readonly string[];
  /** PEM; empty for plain NATS. */
  readonly ca: string;
  readonly reportSubject: string;
  readonly inboxPrefix: string;
  readonly notAfter: Date;
}

export interface PublisherOptions {
  readonly outbox: Outbox;
  /** Asks the hub for rights for a public nkey; fails while there is no link. */
  readonly credentials: (userPublicKey: string) => Promise<BrokerGrant>;
  readonly log: Log;
  /** For tests; reportLimits when left out. */
  readonly ackMs?: number;
  readonly stallMinMs?: number;
}

export interface Publisher {
  /** Whether the broker is connected now. */
  readonly isConnected: boolean;
  /** Throws the rights away and asks for new ones. */
  renewCredentials(): void;
  close(): Promise<void>;
}

/**
 * Publishes the outbox to JetStream, in order, with a window of acknowledgements, for ever: with the broker or the hub away it
 * waits. An acknowledgement only moves the window; a report leaves the outbox by the hub's watermark alone. Whatever breaks the
 * order (a failed publish, a lost connection, reports the broker lost) begins a new round from the first report in doubt, with
 * new message ids, so that the broker's window of duplicates does not swallow it.
 */
export function startPublisher(options: PublisherOptions): Publisher {
  const publisher = new RoundPublisher(options);
  publisher.start();
  return publisher;
}

interface Rights {
  readonly grant: BrokerGrant;
  /** When the hub gave them. */
  readonly since: number;
  readonly key: BrokerKey;
}

class RoundPublisher implements Publisher {
  readonly #outbox: Outbox;
  readonly #options: PublisherOptions;
  readonly #log: Log;
  readonly #ackMs: number;
  readonly #stallMinMs: number;
  readonly #stop = new AbortController();
  #rights: Rights | undefined;
  #connection: NatsConnection | undefined;
  #done: Promise<void> = Promise.resolve();
  /** Random at the start: ids of an earlier process must not meet. */
  #round = randomInt(2 ** 31);
  /** Next to publish in this round. */
  #next = 1n;
  #ahead: OutboxRecord[] = [];
  #inFlight = 0;
  #inFlightBytes = 0;
  #failures = 0;
  #notBefore = 0;
  #movedAt = performance.now();
  #stallMs: number;
  /** A hub that asks again is listened to no sooner than this after the last time, and ever later until it has what it asked for. */
  #resendMs: number;
  #rewoundAt = -Infinity;
  /** What was the newest report when the hub last asked. */
  #rewoundFor = 0n;
  #lastWatermark = 0n;
  #lastError = "";
  #wake: () => void = () => undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#outbox = options.outbox;
    this.#log = options.log;
    this.#ackMs = options.ackMs ?? reportLimits.ackMs;
    this.#stallMinMs = options.stallMinMs ?? reportLimits.stallMinMs;
    this.#stallMs = this.#stallMinMs;
    this.#resendMs = this.#stallMinMs / 4;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  start(): void {
    this.#outbox.onRecorded(() => this.#wake());
    this.#outbox.onWatermark((again) => this.#onWatermark(again));
    this.#done = this.#run();
  }

  renewCredentials(): void {
    this.#rights = undefined;
    void this.#connection?.close().catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#connection?.close().catch(() => undefined);
    await this.#done;
  }

  async #run(): Promise<void> {
    let waitMs: number = reportLimits.brokerRetryMinMs;
    while (!this.#stop.signal.aborted) {
      try {
        const connection = await this.#connect();
        waitMs = reportLimits.brokerRetryMinMs;
        await this.#publishOver(connection);
      } catch (error) {
        this.#tell((error as Error).message);
        waitMs = Math.min(waitMs * 2, reportLimits.brokerRetryMaxMs);
      }
      await this.#sleep(Math.random() * waitMs);
    }
  }

  async #connect(): Promise<NatsConnection> {
    const rights = await this.#currentRights();
    const { grant, key } = rights;
    try {
      return await connect({
        servers: [...grant.urls],
        authenticator: key.authenticator(grant.userJwt),
        inboxPrefix: grant.inboxPrefix,
        name: `flotilla-agent ${this.#outbox.cluster}`,
        // Our own loop asks for new rights where they ran out.
        reconnect: false,
        timeout: reportLimits.brokerConnectMs,
        pingInterval: reportLimits.brokerPingMs,
        maxPingOut: 2,
        noAsyncTraces: true,
        ...(grant.ca !== "" && { tls: { ca: grant.ca } }),
      });
    } catch (error) {
      if (this.#rights === rights && isForAsking(error as Error, rights)) this.#rights = undefined;
      throw new Error(`the broker cannot be reached: ${(error as Error).message}`, { cause: error });
    }
  }

  async #currentRights(): Promise<Rights> {
    if (this.#rights !== undefined && this.#rights.grant.notAfter.getTime() - Date.now() > reportLimits.brokerConnectMs) return this.#rights;
    const key = newBrokerKey();
    const grant = await this.#options.credentials(key.publicKey);
    this.#rights = { grant, key, since: performance.now() };
    return this.#rights;
  }

  async #publishOver(connection: NatsConnection): Promise<void> {
    const { grant } = this.#rights ?? (await this.#currentRights());
    this.#connection = connection;
    this.#lastError = "";
    this.#log.info({ broker: connection.getServer() }, "connected to the broker");
    let isOpen = true;
    const closed = connection.closed().then((error) => {
      isOpen = false;
      this.#wake();
      return error;
    });
    const renewMs = Math.max(1_000, (grant.notAfter.getTime() - Date.now()) * (2 / 3) * (0.9 + Math.random() * 0.2));
    const renewal = setTimeout(() => this.renewCredentials(), Math.min(renewMs, 2 ** 31 - 1));
    const client = jetstream(connection, { timeout: this.#ackMs });
    this.#beginRound(this.#firstUnconfirmed());
    this.#failures = 0;
    this.#notBefore = 0;
    try {
      while (isOpen && !this.#stop.signal.aborted) await this.#step(client, grant.reportSubject);
    } finally {
      clearTimeout(renewal);
      this.#connection = undefined;
      await connection.close().catch(() => undefined);
      const error = await closed;
      if (error && !this.#stop.signal.aborted) this.#tell(`the broker's connection ended: ${error.message}`);
    }
  }

  /** Publishes one report, or waits for something to change. */
  async #step(client: JetStreamClient, subject: string): Promise<void> {
    const waitMs = this.#notBefore - performance.now();
    if (waitMs > 0) return await this.#sleep(waitMs);
    if (this.#inFlight >= reportLimits.window || this.#inFlightBytes >= reportLimits.windowBytes) return await this.#sleep(this.#ackMs);
    const round = this.#round;
    if (this.#ahead.length === 0) {
      const records = await this.#outbox.read(this.#next);
      if (round !== this.#round) return;
      this.#ahead = records;
    }
    const record = this.#ahead.shift();
    if (record === undefined) return await this.#waitForMore();
    this.#next = record.seq + 1n;
    this.#publish(client, subject, record, round);
  }

  #publish(client: JetStreamClient, subject: string, { seq, traceparent, envelope }: OutboxRecord, round: number): void {
    this.#inFlight += 1;
    this.#inFlightBytes += envelope.byteLength;
    const carried = headers();
    if (traceparent !== "") carried.set("traceparent", traceparent);
    const { cluster, epoch } = this.#outbox;
    client
      .publish(subject, envelope, { msgID: reportMessageId(cluster, epoch, seq, round), headers: carried })
      .then(
        () => {
          this.#failures = 0;
          this.#movedAt = performance.now();
        },
        (error: unknown) => this.#onFailure(seq, round, error as Error),
      )
      .finally(() => {
        this.#inFlight -= 1;
        this.#inFlightBytes -= envelope.byteLength;
        this.#wake();
      });
  }

  /** The order is broken at `seq`: everything from there on goes again. */
  #onFailure(seq: bigint, round: number, error: Error): void {
    if (round !== this.#round || this.#stop.signal.aborted) return;
    this.#failures += 1;
    this.#tell(`the broker did not take a report: ${error.message}`);
    if (/permission|authorization/i.test(error.message)) this.renewCredentials();
    const cap = Math.min(reportLimits.brokerRetryMinMs * 2 ** this.#failures, reportLimits.brokerRetryMaxMs);
    this.#notBefore = performance.now() + (cap / 2) * (1 + Math.random());
    const first = this.#firstUnconfirmed();
    this.#beginRound(seq < first ? first : seq);
  }

  #onWatermark(again: boolean): void {
    const { watermark } = this.#outbox;
    const hasMoved = watermark !== this.#lastWatermark;
    this.#lastWatermark = watermark;
    if (hasMoved) {
      this.#movedAt = performance.now();
      this.#stallMs = this.#stallMinMs;
      // What was committed makes room in a stream that was full.
      this.#failures = 0;
      this.#notBefore = 0;
    }
    if (this.#next <= watermark) this.#beginRound(watermark + 1n);
    if (watermark >= this.#rewoundFor) this.#resendMs = this.#stallMinMs / 4;
    if (again) this.#onAskedAgain(watermark);
    this.#wake();
  }

  /**
   * The hub asks for each report that it finds out of order, and those of an older round are still on their way to it while the newer
   * one answers. Answering every time would multiply them without end.
   */
  #onAskedAgain(watermark: bigint): void {
    const now = performance.now();
    if (now - this.#rewoundAt < this.#resendMs) return;
    this.#resendMs = Math.min(this.#resendMs * 2, reportLimits.stallMaxMs);
    this.#rewoundAt = now;
    this.#rewoundFor = this.#outbox.newestSeq;
    this.#beginRound(watermark + 1n);
  }

  /** Everything is published. If the hub does not confirm it for long, the broker lost it: once more. */
  async #waitForMore(): Promise<void> {
    // Recorded while the disk was read.
    if (this.#next <= this.#outbox.newestSeq) return await this.#sleep(1);
    if (this.#outbox.watermark >= this.#outbox.newestSeq || this.#inFlight > 0) {
      this.#movedAt = performance.now();
      return await this.#sleep(this.#stallMs);
    }
    const leftMs = this.#movedAt + this.#stallMs - performance.now();
    if (leftMs > 0) return await this.#sleep(leftMs);
    this.#log.debug(
      { watermark: String(this.#outbox.watermark), newest: String(this.#outbox.newestSeq) },
      "the hub does not confirm what was published: publishing it again",
    );
    this.#stallMs = Math.min(this.#stallMs * 2, reportLimits.stallMaxMs);
    this.#movedAt = performance.now();
    this.#beginRound(this.#firstUnconfirmed());
  }

  #firstUnconfirmed(): bigint {
    return this.#outbox.watermark + 1n;
  }

  #beginRound(next: bigint): void {
    this.#round = (this.#round + 1) % 2 ** 31;
    this.#next = next;
    this.#ahead = [];
  }

  /** Until something changes, or so long. */
  #sleep(ms: number): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }

  /** Says a trouble once, not at every try. */
  #tell(message: string): void {
    if (message !== this.#lastError && !this.#stop.signal.aborted) this.#log.warn({ reason: message }, "reports wait in the outbox");
    this.#lastError = message;
  }
}

/** Whether a broker that could not be reached is a reason to ask the hub anew: it refuses these rights, or has a certificate of a CA that came after them. */
function isForAsking({ message }: Error, { since }: Rights): boolean {
  if (/authoriz|authent/i.test(message)) return true;
  return /certificate/i.test(message) && performance.now() - since > reportLimits.rightsFreshMs;
}
