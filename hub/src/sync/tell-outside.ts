import { type CommitStatus, statusContext } from "../domain/forge.ts";
import { checksAtOnce, deliveryLookMs, deliveryRetryMaxMs } from "../limits.ts";
import { checkPullRequest, type CheckPorts, type HeardPullRequest } from "./check-pull-request.ts";
import { setTimeout as delay } from "node:timers/promises";

interface DueStatus {
  readonly fleet: string;
  readonly sha: string;
  readonly repositoryId: string;
  readonly state: CommitStatus["state"];
  readonly description: string;
  readonly version: string;
}

interface DueNotification {
  readonly id: string;
  readonly hook: string;
  readonly url: string;
  readonly secret: string;
  readonly body: unknown;
}

export interface OutsidePorts extends CheckPorts {
  listDueStatuses(): Promise<readonly DueStatus[]>;
  noteStatusSent(due: DueStatus): Promise<void>;
  noteStatusFailed(due: DueStatus, againMs: number): Promise<void>;
  listDueNotifications(): Promise<readonly DueNotification[]>;
  noteNotificationSent(due: DueNotification): Promise<void>;
  noteNotificationFailed(due: DueNotification, error: string): Promise<void>;
  postNotification(url: string, secret: string, event: unknown): Promise<void>;
  listDuePullRequests(): Promise<readonly HeardPullRequest[]>;
  notePullRequestDone(due: HeardPullRequest): Promise<void>;
  notePullRequestFailed(due: HeardPullRequest, error: string, againMs: number): Promise<void>;
  forgetPullRequest(due: HeardPullRequest): Promise<void>;
  /** What a forge said last: an error, or (null) that it took something. */
  noteForge(repositoryId: string, error: string | null): Promise<void>;
  /** Why it failed, when trying again can help (undefined: a person has to mend something), and whether it was the forge that said so. */
  explain(error: unknown): { readonly message: string; readonly againMs: number | undefined; readonly isForges: boolean };
  report(error: unknown, doing: string): void;
}

/**
 * Says to forges and receivers what waits to be said, until the signal: everything is in rows, so that whoever does it next goes on. What is not taken is
 * tried again, ever more rarely; nobody here waits for a forge that is away.
 *
 * @param wake resolves when there may be something new.
 */
export async function tellOutside(ports: OutsidePorts, wake: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const checks = new Checks(ports, signal);
  while (!signal.aborted) {
    const woken = wake();
    try {
      await deliverStatuses(ports, signal);
      await deliverNotifications(ports);
      await checks.look();
    } catch (error) {
      if (!signal.aborted) ports.report(error, "telling forges and receivers");
    }
    await Promise.race([woken, checks.oneEnded(), delay(deliveryLookMs, undefined, { signal }).catch(() => undefined)]);
  }
  await checks.end();
}

async function deliverStatuses(ports: OutsidePorts, signal: AbortSignal): Promise<void> {
  for (const due of await ports.listDueStatuses()) {
    signal.throwIfAborted();
    try {
      const opened = await ports.openForge(due.repositoryId, signal);
      await opened?.forge.setStatus(due.sha, { state: due.state, context: statusContext(due.fleet), description: due.description });
      await ports.noteStatusSent(due);
      await ports.noteForge(due.repositoryId, null);
    } catch (error) {
      const { message, againMs, isForges } = ports.explain(error);
      if (!isForges) throw error;
      await ports.noteForge(due.repositoryId, message);
      await ports.noteStatusFailed(due, againMs ?? deliveryRetryMaxMs);
    }
  }
}

async function deliverNotifications(ports: OutsidePorts): Promise<void> {
  for (const due of await ports.listDueNotifications()) {
    const error = await ports.postNotification(due.url, due.secret, due.body).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    if (error === undefined) await ports.noteNotificationSent(due);
    else await ports.noteNotificationFailed(due, (error as Error).message);
  }
}

/** Pull requests that are being checked; a newer word about one breaks off what is being made of the older. */
class Checks {
  readonly #ports: OutsidePorts;
  readonly #signal: AbortSignal;
  readonly #running = new Map<string, { readonly heard: string; readonly stop: AbortController; readonly done: Promise<void> }>();

  constructor(ports: OutsidePorts, signal: AbortSignal) {
    this.#ports = ports;
    this.#signal = signal;
  }

  async look(): Promise<void> {
    for (const due of await this.#ports.listDuePullRequests()) {
      const key = `${due.repositoryId} ${due.number}`;
      const running = this.#running.get(key);
      if (running) {
        if (running.heard !== due.heard) running.stop.abort();
        continue;
      }
      if (this.#running.size >= checksAtOnce) continue;
      const stop = new AbortController();
      const done = this.#check(due, AbortSignal.any([this.#signal, stop.signal])).finally(() => this.#running.delete(key));
      this.#running.set(key, { heard: due.heard, stop, done });
    }
  }

  /** Resolves when one of them has ended: its place is free. Never, when none is running. */
  oneEnded(): Promise<void> {
    return this.#running.size === 0 ? new Promise(() => undefined) : Promise.race([...this.#running.values()].map(({ done }) => done));
  }

  async end(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done));
  }

  async #check(due: HeardPullRequest, signal: AbortSignal): Promise<void> {
    const ports = this.#ports;
    try {
      const checked = await checkPullRequest(ports, due, signal);
      if (checked === "closed") await ports.forgetPullRequest(due);
      if (checked !== "done") return;
      await ports.notePullRequestDone(due);
      await ports.noteForge(due.repositoryId, null);
    } catch (error) {
      if (signal.aborted) return;
      const { message, againMs, isForges } = ports.explain(error);
      try {
        if (isForges) await ports.noteForge(due.repositoryId, message);
        await ports.notePullRequestFailed(due, message, againMs ?? deliveryRetryMaxMs);
      } catch (failure) {
        ports.report(failure, "noting a pull request");
      }
    }
  }
}
