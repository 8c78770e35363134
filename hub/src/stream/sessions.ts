import { timestampMs } from "@bufbuild/protobuf/wkt";
import { protocolVersion, clockWorthTellingMs, clusterLeaseMs, heartbeatDeadlineMs, heartbeatIntervalMs, maxFactsPerCluster } from "@flotilla/proto/limits";
import type { Hello } from "@flotilla/proto/gen/link";
import { status } from "@grpc/grpc-js";
import type { Tracer } from "@opentelemetry/api";
import type {
  CommandAnswer,
  HeldTargetRow,
  KeptTrust,
  LinkState,
  PendingCommand,
  ReleasedTarget,
  SendPhase,
  SessionKey,
  SessionOpening,
  WaitingClusters,
} from "../domain/link-rows.ts";
import {
  batchRowsMax,
  bodyCacheBytesMax,
  bodyLoadsAtOnce,
  countAgentsMs,
  countedAgentsMs,
  drainMs,
  heldTargetsMax,
  hintFoldMs,
  hintPollMs,
  leaseFlushMs,
  pollRoundMs,
  pollStreamsMin,
  recentTargetsMs,
  reconnectPerSessionMs,
  reconnectWithinMaxMs,
  sendPhasesFoldMs,
  sendPhasesMax,
  sessionAgeJitter,
  sessionAgeMs,
  sessionMoveWithinMs,
  sessionsMax,
  sessionTickMs,
} from "../limits.ts";
import type { Authorities } from "./authorities.ts";
import { BodyCache } from "./body-cache.ts";
import { FoldedWork } from "./folded-work.ts";
import { PollRound } from "./poll-round.ts";
import type { PeerIdentity } from "./peer-identity.ts";
import { type AgentStream, faultOfHashes, Session, type SessionHolder } from "./session.ts";
import type { StreamLog } from "./stream-log.ts";

/** The rows that sessions need; hub/src/store/link-store.ts has them. */
export interface SessionStore {
  openSession(opening: SessionOpening, leaseMs: number): Promise<{ readonly session: bigint; readonly watermark: bigint } | undefined>;
  countAgents(withinMs: number): Promise<number>;
  closeSessions(keys: readonly SessionKey[]): Promise<void>;
  keepLeases(keys: readonly SessionKey[], leaseMs: number): Promise<void>;
  readLinkStates(keys: readonly SessionKey[]): Promise<LinkState[]>;
  readWaiting(withinMs: number): Promise<WaitingClusters>;
  readTargets(clusters: readonly string[], releasedWithinMs?: number): Promise<ReleasedTarget[]>;
  noteHeldTargets(held: readonly HeldTargetRow[]): Promise<void>;
  readBody(digest: string): Promise<Uint8Array | undefined>;
  readCommands(clusters: readonly string[]): Promise<PendingCommand[]>;
  saveTrust(kept: readonly KeptTrust[]): Promise<void>;
  markCommandSent(id: string): Promise<void>;
  ackCommand(id: string, cluster: string, answer: CommandAnswer): Promise<void>;
  askSnapshots(clusters: readonly string[]): Promise<void>;
  clearResends(clusters: readonly string[]): Promise<void>;
  saveSendPhases(phases: readonly SendPhase[]): Promise<void>;
  tellChanged(clusters: readonly string[]): Promise<void>;
}

