import { hash } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { failpoint } from "@flotilla/proto/failpoint";
import {
  ClusterEventSchema,
  FleetReportSchema,
  Health,
  PhaseTimeSchema,
  type ClusterEvent,
  type FleetReport,
  type ObjectState,
  ObjectStateSchema,
  type PhaseTime,
  type ReportEnvelope,
} from "@flotilla/proto/gen/report";
import type { FieldDrift } from "../domain/drift.ts";
import type { ObjectId, ObjectKey } from "../domain/object-id.ts";
import { engineLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import type { FleetRun } from "./fleet-run.ts";
import { cut, healthDeadline, objectState, totals, type Totals } from "./object-state.ts";
import { headOf, inParts, packed, shortHash, wireId, type Packed, type ToldHead } from "./report-parts.ts";
import { ReportPace } from "./report-pace.ts";
import { StormFold } from "./storm-fold.ts";
import { severityCode, timestamp, wireDrift } from "./report-words.ts";

/** Where reports go: durable when the promise resolves. */
export interface ReportSink {
  record(report: ReportEnvelope["report"], traceparent?: string): Promise<bigint>;
}

/** Stable reasons of events, as `fleet events` prints them. */
export type EventReason =
  | "Adopted"
  | "Applied"
  | "ApplyFailed"
  | "DriftAccepted"
  | "DriftDetected"
  | "DriftEnded"
  | "DriftHealed"
  | "DriftReplaced"
  | "DriftReported"
  | "DeadlineExceeded"
  | "HookStarted"
  | "HookSucceeded"
  | "HookFailed"
  | "Fight"
  | "HealthChanged"
  | "LetGo"
  | "NotAdopted"
  | "PruneBlocked"
  | "PruneHeld"
  | "Pruned"
  | "Recreated"
  | "TargetRefused"
  | "TargetRemoved"
  | "TookOver"
  | "WentBack"
  | "EventsDropped";

/** What may be said with an event. */
export interface EventDetails {
  readonly bundle?: string;
  readonly object?: ObjectId;
  readonly drift?: readonly FieldDrift[];
  readonly warning?: boolean;
}

/** Time between tries when the outbox does not take a report (its disk is full). */
const recordRetryMs = 2_000;

/**
 * Folds what changes in one fleet into reports, at a pace of their own (ReportPace); only objects and bundles that changed (all bundles for a hub that does
 * not take less), the summary whole, events one by one.
 * Nothing changed: nothing is recorded. When the health of very many objects goes up and down at once, summary and bundles go on saying so, and the objects
 * one by one say where they have come to when it is calm again, at the latest after stormFoldMaxMs (StormFold).
 */
export class FleetReporter {
  readonly #run: FleetRun;
  readonly #sink: ReportSink;
  readonly #log: Log;
  readonly #onTotals: (totals: Totals) => void;
  readonly #tellsChangedBundles: () => boolean;
  readonly #touched = new Set<ObjectKey>();
  readonly #gone = new Map<ObjectKey, ObjectId>();
  #events: ClusterEvent[] = [];
  #dropped = 0;
  #phases: PhaseTime[] = [];
  /** What the reports so far have said of the fleet as a whole; undefined when the next is to say all of it. */
  #told: ToldHead | undefined;
  readonly #pace = new ReportPace();
  /** When the plan began that is being carried out. */
  #planBegan: number | undefined;
  readonly #storm = new StormFold();
  #stormTimer: NodeJS.Timeout | undefined;
  /** What had waited for the end of a storm could not be recorded: it does not wait once more. */
  #owesAll = false;
  #timer: NodeJS.Timeout | undefined;
  #healthTimer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #closed = false;

  constructor(run: FleetRun, sink: ReportSink, log: Log, onTotals: (totals: Totals) => void, tellsChangedBundles: () => boolean = () => false) {
    this.#run = run;
    this.#sink = sink;
    this.#log = log;
    this.#onTotals = onTotals;
    this.#tellsChangedBundles = tellsChangedBundles;
  }

  /** Something about an object changed. */
  touch(key: ObjectKey): void {
    this.#touched.add(key);
    this.changed();
  }

  /** An object is no longer part of the fleet. */
  forget(key: ObjectKey, id: ObjectId): void {
    this.#touched.delete(key);
    this.#gone.set(key, id);
    this.changed();
  }

  /** Something about the fleet as a whole changed. */
  changed(): void {
    if (this.#closed) return;
    const plannedForMs = this.#planBegan === undefined ? undefined : performance.now() - this.#planBegan;
    this.#timer ??= setTimeout(() => void this.flush(), this.#pace.waitMs(plannedForMs));
  }

  /** Something went wrong: told as soon as at the begin of a plan, however long it has taken. */
  #changedForTheWorse(): void {
    if (this.#planBegan === undefined || this.#isUrgent || this.#closed) return this.changed();
    this.#isUrgent = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), this.#pace.waitMs(0));
  }
  #isUrgent = false;

  /** A plan is carried out from now on: much will change. */
  planBegins(): void {
    this.#planBegan = performance.now();
  }

  planEnds(): void {
    this.#planBegan = undefined;
    if (this.#timer === undefined || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.changed();
  }

  event(reason: EventReason, message: string, details: EventDetails = {}): void {
    if (this.#events.length >= engineLimits.maxPendingEvents) {
      this.#dropped += 1;
      return;
    }
    this.#events.push(
      create(ClusterEventSchema, {
        at: timestamp(Date.now()),
        reason,
        severity: details.warning ? severityCode.warning : severityCode.normal,
        message: cut(message),
        bundle: details.bundle ?? "",
        ...(details.object && { object: wireId(details.object) }),
        drift: (details.drift ?? []).map(wireDrift),
      }),
    );
    if (details.warning) this.#changedForTheWorse();
    else this.changed();
  }

  phase(phase: MessageInitShape<typeof PhaseTimeSchema>): void {
    this.#phases.push(create(PhaseTimeSchema, phase));
    this.changed();
  }

  /** Whether nothing waits to be recorded. */
  get isQuiet(): boolean {
    return this.#timer === undefined && this.#flushing === undefined && this.#storm.waiting.size === 0;
  }

  /** Record what is waiting, now; `whole` with what waits for the end of a storm. Never throws: what could not be recorded waits for the next try. */
  async flush(whole = false): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isUrgent = false;
    while (this.#flushing) await this.#flushing;
    this.#flushing = this.#record(whole || this.#owesAll || this.#storm.isDue).finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** Say that the cluster left the fleet; the last word of this reporter. Throws when it could not be recorded. */
  async removed(): Promise<void> {
    await this.flush();
    this.close();
    const { name, target } = this.#run;
    await this.#sink.record(
      {
        case: "fleet",
        value: create(FleetReportSchema, {
          fleet: name,
          generation: target?.generation ?? 0n,
          revision: target?.revision ?? "",
          targetDigest: target?.digest ?? "",
          removed: true,
        }),
      },
      target?.traceparent,
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#healthTimer);
    clearTimeout(this.#stormTimer);
    this.#timer = undefined;
  }

  /** It said its last word: that the cluster has left the fleet. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** The report that is being recorded; undefined when none is. */
  get recording(): Promise<void> | undefined {
    return this.#flushing;
  }

  /**
   * Everything about the fleet as it is now, in parts that fit in a message. It counts as told: what is different when it is made, and as
   * before when the next report is, would else never be told. The caller sees to it that no report is being recorded.
   */
  snapshot(): FleetReport[] {
    const now = Date.now();
    const states = [...this.#run.objects.values()].map((object) => {
      const state = packed(ObjectStateSchema, create(ObjectStateSchema, objectState(this.#run, object, now)));
      object.reported = told(state);
      return state;
    });
    this.#told = undefined;
    const head = headOf(this.#run, totals(this.#run, now), this.#told, this.#tellsChangedBundles());
    this.#told = head.told;
    return inParts(head, states, [], [], []);
  }

  /** A snapshot could not be recorded: nothing of it was told. */
  tellAgain(): void {
    this.#told = undefined;
    for (const object of this.#run.objects.values()) {
      object.reported = "";
      this.touch(object.key);
    }
    this.changed();
  }

  async #record(tellsAll: boolean): Promise<void> {
    const startedAt = performance.now();
    const now = Date.now();
    const whole = totals(this.#run, now);
    // What the totals give rise to (the end of the path, a bundle's health) is part of this very report.
    this.#onTotals(whole);
    const changed = this.#changedObjects(now, tellsAll);
    const states = changed.map(({ state }) => state);
    const hashes = changed.map(({ key, before }) => [key, before] as const);
    const taken = { touched: [...this.#touched, ...hashes.map(([key]) => key)], gone: [...this.#gone], events: this.#takeEvents(), phases: this.#phases };
    this.#touched.clear();
    this.#gone.clear();
    this.#phases = [];
    this.#watchDeadlines(now);
    const head = headOf(this.#run, whole, this.#told, this.#tellsChangedBundles());
    const isNews = states.length + taken.gone.length + taken.events.length + taken.phases.length > 0 || head.isNews;
    const parts = isNews
      ? inParts(
          head,
          states,
          taken.gone.map(([, id]) => id),
          taken.events,
          taken.phases,
        )
      : [];
    this.#pace.made(startedAt, isNews);
    if (!isNews) return;
    failpoint("before-record-report");
    try {
      for (const report of parts) {
        await this.#sink.record({ case: "fleet", value: report }, this.#run.target?.traceparent || undefined);
      }
      this.#told = head.told;
      if (tellsAll) this.#owesAll = false;
    } catch (error) {
      // A part of it may have been recorded.
      this.#told = undefined;
      if ((error as { code?: unknown }).code === "ReportTooLarge") {
        // Cut by construction: this is a defect, and trying again would only repeat it. A snapshot brings the state.
        this.#dropped += taken.events.length;
        this.#log.error({ fleet: this.#run.name, err: error }, "a report was too large and is lost");
        return;
      }
      this.#log.error({ fleet: this.#run.name, err: error }, "a report could not be recorded; it is kept and tried again");
      for (const [key, before] of hashes) {
        const object = this.#run.objects.get(key);
        if (object) object.reported = before;
      }
      if (tellsAll) this.#owesAll = true;
      for (const key of taken.touched) this.#touched.add(key);
      for (const [key, id] of taken.gone) this.#gone.set(key, id);
      this.#events = [...taken.events, ...this.#events];
      this.#phases = [...taken.phases, ...this.#phases];
      if (!this.#closed) this.#timer ??= setTimeout(() => void this.flush(), recordRetryMs);
    }
  }

  /** What is told of objects now. Of a storm only what is more than health on its way. */
  #changedObjects(now: number, tellsAll: boolean): { readonly key: ObjectKey; readonly state: Packed<ObjectState>; readonly before: string }[] {
    const changed: { key: ObjectKey; state: Packed<ObjectState>; before: string; word: string }[] = [];
    const mild = new Set<ObjectKey>();
    const looked = tellsAll ? new Set([...this.#touched, ...this.#storm.waiting]) : this.#touched;
    let moves = 0;
    for (const key of looked) {
      const object = this.#run.objects.get(key);
      if (!object) continue;
      const state = packed(ObjectStateSchema, create(ObjectStateSchema, objectState(this.#run, object, now)));
      const word = told(state);
      const isMild = isOnItsWay(state.message) && sameBut(word, object.reported);
      // What came back to where it was told to be has moved too.
      if (isMild && this.#touched.has(key) && (this.#storm.waiting.has(key) || word !== object.reported)) moves += 1;
      if (word === object.reported) continue;
      changed.push({ key, state, before: object.reported, word });
      if (isMild) mild.add(key);
    }
    const isStorm = this.#storm.moved(moves) && !tellsAll;
    if (isStorm) this.#storm.wait(mild);
    for (const key of looked) if (!isStorm || !mild.has(key)) this.#storm.settle(key);
    this.#watchStorm();
    const toTell = isStorm ? changed.filter(({ key }) => !mild.has(key)) : changed;
    for (const { key, word } of toTell) {
      const object = this.#run.objects.get(key);
      if (object) object.reported = word;
    }
    return toTell;
  }

  #watchStorm(): void {
    const { lookInMs } = this.#storm;
    if (lookInMs === undefined || this.#closed) return;
    this.#stormTimer ??= setTimeout(() => {
      this.#stormTimer = undefined;
      if (this.#storm.look()) void this.flush(true);
      else this.#watchStorm();
    }, lookInMs);
    // Nobody waits for it: a process that ends says it all.
    this.#stormTimer.unref();
  }

  #takeEvents(): ClusterEvent[] {
    if (this.#dropped > 0) {
      const dropped = this.#dropped;
      this.#dropped = 0;
      const at = timestamp(Date.now());
      this.#events.push(
        create(ClusterEventSchema, {
          at,
          reason: "EventsDropped" satisfies EventReason,
          severity: severityCode.warning,
          message: `${dropped} events came faster than they could be recorded`,
        }),
      );
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** In-progress objects fail by time alone: nothing else would wake us. */
  #watchDeadlines(now: number): void {
    clearTimeout(this.#healthTimer);
    let next = Infinity;
    const overdue: ObjectKey[] = [];
    for (const object of this.#run.objects.values()) {
      const deadline = healthDeadline(this.#run, object);
      if (deadline !== undefined && deadline > now) {
        next = Math.min(next, deadline);
        overdue.push(object.key);
      }
    }
    if (next === Infinity || this.#closed) return;
    this.#healthTimer = setTimeout(
      () => {
        for (const key of overdue) this.touch(key);
      },
      next - now + 10,
    );
    this.#healthTimer.unref();
  }
}

/** What stands for a state that was told: whether it is another now, and whether in more than its health. */
function told({ message, bytes }: Packed<ObjectState>): string {
  const { sync, change, prune, uid, bundle, version, drift } = message;
  return (
    hash("sha256", JSON.stringify([sync, change, prune, uid, bundle, version, drift.map(({ path, live }) => [path, live])]), "base64url").slice(0, restChars) +
    shortHash(bytes)
  );
}

const restChars = 8;

/** They differ in health and message alone. */
function sameBut(one: string, other: string): boolean {
  return other !== "" && one.slice(0, restChars) === other.slice(0, restChars);
}

/** Neither broken nor unknown: that is told at once, however many there are. */
function isOnItsWay({ health }: ObjectState): boolean {
  return health === Health.CURRENT || health === Health.IN_PROGRESS;
}
