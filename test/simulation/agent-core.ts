import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { objectionTo } from "@flotilla/agent/cluster/delete-object";
import { stages } from "@flotilla/agent/domain/apply-order";
import { guardOf, unguarded } from "@flotilla/agent/domain/guard";
import { decideHeal, fieldKey, recentHeals, type Correction } from "@flotilla/agent/domain/heal-budget";
import { nothingIgnored } from "@flotilla/agent/domain/ignore";
import { decodeEntries, encodeEntries, widen, withGuard, type InventoryEntry } from "@flotilla/agent/domain/inventory";
import { claimedBy, handsOver, namedBy, otherFleet, takenBy, unreadFleet } from "@flotilla/agent/domain/neighbours";
import { parseObjectKey } from "@flotilla/agent/domain/object-id";
import { inPruneOrder, planChanges, type ApplyStep, type DesiredObject, type Observation, type Plan } from "@flotilla/agent/domain/plan";
import { pruneListDigest, spentMark } from "@flotilla/agent/domain/prune-policy";
import { refuseTarget } from "@flotilla/agent/domain/refuse-target";
import { healthThatCounts, rollUp, type CountedObject } from "@flotilla/agent/domain/roll-up";
import { readDirectives } from "@flotilla/proto/directives";
import {
  ClusterEventSchema,
  FleetReportSchema,
  Health,
  ObjectStateSchema,
  PruneState,
  SnapshotPartSchema,
  SyncState,
  type FleetReport,
  type ObjectState,
} from "@flotilla/proto/gen/report";
import { RemovalPolicy, type Target } from "@flotilla/proto/gen/target";
import { whyProtected } from "@flotilla/proto/protected-kinds";
import type { AgentSide } from "./links.ts";
import type { Broker } from "./broker.ts";
import type { Bodies } from "./git-history.ts";
import type { History, PlantedBug } from "./history.ts";
import { ClusterAway, metadataOf, type LiveCluster, type LiveThing } from "./live-cluster.ts";
import { MemoryOutbox, type OutboxDisk } from "./memory-outbox.ts";
import { Program, Signal, type Steps, type VirtualTime } from "./virtual-time.ts";

/** What an agent is put into. */
export interface AgentSurroundings {
  readonly time: VirtualTime;
  readonly history: History;
  readonly bodies: Bodies;
  readonly broker: Broker;
  readonly bug: PlantedBug | undefined;
}

/** One fleet in the agent's memory. */
interface FleetHere {
  readonly name: string;
  target: Target | undefined;
  pending: { readonly target: Target; readonly isRestored: boolean } | undefined;
  desired: {
    readonly objects: ReadonlyMap<string, DesiredObject>;
    readonly contents: ReadonlyMap<string, string>;
    readonly hooks: ReadonlyMap<string, unknown>;
    readonly excluded: ReadonlyMap<string, string>;
    readonly bundles: ReadonlySet<string>;
  };
  readonly inventory: Map<string, InventoryEntry>;
  readonly heals: Map<string, Correction[]>;
  spent: { revision: string; byBundle: Map<string, Set<string>> };
  readonly leftBundles: Map<string, number>;
  readonly leftObjects: Map<string, number>;
  held: Plan["held"];
  /** What the hub was told of each object by this process, and what it was told last of the whole. */
  readonly reported: Map<string, string>;
  reportedHead: string;
  isNews: boolean;
  isFlushing: boolean;
  dueAt: number;
  isForgotten: boolean;
  /** That the cluster has left it was told. */
  isTold: boolean;
  readonly signal: Signal;
}

const [handOverMs, reportFoldMs, retryMs] = [10_000, 50, 1_000];
const { directives } = readDirectives({ metadata: { name: "x" } });
const nothing = { objects: new Map(), contents: new Map(), hooks: new Map(), excluded: new Map(), bundles: new Set<string>() };

/**
 * One agent process over a live cluster. Plan, refusal, inventory, guards, claims, budget and the rules of the outbox are the product's; reading, writing and
 * the order of steps are wired here as agent/src/reconcile wires them, with a place to die between any two.
 */
