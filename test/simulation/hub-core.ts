import type { ClusterClaims } from "@flotilla/hub/domain/claims";
import type { BundleSpec, FleetSpec } from "@flotilla/hub/domain/fleet-spec";
import { compareHeld } from "@flotilla/hub/domain/compare-held";
import type { HeldTargetRow } from "@flotilla/hub/domain/link-rows";
import type { ReceivedReport } from "@flotilla/hub/domain/fold-report";
import { nextWave, waveOf } from "@flotilla/hub/domain/next-wave";
import { placeBundles, type PlacedBody } from "@flotilla/hub/domain/place-bundles";
import { planRemovals } from "@flotilla/hub/domain/plan-removals";
import type { RolloutSpec } from "@flotilla/hub/domain/fleet-spec";
import type { Rollout, RolloutCluster, Step } from "@flotilla/hub/domain/rollout";
import { decodeReport } from "@flotilla/hub/intake/decode-report";
import { resendAskMs } from "@flotilla/hub/limits";
import { wireTarget } from "@flotilla/hub/stream/wire-target";
import type { PlacedTarget } from "@flotilla/hub/domain/target";
import { targetDigest } from "@flotilla/proto/digest";
import { clusterLeaseMs } from "@flotilla/proto/limits";
import type { Broker } from "./broker.ts";
import type { GitHistory } from "./git-history.ts";
import type { History, PlantedBug } from "./history.ts";
import { Fenced, type ClusterRow, type FleetRow, type HubDatabase, type RolloutRow, type TargetRow } from "./hub-database.ts";
import type { Link } from "./links.ts";
import { Program, Signal, type Steps, type VirtualTime } from "./virtual-time.ts";

/** What a hub is put into. */
export interface HubSurroundings {
  readonly time: VirtualTime;
  readonly history: History;
  readonly broker: Broker;
  readonly repositories: ReadonlyMap<string, GitHistory>;
  readonly bug: PlantedBug | undefined;
  /** Rollout plan by fleet. */
  readonly plans: ReadonlyMap<string, RolloutSpec>;
  readonly removal: { readonly policy: "orphan" | "delete"; readonly graceMs: number };
}

/** What an agent says when its stream opens. */
export interface HelloWords {
  readonly cluster: string;
  readonly epoch: string;
  readonly held: readonly (HeldTarget & { readonly fleet: string })[];
}

type HeldTarget = Pick<HeldTargetRow, "generation" | "digest" | "releasedAt">;

interface SessionHere {
  readonly link: Link;
  readonly number: number;
  readonly epoch: string;
  toldWatermark: bigint;
  /** Fleet → what the agent has, or was sent. */
  readonly holds: Map<string, HeldTarget>;
  askedSnapshot: boolean;
}

/** Names of the fleets' bundles. Each is deployed everywhere; what it says may differ by environment. */
const policy = { drift: "heal", ignore: [], healthTimeoutMs: 300_000, pruneBudget: { objects: 5, percent: 10 } } as const;

/**
 * One hub process over the database. Placement, waves, removals, decoding and folding are the product's; transactions are the database's, and between
 * what is read and what is written lies a step at which the process may die, or sleep past its lease.
 */
export class HubCore {
  readonly program: Program;
  readonly #db: HubDatabase;
  readonly #around: HubSurroundings;
  readonly #token: number;
  readonly #sessions = new Map<string, SessionHere>();
  /** Something may be to be sent. */
  readonly #unsent = new Signal();
  /** Something may be to be decided. */
  readonly #undecided = new Signal();
  /** Fleet → what this process read of Git. */
  readonly #heads = new Map<string, string>();
  /** Fleet → as of which change it was placed. */
  readonly #placed = new Map<string, number>();

