import type { EventRow } from "@flotilla/proto/rest/contract";
import { hintPollMs, watchCoalesceMs, watcherUnsentBytesMax, watchersMax, watchPageRows, watchResumeMax } from "../limits.ts";
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
    const watcher: Watcher = { sink, fleet: options.fleet, sentId: options.resumeAfter ?? 0, catchingUp: true };
    this.#watchers.add(watcher);
    try {
      this.#marks ??= await this.#store.readChangeMarks();
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

  close(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#timer);
    for (const { sink } of this.#watchers) sink.end();
    this.#watchers.clear();
  }

  async #catchUp(watcher: Watcher): Promise<void> {
    for (let sent = 0; sent < watchResumeMax; ) {
      const events = await this.#store.readEventsAfter(watcher.sentId, watcher.fleet, watchPageRows);
      this.#sendEvents(watcher, events);
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
    this.#sendChange(before, marks);
    this.#marks = marks;
    const live = [...this.#watchers].filter(({ catchingUp }) => !catchingUp);
    const from = Math.min(...live.map(({ sentId }) => sentId));
    if (live.length === 0 || from >= marks.eventId) return;
    for (let after = from; after < marks.eventId; ) {
      const events = await this.#store.readEventsAfter(after, undefined, watchPageRows);
      const last = events.at(-1);
      if (last === undefined) return;
      for (const watcher of live) {
        this.#sendEvents(watcher, events.filter(({ id, fleet }) => id > watcher.sentId && (watcher.fleet === undefined || fleet === watcher.fleet)));
        watcher.sentId = Math.max(watcher.sentId, last.id);
      }
      after = last.id;
    }
  }

  #sendChange(before: ChangeMarks | undefined, now: ChangeMarks): void {
    const { fleets, clusters, anything } = this.#changed;
    const heard = anything || fleets.size > 0 || clusters.size > 0;
    const unheard = before !== undefined && !heard && (before.version !== now.version || before.connected !== now.connected);
    const leaseEnded = before !== undefined && before.connected !== now.connected;
    if (!heard && !unheard) return;
    const change: Change = anything || unheard || leaseEnded ? { version: now.version, fleets: [], clusters: [] } : { version: now.version, fleets: [...fleets], clusters: [...clusters] };
    fleets.clear();
    clusters.clear();
    this.#changed.anything = false;
    for (const watcher of this.#watchers) {
      const concerned = watcher.fleet === undefined || change.fleets.length === 0 || change.fleets.includes(watcher.fleet);
      if (concerned) this.#send(watcher, frame("change", change));
    }
  }

  #sendEvents(watcher: Watcher, events: readonly EventRow[]): void {
    for (const event of events) {
      this.#send(watcher, frame("event", event, event.id));
      watcher.sentId = event.id;
    }
  }

  #send(watcher: Watcher, text: string): void {
    if (!this.#watchers.has(watcher)) return;
    if (watcher.sink.unsentBytes > watcherUnsentBytesMax) return this.#drop(watcher, "the reader is too slow; connect again with Last-Event-ID");
    watcher.sink.write(text);
  }

  #drop(watcher: Watcher, reason: string): void {
    this.#watchers.delete(watcher);
    watcher.sink.write(frame("dropped", { reason }));
    watcher.sink.end();
  }
}

/** One message of server-sent events. */
export function frame(event: string, content: unknown, id?: number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(content)}\n\n`;
}