export class AgentCore implements AgentSide {
  readonly cluster: LiveCluster;
  readonly program: Program;
  readonly outbox: MemoryOutbox;
  /** The agent's clock is off by so much. */
  readonly #skewMs: number;
  readonly #around: AgentSurroundings;
  readonly #fleets = new Map<string, FleetHere>();
  readonly #seen = new Map<string, LiveThing>();
  readonly #publishing = new Signal();
  #toHub: ((hold: HubWord) => void) | undefined;
  #next = 1n;
  #round = 0;
  #rewoundAt = -Infinity;
  #wantsSnapshot = false;
  #marks = 0;
  /** What the cluster keeps was read: only then is the hub called. */
  isReady = false;

  constructor(cluster: LiveCluster, disk: OutboxDisk, skewMs: number, around: AgentSurroundings) {
    this.cluster = cluster;
    this.#around = around;
    this.#skewMs = skewMs;
    this.program = new Program(around.time);
    this.outbox = new MemoryOutbox(cluster.name, disk, () => this.#hex(8));
    this.#round = Math.floor(around.time.random() * 1_000_000);
    cluster.onChange = (key) => this.program.receive(() => this.#see(key), around.time.jittered(60));
    this.program.run(this.#boot());
    this.program.run(this.#publish());
  }

  /** What it holds, for Hello. */
  get held(): readonly { readonly fleet: string; readonly generation: bigint; readonly digest: string; readonly releasedAt: Date | undefined }[] {
    return [...this.#fleets.values()].flatMap(({ name, target, pending }) => {
      const held = pending?.target ?? target;
      return held ? [{ fleet: name, generation: held.generation, digest: held.digest, releasedAt: held.releasedAt && timestampDate(held.releasedAt) }] : [];
    });
  }

  /** For the validators: what it follows and holds. */
  fleetsHere(): readonly Pick<FleetHere, "name" | "target" | "desired" | "inventory">[] {
    return [...this.#fleets.values()];
  }

  kill(): void {
    this.program.kill();
    this.#around.history.agentDeaths.push({ at: this.#around.time.now, cluster: this.cluster.name });
  }

  /** Ends in order: what is known is recorded. Only when nothing is being done. */
  stop(): void {
    for (const run of this.#fleets.values()) if (!run.isForgotten) this.#record(run);
    this.outbox.close();
    this.program.kill();
    this.#around.history.agentDeaths.push({ at: this.#around.time.now, cluster: this.cluster.name });
  }

  /** Nothing is being done or waits to be. */
  get isIdle(): boolean {
    return [...this.#fleets.values()].every(({ pending, dueAt, isNews }) => !pending && dueAt > this.#around.time.now + retryMs && !isNews);
  }

  // What the hub says over the link.

  onConnected(send: (word: HubWord) => void): void {
    this.#toHub = send;
  }

  onTarget(target: Target): void {
    const run = this.#fleet(target.fleet);
    const newest = run.pending?.target ?? run.target;
    const refusal = refuseTarget(target, this.cluster.name, newest);
    const isFollowedAllTheSame =
      this.#around.bug === "follow what is empty" && target.cluster === this.cluster.name && (!newest || target.generation >= newest.generation);
    if (refusal !== undefined && !isFollowedAllTheSame) {
      if (newest !== undefined) return;
      run.isForgotten = true;
      this.#fleets.delete(target.fleet);
      return;
    }
    if (newest?.generation !== target.generation || isFollowedAllTheSame) run.pending = { target, isRestored: false };
    this.#wake(run);
  }

  onWatermark(epoch: string, seq: bigint, resend: boolean): void {
    const { isNewEpoch, again } = this.outbox.acknowledge({ epoch, seq, resend });
    if (isNewEpoch) this.#toHub?.({ kind: "reopen" });
    if (this.outbox.wantsSnapshot) this.#snapshotSoon();
    const { now } = this.#around.time;
    if (this.#next <= this.outbox.watermark || isNewEpoch) this.#beginRound(this.outbox.watermark + 1n);
    if (again && now - this.#rewoundAt > 2_500) {
      this.#rewoundAt = now;
      this.#beginRound(this.outbox.watermark + 1n);
    }
    this.#publishing.raise();
  }

  onSnapshotCommand(): void {
    this.#snapshotSoon();
    this.#toHub?.({ kind: "snapshot done" });
  }

  // Life.

  *#boot(): Steps {
    for (;;) {
      try {
        yield 20;
        for (const key of this.cluster.objects.keys()) this.#look(key);
        this.cluster.mustAnswer();
        break;
      } catch (error) {
        if (!(error instanceof ClusterAway)) throw error;
        yield retryMs;
      }
    }
    for (const [name, kept] of this.cluster.kept) {
      const run = this.#fleet(name);
      for (const entry of decodeEntries(kept.inventory)) run.inventory.set(entry.key, entry);
      if (this.#around.bug !== "forget corrections") for (const [key, heals] of kept.heals) run.heals.set(key, [...heals]);
      run.spent = { revision: kept.spent.revision, byBundle: new Map([...kept.spent.byBundle].map(([bundle, marks]) => [bundle, new Set(marks)])) };
      if (kept.target && refuseTarget(kept.target, this.cluster.name, undefined) === undefined && !run.pending)
        run.pending = { target: kept.target, isRestored: true };
      this.#wake(run);
    }
    this.isReady = true;
    if (this.outbox.wantsSnapshot) this.#snapshotSoon();
  }

  *#live(run: FleetHere): Steps {
    while (!run.isForgotten) {
      const waitMs = run.dueAt - this.#around.time.now;
      if (waitMs > 0) {
        yield run.signal.atMost(waitMs);
        continue;
      }
      run.dueAt = Infinity;
      try {
        yield* this.#reconcile(run);
      } catch (error) {
        if (!(error instanceof ClusterAway)) throw error;
        this.#wakeIn(run, retryMs);
      }
      this.#changed(run);
    }
  }

  /** reconcile-target.ts, step by step. */
  *#reconcile(run: FleetHere): Steps {
    yield* this.#receive(run);
    const { target } = run;
    if (!target) return;
    if (target.tombstone) return yield* this.#leave(run, target);
    const plan = this.#plan(run, target);
    run.held = plan.held;
    const steps = stages.flatMap((stage) => plan.applies.get(stage) ?? []);
    yield* this.#widen(run, plan, steps, target);
    const isDone = yield* this.#applyAll(run, steps);
    if (isDone) yield* this.#prune(run, plan, target);
    yield* this.#saveInventory(run);
    if (run.pending) return this.#wake(run);
    for (const key of plan.drifted) yield* this.#heal(run, key);
    if (plan.resting.size > 0 || plan.claimed.size > 0 || !isDone) this.#wakeIn(run, retryMs);
  }

  *#receive(run: FleetHere): Steps {
    while (run.pending) {
      const { pending } = run;
      yield 10;
      if (!pending.isRestored) this.#keep(run).target = pending.target;
      if (run.pending !== pending) continue;
      run.pending = undefined;
      run.target = pending.target;
      run.desired = this.#read(pending.target);
      this.#noteLeft(run);
      const { now } = this.#around.time;
      this.#around.history.followed.push({ at: now, cluster: this.cluster.name, target: pending.target, keys: new Set(run.desired.objects.keys()) });
      this.#wakeOthers(run);
    }
    if (this.#wantsSnapshot) this.#snapshotSoon();
  }

  #read(target: Target): FleetHere["desired"] {
    const [objects, contents, excluded] = [new Map<string, DesiredObject>(), new Map<string, string>(), new Map<string, string>()];
    for (const { name, digest, excluded: left } of target.bundles) {
      const others = new Set(left);
      for (const [key, content] of this.#around.bodies.get(digest) ?? []) {
        if (others.has(key)) {
          excluded.set(key, name);
          continue;
        }
        const of = { key, id: parseObjectKey(key), apiVersion: "v1", bundle: name, body: digest, line: 0, hash: content, ignored: nothingIgnored, directives };
        objects.set(key, of);
        contents.set(key, content);
      }
    }
    for (const key of objects.keys()) excluded.delete(key);
    return { objects, contents, hooks: nothing.hooks, excluded, bundles: new Set(target.bundles.map(({ name }) => name)) };
  }

  #plan(run: FleetHere, target: Target): Plan {
    const fleets = [...this.#fleets.values()];
    const { now } = this.#around.time;
    const { bug } = this.#around;
    const approval = target.pruneApproval;
    const plan = planChanges({
      desired: run.desired.objects,
      excluded: new Set(run.desired.excluded.keys()),
      inventory: run.inventory,
      observe: (key) => this.#observe(key),
      claimedBy: (key) => claimedBy(fleets, run, key),
      takenBy: (key) => takenBy(fleets, run, key),
      namedBy: (key) => namedBy(fleets, run, key),
      driftMode: () => "heal",
      blocked: () => undefined,
      stays: () => false,
      rests: (key, bundle) => this.#rest(run, key, bundle, now),
      spent: run.spent.revision === target.revision ? run.spent.byBundle : new Map(),
      revision: target.revision,
      approval,
      budgets: new Map(),
    });
    const isFree = bug === "no budget" || (bug === "any approval" && approval !== undefined);
    return isFree && plan.held ? { ...plan, prunes: [...plan.prunes, ...plan.held.keys], held: undefined } : plan;
  }

  #rest(run: FleetHere, key: string, bundle: string, now: number): string | undefined {
    const since = run.leftBundles.get(bundle) ?? (otherFleet(this.#fleets.values(), run, () => true) === undefined ? undefined : run.leftObjects.get(key));
    return since === undefined || now >= since + handOverMs ? undefined : "it has just left the target";
  }

  *#widen(run: FleetHere, plan: Plan, steps: readonly ApplyStep[], target: Target): Steps {
    const wide = widen(
      run.inventory,
      steps.map(({ object }) => object),
    );
    const isWider = wide.size !== run.inventory.size;
    for (const [key, entry] of wide) run.inventory.set(key, entry);
    let isNoted = false;
    for (const entry of [...run.inventory.values()]) {
      const wanted = run.desired.objects.get(entry.key);
      const guard = wanted ? guardOf(wanted.directives) : (entry.guard ?? unguarded);
      const approved = plan.approved.has(entry.key) ? (target.pruneApproval?.digest ?? "") : "";
      if ((entry.guard ?? unguarded) === guard && (entry.approved ?? "") === approved) continue;
      run.inventory.set(entry.key, withGuard(entry, guard, approved));
      isNoted = true;
    }
    if (isWider || isNoted) yield* this.#saveInventory(run);
  }

  /** Returns whether all that the target wants is applied: else nothing may be pruned. */
  *#applyAll(run: FleetHere, steps: readonly ApplyStep[]): Generator<number, boolean, void> {
    for (const { object } of steps) {
      yield 8;
      if (run.pending) return false;
      yield* this.#apply(run, object);
    }
    const fleets = [...this.#fleets.values()];
    return [...run.desired.objects.values()].every(({ key, hash, bundle }) => {
      const entry = run.inventory.get(key);
      return claimedBy(fleets, run, key) !== undefined || this.#isForeign(run, key) || (entry?.desired === hash && entry.bundle === bundle);
    });
  }

  *#apply(run: FleetHere, wanted: DesiredObject): Generator<number, void, void> {
    const { key, bundle } = wanted;
    const entry = run.inventory.get(key);
    const live = this.cluster.read(key);
    if (entry && entry.uid !== "" && live?.uid !== entry.uid) {
      // What is made now is another: it is expected before it is there.
      run.inventory.set(key, { ...entry, uid: "", desired: "" });
      yield* this.#saveInventory(run);
    }
    if (this.#isForeign(run, key)) {
      run.inventory.delete(key);
      return;
    }
    const applied = this.cluster.apply(key, run.desired.contents.get(key) ?? "", run.name, bundle);
    yield 2;
    this.#look(key);
    const { uid, content } = applied;
    run.inventory.set(key, withGuard({ key, apiVersion: "v1", bundle, uid, desired: wanted.hash, owned: content }, guardOf(wanted.directives)));
    this.#wakeOthers(run);
  }

  /** It is there and belongs to another fleet that has not let go of it. */
  #isForeign(run: FleetHere, key: string): boolean {
    const [owner = ""] = this.cluster.objects.get(key)?.owner?.split("/") ?? [];
    if (owner === "" || owner === run.name) return false;
    const other = this.#fleets.get(owner);
    return !(other && (!other.inventory.has(key) || handsOver(other, key)));
  }

  *#prune(run: FleetHere, plan: Plan, target: Target): Steps {
    for (const key of plan.letGo.keys()) run.inventory.delete(key);
    if (unreadFleet(this.#fleets.values(), run) !== undefined) return this.#wakeIn(run, retryMs);
    const unapproved = plan.prunes.filter((key) => !plan.approved.has(key));
    if (unapproved.length > 0) {
      if (run.spent.revision !== target.revision) run.spent = { revision: target.revision, byBundle: new Map() };
      for (const key of unapproved) this.#spend(run, key, (marks, mark) => marks.add(mark));
      yield* this.#saveOrder(run);
    }
    for (const key of plan.prunes) {
      yield 8;
      if (run.pending) return;
      const isLeft = unreadFleet(this.#fleets.values(), run) !== undefined || namedBy(this.#fleets.values(), run, key) !== undefined;
      if (isLeft || !(yield* this.#delete(run, key, plan.approved.has(key) ? (target.pruneApproval?.digest ?? "") : ""))) this.#wakeIn(run, retryMs);
    }
  }

  #spend(run: FleetHere, key: string, how: (marks: Set<string>, mark: string) => unknown): void {
    const entry = run.inventory.get(key);
    if (!entry) return;
    const marks = run.spent.byBundle.get(entry.bundle) ?? new Set();
    run.spent.byBundle.set(entry.bundle, marks);
    how(marks, spentMark(entry));
  }

  /** Returns whether it came to an end. */
  *#delete(run: FleetHere, key: string, approval: string): Generator<number, boolean, void> {
    const entry = run.inventory.get(key);
    if (!entry) return true;
    const live = this.cluster.read(key);
    const warrant = { namespace: "", name: "", uid: entry.uid, fleet: run.name };
    const objection =
      live && this.#around.bug !== "any UID" ? objectionTo({ apiVersion: "v1", kind: "ConfigMap", metadata: metadataOf(live) }, warrant) : undefined;
    const inventorySize = run.inventory.size;
    if (this.#around.bug === "forgotten before it is deleted") {
      run.inventory.delete(key);
      yield* this.#saveInventory(run);
    }
    if (live && objection === undefined) {
      yield 5;
      const gone = this.cluster.delete(key, live.uid, live.version);
      if (!gone) return false;
      const { history, time } = this.#around;
      const { uid, owner } = gone;
      history.deletions.push({ at: time.now, cluster: this.cluster.name, fleet: run.name, key, uid, owner, approval, inventorySize });
      yield 2;
    } else this.#spend(run, key, (marks, mark) => marks.delete(mark));
    run.inventory.delete(key);
    run.leftObjects.delete(key);
    this.#look(key);
    this.#wakeOthers(run);
    return true;
  }

  /** remove-fleet.ts. */
  *#leave(run: FleetHere, target: Target): Steps {
    if (target.tombstone?.policy === RemovalPolicy.DELETE) {
      for (const key of inPruneOrder([...run.inventory.keys()])) {
        yield 8;
        if (run.pending) return this.#wake(run);
        if (unreadFleet(this.#fleets.values(), run) !== undefined) return this.#wakeIn(run, retryMs);
        const stays = whyProtected(parseObjectKey(key)) !== undefined || namedBy(this.#fleets.values(), run, key) !== undefined;
        if (!stays && !(yield* this.#delete(run, key, ""))) return this.#wakeIn(run, retryMs);
      }
      yield* this.#saveInventory(run);
    }
    for (const { key, uid } of run.inventory.values()) {
      yield 3;
      if (uid !== "") this.cluster.release(key, uid, run.name);
    }
    if (run.pending) return this.#wake(run);
    yield 5;
    const said = create(FleetReportSchema, {
      fleet: run.name,
      generation: target.generation,
      revision: target.revision,
      targetDigest: target.digest,
      removed: true,
    });
    this.#put(said);
    run.isTold = true;
    yield 5;
    this.cluster.mustAnswer();
    this.cluster.kept.delete(run.name);
    run.isForgotten = true;
    this.#fleets.delete(run.name);
    this.#wakeOthers(run);
    this.#takeBack(run);
  }

  /** A newer target may have brought the fleet back while it was being forgotten. */
  #takeBack({ pending }: FleetHere): void {
    if (pending) this.onTarget(pending.target);
  }

  *#heal(run: FleetHere, key: string): Generator<number, void, void> {
    const wanted = run.desired.objects.get(key);
    const now = this.#around.time.now + this.#skewMs;
    const decision = decideHeal(run.heals.get(key) ?? [], now);
    if (!wanted) return;
    if (decision.kind !== "heal") return this.#wakeIn(run, decision.until - now + 1);
    yield 8;
    if (run.pending) return this.#wake(run);
    yield* this.#apply(run, wanted);
    this.#around.history.corrections.push({ at: this.#around.time.now, cluster: this.cluster.name, fleet: run.name, key });
    const healedAt = this.#around.time.now + this.#skewMs;
    const correction = { at: healedAt, fields: [fieldKey("somebody", "/data")] };
    const heals = recentHeals([...(run.heals.get(key) ?? []), correction], healedAt);
    if (this.#around.bug !== "forget corrections") run.heals.set(key, heals);
    yield* this.#saveInventory(run);
    yield* this.#saveOrder(run);
  }

  // What is seen.

  #observe(key: string): Observation {
    const live = this.#seen.get(key);
    return live ? { state: "present", uid: live.uid, owned: live.content } : { state: "absent" };
  }

  #see(key: string): void {
    this.#look(key);
    for (const run of this.#fleets.values()) if (run.inventory.has(key) || run.desired.objects.has(key)) this.#wake(run);
  }

  #look(key: string): void {
    const live = this.cluster.objects.get(key);
    if (live) this.#seen.set(key, live);
    else this.#seen.delete(key);
  }

  // What is kept in the cluster.

  #keep(run: FleetHere) {
    this.cluster.mustAnswer();
    const kept = this.cluster.kept.get(run.name) ?? { target: undefined, inventory: "", heals: new Map(), spent: { revision: "", byBundle: new Map() } };
    this.cluster.kept.set(run.name, kept);
    return kept;
  }

  *#saveInventory(run: FleetHere): Generator<number, void, void> {
    const text = encodeEntries(run.inventory.values());
    if (this.cluster.kept.get(run.name)?.inventory === text) return;
    yield 8;
    this.#keep(run).inventory = encodeEntries(run.inventory.values());
  }

  *#saveOrder(run: FleetHere): Generator<number, void, void> {
    yield 8;
    const kept = this.#keep(run);
    kept.heals = new Map(run.heals);
    kept.spent = { revision: run.spent.revision, byBundle: new Map([...run.spent.byBundle].map(([bundle, marks]) => [bundle, new Set(marks)])) };
  }

  #noteLeft(run: FleetHere): void {
    const entries = [...run.inventory.values()];
    const { objects, bundles } = run.desired;
    this.#noteSince(run.leftBundles, new Set(entries.map(({ bundle }) => bundle).filter((bundle) => !bundles.has(bundle))));
    const left = entries.filter(({ key, bundle, desired }) => bundles.has(bundle) && !objects.has(key) && desired !== "");
    this.#noteSince(run.leftObjects, new Set(left.map(({ key }) => key)));
  }

  #noteSince(since: Map<string, number>, left: ReadonlySet<string>): void {
    for (const name of since.keys()) if (!left.has(name)) since.delete(name);
    for (const name of left) if (!since.has(name)) since.set(name, this.#around.time.now);
  }

  // Reports.

  #changed(run: FleetHere): void {
    run.isNews = true;
    if (run.isFlushing) return;
    run.isFlushing = true;
    this.program.receive(() => {
      run.isFlushing = false;
      if (!run.isForgotten && !run.isTold) this.#record(run);
    }, this.#around.time.jittered(reportFoldMs));
  }

  #record(run: FleetHere): void {
    run.isNews = false;
    const states = this.#statesOf(run);
    const objects: ObjectState[] = [];
    for (const [key, state] of states) {
      const digest = digestOfState(state);
      if (run.reported.get(key) === digest) continue;
      run.reported.set(key, digest);
      objects.push(state);
    }
    const gone = [...run.reported.keys()].filter((key) => !states.has(key));
    for (const key of gone) run.reported.delete(key);
    const head = this.#head(run, states);
    const text = digestOfHead(head);
    if (objects.length === 0 && gone.length === 0 && text === run.reportedHead) return;
    run.reportedHead = text;
    const told = this.#around.bug === "what is gone is not told" ? [] : gone;
    this.#put({ ...head, objects, gone: told.map((key) => ({ $typeName: "fleet.v1.ObjectId" as const, ...parseObjectKey(key) })) });
  }

