/** What a crowd's processes are asked, and what they answer: one JSON message each over Node's IPC. */

/** One cluster that joins, with the token of its agent. */
export interface CrowdMember {
  readonly name: string;
  readonly hub: string;
  readonly token: string;
  readonly caHash: string;
}

/** How every cluster of a crowd behaves. */
export interface CrowdBehaviour {
  readonly writeLatency?: "published" | "none";
  /** Versions that a watch may go back. */
  readonly maxEvents?: number;
  readonly seed?: number;
}

/** Objects to look for: those of the core group's ConfigMaps whose text holds the words. */
export interface Mark {
  readonly text: string;
  /** A cluster is through when so many different objects hold it. */
  readonly perCluster: number;
}

/** In every cluster, what a deployment's controller writes while its pods come and go: so many steps of that many Deployments, the last of which says that it is complete. */
export interface Stir {
  readonly objects: number;
  readonly steps: number;
  /** Milliseconds between two steps of one object. */
  readonly everyMs: number;
}

export type CrowdQuestion =
  | { readonly ask: "join"; readonly members: readonly CrowdMember[] }
  | { readonly ask: "mark"; readonly mark: Mark }
  | { readonly ask: "through" }
  | { readonly ask: "write"; readonly objects: number; readonly text: string }
  | ({ readonly ask: "stir" } & Stir)
  | { readonly ask: "links" }
  | { readonly ask: "usage" }
  | { readonly ask: "stop" };

/** When the clusters of one process were through, and which are not yet. */
export interface Through {
  /** Epoch milliseconds with fractions, one per cluster that is through. */
  readonly at: readonly number[];
  readonly missing: readonly string[];
  /** Objects seen with the text, in all. */
  readonly objects: number;
}

/** The links of one process, since the start. */
export interface CrowdLinks {
  readonly connected: number;
  /** When the last of those connected became so, epoch ms. */
  readonly lastAt: number;
  /** Targets that came, in all. */
  readonly targets: number;
  /** When the last target came, epoch ms. */
  readonly targetAt: number;
}

export interface CrowdUsage {
  readonly residentMiB: number;
  readonly heapMiB: number;
  readonly cpuSeconds: number;
  /** Requests that the clusters of this process answered. */
  readonly requests: number;
}

export interface CrowdAnswers {
  join: number;
  mark: undefined;
  through: Through;
  write: number;
  stir: number;
  links: CrowdLinks;
  usage: CrowdUsage;
  stop: undefined;
}

/** Clocks of processes of one machine agree: epoch milliseconds with fractions. */
export function epochNow(): number {
  return performance.timeOrigin + performance.now();
}