/** What another replica said; a hint, nothing more (Hint of hub/src/store/listen.ts fits). */
export interface LinkHint {
  readonly channel: string;
  readonly resync: boolean;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Channels that sessions want to hear. */
export const linkChannels = ["flotilla_targets", "flotilla_watermarks", "flotilla_commands", "flotilla_revoked", "flotilla_authorities"] as const;

export interface SessionsOptions {
  readonly hubId: string;
  readonly hubVersion: string;
  readonly store: SessionStore;
  /** What agents are told to trust. */
  readonly authorities: Pick<Authorities, "bundlePem" | "onChange">;
  readonly tracer: Tracer;
  readonly log: StreamLog;
  /** Told of streams that were refused for claiming to be another cluster. */
  onRefused(cluster: string, message: string): void;
  /** For tests; proto's numbers when left out. */
  readonly heartbeatIntervalMs?: number;
  readonly heartbeatDeadlineMs?: number;
  readonly sessionAgeMs?: number;
}

/**
 * Every agent's stream of this replica. Rows are read and written for many sessions at a time; hints say when, and every
 * hintPollMs what waits and a part of the rest is looked at anyway.
 */
export class Sessions implements SessionHolder {
  readonly hubId: string;
  readonly hubVersion: string;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatDeadlineMs: number;
  readonly log: StreamLog;
  readonly tracer: Tracer;
  readonly #options: SessionsOptions;
  readonly #store: SessionStore;
  readonly #bodies: BodyCache;
  readonly #all = new Set<Session>();
  readonly #open = new Map<string, Session>();
  readonly #states: FoldedWork<string>;
  readonly #targets: FoldedWork<string>;
  readonly #commands: FoldedWork<string>;
  readonly #snapshots: FoldedWork<string>;
  readonly #resends: FoldedWork<string>;
  readonly #held: FoldedWork<HeldTargetRow>;
  readonly #changes: FoldedWork<string>;
  readonly #closed: FoldedWork<SessionKey>;
  readonly #phases: FoldedWork<SendPhase>;
  readonly #acts: FoldedWork<() => Promise<void>>;
  readonly #trust: FoldedWork<KeptTrust>;
  readonly #forgetAuthorities: () => void;
  readonly #round = new PollRound({ keys: () => this.#open.keys(), partMin: pollStreamsMin, partsPerRound: pollRoundMs / hintPollMs });
  readonly #timers: NodeJS.Timeout[];
  #isDraining = false;
  #polling = false;
  #flushing = false;
  #acted = 0;
  #agents = 0;

