import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type pg from "pg";
import { previewRow } from "./domain/preview.ts";
import { ForgeError } from "./forge/forge-error.ts";
import { openForge, putComment } from "./forge/open-forge.ts";
import { postNotification } from "./forge/post-notification.ts";
import { checkPreviewMs, deliveryRetryMinMs, previewLookMs } from "./limits.ts";
import type { Previews } from "./start-previews.ts";
import {
  forgetPullRequest,
  isNewestWord,
  listCheckedFleets,
  listDueNotifications,
  listDuePullRequests,
  listDueStatuses,
  noteNotificationFailed,
  noteNotificationSent,
  notePullRequestDone,
  notePullRequestFailed,
  noteStatusFailed,
  noteStatusSent,
  saveCheck,
} from "./store/deliveries.ts";
import { noteForge, readForge, readForgeOfFleet } from "./store/forges.ts";
import { holdLease } from "./store/leases.ts";
import { listen } from "./store/listen.ts";
import { readPreview } from "./store/previews.ts";
import type { Sealing } from "./store/sealing.ts";
import { type OutsidePorts, tellOutside } from "./sync/tell-outside.ts";

export interface ForgeOptions {
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  readonly previews: Pick<Previews, "begin">;
  readonly holder: string;
  readonly log: Logger;
}

/** Binds what is said to forges and receivers to the edges. One replica does it at a time. */
export function startForges(options: ForgeOptions): { close(): Promise<void> } {
  const { pool, holder, log } = options;
  const stopped = new AbortController();
  let woken = Promise.withResolvers<void>();
  const listener = listen(pool, "flotilla_outside", () => woken.resolve(), log);
  const wake = (): Promise<void> => {
    woken = Promise.withResolvers<void>();
    return woken.promise;
  };
  const onError = (error: unknown): void => log.warn({ err: error }, "what is said to forges and receivers waits");
  const done = holdLease(pool, { name: "outside", holder, signal: stopped.signal, onError }, (_lease, signal) =>
    tellOutside(outsidePorts(options), wake, signal),
  );
  return {
    async close() {
      stopped.abort();
      woken.resolve();
      await listener.close();
      await done;
    },
  };
}

/**
 * Who a fleet's forge takes us for.
 *
 * @throws ForgeError, StoreError.
 */
export async function testForge({ pool, sealing }: Pick<ForgeOptions, "pool" | "sealing">, fleet: string): Promise<string> {
  return await openForge(await readForgeOfFleet(pool, sealing, fleet)).describe();
}

function outsidePorts({ pool, sealing, previews, log }: ForgeOptions): OutsidePorts {
  return {
    listDueStatuses: () => listDueStatuses(pool),
    noteStatusSent: (due) => noteStatusSent(pool, due),
    noteStatusFailed: (due, againMs) => noteStatusFailed(pool, due, againMs),
    listDueNotifications: () => listDueNotifications(pool, sealing),
    noteNotificationSent: (due) => noteNotificationSent(pool, due),
    noteNotificationFailed: (due, error) => noteNotificationFailed(pool, due, error),
    postNotification,
    listDuePullRequests: () => listDuePullRequests(pool),
    notePullRequestDone: (due) => notePullRequestDone(pool, due),
    notePullRequestFailed: (due, error, againMs) => notePullRequestFailed(pool, due, error, againMs),
    forgetPullRequest: (due) => forgetPullRequest(pool, due),
    noteForge: (repositoryId, error) => noteForge(pool, repositoryId, error),
    listCheckedFleets: (repositoryId, number, base) => listCheckedFleets(pool, repositoryId, number, base),
    saveCheck: (heard, check) => saveCheck(pool, heard, check),
    isNewestWord: (heard) => isNewestWord(pool, heard),
    async openForge(repositoryId, signal) {
      const place = await readForge(pool, sealing, repositoryId);
      if (!place) return undefined;
      const forge = openForge({ ...place, signal });
      return { forks: place.forks, forge: { ...forge, putComment: (wanted) => putComment(forge, wanted) } };
    },
    async preview(fleet, revision, signal) {
      const actor = { id: "forge", source: "", reason: "a pull request" };
      const id = await previews.begin(actor, { fleet, change: { kind: "revision", revision }, clusters: [], withinMs: checkPreviewMs });
      for (;;) {
        const kept = previewRow(await readPreview(pool, id));
        if (kept.endedAt !== null || kept.phase === "Failed") return kept;
        await delay(previewLookMs, undefined, { signal });
      }
    },
    explain(error) {
      const isForges = error instanceof ForgeError;
      const hint = isForges && error.hint !== "" ? ` (${error.hint})` : "";
      return { message: `${(error as Error).message}${hint}`, againMs: isForges ? error.againMs : deliveryRetryMinMs, isForges };
    },
    report: (error, doing) => log.warn({ err: error }, doing),
  };
}