  constructor(db: HubDatabase, around: HubSurroundings) {
    this.#db = db;
    this.#around = around;
    this.program = new Program(around.time);
    this.#token = db.lease += 1;
    this.program.run(this.#follow());
    this.program.run(this.#record());
    this.program.run(this.#serve());
  }

  /** The API: a label is set. Answers when it is committed. */
  setLabels(cluster: string, labels: Readonly<Record<string, string>>, write: number, answered: () => void): void {
    const { bug } = this.#around;
    this.program.run(
      function* (this: HubCore): Steps {
        yield 5;
        if (bug === "answer before commit") {
          answered();
          yield 200;
        }
        const row = this.#db.clusters.get(cluster);
        if (row && row.write < write) Object.assign(row, { labels, write });
        this.#db.placements += 1;
        yield 5;
        if (bug !== "answer before commit") answered();
        this.#undecided.raise();
      }.call(this),
    );
  }

  hello(link: Link, { cluster, epoch, held }: HelloWords): void {
    const row = this.#db.clusters.get(cluster);
    if (!row) return link.cut();
    this.#sessions.get(cluster)?.link.cut();
    row.session += 1;
    row.seenAt = this.#around.time.now;
    if (row.position.epoch !== epoch) row.position = { epoch, watermark: 0n, snapshot: null };
    row.wantsResend = false;
    const session = {
      link,
      number: row.session,
      epoch,
      toldWatermark: row.position.watermark,
      holds: new Map(held.map((one) => [one.fleet, one])),
      askedSnapshot: false,
    };
    this.#sessions.set(cluster, session);
    const seq = session.toldWatermark;
    link.toAgent(() => link.agent.onWatermark(epoch, seq, false));
    this.#unsent.raise();
  }

  snapshotDone(cluster: string): void {
    const row = this.#db.clusters.get(cluster);
    if (row) row.askedSnapshot = false;
  }

  // Sessions.

  *#serve(): Steps {
    for (;;) {
      for (const [cluster, session] of this.#sessions) {
        if (session.link.isOpen) this.#offer(cluster, session);
        else this.#sessions.delete(cluster);
      }
      yield this.#unsent.atMost(1_000);
    }
  }

  #offer(cluster: string, session: SessionHere): void {
    const row = this.#db.clusters.get(cluster);
    if (!row || row.session !== session.number) return session.link.cut();
    row.seenAt = this.#around.time.now;
    const { link, epoch } = session;
    if (row.wantsSnapshot) [row.wantsSnapshot, row.askedSnapshot] = [false, true];
    if (row.askedSnapshot && !session.askedSnapshot) link.toAgent(() => link.agent.onSnapshotCommand());
    session.askedSnapshot = row.askedSnapshot;
    const { watermark } = row.position;
    if (row.position.epoch === epoch && (watermark !== session.toldWatermark || row.wantsResend)) {
      const resend = row.wantsResend;
      row.wantsResend = false;
      session.toldWatermark = watermark;
      link.toAgent(() => link.agent.onWatermark(epoch, watermark, resend));
    }
    for (const target of this.#db.targets.values()) if (target.cluster === cluster && !target.isRemoved) this.#offerTarget(session, target);
  }

  #offerTarget({ link, holds }: SessionHere, target: TargetRow): void {
    const { fleet, generation, digest } = target;
    const held = holds.get(fleet);
    const releasedAt = new Date(target.releasedAt);
    const verdict = held ? compareHeld(held, { generation, digest, releasedAt }) : "older";
    if (verdict === "same") return;
    if (held && verdict === "ahead") {
      // note-held-targets.ts: the database was restored; what Git says now goes above it.
      if (target.tombstone || target.heldGeneration === held.generation) return;
      target.heldGeneration = held.generation;
      this.#db.placements += 1;
      return this.#undecided.raise();
    }
    holds.set(fleet, { generation, digest, releasedAt });
    const wire = wireTarget({ ...target, traceparent: null, releasedAt }, "");
    link.toAgent(() => link.agent.onTarget(wire));
  }

  // Git, rollouts, releases.

  *#follow(): Steps {
    for (;;) {
      for (const fleet of this.#db.fleets.keys()) {
        try {
          yield* this.#sync(fleet);
          yield* this.#decide(fleet);
          yield* this.#remove(fleet);
        } catch (error) {
          // Another replica holds the lease: this one has no say any more.
          if (error instanceof Fenced) return;
          throw error;
        }
      }
      yield this.#undecided.atMost(2_000);
    }
  }

