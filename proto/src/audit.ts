import { digestOf } from "./digest.ts";

/** One act in the audit log, as it is hashed: everything that a reader is told of it but the hash itself. */
export interface AuditedAct {
  /** 1, 2, 3 …: without gaps. */
  readonly seq: number;
  /** RFC 3339 with milliseconds, UTC: the hub's clock. */
  readonly at: string;
  /** Id of the token that acted; "hub" for what the hub's own start does, "enrolment" for a cluster's enrolment token. */
  readonly actor: string;
  /** The token's description when it acted. */
  readonly actorName: string;
  /** What was done: "fleet.delete", "cluster.label", "prune.approve". */
  readonly act: string;
  readonly fleet: string;
  readonly cluster: string;
  /** What was asked for, without secrets. */
  readonly details: Readonly<Record<string, unknown>>;
  /** Why, in the words of whoever acted; may be empty. */
  readonly reason: string;
  /** Address that the request came from. */
  readonly source: string;
  /** "done", or "refused": the hub did not do it, and `details.refusal` says why. */
  readonly outcome: "done" | "refused";
  /** `hash` of the act before; `auditStart` for the first. */
  readonly previous: string;
}

/** What the first act follows. */
export const auditStart = "0".repeat(64);

/** SHA-256 (hex) over an act and, through `previous`, over all before it: whoever changes one changes all that follow. */
export function auditHash(act: AuditedAct): string {
  const { seq, at, actor, actorName, act: name, fleet, cluster, details, reason, source, outcome, previous } = act;
  return digestOf({ seq, at, actor, actorName, act: name, fleet, cluster, details, reason, source, outcome, previous });
}

/** How far a chain was followed. */
export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}

/** Where a chain is broken, and how. */
export interface AuditFault {
  readonly seq: number;
  readonly why: string;
}

/**
 * Follows the chain over acts in the order of their numbers, page by page.
 *
 * @returns the last act that fits, and the first that does not, where there is one.
 */
export function followAudit(
  from: AuditHead,
  acts: readonly (AuditedAct & { readonly hash: string })[],
): { readonly head: AuditHead; readonly fault?: AuditFault } {
  let head = from;
  for (const act of acts) {
    const why = breakOf(head, act);
    if (why !== undefined) return { head, fault: { seq: head.seq + 1, why } };
    head = { seq: act.seq, hash: act.hash };
  }
  return { head };
}

function breakOf(head: AuditHead, act: AuditedAct & { readonly hash: string }): string | undefined {
  if (act.seq > head.seq + 1) return act.seq === head.seq + 2 ? `act ${head.seq + 1} is missing` : `acts ${head.seq + 1} to ${act.seq - 1} are missing`;
  if (act.seq <= head.seq) return `act ${act.seq} comes again`;
  if (act.previous !== head.hash) return "it does not follow the act before: that one was changed, or this one put in";
  if (auditHash(act) !== act.hash) return "its content is not what its hash says: it was changed";
  return undefined;
}

/** The head of a chain without acts. */
export const emptyAudit: AuditHead = { seq: 0, hash: auditStart };
