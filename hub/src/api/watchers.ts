import type { EventRow } from "@flotilla/proto/rest/contract";
import { hintPollMs, watchCoalesceMs, watchersMax, watcherStuckMs, watcherUnsentBytesMax, watchPageRows, watchResumeMax } from "../limits.ts";
import type { ApiLog, ApiStore, ChangeMarks } from "./ports.ts";

/** Where a watcher's text goes. */
export interface WatchSink {
  /** Bytes that were written and not sent. */
  readonly unsentBytes: number;
  write(text: string): void;
  end(): void;
}

export interface Change {
  readonly version: number;
  /** Empty with empty clusters: anything may have changed. */
  readonly fleets: readonly string[];
  readonly clusters: readonly string[];
}

interface Watcher {
  readonly sink: WatchSink;
  readonly fleet: string | undefined;
  /** Id of the last event it was sent. */
  sentId: number;
  /** Reads what it missed by itself; what comes meanwhile it will find there. */
  catchingUp: boolean;
  /** Since when it takes nothing more; what it is not sent now it gets from the store when it reads again. */
  stuckSince: number | undefined;
  missedChange: boolean;
}

/**
 * Everyone who watches this replica. One reader of the store serves them all: it looks when a change was heard, and every 2 s in case
 * one was not. Events go out in the order of their ids, each once; changes of one burst go out together.
 */
export class Watchers {
  readonly #store: Pick<ApiStore, "readChangeMarks" | "readEventsAfter">;
  readonly #log: ApiLog;
  readonly #watchers = new Set<Watcher>();
  readonly #changed = { fleets: new Set<string>(), clusters: new Set<string>(), anything: false };
  #marks: ChangeMarks | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #poll: NodeJS.Timeout;

