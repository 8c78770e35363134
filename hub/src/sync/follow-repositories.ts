import { setTimeout as delay } from "node:timers/promises";
import { fetchesAtOnce, hintPollMs, repositoriesAtOnce } from "../limits.ts";
import type { Problem } from "../domain/problem.ts";
import type { FollowedFleet, FoundRevision, GitRef, Lease, SyncCause } from "./ports.ts";
import { RenderRetries } from "./render-retries.ts";
import type { SyncFleetJob } from "./sync-fleet.ts";

/** A repository as its follower needs it; credentials stay in the edges. */
export interface FollowedRepository {
  readonly id: string;
  readonly url: string;
  readonly pollIntervalMs: number;
  readonly lastFetchAt: Date | null;
  readonly failures: number;
  /** Set by a webhook or by `fleet sync`; cleared by the fetch that began after it. */
  readonly wantedAt: Date | null;
  readonly wantedTraceparent: string | null;
}

/** What a fetch of all refs of a repository found. */
export interface FetchResult {
  /** Set when the repository could not be reached or read at all. */
  readonly problem: Problem | undefined;
  /** By refKey. */
  readonly found: ReadonlyMap<string, FoundRevision | readonly Problem[]>;
}

export interface FollowPorts {
  /** Runs `work` whenever the lease is held, until the signal; `work`'s own signal tells when it was lost. */
  hold(name: string, signal: AbortSignal, work: (lease: Lease, signal: AbortSignal) => Promise<void>): Promise<void>;
  listRepositories(): Promise<readonly FollowedRepository[]>;
  readRepository(id: string): Promise<FollowedRepository | undefined>;
  listFleets(repositoryId: string): Promise<readonly FollowedFleet[]>;
  fetch(repository: FollowedRepository, refs: readonly GitRef[], signal: AbortSignal): Promise<FetchResult>;
  saveFetchOutcome(lease: Lease, repository: FollowedRepository, outcome: { problem: Problem | undefined; startedAt: Date }): Promise<void>;
  syncFleet(repository: FollowedRepository, job: SyncFleetJob): Promise<void>;
  /** Advances the rollouts of the repository's fleets until the signal: a fetch that hangs does not hold them up. */
  advanceRollouts(lease: Lease, repositoryId: string, signal: AbortSignal): Promise<void>;
  /** Deletes rows of fleets whose last cluster let go. */
  dropDeletedFleets(repositoryId: string): Promise<void>;
  /** When the next fetch is due, with jitter and backoff. */
  nextDueAt(repository: FollowedRepository, now: Date): Date;
  report(error: unknown, doing: string): void;
}

/** Wakes followers before their time; main binds it to NOTIFY. */
export class FollowHints {
  readonly #waiting = new Set<() => void>();
  /** By fleet: the number of its newest hint. */
  readonly #placements = new Map<string, number>();
  #newest = 0;

  /** Repositories have something to do; the follower looks for itself. */
  wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** Placement of these fleets is to be looked at again. */
  wantPlacement(fleets: readonly string[]): void {
    this.#newest += 1;
    for (const fleet of fleets) this.#placements.set(fleet, this.#newest);
    this.wake();
  }

  /** Number of the newest hint: rows that are read after this show what it and all older ones are about. */
  get newest(): number {
    return this.#newest;
  }

  /** Takes the fleet's hint, unless it came after the rows at hand were read: then it is for those that are read next. */
  takePlacement(fleet: string, newest: number): boolean {
    const hint = this.#placements.get(fleet);
    return hint !== undefined && hint <= newest && this.#placements.delete(fleet);
  }

  hasPlacement(fleets: readonly FollowedFleet[]): boolean {
    return fleets.some(({ name }) => this.#placements.has(name));
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
      this.#waiting.add(resolve);
    });
    const timer = delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
    await Promise.race([woken, timer]);
    this.#waiting.delete(wake);
  }
}

/** Placement is looked at again this often though nobody said so: the net under `flotilla_placement`. */
const placementNetMs = 60_000;

/**
 * Follows every repository that this replica gets the lease of, until the signal. One repository's trouble never delays
 * another: each has its own loop, and only fetching and syncing have bounds, each its own.
 */
