import type { ApprovedList } from "./approve-held.ts";
import type { Contents } from "./chaos-fleet.ts";
import type { LostTail } from "./lost-tails.ts";

/** What was pushed, so that deletes can be judged. */
export interface Pushed {
  readonly revision: string;
  readonly contents: Contents;
  readonly at: number;
  /** It has an object that every API server refuses. */
  readonly hasBroken?: boolean;
}

/**
 * One cluster is struck for a while, and nothing else is: when it began, all others had what Git said, so that what struck them before is not felt any more.
 * Times are epoch milliseconds.
 */
export interface Siege {
  readonly cluster: string;
  readonly from: number;
  readonly to: number;
}

/** One fault, from its beginning until it was undone. Times are epoch milliseconds. */
export interface FaultSpan {
  readonly name: string;
  /** The one cluster that it struck; undefined when it struck what all share, or failed before it said which. */
  cluster: string | undefined;
  /** More about it, as it is told. */
  what?: string | undefined;
  readonly from: number;
  to: number;
}

/** One write of somebody else's to an object of a real cluster. */
export interface Meddling {
  readonly cluster: string;
  readonly object: string;
  /** When it was sent, epoch ms. */
  readonly at: number;
}

/** The label of one cluster. */
export interface LabelWrites {
  /** What the API answered last, and when: epoch ms. */
  answered: string;
  answeredAt: number;
  /** What was tried after that, without an answer. */
  tried: string[];
}

/** Everything that the verdicts are about, besides the rig itself. */
export interface ChaosRecord {
  readonly pushed: Pushed[];
  readonly faults: FaultSpan[];
  readonly sieges: Siege[];
  /** What Postgres lost; the verdicts ask nothing of it. */
  readonly lostTails: LostTail[];
  /** Edits and deletes by hand that an API server answered. */
  readonly edits: Meddling[];
  /** Writes of the controller that fights. */
  readonly rival: Meddling[];
  /** Lists of deletions that a person let go. */
  readonly approved: ApprovedList[];
  readonly labels: Map<string, LabelWrites>;
  final: Contents;
  /** Before the last push, which changes every object: epoch ms. */
  peaceAt: number;
}