  constructor(store: Pick<ApiStore, "readChangeMarks" | "readEventsAfter">, log: ApiLog) {
    this.#store = store;
    this.#log = log;
    this.#poll = setInterval(() => {
      if (this.#watchers.size > 0) void this.#look();
    }, hintPollMs);
    this.#poll.unref();
  }

  get count(): number {
    return this.#watchers.size;
  }

  /** A change was heard; empty lists say that anything may have changed. */
  tell({ fleets, clusters }: { readonly fleets: readonly string[]; readonly clusters: readonly string[] }): void {
    if (this.#watchers.size === 0) return;
    for (const fleet of fleets) this.#changed.fleets.add(fleet);
    for (const cluster of clusters) this.#changed.clusters.add(cluster);
    if (fleets.length === 0 && clusters.length === 0) this.#changed.anything = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#look();
    }, watchCoalesceMs);
  }

  /**
   * Adds a watcher, which first gets what it missed since `resumeAfter`. Undefined when there are too many.
   *
   * @throws what the store throws.
   */
  async add(sink: WatchSink, options: { readonly fleet: string | undefined; readonly resumeAfter: number | undefined }): Promise<(() => void) | undefined> {
    if (this.#watchers.size >= watchersMax) return undefined;
    if (this.#watchers.size === 0) this.#marks = undefined;
    const watcher: Watcher = { sink, fleet: options.fleet, sentId: options.resumeAfter ?? 0, catchingUp: true, stuckSince: undefined, missedChange: false };
    this.#watchers.add(watcher);
    try {
      this.#marks ??= await this.#store.readChangeMarks();
      // Another replica may have sent it what our marks do not know yet.
      if (watcher.sentId > this.#marks.eventId) comeBackTo(watcher, await this.#store.readChangeMarks());
      if (options.resumeAfter === undefined) watcher.sentId = this.#marks.eventId;
      else await this.#catchUp(watcher);
      watcher.catchingUp = false;
      // What was read for the others while this one caught up.
      void this.#look();
    } catch (error) {
      this.#watchers.delete(watcher);
      throw error;
    }
    return () => this.#watchers.delete(watcher);
  }

  /** A watcher that was full reads on. */
  readOn(): void {
    void this.#look();
  }

  close(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#timer);
    for (const { sink } of this.#watchers) sink.end();
    this.#watchers.clear();
  }

  async #catchUp(watcher: Watcher): Promise<void> {
    for (let sent = 0; sent < watchResumeMax;) {
      const events = await this.#store.readEventsAfter(watcher.sentId, watcher.fleet, watchPageRows);
      // A slow one gets the rest like everyone else, when it reads on.
      if (!this.#sendEvents(watcher, events)) return;
      sent += events.length;
      if (events.length < watchPageRows) {
        // Others' events between its own are behind it too.
        watcher.sentId = Math.max(watcher.sentId, this.#marks?.eventId ?? 0);
        return;
      }
    }
    this.#drop(watcher, `more than ${watchResumeMax} events were missed; list them with ?after= instead`);
  }

  /** One look at a time; whoever comes meanwhile causes one more. */
  async #look(): Promise<void> {
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return this.#looking;
    }
    this.#looking = this.#lookOnce()
      .catch((error: unknown) => this.#log.warn({ error: (error as Error).message }, "watchers could not be served; trying again"))
      .finally(() => {
        this.#looking = undefined;
        if (this.#lookAgain) {
          this.#lookAgain = false;
          void this.#look();
        }
      });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const before = this.#marks;
    const marks = await this.#store.readChangeMarks();
    // A database that lost its newest commits gives their ids to other events.
    if (before !== undefined && marks.eventId < before.eventId) for (const watcher of this.#watchers) comeBackTo(watcher, marks);
    this.#sendChange(before, marks);
    this.#marks = marks;
    for (const watcher of this.#watchers) this.#dropStuck(watcher);
    const live = new Set([...this.#watchers].filter((watcher) => !watcher.catchingUp && !isFull(watcher)));
    const from = Math.min(...[...live].map(({ sentId }) => sentId));
    if (live.size === 0 || from >= marks.eventId) return;
    for (let after = from; after < marks.eventId;) {
      const events = await this.#store.readEventsAfter(after, undefined, watchPageRows);
      const last = events.at(-1);
      if (last === undefined) return;
      for (const watcher of live) {
        const wanted = events.filter(({ id, fleet }) => id > watcher.sentId && (watcher.fleet === undefined || fleet === watcher.fleet));
        // Once it is full it takes no later page either: the next look begins where it stopped.
        if (this.#sendEvents(watcher, wanted)) watcher.sentId = Math.max(watcher.sentId, last.id);
        else live.delete(watcher);
      }
      after = last.id;
      // Sockets are written between turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #sendChange(before: ChangeMarks | undefined, now: ChangeMarks): void {
    const { fleets, clusters, anything } = this.#changed;
    const heard = anything || fleets.size > 0 || clusters.size > 0;
    const unheard = before !== undefined && !heard && (before.version !== now.version || before.connected !== now.connected);
    const leaseEnded = before !== undefined && before.connected !== now.connected;
    if (!heard && !unheard) {
      for (const watcher of this.#watchers) if (watcher.missedChange) this.#sendChangeTo(watcher, { version: now.version, fleets: [], clusters: [] });
      return;
    }
    const change: Change =
      anything || unheard || leaseEnded
        ? { version: now.version, fleets: [], clusters: [] }
        : { version: now.version, fleets: [...fleets], clusters: [...clusters] };
    fleets.clear();
    clusters.clear();
    this.#changed.anything = false;
    for (const watcher of this.#watchers) {
      const concerned = watcher.fleet === undefined || change.fleets.length === 0 || change.fleets.includes(watcher.fleet);
      if (concerned) this.#sendChangeTo(watcher, change);
    }
  }

  /** Whether all were sent; the rest waits until the watcher reads on. */
  #sendEvents(watcher: Watcher, events: readonly EventRow[]): boolean {
    for (const event of events) {
      if (isFull(watcher)) return false;
      watcher.sink.write(frame("event", event, event.id));
      watcher.sentId = event.id;
    }
    return true;
  }

  #sendChangeTo(watcher: Watcher, change: Change): void {
    if (isFull(watcher)) watcher.missedChange = true;
    else {
      watcher.sink.write(frame("change", watcher.missedChange ? { ...change, fleets: [], clusters: [] } : change));
      watcher.missedChange = false;
    }
  }

  #dropStuck(watcher: Watcher): void {
    if (!isFull(watcher)) watcher.stuckSince = undefined;
    else watcher.stuckSince ??= Date.now();
    if (watcher.stuckSince !== undefined && Date.now() - watcher.stuckSince > watcherStuckMs)
      this.#drop(watcher, "the reader is too slow; connect again with Last-Event-ID");
  }

  #drop(watcher: Watcher, reason: string): void {
    this.#watchers.delete(watcher);
    watcher.sink.write(frame("dropped", { reason }));
    watcher.sink.end();
  }
}

function isFull({ sink }: Watcher): boolean {
  return sink.unsentBytes > watcherUnsentBytesMax;
}

/** One message of server-sent events. */
export function frame(event: string, content: unknown, id?: number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(content)}\n\n`;
}

/** It waits for no id that was lost, and is told that anything may have changed. */
function comeBackTo(watcher: Watcher, { eventId }: ChangeMarks): void {
  if (watcher.sentId <= eventId) return;
  watcher.sentId = eventId;
  watcher.missedChange = true;
}