export async function followRepositories(ports: FollowPorts, hints: FollowHints, signal: AbortSignal): Promise<void> {
  const following = new Map<string, { readonly gone: AbortController; readonly done: Promise<void> }>();
  const slots = { fetch: new Slots(fetchesAtOnce), sync: new Slots(repositoriesAtOnce) };
  while (!signal.aborted) {
    try {
      const ids = new Set((await ports.listRepositories()).map(({ id }) => id));
      for (const [id, { gone }] of following) if (!ids.has(id)) gone.abort();
      for (const id of ids) {
        if (following.has(id)) continue;
        const gone = new AbortController();
        const work = (lease: Lease, held: AbortSignal) =>
          beside(
            held,
            (until) => followRepository(ports, hints, slots, lease, id, until),
            (until) => ports.advanceRollouts(lease, id, until),
          );
        const done = ports
          .hold(`repository/${id}`, AbortSignal.any([signal, gone.signal]), work)
          .catch((error: unknown) => ports.report(error, `following repository ${id}`))
          .finally(() => following.delete(id));
        following.set(id, { gone, done });
      }
    } catch (error) {
      ports.report(error, "looking for repositories to follow");
    }
    await hints.wait(hintPollMs, signal);
  }
  await Promise.allSettled([...following.values()].map(({ done }) => done));
}

/** Both, until the first ends. */
async function beside(signal: AbortSignal, first: (signal: AbortSignal) => Promise<void>, second: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const ending = new AbortController();
  const until = AbortSignal.any([signal, ending.signal]);
  const both = [first, second].map((run) => run(until).finally(() => ending.abort()));
  await Promise.allSettled(both);
  await Promise.all(both);
}

async function followRepository(ports: FollowPorts, hints: FollowHints, slots: WorkSlots, lease: Lease, id: string, signal: AbortSignal): Promise<void> {
  const placedAt = new Map<string, number>();
  const gitRevisions = new Map<string, string>();
  const retries = new RenderRetries();
  // Another replica's clone is not here: begin with a fetch, whatever the rows say.
  let isFirst = true;
  while (!signal.aborted) {
    const newestHint = hints.newest;
    const repository = await ports.readRepository(id);
    if (repository === undefined) return;
    const fleets = await ports.listFleets(id);
    const now = new Date();
    const dueAt =
      isFirst || (repository.failures === 0 && fleets.some(isNew)) ? now : nextFetchAt(ports, repository, retries.firstDue(fleets, now.getTime()), now);
    const placementDue = fleets.some((fleet) => isPlacementDue(fleet, placedAt, now.getTime())) || hints.hasPlacement(fleets);
    if (dueAt > now && !placementDue) {
      const leavesInMs = fleets.map((fleet) => Math.max(leavingRetryMs, fleet.leavesInMs ?? hintPollMs));
      await hints.wait(Math.min(dueAt.getTime() - now.getTime(), hintPollMs, ...leavesInMs), signal);
      continue;
    }
    isFirst = false;
    const again = (fleet: FollowedFleet): boolean => retries.isDue(fleet, now.getTime(), repository.wantedAt !== null);
    const fetched = dueAt <= now ? await slots.fetch.run(() => fetchAll(ports, lease, repository, fleets, again, signal)) : undefined;
    for (const [key, outcome] of fetched?.found ?? []) if ("revision" in outcome) gitRevisions.set(key, outcome.revision);
    if (fetched?.changesNothing === true && !placementDue) continue;
    await slots.sync.run(() => syncFleets(ports, hints, lease, repository, fleets, { fetched, placedAt, gitRevisions, newestHint }, signal));
    for (const fleet of fetched?.again ?? []) retries.tried(fleet, Date.now());
  }
}

/** A render is tried again with what Git says then; a repository that does not answer has a time of its own. */
function nextFetchAt(ports: FollowPorts, repository: FollowedRepository, retryAt: number | undefined, now: Date): Date {
  const dueAt = ports.nextDueAt(repository, now);
  return retryAt === undefined || repository.failures > 0 || retryAt >= dueAt.getTime() ? dueAt : new Date(retryAt);
}

/** A grace that is over is not asked about more often than this. */
const leavingRetryMs = 1_000;

/** The net is due, or the grace of a cluster that leaves is over. */
function isPlacementDue({ name, leavesInMs }: FollowedFleet, placedAt: ReadonlyMap<string, number>, now: number): boolean {
  const last = placedAt.get(name) ?? 0;
  return last + placementNetMs <= now || (leavesInMs !== null && leavesInMs <= 0 && last + leavingRetryMs <= now);
}

function isNew(fleet: FollowedFleet): boolean {
  return fleet.seenRevision === null && fleet.problems.length === 0 && fleet.deleting === null;
}

interface WorkSlots {
  readonly fetch: Slots;
  readonly sync: Slots;
}

interface Fetched {
  readonly found: FetchResult["found"];
  readonly cause: SyncCause;
  /** Fleets whose newest revision is to be tried again. */
  readonly again: ReadonlySet<FollowedFleet>;
  /** Every fleet is at what was found, none has a problem that a good fetch mends, and none is to be tried again. */
  readonly changesNothing: boolean;
}

