import type pg from "pg";
import type { Logger } from "pino";
import { TreeMemory } from "./domain/noted-tree.ts";
import { fleetFileAnswersMax } from "./limits.ts";
import type { RenderTools } from "./render/render-tools.ts";
import { openSurveyMemory } from "./render/survey-bundle.ts";
import type { PreviousRevision } from "./source/fetch-revision.ts";
import { nextDueAt } from "./source/next-due.ts";
import { DamagedCloneError } from "./source/read-fleet-tree.ts";
import type { GitSource } from "./source/open-source.ts";
import { renderCache } from "./store/bodies.ts";
import { dropDeletedFleets } from "./store/delete-fleet.ts";
import { listFleetsOfRepository, readClustersForPlacement, readOwners, readTargeted, readTraceparent } from "./store/followed-fleets.ts";
import { holdLease, type Lease } from "./store/leases.ts";
import { listen, namesIn, notify } from "./store/listen.ts";
import { releaseTargets } from "./store/release-targets.ts";
import { stagePlacements } from "./store/begin-rollout.ts";
import { readHazards } from "./store/read-hazards.ts";
import { listRollingFleets, readFleetRollout, readKeptTargets, readObjectIds } from "./store/rollout-rows.ts";
import { saveStep, settleClusters, startQueued } from "./store/save-step.ts";
import { askGates } from "./store/gates.ts";
import { listRepositories, readCredentials, readRepository, saveFetchOutcome } from "./store/repositories.ts";
import { saveFailure, saveFleetProblems, savePhases, saveRevision } from "./store/save-revision.ts";
import type { Sealing } from "./store/sealing.ts";
import { type FetchResult, FollowHints, type FollowPorts, followRepositories, refKey } from "./sync/follow-repositories.ts";
import { syncFleet, type SyncFleetPorts } from "./sync/sync-fleet.ts";
import type { FollowedFleet, FoundRevision, GitRef } from "./sync/ports.ts";
import { advanceRollouts, RolloutHints } from "./sync/advance-rollouts.ts";
import { releaseWave, type LookAgain, type ReleaseWavePorts } from "./sync/release-wave.ts";
import type { Problem } from "./domain/problem.ts";
import type { Telemetry } from "./telemetry.ts";

export interface SyncOptions {
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  readonly source: GitSource;
  readonly telemetry: Telemetry;
  /** Unique per process: holder of leases. */
  readonly holder: string;
  readonly renderTools: RenderTools;
  readonly log: Logger;
}

/** Binds the story of following Git to the edges and runs it. */
export function startSync(options: SyncOptions): { close(): Promise<void> } {
  const { pool, log } = options;
  const stopped = new AbortController();
  const hints = new FollowHints();
  const rolloutHints = new RolloutHints();
  const listener = listen(pool, ["flotilla_repositories", "flotilla_placement", "flotilla_rollouts", "flotilla_changes"], (hint) => {
    const isOfRollouts = hint.channel === "flotilla_rollouts";
    if (isOfRollouts || hint.channel === "flotilla_changes") return rolloutHints.tell(hint.resync ? undefined : namesIn(hint, "fleets"), isOfRollouts);
    // After a resync nobody knows what was said: the placement net and the rows tell.
    if (hint.channel === "flotilla_placement" && !hint.resync) hints.wantPlacement(namesIn(hint, "fleets"));
    else hints.wake();
  });
  const done = followRepositories(followPorts(options, rolloutHints), hints, stopped.signal);
  return {
    async close() {
      stopped.abort();
      hints.wake();
      await Promise.allSettled([listener.close(), done]);
      log.debug("stopped following repositories");
    },
  };
}