  constructor(options: SessionsOptions) {
    const { store, log } = options;
    this.#options = options;
    this.#store = store;
    this.hubId = options.hubId;
    this.hubVersion = options.hubVersion;
    this.log = log;
    this.tracer = options.tracer;
    this.heartbeatIntervalMs = options.heartbeatIntervalMs ?? heartbeatIntervalMs;
    this.heartbeatDeadlineMs = options.heartbeatDeadlineMs ?? heartbeatDeadlineMs;
    this.#bodies = new BodyCache((digest) => store.readBody(digest), bodyCacheBytesMax, bodyLoadsAtOnce);
    const folded = <T>(name: string, work: (items: T[]) => Promise<void>, more: { foldMs?: number; itemsMax?: number } = {}) =>
      new FoldedWork<T>({ name, work, log, foldMs: hintFoldMs, batchMax: batchRowsMax, retryMs: hintPollMs, ...more });
    this.#states = folded("link states", (clusters) => this.#readStates(clusters));
    this.#targets = folded("targets", (clusters) => this.#readTargets(clusters));
    this.#commands = folded("commands", (clusters) => this.#readCommands(clusters));
    this.#snapshots = folded("snapshots", (clusters) => store.askSnapshots(clusters));
    this.#resends = folded("resends", (clusters) => store.clearResends(clusters));
    this.#held = folded("held targets", (held) => store.noteHeldTargets(held), { itemsMax: heldTargetsMax });
    this.#changes = folded("changes", (clusters) => store.tellChanged(clusters), { foldMs: sendPhasesFoldMs });
    this.#closed = folded("ended sessions", (keys) => store.closeSessions(keys));
    this.#phases = folded("send phases", (phases) => store.saveSendPhases(phases), { foldMs: sendPhasesFoldMs, itemsMax: sendPhasesMax });
    this.#acts = folded("commands' rows", async (acts) => void (await Promise.all(acts.map((act) => act()))), { itemsMax: sendPhasesMax });
    this.#trust = folded("trust", (kept) => store.saveTrust(kept));
    this.#forgetAuthorities = options.authorities.onChange(() => {
      for (const session of this.#open.values()) session.offerTrust();
    });
    this.#timers = [
      setInterval(() => this.#tick(), sessionTickMs),
      setInterval(() => void this.#keepLeases(), leaseFlushMs),
      setInterval(() => this.#poll(), hintPollMs),
      setInterval(() => void this.#countAgents(), countAgentsMs),
    ];
    void this.#countAgents();
  }

  /** Streams that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** What agents are told to spread over; those of other replicas count, since they may come here. */
  get reconnectWithinMs(): number {
    return Math.min(reconnectWithinMaxMs, Math.max(this.#agents, this.#all.size) * reconnectPerSessionMs);
  }

  get trustedCas(): string {
    return this.#options.authorities.bundlePem;
  }

  /** A stream from this peer; undefined for a reason that the agent should hear. */
  accept(call: AgentStream, peer: PeerIdentity): string | undefined {
    if (this.#isDraining) return "this hub is going away";
    if (this.#all.size >= sessionsMax) return `this hub serves ${sessionsMax} agents already`;
    this.#all.add(new Session(call, peer, this));
    return undefined;
  }

  /** Looks at the rows now. */
  onHint({ channel, resync, payload }: LinkHint): void {
    const work = channel === "flotilla_targets" ? this.#targets : channel === "flotilla_commands" ? this.#commands : this.#states;
    const named = Array.isArray(payload.clusters) ? payload.clusters : [];
    for (const cluster of resync ? this.#open.keys() : named) {
      if (typeof cluster === "string" && this.#open.has(cluster)) work.add(cluster, cluster);
    }
  }

  greet(session: Session, hello: Hello): void {
    const { cluster } = session.peer;
    const fault = faultOf(hello, cluster);
    if (fault !== undefined) {
      this.log.warn({ cluster, fault: fault.details }, "a stream was refused");
      if (fault.code === status.PERMISSION_DENIED) this.#options.onRefused(cluster, fault.details);
      return session.end(fault.code, fault.details);
    }
    const opening = {
      cluster,
      serial: session.peer.serial,
      hubId: this.hubId,
      epoch: hello.epoch,
      agentVersion: hello.agentVersion,
      kubernetesVersion: hello.kubernetesVersion,
      facts: { ...hello.facts, ...clockFact(hello) },
      caHashes: hello.caHashes,
    };
    this.#store.openSession(opening, clusterLeaseMs).then(
      (row) => this.#opened(session, hello, row),
      (error: unknown) => {
        this.log.warn({ cluster, error: (error as Error).message }, "a session could not be written down");
        session.end(status.UNAVAILABLE, "the hub's store is not reachable; try again");
      },
    );
  }

  ended(session: Session): void {
    this.#all.delete(session);
    const { key } = session;
    if (key === undefined) return;
    if (this.#open.get(key.cluster) === session) this.#open.delete(key.cluster);
    this.#closed.add(`${key.cluster}/${key.session}`, key);
  }

  loadBody(digest: string) {
    return this.#bodies.load(digest);
  }

  sent(phase: SendPhase): void {
    this.#phases.add(`${phase.fleet}/${phase.cluster}/${phase.revision}`, phase);
  }

  commandSent(id: string): void {
    this.#acts.add(`${++this.#acted}`, () => this.#store.markCommandSent(id));
  }

  commandAnswered(id: string, cluster: string, answer: CommandAnswer): void {
    this.#acts.add(`${++this.#acted}`, () => this.#store.ackCommand(id, cluster, answer));
  }

  wantsSnapshot(cluster: string): void {
    this.#snapshots.add(cluster, cluster);
  }

  wantsResend(cluster: string): void {
    this.#resends.add(cluster, cluster);
  }

  trustKept(kept: KeptTrust): void {
    this.#trust.add(kept.cluster, kept);
  }

  holdsNewer(held: HeldTargetRow): void {
    this.#held.add(`${held.cluster}/${held.fleet}`, held);
  }

  /** Asks every agent to go elsewhere, and waits until they did. New streams are refused from now on. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const withinMs = Math.max(1_000, this.reconnectWithinMs);
    for (const session of [...this.#all]) session.sayGoodbye("the hub is going away", withinMs);
    const deadline = performance.now() + drainMs;
    while (this.#all.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#forgetAuthorities();
    for (const session of [...this.#all]) session.end(status.UNAVAILABLE, "the hub is going away");
    const works = [this.#states, this.#targets, this.#commands, this.#snapshots, this.#resends, this.#held, this.#changes, this.#closed];
    await Promise.all([...works, this.#phases, this.#acts, this.#trust].map((work) => work.close()));
  }

  #opened(session: Session, hello: Hello, row: { session: bigint; watermark: bigint } | undefined): void {
    const { cluster, serial } = session.peer;
    if (row === undefined) return session.end(status.UNAUTHENTICATED, "the cluster was removed or its certificate revoked");
    // It ended while it was written down.
    if (session.state.name === "ended") return this.#closed.add(`${cluster}/${row.session}`, { cluster, session: row.session, serial });
    const before = this.#open.get(cluster);
    if (before?.key !== undefined && before.key.session > row.session) return session.end(status.ABORTED, "a newer stream of this cluster took over");
    before?.end(status.ABORTED, "a newer stream of this cluster took over");
    this.#open.set(cluster, session);
    session.open(hello, row.session, row.watermark, (this.#options.sessionAgeMs ?? sessionAgeMs) * (1 + (Math.random() * 2 - 1) * sessionAgeJitter));
    if (this.#isDraining) return session.sayGoodbye("the hub is going away", sessionMoveWithinMs);
    this.log.info({ cluster, session: String(row.session), agentVersion: hello.agentVersion }, "agent connected");
    for (const { fleet, generation, digest } of hello.targets) this.holdsNewer({ cluster, fleet, generation, digest });
    for (const work of [this.#targets, this.#commands, this.#states, this.#changes]) work.add(cluster, cluster);
  }

  #keysOf(clusters: Iterable<string>): SessionKey[] {
    return [...clusters].flatMap((cluster) => this.#open.get(cluster)?.key ?? []);
  }

  async #readStates(clusters: readonly string[]): Promise<void> {
    const keys = this.#keysOf(clusters);
    if (keys.length === 0) return;
    for (const state of await this.#store.readLinkStates(keys)) this.#open.get(state.cluster)?.offerState(state);
  }

  async #readTargets(clusters: readonly string[], releasedWithinMs?: number): Promise<void> {
    const open = clusters.filter((cluster) => this.#open.has(cluster));
    if (open.length === 0) return;
    const targets = await this.#store.readTargets(open, releasedWithinMs);
    for (const [cluster, own] of Map.groupBy(targets, (target) => target.cluster)) this.#open.get(cluster)?.offerTargets(own);
  }

  async #readCommands(clusters: readonly string[]): Promise<void> {
    const open = clusters.filter((cluster) => this.#open.has(cluster));
    if (open.length === 0) return;
    const commands = await this.#store.readCommands(open);
    for (const [cluster, own] of Map.groupBy(commands, (command) => command.cluster)) this.#open.get(cluster)?.offerCommands(own);
  }

  async #countAgents(): Promise<void> {
    try {
      this.#agents = await this.#store.countAgents(countedAgentsMs);
    } catch (error) {
      this.log.warn({ error: (error as Error).message }, "agents could not be counted; the last count goes on");
    }
  }

  #tick(): void {
    const now = performance.now();
    for (const session of [...this.#all]) {
      session.tick(now);
      if (session.isOld(now)) session.sayGoodbye("streams move now and then", sessionMoveWithinMs);
    }
  }

  /**
   * What no hint said: each time whoever something waits for, and a part of all, so that each stream is looked at once in pollRoundMs. A hint is lost with its connection,
   * and then everything is looked at: this is for what nobody thought of.
   */
  #poll(): void {
    if (this.#polling) return;
    this.#polling = true;
    void this.#pollOnce()
      .catch((error: unknown) => this.log.warn({ error: (error as Error).message }, "rows could not be looked at; trying again"))
      .finally(() => (this.#polling = false));
  }

  async #pollOnce(): Promise<void> {
    const waiting = await this.#store.readWaiting(recentTargetsMs);
    for (const cluster of waiting.states) if (this.#open.has(cluster)) this.#states.add(cluster, cluster);
    for (const cluster of waiting.commands) if (this.#open.has(cluster)) this.#commands.add(cluster, cluster);
    const part = this.#round.next().filter((cluster) => this.#open.has(cluster));
    for (const cluster of part) this.#states.add(cluster, cluster);
    for (let start = 0; start < part.length; start += batchRowsMax) await this.#readTargets(part.slice(start, start + batchRowsMax), recentTargetsMs);
  }

  async #keepLeases(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      const heard = [...this.#open.values()].filter((session) => session.isHeard);
      for (let start = 0; start < heard.length; start += batchRowsMax) {
        const batch = heard.slice(start, start + batchRowsMax);
        for (const session of batch) session.isHeard = false;
        await this.#store
          .keepLeases(
            batch.flatMap((session) => session.key ?? []),
            clusterLeaseMs,
          )
          .catch((error: unknown) => {
            for (const session of batch) session.isHeard = true;
            throw error;
          });
      }
    } catch (error) {
      this.log.warn({ error: (error as Error).message }, "leases could not be kept; trying again");
    } finally {
      this.#flushing = false;
    }
  }
}

/** What people should know of an agent whose clock is another than the hub's. */
function clockFact({ now }: Hello): Record<string, string> {
  const aheadMs = now === undefined ? 0 : timestampMs(now) - Date.now();
  if (Math.abs(aheadMs) < clockWorthTellingMs) return {};
  return { clock: `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? "ahead of" : "behind"} the hub's` };
}

/** Why a Hello is refused, or undefined. */
function faultOf(hello: Hello, cluster: string): { code: status; details: string } | undefined {
  if (hello.cluster !== cluster)
    return { code: status.PERMISSION_DENIED, details: `the certificate is cluster '${cluster}'s, not '${hello.cluster.slice(0, 63)}'s` };
  if (hello.protocolVersion > protocolVersion || hello.protocolVersion < Math.max(1, protocolVersion - 1)) {
    return {
      code: status.FAILED_PRECONDITION,
      details: `the agent speaks protocol ${hello.protocolVersion}; this hub serves ${protocolVersion} and the one before`,
    };
  }
  if (!/^[0-9a-f]{32}$/.test(hello.epoch)) return { code: status.INVALID_ARGUMENT, details: "the epoch is not 128 bits in hex" };
  const facts = Object.entries(hello.facts);
  const isTooMuch = facts.length > maxFactsPerCluster || facts.some(([name, value]) => name.length > 316 || value.length > 1_000);
  if (isTooMuch) return { code: status.INVALID_ARGUMENT, details: `at most ${maxFactsPerCluster} facts of 1,000 characters are taken` };
  const hashFault = faultOfHashes(hello.caHashes);
  if (hashFault !== undefined) return { code: status.INVALID_ARGUMENT, details: hashFault };
  const versions = [hello.agentVersion, hello.kubernetesVersion];
  if (versions.some((version) => version.length > 128)) return { code: status.INVALID_ARGUMENT, details: "a version is longer than 128 characters" };
  return undefined;
}
