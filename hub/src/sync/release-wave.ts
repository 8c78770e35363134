import { failpoint } from "@flotilla/proto/failpoint";
import { wantedObjects, type ClusterClaims, type Contest, type Owner, type WantedObjects } from "../domain/claims.ts";
import { homeOf, type FleetCluster, type FleetRollout, type KeptRollout, type KeptTarget } from "../domain/fleet-rollout.ts";
import { nextWave, waveOf } from "../domain/next-wave.ts";
import { placeKept } from "../domain/place-kept.ts";
import type { ClusterMark, GateAsk, MarkChange, Rollout, RolloutCluster, RolloutPhase, Step } from "../domain/rollout.ts";
import type { PlacedTarget } from "../domain/target.ts";
import { rolloutStepsMax } from "../limits.ts";
import type { Lease } from "./ports.ts";

/** Targets of one revision that are released together. */
export interface WaveRelease {
  readonly fleet: string;
  readonly revision: string;
  readonly placed: readonly PlacedTarget[];
  readonly claims: readonly ClusterClaims[];
  readonly contests: ReadonlyMap<string, readonly Contest[]>;
  readonly removals: readonly never[];
  readonly isCurrent: boolean;
  readonly traceparent: string | null;
  readonly cause: "rollout" | "rollback" | "placement" | "pin" | "joined";
  readonly rollout: string | null;
}

/** What a step comes to, to be written whole or not at all. */
export interface WaveStep {
  readonly fleet: string;
  readonly rollout: string;
  readonly version: string;
  readonly revision: string;
  readonly marks: readonly MarkChange[];
  readonly releases: readonly {
    readonly release: WaveRelease;
    readonly mark: Extract<ClusterMark, "Updating" | "RolledBack">;
    readonly waves: ReadonlyMap<string, number>;
  }[];
  readonly wave: number;
  readonly phase: RolloutPhase;
  readonly reason: string;
  readonly until: number | null;
  readonly decision?: { readonly kind: string; readonly clusters: number };
  readonly failure?: { readonly cluster: string; readonly message: string };
}