function followPorts(options: SyncOptions, rolloutHints: RolloutHints): FollowPorts {
  const { pool, sealing, source, holder, log } = options;
  const fleetPorts = syncFleetPorts(options);
  const wavePorts = releaseWavePorts(pool, sealing);
  /** By fleet: what its ref named when Git last answered this replica. */
  const gitRevisions = new Map<string, string | undefined>();
  const turns = new Turns();
  const release = (lease: Lease, fleet: string): Promise<LookAgain> =>
    turns.take(fleet, () => releaseWave(wavePorts, { lease, fleet, gitRevision: gitRevisions.get(fleet) }));
  const report = (error: unknown, doing: string): void =>
    log.warn({ error: error instanceof Error ? error.message : String(error) }, `${doing} failed; it is tried again`);
  return {
    hold: (name, signal, work) => holdLease(pool, { name, holder, signal, onError: (error) => report(error, `holding ${name}`) }, work),
    listRepositories: () => listRepositories(pool),
    readRepository: (id) => readRepository(pool, id),
    listFleets: (id) => listFleetsOfRepository(pool, id),
    async fetch(repository, refs, signal) {
      const fleets = await listFleetsOfRepository(pool, repository.id);
      const outcome = await source.fetchRevision({
        url: repository.url,
        refs,
        credentials: await readCredentials(pool, sealing, repository.id),
        previous: previousOf(fleets),
        changeExpected: repository.wantedAt !== null,
        signal,
      });
      if (!outcome.ok) return { problem: outcome.problem, found: new Map() };
      return { problem: undefined, found: foundOf(outcome.revisions) };
    },
    saveFetchOutcome: (lease, repository, outcome) => saveFetchOutcome(pool, lease, repository, outcome),
    async syncFleet(repository, job) {
      try {
        // A commit that is not in this replica's clone any more is fetched again, with the repository's credentials.
        const openTree = async (revision: string): ReturnType<SyncFleetPorts["openTree"]> =>
          source.openTree(repository.url, revision, { credentials: await readCredentials(pool, sealing, repository.id), signal: job.signal });
        gitRevisions.set(job.fleet.name, job.gitRevision);
        await syncFleet({ ...fleetPorts, openTree, releaseWave: async (lease, fleet) => void (await release(lease, fleet)) }, job);
      } catch (error) {
        if (error instanceof DamagedCloneError) await source.forget(repository.url);
        throw error;
      }
    },
    advanceRollouts: (lease, repositoryId, signal) =>
      advanceRollouts(
        {
          listRollingFleets: (id) => listRollingFleets(pool, id),
          releaseWave: (held, fleet) => release(held, fleet),
          report,
        },
        rolloutHints,
        lease,
        repositoryId,
        signal,
      ),
    dropDeletedFleets: async (repositoryId) => void (await dropDeletedFleets(pool, repositoryId)),
    nextDueAt,
    report,
  };
}

function syncFleetPorts({ pool, sealing, telemetry, renderTools }: SyncOptions): Omit<SyncFleetPorts, "openTree" | "releaseWave"> {
  return {
    tracer: telemetry.tracer,
    tools: renderTools,
    memory: openSurveyMemory(),
    fleetFiles: new TreeMemory(fleetFileAnswersMax),
    cache: renderCache(pool, sealing),
    readClusters: () => readClustersForPlacement(pool),
    readOwners: (clusters, fleet, wanted) => readOwners(pool, clusters, fleet, wanted),
    readTargeted: (fleet) => readTargeted(pool, fleet),
    readTraceparent: (fleet, revision) => readTraceparent(pool, fleet, revision),
    saveFailure: (lease, failure) => saveFailure(pool, lease, failure),
    saveRevision: (lease, saved) => saveRevision(pool, lease, saved),
    saveFleetProblems: (lease, fleet, problems) => saveFleetProblems(pool, lease, fleet, problems),
    releaseTargets: async (lease, release) => void (await releaseTargets(pool, lease, release)),
    readFleetRollout: (fleet) => readFleetRollout(pool, fleet),
    stagePlacements: (lease, staged) => stagePlacements(pool, lease, staged),
    savePhases: (fleet, revision, phases) => savePhases(pool, fleet, revision, phases),
  };
}

/** The story of releasing, bound to the store. */
export function releaseWavePorts(pool: pg.Pool, sealing: Sealing): ReleaseWavePorts {
  return {
    readFleetRollout: (fleet) => readFleetRollout(pool, fleet),
    readKeptTargets: (fleet, wanted) => readKeptTargets(pool, fleet, wanted),
    readObjectIds: (digests) => readObjectIds(pool, digests),
    readOwners: (clusters, fleet, wanted) => readOwners(pool, clusters, fleet, wanted),
    readHazards: (fleet, wanted) => readHazards(pool, pool, sealing, fleet, wanted),
    saveStep: (lease, step) => saveStep(pool, lease, step),
    startQueued: (lease, fleet, rollout, version) => startQueued(pool, lease, fleet, rollout, version),
    settleClusters: (lease, settling) => settleClusters(pool, lease, settling),
    askGates: (lease, fleet, rollout, asks) => askGates(pool, lease, fleet, rollout, asks),
    wantPlacement: (fleet) => notify(pool, "flotilla_placement", { fleets: [fleet] }),
  };
}

/** One at a time for each name, in order. */
class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  async take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(work, work);
    this.#last.set(name, turn);
    try {
      return await turn;
    } finally {
      if (this.#last.get(name) === turn) this.#last.delete(name);
    }
  }
}

/** What the fleets had, to tell a rewound ref: the first fleet of a ref speaks for it. */
function previousOf(fleets: readonly FollowedFleet[]): ReadonlyMap<string, PreviousRevision> {
  const known = fleets
    .filter(({ seenRevision }) => seenRevision !== null)
    .map(({ ref, seenRevision, seenTag }) => [refKey(ref), { commit: seenRevision ?? "", ...(seenTag !== null && { tag: seenTag }) }] as const);
  return new Map(known.toReversed());
}

function foundOf(
  revisions: ReadonlyMap<
    string,
    { readonly ok: true; readonly revision: FoundRevision & { readonly ref: GitRef } } | { readonly ok: false; readonly problem: Problem }
  >,
): FetchResult["found"] {
  return new Map([...revisions].map(([key, outcome]) => [key, outcome.ok ? outcome.revision : [outcome.problem]]));
}
