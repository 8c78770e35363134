/** Every bound of the hub alone, each with its reason. What hub and agent share is in proto/src/limits.ts. */

// Work that must be single.

/** A dead replica's work is taken over within this; renewed three times as often. */
export const leaseMs = 10_000;
export const leaseRenewMs = 3_000;

/** Slow poll for what a NOTIFY said and nobody heard. */
export const hintPollMs = 2_000;

/** Repositories that one replica works on at once: each may hold render processes. */
export const repositoriesAtOnce = 4;

/** Fleets of one repository that are synced at once. */
export const fleetsAtOnce = 2;

/** Bundles rendered at once by one replica: helm and kustomize take a core each. */
export const rendersAtOnce = 2;

// Servers that the hub starts itself (embedded/).

/** A server that died is started again at once, then ever more slowly: a full disk is not mended by haste. */
export const childRestartMinMs = 250;
export const childRestartMaxMs = 10_000;

/** A server that ran this long was healthy: its next end is a new failure. */
export const childStableMs = 30_000;

/** A server that was asked to end is killed after this; a fast shutdown of Postgres writes one checkpoint. */
export const childKillGraceS = 20;

/** Last lines of a server's output that are kept for the message when it ends. */
export const childOutputLinesKept = 20;

/** How long a server may take to answer: Postgres replays its log after a crash. */
export const postgresReadyMs = 60_000;
export const natsReadyMs = 20_000;

/** How often a starting server is asked whether it answers, and an ending one whether it is gone. */
export const readyPollMs = 50;
export const endedPollMs = 25;

/** A claim file without content is being written by another process; older than this it is a crash's remains. */
export const folderClaimWaitMs = 1_000;

/** Connections of the embedded Postgres: two hubs' pools and a person's psql. */
export const postgresConnectionsMax = 100;

/** Disk that the broker may take: reports wait here only until intake has committed them. */
export const natsStoreBytesMax = 4 * 1024 ** 3;
export const natsMemoryStoreBytesMax = 64 * 1024 ** 2;

/** Reports are cut to maxReportBytes; headers come on top of it. */
export const natsPayloadBytesMax = 1024 ** 2;

/** One Go build: the Kubernetes API server takes 4 minutes on two cores, downloads included. */
export const toolBuildMs = 30 * 60_000;

/** How often a build waits on another's lock, and asks a program for its version at most this long. */
export const toolLockPollMs = 500;
export const toolVersionMs = 10_000;
