import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { HeldTargetSchema, type Command, type DryRunCommand, type HeldTarget } from "@flotilla/proto/gen/link";
import { SnapshotPartSchema } from "@flotilla/proto/gen/report";
import type { Target } from "@flotilla/proto/gen/target";
import { isName } from "@flotilla/proto/names";
import { BodyStore } from "../cluster/body-store.ts";
import { cachedFor } from "../cluster/cached-for.ts";
import { Discovery } from "../cluster/discovery.ts";
import { InventoryStore } from "../cluster/inventory-store.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import { OrderStore } from "../cluster/order-store.ts";
import { KubeError, tellError } from "../cluster/kube-error.ts";
import type { StateObjects } from "../cluster/state-objects.ts";
import { TargetStore } from "../cluster/target-store.ts";
import { claimedBy, handsOver, namedBy, otherFleet, takenBy, unreadFleet } from "../domain/neighbours.ts";
import { describeId, type ObjectKey } from "../domain/object-id.ts";
import type { Foresight } from "../domain/preview.ts";
import { refuseTarget } from "../domain/refuse-target.ts";
import { retryDelayMs } from "../domain/retry-delay.ts";
import { engineLimits, previewLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import type { StepTracer } from "../telemetry.ts";
import { ClusterView } from "./cluster-view.ts";
import type { EngineContext } from "./engine-context.ts";
import { HealthExplainer } from "./explain-health.ts";
import { tellSuspension } from "./hold-of.ts";
import { FleetReporter, type ReportSink } from "./fleet-reporter.ts";
import { isDrifted, isHookHere, newFleetRun, type FleetRun } from "./fleet-run.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { judge, type Totals } from "./object-state.ts";
import { previewTarget } from "./preview-target.ts";
import { refuse } from "./receive-target.ts";
import { reconcileObject } from "./reconcile-object.ts";
import { reconcileTarget } from "./reconcile-target.ts";
import { saveOrder } from "./save-order.ts";
import { syncObjects } from "./sync-objects.ts";
import { readKept, recoverFleet, type KeptInventories } from "./recover-fleet.ts";
import { tellPhase } from "./tell-phase.ts";
import type { Sight, TrackedObject } from "./tracked-object.ts";
import { Turns } from "./turns.ts";

/** Why what is going on is given up. One error for all: the signal would make one with a stack for every target that comes. */
const superseded = new DOMException("a newer target came, or the agent stops", "AbortError");

/** What an engine is made of. */
export interface EngineOptions {
  readonly cluster: string;
  readonly client: KubeClient;
  readonly state: StateObjects;
  readonly sink: ReportSink;
  readonly tracer: StepTracer;
  readonly log: Log;
  /** How long the objects of a bundle that left its target rest before they are deleted; engineLimits.handOverMs when left out. */
  readonly handOverMs?: number;
  /** Bodies of targets that are followed are not held any more: the hub is to be asked for them. */
  readonly onBodiesLost?: () => void;
}

/**
 * Keeps a cluster at what its fleets want. Two queues of keys feed two stories: whole fleets (reconcileTarget) and single
 * objects (reconcileObject: drift, retry), which go in front. Nothing runs, asks or writes while nothing changes.
 */
export class Engine {
  readonly bodies: BodyStore;
  /** Whether the hub takes reports without the bundles that are as they were; it says so in Welcome. */
  tellsChangedBundles = false;
  readonly #options: EngineOptions;
  readonly #context: EngineContext;
  readonly #view: ClusterView;
  readonly #explainer: HealthExplainer;
  readonly #fleets = new Map<string, FleetRun>();
  readonly #reporters = new Map<string, FleetReporter>();
  readonly #bundleHealth = new Map<string, string>();
  readonly #previews = new Turns(1, previewLimits.waiting);
  readonly #fleetQueue = new KeyedQueue(engineLimits.fleetWorkers, (name) => this.#workFleet(name));
  readonly #objectQueue = new KeyedQueue(engineLimits.objectWorkers, (key) => this.#workObject(key));
  /** What the cluster keeps since it went back in time. */
  #kept: () => Promise<KeptInventories> = () => readKept(this.#context);
  /** Snapshots that wait for a target to be read. */
  readonly #onRead: (() => void)[] = [];
  #stopped = false;

  constructor(options: EngineOptions) {
    const { cluster, client, log, tracer, state } = options;
    const discovery = new Discovery(client);
    this.#options = options;
    this.bodies = new BodyStore(state);
    this.#view = new ClusterView(
      client,
      discovery,
      log,
      (object, before, isSightChanged) => this.#onSeen(object, before, isSightChanged),
      () => this.#onGoneBack(),
    );
    this.#explainer = new HealthExplainer(client, discovery, log, {
      isTracked: (object) => this.#fleets.get(object.fleet)?.objects.get(object.key) === object,
      onExplained: (object) => {
        const run = this.#fleets.get(object.fleet);
        if (run) this.#reporter(run).touch(object.key);
      },
    });
    this.#context = {
      cluster,
      client,
      discovery,
      view: this.#view,
      bodies: this.bodies,
      targets: new TargetStore(state, log),
      inventories: new InventoryStore(state),
      orders: new OrderStore(state),
      tracer,
      log,
      hashKey: randomBytes(32),
      handOverMs: options.handOverMs ?? engineLimits.handOverMs,
      reporter: (run) => this.#reporter(run),
      claimedBy: (run, key) => claimedBy(this.#fleets.values(), run, key),
      takenBy: (run, key) => takenBy(this.#fleets.values(), run, key),
      namedBy: (run, key) => namedBy(this.#fleets.values(), run, key),
      unreadFleet: (run) => unreadFleet(this.#fleets.values(), run),
      hasOtherFleets: (run) => otherFleet(this.#fleets.values(), run, () => true) !== undefined,
      hasLetGo: (fleet, key) => this.#hasLetGo(fleet, key),
      claimsChanged: (run) => this.#wakeWaiting(run),
      queueFleet: (run, due) => this.#fleetQueue.add(run.name, due),
      queueObject: (run, key, due) => this.#objectQueue.add(`${run.name}\n${key}`, due),
      forgetFleet: (run) => this.#forget(run),
    };
  }

  /**
   * Load what the cluster keeps and go on with it, whether or not a hub is there (G9).
   *
   * @throws KubeError when the cluster cannot be read; the caller tries again.
   */
  async start(): Promise<void> {
    await this.#options.state.ensureNamespace();
    await this.#context.discovery.refresh();
    await this.bodies.load();
    for (const [fleet, inventory] of await this.#context.inventories.load()) {
      const run = this.#fleet(fleet);
      if (inventory instanceof KubeError) {
        run.inventoryProblem = `${inventory.message}. Nothing is applied or pruned until it can be read; delete these ConfigMaps to adopt the fleet's objects anew`;
        this.#options.log.error({ fleet, problem: run.inventoryProblem }, "inventory unreadable");
      } else
        for (const [key, entry] of inventory) {
          run.inventory.set(key, entry);
          if (entry.uid === "") run.interrupted.add(key);
        }
    }
    for (const [fleet, memory] of await this.#context.orders.load()) {
      const run = this.#fleet(fleet);
      if (memory instanceof KubeError) {
        run.inventoryProblem = `${memory.message}. Nothing is applied or pruned until it can be read; delete the ConfigMap to run the fleet's hooks anew`;
        this.#options.log.error({ fleet, problem: run.inventoryProblem }, "state of hooks unreadable");
        continue;
      }
      for (const [key, hook] of memory.hooks) run.hookRuns.set(key, hook);
      for (const [bundle, mark] of memory.syncs) run.syncs.set(bundle, mark);
      for (const [bundle, mark] of memory.farewells) run.farewells.set(bundle, { ...mark, hooks: new Map(), problem: "not read yet" });
      for (const [key, heals] of memory.heals) run.heals.set(key, heals);
      run.spent = memory.spent;
    }
    for (const target of await this.#context.targets.load()) {
      if (refuseTarget(target, this.#options.cluster, undefined) !== undefined) continue;
      const run = this.#fleet(target.fleet);
      run.pending = { target, arrivedAt: Date.now(), isRestored: true };
      this.#fleetQueue.add(run.name);
    }
  }

  /** Follow a target, from now on and instead of what is being done. Every body it names is held. */
  accept(target: Target): void {
    if (this.#stopped || !isName(target.fleet)) return;
    const run = this.#fleet(target.fleet);
    const newest = run.pending?.target ?? run.target;
    const refusal = refuseTarget(target, this.#options.cluster, newest);
    if (refusal !== undefined) return refuse(run, target.generation, refusal, this.#context);
    const isSame = newest !== undefined && newest.generation === target.generation;
    if (!isSame) {
      run.pending = { target, arrivedAt: Date.now(), isRestored: false };
      run.superseded.abort(superseded);
    }
    this.#fleetQueue.add(run.name, { urgent: true });
  }

  /**
   * Do what a person asked for. Renewal of credentials is the link's.
   *
   * @throws Error when the fleet is not in this cluster.
   */
  async command(command: Command): Promise<void> {
    if (command.kind.case === "snapshot") return await this.snapshot();
    if (command.kind.case !== "sync") return;
    const run = this.#fleets.get(command.kind.value.fleet);
    if (!run) throw new Error(`this cluster is not in fleet ${command.kind.value.fleet}`);
    syncObjects(run, command.kind.value, this.#context);
    this.#fleetQueue.add(run.name, { urgent: true });
  }

  /**
   * What a target would do here; nothing is written, and nothing of it is kept. One at a time.
   *
   * @throws Error when it cannot be said: see previewTarget.
   */
  preview(command: DryRunCommand, signal: AbortSignal): Promise<Foresight> {
    return this.#previews.take(async () => {
      if (signal.aborted || this.#stopped) throw new Error("there was no time for it");
      return await previewTarget(this.#fleets.get(command.fleet) ?? newFleetRun(command.fleet), command, this.#context, signal);
    });
  }

  /** Who suspended a fleet as a whole here, for people; undefined when nobody did. The newest target says it. */
  suspensionOf(fleet: string): string | undefined {
    const run = this.#fleets.get(fleet);
    const suspension = (run?.pending?.target ?? run?.target)?.suspension;
    return suspension && tellSuspension(suspension);
  }

  /** What is followed here. */
  held(): HeldTarget[] {
    return this.#toldOf(({ target, pending }) => target ?? (pending?.isRestored ? pending.target : undefined));
  }

  /**
   * What the hub is told that is here: of each fleet the newest target that came, followed or not yet. A hub whose database was restored may count up to the
   * generation of one that is not followed yet, and what it sends under it is refused: it has to know.
   */
  accepted(): HeldTarget[] {
    return this.#toldOf(({ target, pending }) => pending?.target ?? target);
  }

  #toldOf(targetOf: (run: FleetRun) => Target | undefined): HeldTarget[] {
    return [...this.#fleets.values()].flatMap((run) => {
      const target = targetOf(run);
      // A target whose bodies were lost is not held: the hub sends it again, and with it they are asked for.
      const isWhole = target?.bundles.every((bundle) => this.bodies.has(bundle.digest)) ?? false;
      if (!target || !isWhole) return [];
      const { generation, digest, releasedAt } = target;
      return [create(HeldTargetSchema, { fleet: run.name, generation, digest, ...(releasedAt && { releasedAt }) })];
    });
  }

  /**
   * Record everything that is known, whole. Of a fleet whose first target was not read yet (after a restart, above all) nothing is known: a snapshot that did
   * not wait would say that nothing of it is there.
   */
  async snapshot(): Promise<void> {
    while (this.#unready()) await this.#unready();
    // Of a fleet that was told as left, and is being forgotten, a snapshot would say that it is here again.
    const runs = [...this.#fleets.values()].filter((run) => !this.#reporter(run).isClosed);
    const fleets = runs.map(({ name }) => name);
    const states = runs.flatMap((run) => this.#reporter(run).snapshot());
    const snapshotId = randomBytes(8).toString("hex");
    const parts = Math.max(1, states.length);
    const recorded = Array.from({ length: parts }, (_, part) => {
      const state = states[part];
      return this.#options.sink.record({ case: "snapshot", value: create(SnapshotPartSchema, { snapshotId, part, parts, fleets, ...(state && { state }) }) });
    });
    try {
      await Promise.all(recorded);
    } catch (error) {
      for (const name of fleets) this.#reporters.get(name)?.tellAgain();
      throw error;
    }
  }

  /** What a snapshot has to wait for; undefined when there is nothing. */
  #unready(): Promise<void> | undefined {
    const isUnread = [...this.#fleets.values()].some(({ target, pending, inventoryProblem }) => !target && pending && inventoryProblem === "");
    if (isUnread) return new Promise((resolve) => this.#onRead.push(resolve));
    return [...this.#reporters.values()].find(({ recording }) => recording !== undefined)?.recording;
  }

  /** Whether nothing waits, runs, or is still to be written or recorded. */
  get isQuiet(): boolean {
    const isSettled = [...this.#fleets.values()].every((run) => !run.settleTimer && !run.saving && !run.orderTimer && !run.orderSaving);
    return isSettled && this.#fleetQueue.size === 0 && this.#objectQueue.size === 0 && [...this.#reporters.values()].every((reporter) => reporter.isQuiet);
  }

  /** Stop in order: finish requests in flight, record what is known, close watches. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const run of this.#fleets.values()) {
      run.superseded.abort(superseded);
      clearTimeout(run.settleTimer);
      clearTimeout(run.wakeTimer);
    }
    await Promise.all([this.#fleetQueue.stop(), this.#objectQueue.stop(), this.#explainer.stop()]);
    // What was corrected a moment ago counts for the next process too.
    const unsaved = [...this.#fleets.values()].filter((run) => run.orderTimer !== undefined);
    await Promise.all(unsaved.map((run) => saveOrder(run, this.#context).catch(() => undefined)));
    this.#view.stop();
    await Promise.all([...this.#reporters.values()].map((reporter) => reporter.flush(true)));
    for (const reporter of this.#reporters.values()) reporter.close();
  }

  async #workFleet(name: string): Promise<void> {
    const run = this.#fleets.get(name);
    if (!run) return;
    if (run.inventoryProblem !== "") {
      run.trouble = run.inventoryProblem;
      return this.#reporter(run).changed();
    }
    run.superseded = new AbortController();
    const isNew = run.pending !== undefined;
    const reporter = this.#reporter(run);
    reporter.planBegins();
    try {
      if (run.goneBack) await this.#recover(run);
      const farewells = run.farewells.size;
      await reconcileTarget(run, this.#context, run.superseded.signal);
      if ((isNew || run.farewells.size < farewells) && !run.superseded.signal.aborted) await this.#collectBodies();
    } catch (error) {
      run.troubles += 1;
      run.trouble = tellError(error, "");
      this.#options.log.warn({ fleet: name, err: error, troubles: run.troubles }, "a plan broke off; it is tried again");
      this.#reporter(run).changed();
      const cap = Math.min(engineLimits.planRetryMaxMs, engineLimits.planRetryMinMs * 2 ** Math.min(run.troubles - 1, 10));
      this.#fleetQueue.add(name, { delayMs: cap / 2 + (Math.random() * cap) / 2 });
    } finally {
      reporter.planEnds();
      for (const goOn of this.#onRead.splice(0)) goOn();
    }
  }

  async #workObject(queueKey: string): Promise<void> {
    const newline = queueKey.indexOf("\n");
    const run = this.#fleets.get(queueKey.slice(0, newline));
    if (!run || run.inventoryProblem !== "") return;
    try {
      await reconcileObject(run, queueKey.slice(newline + 1), this.#context);
    } catch (error) {
      this.#options.log.error({ object: queueKey.replace("\n", " "), err: error }, "an object could not be looked after; it is tried again");
      this.#objectQueue.add(queueKey, { delayMs: retryDelayMs("patient", 4, Math.random()) });
    }
  }

  /** Fleet by fleet, in turn with its plans, which then bring everything to where Git says. */
  #onGoneBack(): void {
    this.#options.log.error({}, "the cluster's database went back in time: what the agent keeps in it is written anew, and everything is planned again");
    this.#kept = cachedFor(engineLimits.planRetryMaxMs, () => readKept(this.#context)).read;
    for (const run of this.#fleets.values()) {
      run.goneBack = true;
      run.superseded.abort(superseded);
      this.#fleetQueue.add(run.name, { urgent: true });
    }
  }

  async #recover(run: FleetRun): Promise<void> {
    const isWhole = await recoverFleet(run, await this.#kept(), this.#context);
    run.goneBack = false;
    if (!isWhole) this.#options.onBodiesLost?.();
  }

  async #collectBodies(): Promise<void> {
    const targets = [...this.#fleets.values()].flatMap((run) => [run.target, run.pending?.target]);
    const farewells = [...this.#fleets.values()].flatMap((run) => [...run.farewells.values()].map(({ token }) => token));
    const named = new Set([...targets.flatMap((target) => target?.bundles.map((bundle) => bundle.digest) ?? []), ...farewells]);
    await this.bodies.collect(named).catch((error: unknown) => this.#options.log.warn({ err: error }, "old bodies could not be removed"));
  }

  /** A watch, a read or an apply showed an object. */
  #onSeen(object: TrackedObject, before: Sight | undefined, isSightChanged = false): void {
    const run = this.#fleets.get(object.fleet);
    if (!run || run.objects.get(object.key) !== object) return;
    // Its health is known again, or no more, though it is the same object as before.
    if (isSightChanged) this.#reporter(run).touch(object.key);
    const isChanged =
      before?.verdict.health !== object.live?.verdict.health || before?.verdict.message !== object.live?.verdict.message || before?.uid !== object.live?.uid;
    if (isChanged) this.#onHealth(run, object, before);
    if (before && object.live && before.guard !== object.live.guard) this.#onGuard(run, object);
    if (run.awaitedObjects.has(object.key) && before?.resourceVersion !== object.live?.resourceVersion) this.#goOn(run, engineLimits.suspicionMs);
    if (object.isHook && isHookHere(run, object.key)) return;
    if (!run.desired.objects.has(object.key)) return this.#onSeenUnwanted(run, object, before);
    if (object.busy || run.planned.has(object.key)) return;
    if (object.isSuspect || isDrifted(run, object)) this.#context.queueObject(run, object.key, { delayMs: engineLimits.suspicionMs, urgent: true });
    else if (object.drift.length > 0 || object.fightUntil > 0) this.#context.queueObject(run, object.key);
  }

  #onHealth(run: FleetRun, object: TrackedObject, before: Sight | undefined): void {
    run.healthChangedAt = Date.now();
    this.#explainer.notice(object);
    this.#reporter(run).touch(object.key);
    const isNews = object.live?.verdict.health === "Failed" && before?.verdict.health !== "Failed";
    if (isNews && !object.isHook)
      this.#reporter(run).event("HealthChanged", `${describeId(object.id)} failed: ${judge(run, object, Date.now()).verdict.message}`, {
        bundle: object.bundle,
        object: object.id,
        warning: true,
      });
    if (run.prunesWait?.isForHealth && object.live?.verdict.health === "Current") this.#goOn(run, engineLimits.suspicionMs);
    if (!object.isHook && !run.awaited.has(object.bundle)) return;
    const isEnd = object.isHook || object.live?.verdict.health === "Current" || object.live?.verdict.health === "Failed";
    this.#goOn(run, isEnd ? engineLimits.suspicionMs : engineLimits.awaitedMs);
  }

  /** Something that a plan may have waited for has changed. */
  #goOn(run: FleetRun, delayMs: number): void {
    if (!this.#stopped) this.#fleetQueue.add(run.name, { delayMs });
  }

  /** Somebody guarded an object by hand, or took the guard away: what waits for it, or would be pruned, is planned anew. */
  #onGuard(run: FleetRun, object: TrackedObject): void {
    const isKept = run.desired.objects.has(object.key);
    if (!object.busy && (!isKept || object.exempt !== "" || object.live?.guard.paused)) this.#fleetQueue.add(run.name, { delayMs: engineLimits.suspicionMs });
  }

  /** An object that is to be pruned, or whose prune is held, is gone by now, whoever did it. */
  #onSeenUnwanted(run: FleetRun, object: TrackedObject, before: Sight | undefined): void {
    if (object.live || !before || object.busy || !run.inventory.has(object.key)) return;
    // Gone, or only without the label that is watched for: it is read before it is forgotten.
    this.#context.queueObject(run, object.key, { urgent: true });
  }

  /** Once per report: tell bundles whose health changed, and the end of the path. */
  #onTotals(run: FleetRun, totals: Totals): void {
    for (const bundle of totals.bundles) {
      const key = `${run.name}/${bundle.name}`;
      const word = String(bundle.health);
      const before = this.#bundleHealth.get(key);
      this.#bundleHealth.set(key, word);
      if (before === undefined || before === word) continue;
      this.#reporter(run).event("HealthChanged", bundle.message ? `bundle ${bundle.name}: ${bundle.message}` : `bundle ${bundle.name} is healthy`, {
        bundle: bundle.name ?? "",
      });
    }
    const { target } = run;
    if (!target || run.told.get("apply") !== target.generation || !totals.rollUp.synced || totals.rollUp.health !== "Current") return;
    tellPhase(run, this.#context, "healthy", run.appliedAt, Math.max(run.appliedAt, run.healthChangedAt));
  }

  #hasLetGo(fleet: string, key: ObjectKey): boolean {
    const run = this.#fleets.get(fleet);
    return run !== undefined && run.inventoryProblem === "" && (!run.inventory.has(key) || handsOver(run, key));
  }

  #wakeWaiting(run: FleetRun): void {
    for (const other of this.#fleets.values())
      if (other !== run && other.waitsForOthers) this.#fleetQueue.add(other.name, { delayMs: engineLimits.suspicionMs });
  }

  #fleet(name: string): FleetRun {
    const known = this.#fleets.get(name);
    if (known) return known;
    const run = newFleetRun(name);
    this.#fleets.set(name, run);
    return run;
  }

  #reporter(run: FleetRun): FleetReporter {
    const known = this.#reporters.get(run.name);
    if (known) return known;
    const reporter = new FleetReporter(
      run,
      this.#options.sink,
      this.#options.log,
      (totals) => this.#onTotals(run, totals),
      () => this.tellsChangedBundles,
    );
    this.#reporters.set(run.name, reporter);
    return reporter;
  }

  #forget(run: FleetRun): void {
    clearTimeout(run.settleTimer);
    clearTimeout(run.orderTimer);
    clearTimeout(run.wakeTimer);
    for (const object of run.objects.values()) this.#view.detach(object);
    this.#reporters.get(run.name)?.close();
    this.#reporters.delete(run.name);
    for (const bundle of run.desired.bundles.keys()) this.#bundleHealth.delete(`${run.name}/${bundle}`);
    // A newer target may have brought the fleet back meanwhile.
    this.#fleets.delete(run.name);
    this.#wakeWaiting(run);
    if (run.pending) this.accept(run.pending.target);
  }
}
