import { X509Certificate } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Command,
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  type Goodbye,
  type HeldTarget,
  HelloSchema,
  type IssueBrokerCredentialsResponse,
  type RenewCertificateResponse,
  type TrustBundle,
  type Watermark,
  type Welcome,
} from "@flotilla/proto/gen/link";
import type { Target } from "@flotilla/proto/gen/target";
import { clockWorthTellingMs, heartbeatDeadlineMs, heartbeatIntervalMs, maxFactsPerCluster, protocolVersion, reconnectMaxMs } from "@flotilla/proto/limits";
import { type Client, type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";
import { linkLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import type { StepTracer } from "../telemetry.ts";
import { newCertificateRequest } from "./certificate-request.ts";
import { CommandGate, type CommandReply } from "./command-gate.ts";
import { checkCertificate } from "./enrol.ts";
import { HubClock } from "./hub-clock.ts";
import { callUnary, codeOf, detailsOf, linkClient } from "./hub-client.ts";
import type { EnrolledAgain } from "./enrol-again.ts";
import type { Identity, IdentityStore } from "./identity.ts";
import { reconnectCapMs, triesAfter } from "./reconnect-delay.ts";
import { type BodyStore, TargetFetch } from "./target-fetch.ts";
import { caHashesOf, isOfTheFirst } from "./trusted-cas.ts";

export type { Identity, IdentityStore } from "./identity.ts";
export type { BodyStore } from "./target-fetch.ts";

/** What the link tells the agent's engine, and asks it. */
export interface LinkHandlers {
  /** A target whose every body is held. */
  onTarget(target: Target): void;
  /** A person's act, or a rollout's question, its expiry by the agent's own clock; renewal of certificates is the link's own. What it throws is the answer. */
  onCommand(command: Command): Promise<CommandReply | void>;
  /** The hub's Welcome came; what it says of how reports may be written. */
  onConnected(hub: { readonly takesChangedBundles: boolean }): void;
  onDisconnected(reason: string): void;
  /** What runs now, for the hub to compare. */
  held(): HeldTarget[];
  facts(): Record<string, string>;
  kubernetesVersion(): string;
}

/** What the link needs of the outbox. */
export interface LinkOutbox {
  readonly epoch: string;
  readonly newestSeq: bigint;
  readonly oldestSeq: bigint;
  acknowledge(watermark: { epoch: string; seq: bigint; resend?: boolean }): Promise<boolean>;
}

/** Rights at the broker for a key that the agent made. */
export interface IssuedBrokerCredentials {
  readonly userJwt: string;
  readonly urls: readonly string[];
  readonly ca: string;
  readonly reportSubject: string;
  readonly inboxPrefix: string;
  /** By the agent's own clock. */
  readonly notAfter: Date;
}

export interface LinkOptions {
  readonly identity: Identity;
  readonly identityStore: IdentityStore;
  readonly bodies: BodyStore;
  readonly outbox: LinkOutbox;
  readonly handlers: LinkHandlers;
  readonly log: Log;
  readonly agentVersion: string;
  readonly tracer: StepTracer;
  /** Tries a token that the hub could not be asked about, and keeps what comes of it. Asked before each try of a stream until the token waits no more. */
  readonly enrolAnew?: (before: Identity) => Promise<EnrolledAgain>;
  /** Told when the hub asked for new broker credentials too. */
  readonly onRenewCredentials?: () => void;
}

/**
 * - `connecting`: the stream was asked for, Hello follows as soon as it is there.
 * - `open`: Welcome came. `beat` sends heartbeats and watches the hub's.
 * - `waiting`: the last stream ended; the next try comes when `timer` fires.
 * - `closed`: for good.
 */
export type LinkState =
  | { readonly name: "connecting"; readonly stream: HubStream; readonly timer: NodeJS.Timeout }
  | { readonly name: "open"; readonly stream: HubStream; readonly beat: NodeJS.Timeout; readonly since: number; readonly hubId: string }
  | { readonly name: "waiting"; readonly timer: NodeJS.Timeout; readonly reason: string }
  | { readonly name: "closed" };

interface HubStream {
  readonly client: Client;
  readonly call: ClientDuplexStream<ConnectRequest, ConnectResponse>;
}

export interface Link {
  readonly isConnected: boolean;
  /** As renewed last. */
  readonly identity: Identity;
  /** Asks the hub for a broker user bound to a public nkey. Fails while there is no stream. */
  issueBrokerCredentials(userPublicKey: string): Promise<IssuedBrokerCredentials>;
  /** Fetches a new certificate now and opens the stream anew with it. */
  renewCertificate(): Promise<void>;
  /** Says Hello anew, now: what is held changed otherwise than by the hub. Does nothing while there is no stream. */
  reopen(reason: string): void;
  close(): Promise<void>;
}

/** How often within a heartbeat's interval the agent looks whether the hub is silent. */
const looksPerBeat = 3;

/** Opens the link to the hub and keeps it, for ever: whatever ends the stream, it is tried again. */
export function openLink(options: LinkOptions): Link {
  const link = new HubLink(options);
  link.start();
  return link;
}

class HubLink implements Link {
  readonly #options: LinkOptions;
  readonly #log: Log;
  readonly #commands = new CommandGate();
  readonly #clock = new HubClock();
  readonly #fetch: TargetFetch;
  #identity: Identity;
  #state: LinkState = { name: "closed" };
  /** What the hub wants its agents to spread over when it lost them all at once. */
  #reconnectWithinMs = 0;
  /** Tries since the last good stream. */
  #tries = 0;
  #heardAt = 0;
  #beats = 0n;
  #renewal: NodeJS.Timeout | undefined;
  /** When the certificate is due, by the hub's clock. */
  #renewAtMs: number;
  #renewing: Promise<void> | undefined;
  #renewTries = 0;
  #lastReason = "";
  /** A token waits. */
  #enrolAnew: LinkOptions["enrolAnew"];
  /** Watermarks are taken one after the other. */
  #watermarks: Promise<void> = Promise.resolve();
  /** So are the hub's CAs, and changes of the identity. */
  #trusting: Promise<void> = Promise.resolve();
  #keeping: Promise<void> = Promise.resolve();
  /** The CAs that the hub was told we trust, over this stream. */
  #toldCas = "";

  constructor(options: LinkOptions) {
    const { identity, bodies, handlers, log } = options;
    this.#options = options;
    this.#log = log;
    this.#identity = identity;
    this.#enrolAnew = options.enrolAnew;
    this.#renewAtMs = renewalOf(identity.certificatePem);
    this.#fetch = new TargetFetch({
      cluster: identity.cluster,
      bodies,
      log,
      held: () => handlers.held(),
      ask: (digests) => this.#send({ case: "bodyRequest", value: { digests } }),
      answer: ({ fleet, generation, digest }, refusal) => this.#send({ case: "targetReceipt", value: { fleet, generation, digest, refusal } }),
      onTarget: (target) => handlers.onTarget(target),
    });
  }

  get isConnected(): boolean {
    return this.#state.name === "open";
  }

  get identity(): Identity {
    return this.#identity;
  }

  start(): void {
    this.#connect();
  }

  async issueBrokerCredentials(userPublicKey: string): Promise<IssuedBrokerCredentials> {
    const client = this.#openClient("broker credentials");
    const response = await callUnary<IssueBrokerCredentialsResponse>(client, "issueBrokerCredentials", { userPublicKey }, linkLimits.callMs).catch(
      (error: unknown) => {
        throw new Error(`the hub gave no broker credentials: ${detailsOf(error)}`, { cause: error });
      },
    );
    const { userJwt, urls, ca, reportSubject, inboxPrefix, notAfter } = response;
    const until = notAfter ? this.#clock.inOwnTime(timestampMs(notAfter)) : 0;
    return { userJwt, urls, ca, reportSubject, inboxPrefix, notAfter: new Date(until) };
  }

  renewCertificate(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  reopen(reason: string): void {
    if (this.#state.name === "open") this.#drop(this.#state.stream, reason, 0);
  }

  async close(): Promise<void> {
    clearTimeout(this.#renewal);
    const state = this.#state;
    this.#state = { name: "closed" };
    if (state.name === "waiting") clearTimeout(state.timer);
    if (state.name === "connecting" || state.name === "open") {
      this.#leave(state);
      // Half-closed first: the hub then knows that the agent went in order.
      state.stream.call.end();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        state.stream.call.once("end", () => (clearTimeout(timer), resolve()));
        state.stream.call.once("error", () => (clearTimeout(timer), resolve()));
      });
      state.stream.call.cancel();
      state.stream.client.close();
    }
    this.#fetch.restart();
    await this.#watermarks;
    await this.#trusting;
    await this.#keeping;
  }

  #openClient(what: string): Client {
    if (this.#state.name !== "open") throw new Error(`${what}: the hub is not connected`);
    return this.#state.stream.client;
  }

  /** While a token waits it is tried first: the identity that is kept may be of no use any more. */
  async #tryAgain(): Promise<void> {
    try {
      const enrolled = await this.#enrolAnew?.(this.#identity);
      if (enrolled?.waits === false) {
        this.#enrolAnew = undefined;
        this.#identity = enrolled.identity;
        this.#renewAtMs = renewalOf(enrolled.identity.certificatePem);
        this.#renewTries = 0;
      }
    } catch (error) {
      this.#log.warn({ error: (error as Error).message }, "a token could not be used; trying again");
    }
    if (this.#state.name === "waiting") this.#connect();
  }

  #connect(): void {
    const client = linkClient(this.#identity, this.#options.tracer);
    const call = (client as unknown as { connect(): ClientDuplexStream<ConnectRequest, ConnectResponse> }).connect();
    const stream: HubStream = { client, call };
    const timer = setTimeout(() => this.#drop(stream, "the hub did not answer in time"), linkLimits.greetingMs);
    this.#state = { name: "connecting", stream, timer };
    this.#heardAt = performance.now();
    call.on("data", (message: ConnectResponse) => this.#onMessage(stream, message));
    call.on("error", (error: ServiceError) => this.#onError(stream, error));
    call.on("end", () => this.#drop(stream, "the hub ended the stream"));
    this.#sayHello();
  }

  #sayHello(): void {
    const { handlers, outbox, agentVersion } = this.#options;
    const facts = Object.fromEntries(Object.entries(handlers.facts()).slice(0, maxFactsPerCluster));
    const caHashes = caHashesOf(this.#identity.caPem);
    this.#toldCas = caHashes.join(" ");
    const hello = create(HelloSchema, {
      cluster: this.#identity.cluster,
      protocolVersion,
      agentVersion,
      kubernetesVersion: handlers.kubernetesVersion(),
      epoch: outbox.epoch,
      newestSeq: outbox.newestSeq,
      oldestSeq: outbox.oldestSeq,
      targets: handlers.held(),
      facts,
      now: timestampFromMs(Date.now()),
      caHashes,
      takesBodiesUnasked: true,
    });
    this.#send({ case: "hello", value: hello });
  }

  #send(message: NonNullable<MessageInitShape<typeof ConnectRequestSchema>["message"]>): void {
    const state = this.#state;
    if (state.name !== "connecting" && state.name !== "open") return;
    state.stream.call.write(create(ConnectRequestSchema, { message }));
  }

  #isCurrent(stream: HubStream): boolean {
    const state = this.#state;
    return (state.name === "connecting" || state.name === "open") && state.stream === stream;
  }

  #onMessage(stream: HubStream, { message }: ConnectResponse): void {
    if (!this.#isCurrent(stream)) return;
    this.#heardAt = performance.now();
    try {
      if (message.case === "welcome") this.#onWelcome(stream, message.value);
      else if (this.#state.name !== "open") this.#drop(stream, "the hub spoke before Welcome");
      else if (message.case === "target") this.#fetch.offer(message.value);
      else if (message.case === "bodyChunk") this.#fetch.chunk(message.value);
      else if (message.case === "bodyUnavailable") this.#fetch.unavailable(message.value.digest, message.value.reason);
      else if (message.case === "watermark") this.#onWatermark(stream, message.value);
      else if (message.case === "command") this.#onCommand(message.value);
      else if (message.case === "trustBundle") this.#onTrust(stream, message.value);
      else if (message.case === "goodbye") this.#onGoodbye(stream, message.value);
    } catch (error) {
      this.#log.error({ err: error, message: message.case }, "a message of the hub could not be taken");
      this.#drop(stream, (error as Error).message);
    }
  }

  #onWelcome(stream: HubStream, welcome: Welcome): void {
    if (this.#state.name !== "connecting") return;
    clearTimeout(this.#state.timer);
    const intervalMs = within(welcome.heartbeatInterval ? durationMs(welcome.heartbeatInterval) : heartbeatIntervalMs, 50, 60_000);
    const deadlineMs = within(welcome.heartbeatDeadline ? durationMs(welcome.heartbeatDeadline) : heartbeatDeadlineMs, 2 * intervalMs, 300_000);
    // The hub's silence is looked for more often than our own word is due.
    let looks = 0;
    const beat = setInterval(() => this.#beat(stream, deadlineMs, ++looks % looksPerBeat === 0), intervalMs / looksPerBeat);
    this.#state = { name: "open", stream, beat, since: performance.now(), hubId: welcome.hubId };
    this.#lastReason = "";
    this.#log.info({ hub: welcome.hubId, hubVersion: welcome.hubVersion }, "connected to the hub");
    this.#reconnectWithinMs = welcome.reconnectWithin ? within(durationMs(welcome.reconnectWithin), 0, linkLimits.reconnectWithinMaxMs) : 0;
    if (welcome.now) this.#onClock(timestampMs(welcome.now));
    // A renewal that failed has its own pause.
    if (this.#renewTries === 0) this.#planRenewal();
    if (welcome.watermark) this.#onWatermark(stream, welcome.watermark);
    if (welcome.trust) this.#onTrust(stream, welcome.trust);
    this.#options.handlers.onConnected({ takesChangedBundles: welcome.takesChangedBundles });
  }

  #onClock(hubMs: number): void {
    this.#clock.hear(hubMs);
    const aheadS = Math.round(this.#clock.aheadMs / 1_000);
    if (Math.abs(aheadS) * 1_000 < clockWorthTellingMs) return;
    this.#log.warn({ aheadS }, "this agent's clock is not the hub's: times in its reports and its sync windows are off by as much");
  }

  #beat(stream: HubStream, deadlineMs: number, isDue: boolean): void {
    if (performance.now() - this.#heardAt > deadlineMs) return this.#drop(stream, `the hub was silent for ${Math.round(deadlineMs / 1_000)} s`);
    // A stream that takes nothing is not fed more: its silence ends it at the hub.
    if (isDue && !stream.call.writableNeedDrain) this.#send({ case: "heartbeat", value: { count: ++this.#beats } });
  }

  #onWatermark(stream: HubStream, { epoch, seq, resend }: Watermark): void {
    this.#watermarks = this.#watermarks.then(async () => {
      try {
        const isNewEpoch = await this.#options.outbox.acknowledge({ epoch, seq, resend });
        if (isNewEpoch) this.#drop(stream, "a new epoch of reports began", 0);
      } catch (error) {
        this.#log.warn({ error: (error as Error).message }, "the hub's watermark could not be taken; the next one will do");
      }
    });
  }

  /** The CAs are kept before they count, and the hub is told when they are: only then may it give up what was trusted before. */
  #onTrust(stream: HubStream, trust: TrustBundle): void {
    this.#trusting = this.#trusting.then(async () => {
      try {
        const caHashes = caHashesOf(trust.ca);
        if (trust.ca !== this.#identity.caPem) {
          await this.#keep({ caPem: trust.ca });
          this.#log.info({ caHashes }, "the hub's CAs changed");
        }
        if (!this.#isCurrent(stream)) return;
        if (this.#toldCas !== caHashes.join(" ")) this.#send({ case: "trustReceipt", value: { caHashes } });
        this.#toldCas = caHashes.join(" ");
        this.#renewEarly(trust);
      } catch (error) {
        this.#log.warn({ error: (error as Error).message }, "the hub's CAs could not be kept; trying again");
        setTimeout(() => this.#isCurrent(stream) && this.#onTrust(stream, trust), linkLimits.trustRetryMs).unref();
      }
    });
  }

  /** A certificate of a CA that does not sign any more is changed long before it ends; spread, since all agents hear of it at once. */
  #renewEarly({ renewWithin }: TrustBundle): void {
    // A renewal that failed has its own pause.
    if (this.#renewTries > 0 || isOfTheFirst(this.#identity.certificatePem, this.#identity.caPem)) return;
    const withinMs = within(renewWithin ? durationMs(renewWithin) : 0, 0, linkLimits.reconnectWithinMaxMs);
    this.#planRenewal(Math.random() * withinMs);
  }

  /** Changes the identity. Kept first: an agent that dies here comes back with what the hub knows it by. One at a time, so that none undoes another. */
  #keep(change: Partial<Identity>): Promise<void> {
    const kept = this.#keeping.then(async () => {
      const next = { ...this.#identity, ...change };
      await this.#options.identityStore.save(next);
      this.#identity = next;
    });
    this.#keeping = kept.catch(() => undefined);
    return kept;
  }

  #onCommand(command: Command): void {
    if (command.expiresAt) command.expiresAt = timestampFromMs(this.#clock.inOwnTime(timestampMs(command.expiresAt)));
    void this.#commands
      .run(command, async (due) => {
        if (due.kind.case !== "renew") return await this.#options.handlers.onCommand(due);
        this.#options.onRenewCredentials?.();
        // The stream is opened anew with the new certificate; the answer goes first.
        setTimeout(
          () =>
            void this.renewCertificate().catch((error: unknown) => this.#log.warn({ error: (error as Error).message }, "the certificate could not be renewed")),
          100,
        );
        return undefined;
      })
      .then((answer) => {
        if (answer !== undefined) this.#send({ case: "commandAck", value: { id: command.id, ...answer } });
      });
  }

  #onGoodbye(stream: HubStream, { reason, reconnectWithin }: Goodbye): void {
    const withinMs = within(reconnectWithin ? durationMs(reconnectWithin) : reconnectMaxMs, 0, linkLimits.reconnectWithinMaxMs);
    stream.call.end();
    this.#drop(stream, reason, Math.random() * withinMs);
  }

  #onError(stream: HubStream, error: ServiceError): void {
    if (!this.#isCurrent(stream)) return;
    const code = codeOf(error);
    const isRefused = code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED || code === status.FAILED_PRECONDITION;
    const isPatient = isRefused || code === status.ABORTED || code === status.RESOURCE_EXHAUSTED;
    this.#drop(stream, `${isRefused ? "the hub refuses this agent: " : ""}${detailsOf(error)}${this.#tellExpired()}`, undefined, isPatient);
  }

  /** Why a handshake failed is not heard here. This machine's clock may be wrong: it is told, and nothing is decided by it. */
  #tellExpired(): string {
    const { validTo } = new X509Certificate(this.#identity.certificatePem);
    if (Date.parse(validTo) > Date.now()) return "";
    const remedy = this.#enrolAnew ? "its new token is tried again" : `start it with a new token, from fleet cluster token ${this.#identity.cluster}`;
    return `; the certificate of this agent has expired (${validTo}): ${remedy}`;
  }

  /** Ends the stream; the next try comes after `delayMs`, or after a random part of a doubling time, of the longest when patient. */
  #drop(stream: HubStream, reason: string, delayMs?: number, isPatient = false): void {
    if (!this.#isCurrent(stream)) return;
    const state = this.#state as Extract<LinkState, { stream: HubStream }>;
    this.#leave(state);
    this.#tries = triesAfter(this.#tries, { greetedMs: state.name === "open" ? performance.now() - state.since : undefined, isPatient });
    // Full jitter also before the first try: a hub that ended left all its agents behind at the same moment.
    const cap = reconnectCapMs(this.#tries, this.#reconnectWithinMs);
    this.#tries += 1;
    const waitMs = delayMs ?? Math.random() * cap;
    this.#state = { name: "waiting", reason, timer: setTimeout(() => void this.#tryAgain(), waitMs) };
    // The message that was written last, e.g. an answer, still has its turn.
    setImmediate(() => {
      stream.call.cancel();
      stream.client.close();
    });
    this.#fetch.restart();
    if (state.name === "open" || reason !== this.#lastReason) this.#log.warn({ reason, waitMs: Math.round(waitMs) }, "not connected to the hub");
    this.#lastReason = reason;
    if (state.name === "open") this.#options.handlers.onDisconnected(reason);
  }

  #leave(state: Extract<LinkState, { stream: HubStream }>): void {
    if (state.name === "connecting") clearTimeout(state.timer);
    else clearInterval(state.beat);
  }

  /** Not before the first Welcome: only then is the hub's time known, and nothing can be renewed without a stream. */
  #planRenewal(delayMs?: number): void {
    clearTimeout(this.#renewal);
    if (this.#state.name === "closed") return;
    const dueMs = Math.max(0, delayMs ?? this.#renewAtMs - this.#clock.now());
    this.#renewal = setTimeout(
      () => {
        if (dueMs > linkLimits.renewLookMaxMs) return this.#planRenewal(dueMs - linkLimits.renewLookMaxMs);
        this.renewCertificate().catch((error: unknown) => {
          this.#renewTries += 1;
          const cap = Math.min(linkLimits.renewRetryMaxMs, linkLimits.renewRetryMinMs * 2 ** Math.min(this.#renewTries, 10));
          const { validTo } = new X509Certificate(this.#identity.certificatePem);
          this.#log.warn({ error: (error as Error).message, validTo }, "the certificate could not be renewed; trying again");
          this.#planRenewal((cap / 2) * (1 + Math.random()));
        });
      },
      Math.min(dueMs, linkLimits.renewLookMaxMs),
    );
  }

  async #renew(): Promise<void> {
    const client = this.#openClient("certificate renewal");
    const request = newCertificateRequest();
    const asked = { csr: request.csr, caHashes: caHashesOf(this.#identity.caPem) };
    const { identity: issued } = await callUnary<RenewCertificateResponse>(client, "renewCertificate", asked, linkLimits.callMs).catch((error: unknown) => {
      throw new Error(`the hub did not renew the certificate: ${detailsOf(error)}`, { cause: error });
    });
    if (issued === undefined) throw new Error("the hub gave no certificate");
    const { cluster, caPem, linkAddress } = this.#identity;
    checkCertificate(issued.certificate, cluster, request.privateKeyPem, caPem);
    // The old one is valid until it expires.
    await this.#keep({ privateKeyPem: request.privateKeyPem, certificatePem: issued.certificate, linkAddress: issued.linkAddress || linkAddress });
    this.#renewAtMs = renewalOf(issued.certificate);
    this.#renewTries = 0;
    this.#log.info({ notAfter: new X509Certificate(issued.certificate).validTo }, "certificate renewed");
    this.#planRenewal();
    if (this.#state.name === "open") this.#drop(this.#state.stream, "the certificate was renewed", 0);
  }
}

/** Two thirds into the certificate's life, a tenth earlier or later; by the hub's clock. */
function renewalOf(certificatePem: string): number {
  const { validFrom, validTo } = new X509Certificate(certificatePem);
  const from = Date.parse(validFrom);
  return from + (Date.parse(validTo) - from) * linkLimits.renewAt * (1 + (Math.random() * 2 - 1) * linkLimits.renewJitter);
}

const within = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));