  *#sync(fleet: string): Steps {
    const git = this.#git(fleet);
    if (git.isAway) return yield 500;
    const { head } = git;
    yield 30;
    if (head.isBroken || head.bundles.size === 0) return;
    // What cannot be rendered for any cluster is no revision.
    if ([...head.bundles.values()].every(({ size }) => size === 0)) return;
    this.#heads.set(fleet, head.id);
    this.#commit(() => {
      const row = this.#fleet(fleet);
      if (row.newest === head.id) return;
      row.newest = head.id;
      row.rollout = {
        revision: head.id,
        from: row.settled,
        plan: this.#plan(fleet),
        phase: "Running",
        wave: 0,
        startedAt: this.#around.time.now,
        marks: new Map(),
      };
    });
  }

  *#decide(fleet: string): Steps {
    for (let steps = 0; steps < 50; steps += 1) {
      const { rollout, settled, last } = this.#fleet(fleet);
      if (!rollout) {
        const mayReturn = last === undefined || last === "Done" || last === "RolledBack";
        const strays = this.#selected(fleet).filter(({ name }) => {
          const target = this.#db.target(fleet, name);
          return !target || target.tombstone !== null || (mayReturn && target.revision !== settled);
        });
        if (settled !== null && strays.length > 0)
          yield* this.#release(
            fleet,
            settled,
            strays.map(({ name }) => name),
          );
        return yield* this.#placeAgain(fleet);
      }
      const clusters = this.#selected(fleet).filter(
        ({ name }) => this.#isPlaced(fleet, rollout.revision, name) || this.#db.target(fleet, name)?.revision === rollout.revision,
      );
      const step = nextWave(
        this.#rollout(rollout),
        clusters.map((cluster) => this.#seen(fleet, rollout, cluster)),
        this.#around.time.now,
      );
      yield 10;
      if (yield* this.#act(fleet, rollout, step)) return yield* this.#placeAgain(fleet);
    }
  }

  /** Returns whether there is nothing more to do now. */
  *#act(fleet: string, rollout: RolloutRow, { decision, marks }: Step): Generator<number, boolean, void> {
    const isCurrent = (): boolean => this.#fleet(fleet).rollout === rollout;
    if (!isCurrent()) return true;
    this.#commit(() => {
      for (const { cluster, mark, since, wave } of marks) rollout.marks.set(cluster, { mark, since, wave, releasedAt: rollout.marks.get(cluster)?.releasedAt });
    });
    const { now } = this.#around.time;
    switch (decision.kind) {
      case "hold":
        return true;
      case "release": {
        const released = yield* this.#release(
          fleet,
          rollout.revision,
          decision.clusters,
          (name) => {
            const wave = this.#waveOf(rollout, name);
            rollout.marks.set(name, { mark: "Updating", since: now, wave, releasedAt: now });
          },
          isCurrent,
        );
        if (isCurrent()) this.#commit(() => (rollout.wave = Math.max(rollout.wave, decision.wave)));
        return released === 0;
      }
      case "rollback": {
        for (const name of decision.clusters) {
          const back = this.#healthyBefore(fleet, rollout, name) ?? rollout.from;
          const released = back === null ? 0 : yield* this.#release(fleet, back, [name], undefined, isCurrent);
          this.#commit(() => {
            rollout.phase = "RollingBack";
            const before = rollout.marks.get(name);
            rollout.marks.set(name, { mark: released > 0 ? "RolledBack" : "Kept", since: now, wave: before?.wave ?? 0, releasedAt: before?.releasedAt });
          });
        }
        return false;
      }
      case "done":
      case "fail":
        this.#commit(() => {
          const row = this.#fleet(fleet);
          row.last = decision.kind === "fail" ? "Failed" : rollout.phase === "RollingBack" ? "RolledBack" : "Done";
          if (row.last === "Done") row.settled = rollout.revision;
          row.rollout = undefined;
        });
        return false;
    }
  }

  /** sync-fleet.ts places what runs anew: labels, claims, or the generation that an agent holds may have changed. */
  *#placeAgain(fleet: string): Steps {
    const { placements } = this.#db;
    if (this.#placed.get(fleet) === placements) return;
    this.#placed.set(fleet, placements);
    const byRevision = new Map<string, string[]>();
    for (const { name } of this.#selected(fleet)) {
      const target = this.#db.target(fleet, name);
      if (target && target.tombstone === null) byRevision.set(target.revision, [...(byRevision.get(target.revision) ?? []), name]);
    }
    for (const [revision, names] of byRevision) yield* this.#release(fleet, revision, names);
  }

  /** Returns how many clusters have it now; their targets are written in one transaction, and not at all when `stillMeant` says no by then. */
  *#release(
    fleet: string,
    revision: string,
    names: readonly string[],
    noted: (cluster: string) => void = () => undefined,
    stillMeant: () => boolean = () => true,
  ): Generator<number, number, void> {
    const clusters = names.flatMap((name) => this.#db.clusters.get(name) ?? []);
    const placement = placeBundles({
      fleet,
      revision,
      spec: this.#spec(fleet, revision),
      clusters,
      bodyOf: (cluster, bundle) => this.#bodyOf(fleet, revision, cluster, bundle),
      ownersIn: (cluster) => this.#db.claims.get(cluster),
    });
    yield 15;
    const isCurrent = this.#heads.get(fleet) === revision && this.#fleet(fleet).newest === revision;
    this.#commit(() => {
      if (!stillMeant()) return;
      for (const target of placement.targets) {
        this.#upsert(target, isCurrent);
        this.#claim(fleet, target.cluster, placement.claims);
        noted(target.cluster);
      }
    });
    this.#unsent.raise();
    return placement.targets.length;
  }

  /** release-targets.ts: a new generation where the digest or the revision changed, or the cluster comes back; above what its agent holds. */
  #upsert({ fleet, cluster, revision, digest, bundles }: PlacedTarget, isCurrent: boolean): void {
    const before = this.#db.target(fleet, cluster);
    const isHeld = isCurrent && before !== undefined && before.heldGeneration !== null;
    if (before && before.digest === digest && before.revision === revision && before.tombstone === null && !isHeld) return;
    const own = before?.generation ?? 0n;
    const held = isCurrent ? (before?.heldGeneration ?? 0n) : 0n;
    const generation = (own > held ? own : held) + 1n;
    const keepsApproval = before?.revision === revision && before.tombstone === null;
    const row: TargetRow = {
      fleet,
      cluster,
      generation,
      revision,
      digest,
      bundles,
      tombstone: null,
      pruneApproval: keepsApproval ? before.pruneApproval : null,
      heldGeneration: isCurrent ? null : (before?.heldGeneration ?? null),
      leavingSince: before?.leavingSince ?? null,
      isRemoved: false,
      releasedAt: this.#around.time.now,
      healthy: before?.healthy ?? [],
    };
    this.#db.targets.set(`${fleet} ${cluster}`, row);
    this.#db.placements += 1;
    this.#told(row);
  }

  #told(row: TargetRow): void {
    const { fleet, cluster, generation, revision, digest, bundles, tombstone } = row;
    const environment = this.#db.clusters.get(cluster)?.labels.env ?? "";
    this.#around.history.released.push({ fleet, cluster, generation, revision, environment, digest, bundles, tombstone });
    this.#around.history.tell(
      this.#around.time.now,
      `released ${fleet} ${generation} at ${revision.slice(0, 6)} to ${cluster}${tombstone ? ` (${tombstone})` : ""}`,
    );
  }

  /** Claims of a cluster are replaced; what another fleet claimed meanwhile stays that one's. */
  #claim(fleet: string, cluster: string, claims: readonly ClusterClaims[]): void {
    const owners = this.#db.claims.get(cluster) ?? new Map<string, { fleet: string; bundle: string }>();
    this.#db.claims.set(cluster, owners);
    const before = [...owners].flatMap(([key, owner]) => (owner.fleet === fleet ? [`${key} ${owner.bundle}`] : []));
    for (const [key, owner] of owners) if (owner.fleet === fleet) owners.delete(key);
    for (const { bundle, objectIds } of claims.find((own) => own.cluster === cluster)?.owned ?? []) {
      for (const key of objectIds) if (!owners.has(key)) owners.set(key, { fleet, bundle });
    }
    const after = new Set([...owners].flatMap(([key, owner]) => (owner.fleet === fleet ? [`${key} ${owner.bundle}`] : [])));
    // What was let go may be wanted by the other fleet.
    if (before.some((claim) => !after.has(claim))) this.#db.placements += 1;
  }

  *#remove(fleet: string): Steps {
    const row = this.#fleet(fleet);
    const { now } = this.#around.time;
    const selected = new Set(this.#selected(fleet).map(({ name }) => name));
    const targeted = [...this.#db.targets.values()].filter((target) => target.fleet === fleet && target.tombstone === null);
    const { removal } = this.#around;
    const plan = planRemovals({
      targeted: targeted.map(({ cluster, leavingSince }) => ({
        cluster,
        leavingForMs: leavingSince === null || selected.has(cluster) ? null : now - leavingSince,
      })),
      staying: selected,
      leftLately: row.leftAt.filter((at) => at > now - removal.graceMs).length,
      removal,
      approved: row.approvedRemovals,
    });
    yield 10;
    this.#commit(() => {
      for (const target of targeted) if (selected.has(target.cluster)) target.leavingSince = null;
      for (const { cluster } of plan.leaving) {
        const target = this.#db.target(fleet, cluster);
        if (target && target.leavingSince === null) target.leavingSince = now;
      }
      row.heldRemoval = plan.held?.digest ?? "";
      for (const { cluster, policy: word } of plan.removals)
        if (!this.#isSelected(fleet, cluster)) this.#entomb(fleet, cluster, word, plan.approval === undefined);
      if (plan.approval !== undefined) row.approvedRemovals = [];
    });
    if (plan.removals.length > 0) this.#unsent.raise();
  }

  #entomb(fleet: string, cluster: string, word: "orphan" | "delete", isByItself: boolean): void {
    const target = this.#db.target(fleet, cluster);
    if (!target || target.tombstone !== null) return;
    const held = target.heldGeneration ?? 0n;
    const generation = (target.generation > held ? target.generation : held) + 1n;
    Object.assign(target, {
      generation,
      tombstone: word,
      digest: targetDigest([]),
      bundles: [],
      pruneApproval: null,
      heldGeneration: null,
      leavingSince: null,
    });
    Object.assign(target, { releasedAt: this.#around.time.now, isRemoved: false });
    for (const [key, owner] of this.#db.claims.get(cluster) ?? []) if (owner.fleet === fleet) this.#db.claims.get(cluster)?.delete(key);
    this.#db.placements += 1;
    if (isByItself) this.#fleet(fleet).leftAt.push(this.#around.time.now);
    this.#fleet(fleet).rollout?.marks.delete(cluster);
    this.#told(target);
  }

  // Reports.

  *#record(): Steps {
    const { broker } = this.#around;
    let created = "";
    for (;;) {
      try {
        if (created !== broker.created) {
          created = broker.created;
          this.#startAt(created);
        }
        const messages = broker.readAfter(this.#db.intake.seq, 20);
        if (messages.length === 0) {
          yield broker.arrived.atMost(500);
          continue;
        }
        yield 5;
        const decoded = messages.map((message) => decodeReport(message));
        if (this.#around.bug === "poison stops all" && decoded.some(({ kind }) => kind === "poison")) {
          yield 1_000;
          continue;
        }
        const received = Map.groupBy(
          decoded.filter((one) => one.kind === "report"),
          ({ cluster }) => cluster,
        );
        const byCluster = new Map(
          [...received].map(([cluster, reports]) => [cluster, reports.map(({ envelope }): ReceivedReport => ({ kind: "report", envelope }))]),
        );
        if (this.#around.bug === "watermark before commit") {
          this.#tellTooEarly(byCluster);
          yield 300;
        }
        if (broker.created !== created) continue;
        const last = messages.at(-1)?.streamSeq ?? 0;
        const isApart = this.#around.bug === "position apart from rows";
        const positions = [...this.#db.clusters.values()].map((row) => [row, row.position] as const);
        this.#commit(() => {
          for (const [cluster, reports] of byCluster) this.#fold(cluster, reports);
          for (const { kind, cluster } of decoded) {
            const row = this.#db.clusters.get(cluster);
            if (kind === "poison") this.#db.deadLetters += 1;
            if (kind === "poison" && row) row.wantsSnapshot = true;
          }
          if (!isApart) this.#db.intake = { created, seq: Math.max(this.#db.intake.seq, last) };
        });
        if (isApart) {
          const after = positions.map(([row]) => row.position);
          for (const [row, before] of positions) row.position = before;
          yield 100;
          for (const [index, [row]] of positions.entries()) row.position = after[index] ?? row.position;
          this.#db.intake = { created, seq: last };
        }
        this.#unsent.raise();
        this.#undecided.raise();
        yield 3;
        broker.purge(this.#db.intake.seq);
      } catch (error) {
        if (error instanceof Fenced) return;
        throw error;
      }
    }
  }

  /** intake-position.ts: where the stream is read from; all publish again when it is another. */
  #startAt(created: string): void {
    this.#commit(() => {
      const known = this.#db.intake;
      if (known.created === created && known.seq <= this.#around.broker.lastSeq) return;
      this.#db.intake = { created, seq: 0 };
      if (known.created !== "") for (const row of this.#db.clusters.values()) row.wantsResend = true;
    });
  }

  #fold(cluster: string, reports: readonly ReceivedReport[]): void {
    const row = this.#db.clusters.get(cluster);
    if (!row) return;
    const { now } = this.#around.time;
    const received = this.#around.bug === "order of arrival" ? this.#asTheyCame(row, reports) : reports;
    const fold = this.#db.fold(row, received, now);
    if (!fold.missing || now - row.resendAskedAt < resendAskMs) return;
    [row.wantsResend, row.resendAskedAt] = [true, now];
  }

  #asTheyCame(row: ClusterRow, reports: readonly ReceivedReport[]): readonly ReceivedReport[] {
    let { watermark } = row.position;
    for (const one of reports) {
      if (one.kind !== "report" || one.envelope.epoch !== row.position.epoch) continue;
      // The mark of the event tells the validators which report it really was.
      row.position = { ...row.position, watermark: one.envelope.seq - 1n };
      this.#db.fold(row, [one], this.#around.time.now);
      watermark = watermark > one.envelope.seq ? watermark : one.envelope.seq;
    }
    row.position = { ...row.position, watermark };
    return [];
  }

  #tellTooEarly(byCluster: ReadonlyMap<string, readonly ReceivedReport[]>): void {
    for (const [cluster, reports] of byCluster) {
      const [row, session] = [this.#db.clusters.get(cluster), this.#sessions.get(cluster)];
      if (!row || !session) continue;
      const of = reports
        .flatMap((one) => (one.kind === "report" && one.envelope.epoch === session.epoch ? [one.envelope.seq] : []))
        .sort((a, b) => Number(a - b));
      let { watermark } = row.position;
      for (const seq of of) if (seq === watermark + 1n) watermark = seq;
      const { link, epoch } = session;
      link.toAgent(() => link.agent.onWatermark(epoch, watermark, false));
    }
  }

  // What the questions to the domain are made of.

  #commit<T>(act: () => T): T {
    return this.#db.commit(this.#token, act);
  }

  #git(fleet: string): GitHistory {
    const git = this.#around.repositories.get(fleet);
    if (!git) throw new Error(`no repository of ${fleet}`);
    return git;
  }

  #fleet(name: string): FleetRow {
    const row = this.#db.fleets.get(name);
    if (!row) throw new Error(`no fleet ${name}`);
    return row;
  }

  #plan(fleet: string): RolloutSpec {
    const plan = this.#around.plans.get(fleet);
    if (!plan) throw new Error(`no plan of ${fleet}`);
    return plan;
  }

  #spec(fleet: string, revision: string): FleetSpec {
    const names = [...this.#git(fleet).revision(revision).bundles.keys()];
    const able = this.#around.bug === "leave out what cannot be rendered" ? names.filter((name) => this.#git(fleet).bodyOf(revision, name, "dev")) : names;
    const bundles = able.map((name): BundleSpec => ({ name, path: name, dependsOn: [], values: {}, overlays: [], combine: "first", policy }));
    return { name: fleet, clusters: {}, values: {}, bundles };
  }

  #bodyOf(fleet: string, revision: string, cluster: string, bundle: string): PlacedBody | undefined {
    return this.#git(fleet).bodyOf(revision, bundle, this.#db.clusters.get(cluster)?.labels.env ?? "");
  }

  #isPlaced(fleet: string, revision: string, cluster: string): boolean {
    return [...this.#git(fleet).revision(revision).bundles.keys()].every((bundle) => this.#bodyOf(fleet, revision, cluster, bundle) !== undefined);
  }

  #isSelected(fleet: string, cluster: string): boolean {
    return this.#db.clusters.get(cluster)?.labels[fleet] === "true";
  }

  #selected(fleet: string): ClusterRow[] {
    return [...this.#db.clusters.values()].filter(({ name }) => this.#isSelected(fleet, name));
  }

  #waveOf(rollout: RolloutRow, cluster: string): number {
    return waveOf(rollout.plan, this.#db.clusters.get(cluster)?.labels ?? {});
  }

  #rollout({ revision, from, plan, phase, wave, startedAt }: RolloutRow): Rollout {
    return { revision, from, plan, phase: phase === "RollingBack" ? "RollingBack" : "Running", wave, startedAt, approvals: [], gates: [] };
  }

  #seen(fleet: string, rollout: RolloutRow, { name, labels, seenAt }: ClusterRow): RolloutCluster {
    const [target, state, kept] = [this.#db.target(fleet, name), this.#db.targetStates.get(`${fleet} ${name}`), rollout.marks.get(name)];
    const healthyBefore = this.#healthyBefore(fleet, rollout, name);
    const isAway = this.#around.time.now - seenAt > clusterLeaseMs;
    return {
      name,
      labels,
      mark: kept?.mark ?? "Waiting",
      since: kept?.since ?? 0,
      ...(kept && { markedWave: kept.wave }),
      ...(kept?.releasedAt !== undefined && { releasedAt: kept.releasedAt }),
      ...(isAway && { offlineSince: seenAt + clusterLeaseMs }),
      ...(target &&
        state && {
          observed: {
            isCurrent: state.generation === target.generation && state.targetDigest === target.digest,
            isSynced: state.sync === "Synced",
            health: state.health,
            drifted: 0,
            failed: 0,
            message: state.message,
          },
        }),
      isPinned: false,
      ...(healthyBefore !== undefined && { healthyBefore }),
    };
  }

  #healthyBefore(fleet: string, { revision }: RolloutRow, cluster: string): string | undefined {
    return this.#db.target(fleet, cluster)?.healthy.findLast((healthy) => healthy !== revision);
  }
}