async function syncFleets(
  ports: FollowPorts,
  hints: FollowHints,
  lease: Lease,
  repository: FollowedRepository,
  fleets: readonly FollowedFleet[],
  due: {
    readonly fetched: Fetched | undefined;
    readonly placedAt: Map<string, number>;
    readonly gitRevisions: ReadonlyMap<string, string>;
    readonly newestHint: number;
  },
  signal: AbortSignal,
): Promise<void> {
  const { fetched } = due;
  for (const fleet of fleets) {
    if (signal.aborted) return;
    const placementWanted = hints.takePlacement(fleet.name, due.newestHint) || isPlacementDue(fleet, due.placedAt, Date.now());
    if (fetched === undefined && !placementWanted) continue;
    const found = fetched?.found.get(refKey(fleet.ref)) ?? unchanged(fleet);
    try {
      await ports.syncFleet(repository, {
        lease,
        fleet,
        found,
        cause: fetched?.cause ?? noCause(),
        placementWanted,
        gitRevision: due.gitRevisions.get(refKey(fleet.ref)),
        tryAgain: fetched?.again.has(fleet) === true,
        signal,
      });
      if (placementWanted) due.placedAt.set(fleet.name, Date.now());
    } catch (error) {
      ports.report(error, `syncing fleet ${fleet.name}`);
      // Due again soon, not at once: a failing store is not asked in a tight loop, and the other fleets do not wait for it.
      due.placedAt.set(fleet.name, Date.now() - placementNetMs + hintPollMs);
    }
  }
  if (fleets.some(({ deleting }) => deleting !== null)) await ports.dropDeletedFleets(repository.id);
}

async function fetchAll(
  ports: FollowPorts,
  lease: Lease,
  repository: FollowedRepository,
  fleets: readonly FollowedFleet[],
  isAgainDue: (fleet: FollowedFleet) => boolean,
  signal: AbortSignal,
): Promise<Fetched> {
  const startedAt = new Date();
  const refs = new Map(
    fleets
      .filter(({ deleting }) => deleting === null)
      .flatMap(refsOf)
      .map((ref) => [refKey(ref), ref]),
  );
  const result = await ports.fetch(repository, [...refs.values()], signal);
  const fetchedAt = new Date();
  await ports.saveFetchOutcome(lease, repository, { problem: result.problem, startedAt });
  const cause: SyncCause = {
    kind: repository.wantedAt === null ? "poll" : "webhook",
    startedAt: repository.wantedAt ?? startedAt,
    fetchedFrom: startedAt,
    fetchedAt,
    traceparent: repository.wantedTraceparent,
  };
  const found = result.problem === undefined ? result.found : new Map([...refs.keys()].map((key) => [key, [result.problem as Problem]]));
  const told = new Map(
    [...found].map(([key, outcome]) => [key, "revision" in outcome ? outcome : outcome.map((problem) => ({ ...problem, ofSource: true as const }))]),
  );
  const again = new Set(fleets.filter(isAgainDue));
  return { found: told, cause, again, changesNothing: again.size === 0 && fleets.every((fleet) => isAt(fleet, told.get(refKey(fleet.ref)))) };
}

function isAt(fleet: FollowedFleet, found: FoundRevision | readonly Problem[] | undefined): boolean {
  if (found === undefined || !("revision" in found) || fleet.deleting !== null) return false;
  return found.revision === fleet.seenRevision && !fleet.problems.some((problem) => problem.ofSource === true);
}

/** What the fleet follows; and the last good revision where a newer one is bad, so that it can be placed again. */
function refsOf({ ref, revision, seenRevision }: FollowedFleet): GitRef[] {
  return revision === null || revision === seenRevision ? [ref] : [ref, { commit: revision }];
}

/** A fleet whose ref was not asked for now: what it had is what it has. */
function unchanged(fleet: FollowedFleet): FoundRevision | readonly Problem[] {
  if (fleet.seenRevision === null) return fleet.problems;
  return { revision: fleet.seenRevision, tree: "", author: "", subject: "", committedAt: null, rewound: false };
}

function noCause(): SyncCause {
  const now = new Date();
  return { kind: "poll", startedAt: now, fetchedFrom: now, fetchedAt: now, traceparent: null };
}

/** Two fleets that follow the same ref share a lookup. */
export function refKey(ref: GitRef): string {
  const [[kind, name] = ["", ""]] = Object.entries(ref) as [string, string][];
  return `${kind}:${name}`;
}

/** At most so many at once; the others wait in order. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
