import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type BodyRequest,
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type Hello,
  type TargetReceipt,
  type TrustReceipt,
} from "@flotilla/proto/gen/link";
import { type Encoded, encodeOnce } from "@flotilla/proto/grpc";
import { maxBodiesPerRequest, maxGrpcMessageBytes, maxTrustedCas, maxUnaskedBodies, maxUnaskedBodyBytes } from "@flotilla/proto/limits";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { type Span, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { compareHeld } from "../domain/compare-held.ts";
import type { CommandAnswer, HeldTargetRow, KeptTrust, LinkState, PendingCommand, ReleasedTarget, SendPhase, SessionKey } from "../domain/link-rows.ts";
import type { TargetBundle } from "../domain/target.ts";
import { commandsInFlightMax, drainMs, helloDeadlineMs } from "../limits.ts";
import { contextOf, traceparentOf } from "../telemetry.ts";
import type { EncodedBody } from "./body-cache.ts";
import type { PeerIdentity } from "./peer-identity.ts";
import type { StreamLog } from "./stream-log.ts";
import { answerOf, wireCommand } from "./wire-command.ts";
import { durationOf, wireTarget } from "./wire-target.ts";

export type AgentStream = ServerDuplexStream<ConnectRequest, ConnectResponse | Encoded>;

/**
 * - `greeting`: the agent has not said Hello, or it is being written down.
 * - `open`: targets, bodies, watermarks and commands flow.
 * - `leaving`: Goodbye was said; the agent has until `until` to go by itself.
 * - `ended`: nothing is read or written any more.
 */
export type SessionState =
  | { readonly name: "greeting"; readonly until: number }
  | { readonly name: "open"; readonly session: bigint; readonly epoch: string; readonly leaveAt: number }
  | { readonly name: "leaving"; readonly session: bigint; readonly epoch: string; readonly until: number }
  | { readonly name: "ended"; readonly reason: string };

/** What a session asks of what holds it. */
export interface SessionHolder {
  readonly hubId: string;
  readonly hubVersion: string;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatDeadlineMs: number;
  readonly reconnectWithinMs: number;
  readonly log: StreamLog;
  readonly tracer: Tracer;
  greet(session: Session, hello: Hello): void;
  ended(session: Session): void;
  loadBody(digest: string): Promise<EncodedBody | undefined>;
  sent(phase: SendPhase): void;
  commandSent(id: string): void;
  commandAnswered(id: string, cluster: string, answer: CommandAnswer): void;
  wantsSnapshot(cluster: string): void;
  wantsResend(cluster: string): void;
  /** CAs that agents are to trust, PEM: the one that signs, then the others. */
  readonly trustedCas: string;
  /** The agent has kept CAs as trusted. */
  trustKept(kept: KeptTrust): void;
  /** The agent holds something newer than the row. */
  holdsNewer(held: HeldTargetRow): void;
}

type SentTarget = Pick<HeldTargetRow, "generation" | "digest" | "releasedAt">;

interface Sending {
  readonly target: ReleasedTarget;
  readonly span: Span;
  readonly startedAt: Date;
}

const digests = new WeakMap<readonly TargetBundle[], ReadonlySet<string>>();

/** Shared by all clusters that get the same. */
function digestsOf(bundles: readonly TargetBundle[]): ReadonlySet<string> {
  const known = digests.get(bundles) ?? new Set(bundles.map(({ digest }) => digest));
  digests.set(bundles, known);
  return known;
}

/** Bodies that go before a target; being read until there are chunks. */
interface Ahead {
  readonly target: ReleasedTarget;
  chunks: Encoded[] | undefined;
}

/** Bodies that one agent may have waiting: two requests' worth. */
const wantedMax = 2 * maxBodiesPerRequest;

/**
 * The hub's side of one agent's stream. Nothing queues up for an agent that reads slowly: one message is being written at a
 * time, a fleet has one slot for its newest target, the watermark has one, and of bodies one chunk waits.
 */
export class Session {
  readonly peer: PeerIdentity;
  /** Heard since leases were last kept. */
  isHeard = false;
  readonly #call: AgentStream;
  readonly #holder: SessionHolder;
  #state: SessionState;
  #heardAt = performance.now();
  #beatAt = performance.now();
  #beats = 0n;
  #writing = false;

  #welcome: ConnectResponse | undefined;
  #goodbye: ConnectResponse | undefined;
  /** What the agent was told to trust last; undefined for one of the version before, which is told nothing. */
  #toldTrust: string | undefined;
  #beat = false;
  #watermark: { seq: bigint; resend: boolean } | undefined;
  #toldWatermark = 0n;
  readonly #commands: PendingCommand[] = [];
  /** By id, those that were sent, or wait to be, and have no answer. */
  readonly #commandsOpen = new Map<string, PendingCommand["kind"]>();
  readonly #targets = new Map<string, ReleasedTarget>();
  readonly #holds = new Map<string, SentTarget>();
  /** What this cluster may ask for, per fleet: the digests of its own targets. */
  readonly #digests = new Map<string, ReadonlySet<string>>();
  readonly #sending = new Map<string, Sending>();
  /** Per fleet, bodies that the agent is known to hold; only where it takes others unasked. */
  readonly #kept = new Map<string, ReadonlySet<string>>();
  readonly #ahead = new Map<string, Ahead>();
  #takesUnasked = false;
  readonly #wanted = new Set<string>();
  readonly #refusedBodies: { digest: string; reason: string }[] = [];
  #body: { digest: string; body: EncodedBody; next: number } | undefined;
  #loading = false;

  constructor(call: AgentStream, peer: PeerIdentity, holder: SessionHolder) {
    this.peer = peer;
    this.#call = call;
    this.#holder = holder;
    this.#state = { name: "greeting", until: performance.now() + helloDeadlineMs };
    call.on("data", (message: ConnectRequest) => this.#onMessage(message));
    call.on("end", () => this.#ended("the agent closed the stream", true));
    call.on("cancelled", () => this.#ended("the connection was lost", false));
    call.on("error", (error: Error) => this.#ended(error.message, false));
    call.on("close", () => this.#ended("the connection was lost", false));
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Undefined until the session was written down, and after its end. */
  get key(): SessionKey | undefined {
    const state = this.#state;
    return state.name === "open" || state.name === "leaving" ? { cluster: this.peer.cluster, session: state.session, serial: this.peer.serial } : undefined;
  }

  /** Hello was written down: greet back. */
  open(hello: Hello, session: bigint, watermark: bigint, leaveInMs: number): void {
    if (this.#state.name !== "greeting") return;
    this.#state = { name: "open", session, epoch: hello.epoch, leaveAt: performance.now() + leaveInMs };
    for (const { fleet, generation, digest, releasedAt } of hello.targets)
      this.#holds.set(fleet, { generation, digest, releasedAt: releasedAt && timestampDate(releasedAt) });
    const { hubId, hubVersion, heartbeatIntervalMs, heartbeatDeadlineMs } = this.#holder;
    this.#toldWatermark = watermark;
    this.#takesUnasked = hello.takesBodiesUnasked;
    if (hello.caHashes.length > 0) this.#toldTrust = this.#holder.trustedCas;
    this.#welcome = create(ConnectResponseSchema, {
      message: {
        case: "welcome",
        value: {
          hubVersion,
          hubId,
          heartbeatInterval: durationOf(heartbeatIntervalMs),
          heartbeatDeadline: durationOf(heartbeatDeadlineMs),
          watermark: { epoch: hello.epoch, seq: watermark },
          now: timestampFromMs(Date.now()),
          reconnectWithin: durationOf(this.#holder.reconnectWithinMs),
          takesChangedBundles: true,
          ...(this.#toldTrust !== undefined && { trust: this.#trustBundle(this.#toldTrust) }),
        },
      },
    });
    this.#pump();
  }

  /** Targets of this cluster, in any order, known ones among them. Those that the agent does not hold are sent. */
  offerTargets(targets: readonly ReleasedTarget[]): void {
    if (this.#state.name !== "open") return;
    for (const target of targets) {
      const newest = this.#targets.get(target.fleet)?.generation ?? this.#sending.get(target.fleet)?.target.generation ?? 0n;
      if (target.generation < newest) continue;
      this.#digests.set(target.fleet, digestsOf(target.bundles));
      const held = this.#holds.get(target.fleet);
      const verdict = held ? compareHeld(held, target) : "older";
      if (verdict === "same") this.#noteKept(target);
      if (verdict === "same") continue;
      // The agent would refuse it: a generation goes up, and stands for one content.
      if (held !== undefined && verdict === "ahead") {
        this.#holder.holdsNewer({ cluster: this.peer.cluster, fleet: target.fleet, ...held });
        continue;
      }
      this.#targets.set(target.fleet, target);
    }
    this.#pump();
  }

  /** The hub's CAs changed. */
  offerTrust(): void {
    this.#pump();
  }

  #trustBundle(ca: string) {
    return { ca, renewWithin: durationOf(this.#holder.reconnectWithinMs) };
  }

  /** What the rows say now. */
  offerState(link: LinkState): void {
    const state = this.#state;
    if ((state.name !== "open" && state.name !== "leaving") || link.session !== state.session) return;
    if (link.isRevoked) return this.end(status.UNAUTHENTICATED, "the cluster was removed or its certificate revoked");
    if (link.isSuperseded) return this.end(status.ABORTED, "a newer stream of this cluster took over");
    if (state.name === "leaving" || link.epoch !== state.epoch) return;
    if (link.wantsSnapshot) this.#holder.wantsSnapshot(this.peer.cluster);
    if (link.wantsResend) this.#holder.wantsResend(this.peer.cluster);
    if (link.watermark === this.#toldWatermark && !link.wantsResend) return;
    this.#toldWatermark = link.watermark;
    this.#watermark = { seq: link.watermark, resend: link.wantsResend || (this.#watermark?.resend ?? false) };
    this.#pump();
  }

  /** Commands that wait for this cluster; those sent before are not sent again over this stream. */
  offerCommands(commands: readonly PendingCommand[]): void {
    if (this.#state.name !== "open") return;
    for (const command of commands) {
      if (this.#commandsOpen.has(command.id) || this.#inFlight(command.kind) >= commandsInFlightMax) continue;
      this.#commandsOpen.set(command.id, command.kind);
      this.#commands.push(command);
    }
    this.#pump();
  }

  #inFlight(kind: PendingCommand["kind"]): number {
    return [...this.#commandsOpen.values()].filter((open) => open === kind).length;
  }

  /** Once per sessionTickMs: deadlines and heartbeats. */
  tick(now: number): void {
    const state = this.#state;
    if (state.name === "ended") return;
    if (state.name === "greeting" && now > state.until) return this.end(status.DEADLINE_EXCEEDED, "no Hello came");
    if (state.name === "leaving" && now > state.until) return this.end(status.UNAVAILABLE, "the hub is going away");
    if (now - this.#heardAt > this.#holder.heartbeatDeadlineMs) return this.end(status.DEADLINE_EXCEEDED, "no heartbeat came");
    if (Date.now() > this.peer.notAfter.getTime()) return this.end(status.UNAUTHENTICATED, "the client certificate has expired");
    if (state.name === "greeting" || now - this.#beatAt < this.#holder.heartbeatIntervalMs) return;
    this.#beatAt = now;
    this.#beat = true;
    this.#pump();
  }

  /** Whether it stayed as long as a stream should. */
  isOld(now: number): boolean {
    return this.#state.name === "open" && now > this.#state.leaveAt;
  }

  /** Asks the agent to leave and to come back, to whichever replica, within `reconnectWithinMs`. */
  sayGoodbye(reason: string, reconnectWithinMs: number): void {
    const state = this.#state;
    if (state.name === "greeting") return this.end(status.UNAVAILABLE, reason);
    if (state.name !== "open") return;
    this.#state = { name: "leaving", session: state.session, epoch: state.epoch, until: performance.now() + drainMs };
    this.#targets.clear();
    this.#goodbye = create(ConnectResponseSchema, { message: { case: "goodbye", value: { reason, reconnectWithin: durationOf(reconnectWithinMs) } } });
    this.#pump();
  }

  /** Ends the stream with a status that the agent sees. */
  end(code: status, details: string): void {
    if (this.#state.name === "ended") return;
    this.#ended(details, false);
    this.#call.emit("error", { code, details });
  }

  #ended(reason: string, answers: boolean): void {
    if (this.#state.name === "ended") return;
    this.#holder.ended(this);
    this.#state = { name: "ended", reason };
    for (const { span } of this.#sending.values()) span.end();
    this.#sending.clear();
    this.#targets.clear();
    this.#ahead.clear();
    this.#wanted.clear();
    this.#body = undefined;
    if (answers) this.#call.end();
  }

  #onMessage({ message }: ConnectRequest): void {
    if (this.#state.name === "ended") return;
    this.#heardAt = performance.now();
    this.isHeard = true;
    if (message.case === "hello") {
      if (this.#state.name !== "greeting" || this.#isGreeted) return this.end(status.INVALID_ARGUMENT, "Hello came twice");
      this.#isGreeted = true;
      return this.#holder.greet(this, message.value);
    }
    if (this.#state.name === "greeting") return this.end(status.FAILED_PRECONDITION, "the first message must be Hello, and the next waits for Welcome");
    if (message.case === "bodyRequest") return this.#onBodyRequest(message.value);
    if (message.case === "targetReceipt") return this.#onReceipt(message.value);
    if (message.case === "trustReceipt") return this.#onTrustReceipt(message.value);
    if (message.case !== "commandAck") return;
    const { id, ...answer } = message.value;
    if (this.#commandsOpen.delete(id)) this.#holder.commandAnswered(id, this.peer.cluster, answerOf(answer));
  }
  #isGreeted = false;

  #onBodyRequest({ digests }: BodyRequest): void {
    if (digests.length > maxBodiesPerRequest || this.#wanted.size + digests.length > wantedMax) {
      return this.end(status.RESOURCE_EXHAUSTED, `at most ${maxBodiesPerRequest} bodies may be asked for at once`);
    }
    for (const digest of digests) {
      if (this.#mayHave(digest)) this.#wanted.add(digest);
      else this.#refusedBodies.push({ digest: digest.slice(0, 64), reason: "it is not part of a target of this cluster" });
    }
    this.#pump();
  }

  #onTrustReceipt({ caHashes }: TrustReceipt): void {
    const fault = faultOfHashes(caHashes);
    if (fault !== undefined) return this.end(status.INVALID_ARGUMENT, fault);
    const { key } = this;
    if (key !== undefined) this.#holder.trustKept({ cluster: key.cluster, session: key.session, caHashes });
  }

  #mayHave(digest: string): boolean {
    for (const digests of this.#digests.values()) if (digests.has(digest)) return true;
    return false;
  }

  #onReceipt({ fleet, generation, digest, refusal }: TargetReceipt): void {
    const sending = this.#sending.get(fleet);
    if (sending?.target.generation !== generation || sending.target.digest !== digest) return;
    this.#sending.delete(fleet);
    const { span, startedAt, target } = sending;
    const error = refusal.slice(0, 500);
    if (error !== "") {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      this.#holder.log.warn({ cluster: this.peer.cluster, fleet, generation: String(generation), refusal: error }, "the agent refused a target");
    }
    span.end();
    if (error === "") this.#noteKept(target);
    this.#holder.sent({
      fleet,
      revision: target.revision,
      cluster: this.peer.cluster,
      startedAt,
      endedAt: new Date(),
      error,
      spanId: span.spanContext().spanId,
    });
  }

  /** One message at a time: the next one is chosen when the stream took the one before. */
  #pump(): void {
    if (this.#writing || this.#state.name === "ended") return;
    const message = this.#next();
    if (message === undefined) return;
    this.#writing = true;
    this.#call.write(message, () => {
      this.#writing = false;
      this.#pump();
    });
  }

  #next(): ConnectResponse | Encoded | undefined {
    if (this.#welcome !== undefined) {
      const welcome = this.#welcome;
      this.#welcome = undefined;
      return welcome;
    }
    if (this.#goodbye !== undefined) {
      const goodbye = this.#goodbye;
      this.#goodbye = undefined;
      return goodbye;
    }
    if (this.#state.name !== "open") return undefined;
    return this.#nextSmall() ?? this.#nextTarget() ?? this.#nextChunk();
  }

  #nextSmall(): ConnectResponse | undefined {
    if (this.#beat) {
      this.#beat = false;
      return create(ConnectResponseSchema, { message: { case: "heartbeat", value: { count: ++this.#beats } } });
    }
    if (this.#toldTrust !== undefined && this.#toldTrust !== this.#holder.trustedCas) {
      this.#toldTrust = this.#holder.trustedCas;
      return create(ConnectResponseSchema, { message: { case: "trustBundle", value: this.#trustBundle(this.#toldTrust) } });
    }
    if (this.#watermark !== undefined && this.#state.name === "open") {
      const { seq, resend } = this.#watermark;
      this.#watermark = undefined;
      return create(ConnectResponseSchema, { message: { case: "watermark", value: { epoch: this.#state.epoch, seq, resend } } });
    }
    const command = this.#commands.shift();
    if (command !== undefined) {
      this.#holder.commandSent(command.id);
      return create(ConnectResponseSchema, { message: { case: "command", value: wireCommand(command) } });
    }
    const refused = this.#refusedBodies.shift();
    return refused && create(ConnectResponseSchema, { message: { case: "bodyUnavailable", value: refused } });
  }

  #nextTarget(): Encoded | undefined {
    for (const [fleet, target] of this.#targets) {
      const ahead = this.#aheadOf(target);
      if (ahead !== undefined && ahead.chunks === undefined) continue;
      const chunk = ahead?.chunks?.shift();
      if (chunk !== undefined) return chunk;
      this.#ahead.delete(fleet);
      this.#targets.delete(fleet);
      this.#holds.set(fleet, { generation: target.generation, digest: target.digest, releasedAt: target.releasedAt });
      this.#sending.get(fleet)?.span.end();
      const attributes = { "flotilla.fleet": fleet, "flotilla.cluster": this.peer.cluster, "flotilla.revision": target.revision };
      const span = this.#holder.tracer.startSpan("send", { attributes }, contextOf(target.traceparent));
      const message = encodeOnce(ConnectResponseSchema, { message: { case: "target", value: wireTarget(target, traceparentOf(span)) } });
      if (message.bytes.byteLength > maxGrpcMessageBytes) {
        span.end();
        this.#holder.log.error(
          { cluster: this.peer.cluster, fleet, generation: String(target.generation) },
          "a target is larger than a message may be; the cluster keeps the one before",
        );
        continue;
      }
      this.#sending.set(fleet, { target, span, startedAt: new Date() });
      return message;
    }
    return undefined;
  }

  #noteKept({ fleet, bundles }: ReleasedTarget): void {
    if (this.#takesUnasked) this.#kept.set(fleet, digestsOf(bundles));
  }

  /** What the agent lacks goes before the target where that is known and little: it need not ask. Undefined when nothing does. */
  #aheadOf(target: ReleasedTarget): Ahead | undefined {
    const known = this.#ahead.get(target.fleet);
    if (known?.target === target) return known;
    const digests = this.#lackingOf(target);
    // Bodies are not interleaved.
    if (digests.length === 0 || this.#body !== undefined) return undefined;
    const ahead: Ahead = { target, chunks: undefined };
    this.#ahead.set(target.fleet, ahead);
    void this.#readAhead(ahead, digests);
    return ahead;
  }

  /** None where it is not known what the agent holds, or it lacks much: then it asks. */
  #lackingOf({ fleet, bundles }: ReleasedTarget): readonly string[] {
    if (!this.#kept.has(fleet)) return [];
    const kept = [...this.#kept.values()];
    const lacking = bundles.filter(({ digest }) => !kept.some((held) => held.has(digest)));
    if (lacking.length > maxUnaskedBodies || lacking.some(({ bodyBytes }) => bodyBytes > maxUnaskedBodyBytes)) return [];
    return [...new Set(lacking.map(({ digest }) => digest))];
  }

  async #readAhead(ahead: Ahead, digests: readonly string[]): Promise<void> {
    const chunks: Encoded[] = [];
    try {
      for (const digest of digests) {
        const body = await this.#holder.loadBody(digest);
        if (body !== undefined && body.bytes <= maxUnaskedBodyBytes) chunks.push(...body.chunks);
      }
    } catch (error) {
      // The target goes without it; the agent asks, and hears why.
      this.#holder.log.warn({ cluster: this.peer.cluster, error: (error as Error).message }, "a body could not be read before it is asked for");
    }
    // A body that the agent asked for meanwhile is not interrupted.
    ahead.chunks = this.#body === undefined ? chunks : [];
    this.#pump();
  }

  #nextChunk(): Encoded | undefined {
    if (this.#body === undefined) {
      void this.#loadNext();
      return undefined;
    }
    const { body, next } = this.#body;
    const chunk = body.chunks[next];
    if (next + 1 >= body.chunks.length) this.#body = undefined;
    else this.#body.next += 1;
    return chunk;
  }

  async #loadNext(): Promise<void> {
    const [digest] = this.#wanted;
    if (digest === undefined || this.#loading) return;
    this.#loading = true;
    try {
      const body = await this.#holder.loadBody(digest);
      this.#wanted.delete(digest);
      if (body !== undefined) this.#body = { digest, body, next: 0 };
      else this.#refusedBodies.push({ digest, reason: "the hub does not have it any more" });
    } catch (error) {
      // The store is away: the agent asks again over its next stream, which is where the store is reachable.
      this.end(status.UNAVAILABLE, "the hub cannot read bodies just now");
      this.#holder.log.warn({ cluster: this.peer.cluster, digest, error: (error as Error).message }, "a body could not be read");
    } finally {
      this.#loading = false;
    }
    this.#pump();
  }
}

/** Why the hashes of an agent's CAs are refused, or undefined. */
export function faultOfHashes(caHashes: readonly string[]): string | undefined {
  if (caHashes.length > maxTrustedCas || caHashes.some((hash) => !/^[0-9a-f]{64}$/.test(hash)))
    return `an agent trusts at most ${maxTrustedCas} CAs, each told by 64 hex digits`;
  return undefined;
}
