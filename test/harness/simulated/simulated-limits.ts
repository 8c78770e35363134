/** Bounds of one simulated cluster, and what it does when nothing else is asked for. */
export const simulatedLimits = {
  /** Versions that a watch may go back; an idle cluster keeps no more than its objects' own. */
  maxEvents: 1_000,
  /** A list without a limit is given whole, as by Kubernetes. */
  maxBodyBytes: 3 * 1024 * 1024,
  /** Watches that ask for bookmarks get one this often. Kubernetes: about once a minute. */
  bookmarkMs: 60_000,
  watchSeconds: 1_800,
  /** Latency of a write in a control plane of three nodes as it was measured and published: lognormal. */
  writeMedianMs: 7.6,
  writeP95Ms: 14.9,
  /** Until a definition is served. */
  establishMs: 20,
} as const;