  /** Everything, in one part for each fleet; not before the first target of each is read: of it nothing could be said. */
  #snapshotSoon(): void {
    this.#wantsSnapshot = [...this.#fleets.values()].some(({ target, pending }) => !target && pending);
    if (this.#wantsSnapshot) return;
    const fleets = [...this.#fleets.values()].filter(({ isTold }) => !isTold);
    const snapshotId = this.#hex(4);
    const parts = Math.max(1, fleets.length);
    for (let part = 0; part < parts; part += 1) {
      const run = fleets[part];
      const states = run && this.#statesOf(run);
      const state = run && states && { ...this.#head(run, states), objects: [...states.values()] };
      if (run && states) this.#remember(run, states);
      const value = create(SnapshotPartSchema, { snapshotId, part, parts, fleets: fleets.map(({ name }) => name), ...(state && { state }) });
      this.outbox.record({ case: "snapshot", value }, this.#around.time.now + this.#skewMs);
    }
    this.#publishing.raise();
  }

  /** What a snapshot says was told as what a report says: else a change that goes back before the next report is never told. */
  #remember(run: FleetHere, states: ReadonlyMap<string, ObjectState>): void {
    for (const [key, state] of states) run.reported.set(key, digestOfState(state));
    run.reportedHead = digestOfHead(this.#head(run, states));
  }

  #put(report: FleetReport): void {
    const mark = `${this.cluster.name}-${this.#round}-${(this.#marks += 1)}`;
    const event = create(ClusterEventSchema, { reason: "Applied", message: mark });
    const { time, history } = this.#around;
    const seq = this.outbox.record({ case: "fleet", value: { ...report, events: [event] } }, time.now + this.#skewMs);
    history.record(this.cluster.name, { epoch: this.outbox.epoch, seq, mark, at: time.now });
    this.#publishing.raise();
  }

  #statesOf(run: FleetHere): Map<string, ObjectState> {
    const states = new Map<string, ObjectState>();
    for (const key of new Set([...run.desired.objects.keys(), ...run.inventory.keys()])) {
      const [entry, wanted, live] = [run.inventory.get(key), run.desired.objects.get(key), this.#seen.get(key)];
      const isApplied = wanted !== undefined && entry?.desired === wanted.hash && entry.bundle === wanted.bundle;
      const isSame = live !== undefined && live.uid === entry?.uid && live.content === entry.owned;
      const health = live === undefined ? Health.NOT_FOUND : live.content.endsWith("!") ? Health.FAILED : Health.CURRENT;
      const prune = wanted ? PruneState.UNSPECIFIED : run.held?.keys.includes(key) ? PruneState.HELD : PruneState.WAITS;
      const sync = isApplied && isSame ? SyncState.SYNCED : SyncState.OUT_OF_SYNC;
      const bundle = entry?.bundle ?? wanted?.bundle ?? "";
      states.set(key, create(ObjectStateSchema, { id: parseObjectKey(key), version: "v1", bundle, uid: live?.uid ?? "", sync, health, prune }));
    }
    return states;
  }

  #head(run: FleetHere, states: ReadonlyMap<string, ObjectState>): FleetReport {
    const { generation = 0n, revision = "", digest: targetDigest = "" } = run.target ?? {};
    const words = { [Health.CURRENT]: "Current", [Health.FAILED]: "Failed", [Health.NOT_FOUND]: "NotFound" } as Record<number, CountedObject["health"]>;
    const counted = [...states].map(([name, { bundle, sync, health }]) => {
      const counts = healthThatCounts(words[health] ?? "Unknown", run.desired.objects.has(name));
      return { bundle, name, synced: sync === SyncState.SYNCED, health: counts, drifted: false, failed: false, message: "" };
    });
    const { synced, health, objects, healthy } = rollUp(counted);
    const code = { Current: Health.CURRENT, Failed: Health.FAILED, NotFound: Health.NOT_FOUND } as Partial<Record<CountedObject["health"], Health>>;
    const held = run.held?.keys ?? [];
    return create(FleetReportSchema, {
      fleet: run.name,
      generation,
      revision,
      targetDigest,
      summary: {
        sync: synced ? SyncState.SYNCED : SyncState.OUT_OF_SYNC,
        health: code[health] ?? Health.UNKNOWN,
        objects,
        healthy,
        prunesHeld: held.length,
        prunesDigest: held.length > 0 ? pruneListDigest(held) : "",
      },
    });
  }

  /** publisher.ts: in rounds; whatever breaks the order begins a new one. */
  *#publish(): Steps {
    let stallAt = Infinity;
    for (;;) {
      const { time, broker } = this.#around;
      const report = this.outbox.read(this.#next, time.now + this.#skewMs);
      if (report) {
        const round = this.#round;
        this.#next = report.seq + 1n;
        stallAt = time.now + 10_000;
        const id = { cluster: this.cluster.name, epoch: this.outbox.epoch, seq: report.seq, round };
        broker.publish(id, report.envelope, (isTaken) =>
          this.program.receive(() => {
            if (!isTaken && this.#round === round) this.#beginRound(report.seq > this.outbox.watermark ? report.seq : this.outbox.watermark + 1n);
            this.#publishing.raise();
          }),
        );
        yield 2;
      } else {
        if (this.outbox.watermark < this.outbox.newest && time.now >= stallAt) {
          stallAt = time.now + 20_000;
          this.#beginRound(this.outbox.watermark + 1n);
        } else yield this.#publishing.atMost(Math.max(100, stallAt - time.now));
      }
    }
  }

  #beginRound(next: bigint): void {
    this.#round += 1;
    this.#next = next;
  }

  // Queues.

  #fleet(name: string): FleetHere {
    const known = this.#fleets.get(name);
    if (known) return known;
    const run: FleetHere = {
      name,
      target: undefined,
      pending: undefined,
      desired: nothing,
      inventory: new Map(),
      heals: new Map(),
      spent: { revision: "", byBundle: new Map() },
      leftBundles: new Map(),
      leftObjects: new Map(),
      held: undefined,
      reported: new Map(),
      reportedHead: "",
      isNews: false,
      isFlushing: false,
      dueAt: Infinity,
      isForgotten: false,
      isTold: false,
      signal: new Signal(),
    };
    this.#fleets.set(name, run);
    this.program.run(this.#live(run));
    return run;
  }

  #wake(run: FleetHere): void {
    this.#wakeIn(run, 5);
  }

  #wakeIn(run: FleetHere, ms: number): void {
    run.dueAt = Math.min(run.dueAt, this.#around.time.now + ms);
    run.signal.raise();
  }

  #wakeOthers(run: FleetHere): void {
    for (const other of this.#fleets.values()) if (other !== run && other.target) this.#wakeIn(other, 100);
  }

  #hex(bytes: number): string {
    return Array.from({ length: bytes }, () =>
      Math.floor(this.#around.time.random() * 256)
        .toString(16)
        .padStart(2, "0"),
    ).join("");
  }
}

function digestOfState({ uid, sync, health, bundle, prune }: ObjectState): string {
  return JSON.stringify([uid, sync, health, bundle, prune]);
}

function digestOfHead({ generation, targetDigest, summary }: FleetReport): string {
  return JSON.stringify([generation.toString(), targetDigest, summary]);
}

/** What an agent says over its link after Hello. */
export type HubWord = { readonly kind: "reopen" } | { readonly kind: "snapshot done" };