/** What the story needs from the store and from agents; main binds it. */
export interface ReleaseWavePorts {
  readFleetRollout(fleet: string): Promise<FleetRollout | undefined>;
  readKeptTargets(fleet: string, wanted: readonly { readonly cluster: string; readonly revision: string }[]): Promise<readonly KeptTarget[]>;
  readObjectIds(digests: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>;
  readOwners(clusters: readonly string[], fleet: string, wanted: WantedObjects): Promise<ReadonlyMap<string, ReadonlyMap<string, Owner>>>;
  /** By cluster why it cannot go back to a revision. */
  readHazards(fleet: string, wanted: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>>;
  /** False when the rollout is another than the one that was decided about. */
  saveStep(lease: Lease, step: WaveStep): Promise<boolean>;
  startQueued(lease: Lease, fleet: string, rollout: string, version: string): Promise<boolean>;
  settleClusters(
    lease: Lease,
    settling: {
      readonly fleet: string;
      readonly releases: readonly WaveRelease[];
      readonly settledRevision?: string;
      readonly ends?: { readonly rollout: string; readonly reason: string };
    },
  ): Promise<void>;
  askGates(lease: Lease, fleet: string, rollout: KeptRollout, asks: readonly GateAsk[]): Promise<void>;
  /** What is to be released is not kept: the fleet has to be placed again. */
  wantPlacement(fleet: string): Promise<void>;
}

export interface ReleaseWaveJob {
  readonly lease: Lease;
  readonly fleet: string;
  /** What the fleet's ref named when Git last answered; undefined until it did. */
  readonly gitRevision: string | undefined;
}

/**
 * When a fleet is to be looked at again though nothing is heard of it: milliseconds from now; undefined when only news can change anything; "over" when reports of its
 * clusters cannot either: nothing is open, waits or is pinned.
 */
export type LookAgain = number | undefined | "over";

/**
 * Steps 6 and 7 of ARCHITECTURE.md for one fleet: decide what its rollout does next, and do it, until there is nothing to do but wait.
 * Everything is in rows: a hub that starts again looks and goes on. What is released was placed before, so neither Git nor a renderer is needed.
 */
export async function releaseWave(ports: ReleaseWavePorts, job: ReleaseWaveJob): Promise<LookAgain> {
  for (let steps = 0; steps < rolloutStepsMax; steps += 1) {
    const state = await ports.readFleetRollout(job.fleet);
    if (state === undefined || state.isDeleting) return "over";
    const result = await act(ports, job, state);
    if (result === "over") return result;
    if (result !== "again") return result.until === undefined ? undefined : Math.max(0, result.until - state.now);
  }
  return 0;
}

type Acted = "again" | "over" | { readonly until: number | undefined };

async function act(ports: ReleaseWavePorts, job: ReleaseWaveJob, state: FleetRollout): Promise<Acted> {
  const { open, queued, held, pins, settled } = state;
  const pin = pins.get("");
  if (pin) {
    const ends = open && { rollout: open.id, reason: `pinned to ${pin.revision.slice(0, 12)} by ${pin.by}${pin.reason === "" ? "" : `: ${pin.reason}`}` };
    await settle(
      ports,
      job,
      state,
      strays(state, () => true),
      "pin",
      { settledRevision: pin.revision, ...(ends && { ends }) },
    );
    return { until: undefined };
  }
  await settle(
    ports,
    job,
    state,
    strays(state, ({ name }) => pins.has(name)),
    "pin",
  );
  if (open === undefined) {
    if (queued && !queued.paused) {
      if (held) return { until: held.until };
      return (await ports.startQueued(job.lease, job.fleet, queued.id, queued.version)) ? "again" : { until: undefined };
    }
    if (settled !== null && mayReturn(state))
      await settle(
        ports,
        job,
        state,
        strays(state, ({ name }) => !pins.has(name)),
        "placement",
      );
    else await settle(ports, job, state, joiners(state), "joined");
    return queued === undefined && pins.size === 0 ? "over" : { until: undefined };
  }
  await settle(ports, job, state, joiners(state), "joined");
  return advance(ports, job, state, open);
}

/** Whether clusters that have something else than the fleet's settled revision are brought there: not those that a failed or aborted rollout left. */
function mayReturn({ last }: FleetRollout): boolean {
  return last === undefined || last.phase === "Done" || last.phase === "RolledBack";
}

type Wanted = ReadonlyMap<string, string>;

/** Clusters that have another revision than their home, and what it is. */
function strays(state: FleetRollout, isMeant: (cluster: FleetCluster) => boolean): Wanted {
  const wanted = new Map<string, string>();
  for (const cluster of state.clusters) {
    const home = homeOf(state, cluster.name);
    if (home !== undefined && home !== cluster.assigned && !cluster.isLeaving && isMeant(cluster)) wanted.set(cluster.name, home);
  }
  return wanted;
}

/** Clusters without a target whose wave the open rollout has not reached: they begin with what the fleet has. */
function joiners(state: FleetRollout): Wanted {
  const { open } = state;
  return strays(
    state,
    ({ assigned, labels, placed }) => assigned === null && (open === undefined || !placed.includes(open.revision) || waveOf(open.plan, labels) > open.wave),
  );
}

/** Gives clusters what they should have outside of a rollout. */
async function settle(
  ports: ReleaseWavePorts,
  job: ReleaseWaveJob,
  state: FleetRollout,
  wanted: Wanted,
  cause: WaveRelease["cause"],
  more: { readonly settledRevision?: string; readonly ends?: { readonly rollout: string; readonly reason: string } } = {},
): Promise<void> {
  const { releases } = await prepare(ports, job, state, wanted, cause, null, null);
  if (releases.length === 0 && more.ends === undefined && (more.settledRevision ?? state.settled) === state.settled) return;
  await ports.settleClusters(job.lease, { fleet: job.fleet, releases, ...more });
}

async function advance(ports: ReleaseWavePorts, job: ReleaseWaveJob, state: FleetRollout, open: KeptRollout): Promise<Acted> {
  const counted = state.clusters.filter(({ placed, assigned, isLeaving }) => !isLeaving && (placed.includes(open.revision) || assigned === open.revision));
  const clusters = counted.map((cluster): RolloutCluster => ({ ...cluster, isPinned: isPinnedElsewhere(state, open, cluster.name) }));
  const step = nextWave(rolloutOf(state, open), clusters, state.now);
  const { decision, failure } = step;
  const base = {
    fleet: job.fleet,
    rollout: open.id,
    version: open.version,
    revision: open.revision,
    marks: step.marks,
    wave: open.wave,
    ...(failure && { failure }),
  };
  switch (decision.kind) {
    case "release":
      return releaseStep(ports, job, state, open, base, decision);
    case "rollback":
      return rollbackStep(ports, job, state, open, base, decision);
    case "hold":
      return holdStep(ports, job, open, base, decision);
    case "fail":
    case "done": {
      const phase = decision.kind === "fail" ? "Failed" : open.phase === "RollingBack" ? "RolledBack" : "Done";
      await save(ports, job.lease, { ...base, releases: [], phase, reason: decision.reason, until: null, decision: { kind: decision.kind, clusters: 0 } });
      return "again";
    }
  }
}

/** False when somebody changed the rollout meanwhile: nothing was written. */
async function save(ports: ReleaseWavePorts, lease: Lease, step: WaveStep): Promise<boolean> {
  if (step.decision) failpoint("before-save-decision");
  const isSaved = await ports.saveStep(lease, step);
  if (step.decision) failpoint("after-save-decision");
  return isSaved;
}

type Base = Pick<WaveStep, "fleet" | "rollout" | "version" | "revision" | "marks" | "wave" | "failure">;
type DecisionOf<Kind extends Step["decision"]["kind"]> = Extract<Step["decision"], { readonly kind: Kind }>;

async function releaseStep(
  ports: ReleaseWavePorts,
  job: ReleaseWaveJob,
  state: FleetRollout,
  open: KeptRollout,
  base: Base,
  decision: DecisionOf<"release">,
): Promise<Acted> {
  const wanted = new Map(decision.clusters.map((cluster) => [cluster, open.revision]));
  const { releases, missing } = await prepare(ports, job, state, wanted, "rollout", open.id, open.traceparent);
  const waves = new Map(state.clusters.map(({ name, labels }) => [name, waveOf(open.plan, labels)]));
  await save(ports, job.lease, {
    ...base,
    releases: releases.map((release) => ({ release, mark: "Updating" as const, waves })),
    wave: Math.max(open.wave, decision.wave),
    phase: "Running",
    reason: decision.reason,
    until: null,
    decision: { kind: "release", clusters: decision.clusters.length - missing.length },
  });
  // What could not be released waits for its placement.
  return releases.length === 0 && missing.length > 0 ? { until: undefined } : "again";
}

async function rollbackStep(
  ports: ReleaseWavePorts,
  job: ReleaseWaveJob,
  state: FleetRollout,
  open: KeptRollout,
  base: Base,
  decision: DecisionOf<"rollback">,
): Promise<Acted> {
  const byName = new Map(state.clusters.map((cluster) => [cluster.name, cluster]));
  const wanted = new Map<string, string>();
  for (const name of decision.clusters) {
    const back = byName.get(name)?.healthyBefore ?? open.from;
    if (back !== null) wanted.set(name, back);
  }
  const hazards = await ports.readHazards(job.fleet, wanted);
  for (const name of hazards.keys()) wanted.delete(name);
  const { releases, missing } = await prepare(ports, job, state, wanted, "rollback", open.id, open.traceparent);
  const waves = new Map(state.clusters.map(({ name, labels }) => [name, waveOf(open.plan, labels)]));
  const kept = [...missing, ...decision.clusters.filter((name) => !wanted.has(name))];
  const keptMarks = kept.map((cluster): MarkChange => {
    const why = hazards.get(cluster) ?? (wanted.has(cluster) ? "what it had before is not kept any more" : "it has nothing to go back to");
    return { cluster, wave: waves.get(cluster) ?? 0, mark: "Kept", since: state.now, why };
  });
  const marked = new Set(kept);
  await save(ports, job.lease, {
    ...base,
    marks: [...base.marks.filter(({ cluster }) => !marked.has(cluster)), ...keptMarks],
    releases: releases.map((release) => ({ release, mark: "RolledBack" as const, waves })),
    phase: "RollingBack",
    reason: decision.reason,
    until: null,
    decision: { kind: "rollback", clusters: decision.clusters.length - kept.length },
  });
  return "again";
}

async function holdStep(ports: ReleaseWavePorts, job: ReleaseWaveJob, open: KeptRollout, base: Base, decision: DecisionOf<"hold">): Promise<Acted> {
  const until = decision.until ?? null;
  if (base.marks.length > 0 || decision.reason !== open.reason || base.failure !== undefined) {
    const isSaved = await save(ports, job.lease, { ...base, releases: [], phase: open.phase, reason: decision.reason, until });
    if (!isSaved) return "again";
  }
  if (decision.asks && decision.asks.length > 0) await ports.askGates(job.lease, job.fleet, open, decision.asks);
  return { until: decision.until };
}

function isPinnedElsewhere({ pins }: FleetRollout, open: KeptRollout, cluster: string): boolean {
  const pin = pins.get(cluster);
  return pin !== undefined && pin.revision !== open.revision;
}

function rolloutOf({ held }: FleetRollout, { revision, from, plan, phase, wave, startedAt, paused, approvals, gates }: KeptRollout): Rollout {
  return {
    revision,
    from,
    plan,
    phase: phase === "RollingBack" ? "RollingBack" : "Running",
    wave,
    startedAt,
    ...(paused && { paused }),
    ...(held && { held }),
    approvals,
    gates,
  };
}

/** What is to be released, from what is kept, by revision. Clusters for which nothing is kept are missing: the fleet is placed again for them. */
async function prepare(
  ports: ReleaseWavePorts,
  { fleet, gitRevision }: ReleaseWaveJob,
  state: FleetRollout,
  wanted: Wanted,
  cause: WaveRelease["cause"],
  rollout: string | null,
  traceparent: string | null,
): Promise<{ readonly releases: readonly WaveRelease[]; readonly missing: readonly string[] }> {
  if (wanted.size === 0) return { releases: [], missing: [] };
  const kept = await ports.readKeptTargets(
    fleet,
    [...wanted].map(([cluster, revision]) => ({ cluster, revision })),
  );
  const objectIds = await ports.readObjectIds([...new Set(kept.flatMap(({ bundles }) => bundles.map(({ digest }) => digest)))]);
  const claimants = kept.flatMap(({ bundles }) => bundles.map(({ name, digest }) => ({ bundle: name, objectIds: objectIds.get(digest) ?? [] })));
  const owners = await ports.readOwners([...wanted.keys()], fleet, wantedObjects(claimants));
  const missing = new Set(wanted.keys());
  const byRevision = new Map<string, ReturnType<typeof emptyRelease>>();
  for (const target of kept) {
    const placed = placeKept(fleet, target, (digest) => objectIds.get(digest), owners.get(target.cluster) ?? new Map());
    if (placed === undefined) continue;
    missing.delete(target.cluster);
    const release = byRevision.get(target.revision) ?? emptyRelease();
    byRevision.set(target.revision, release);
    release.placed.push(placed.target);
    if (placed.owned.length > 0) release.claims.push({ cluster: target.cluster, owned: placed.owned });
    if (placed.contests.length > 0) release.contests.set(target.cluster, placed.contests);
  }
  if (missing.size > 0) await ports.wantPlacement(fleet);
  const isCurrent = gitRevision !== undefined && gitRevision === state.newest;
  const releases = [...byRevision].map(([revision, release]): WaveRelease => ({
    fleet,
    revision,
    ...release,
    removals: [],
    isCurrent,
    traceparent,
    cause,
    rollout,
  }));
  return { releases, missing: [...missing] };
}

function emptyRelease(): { readonly placed: PlacedTarget[]; readonly claims: ClusterClaims[]; readonly contests: Map<string, readonly Contest[]> } {
  return { placed: [], claims: [], contests: new Map() };
}
