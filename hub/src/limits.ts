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
