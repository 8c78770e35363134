import type { HealthCheck } from "./health-checks.ts";
import type { ObjectKey } from "./object-id.ts";
import type { DesiredObject } from "./plan.ts";

/**
 * What a bundle asks to be run when it is removed. Kept in the cluster from the moment that its target is followed: the target that leaves
 * the bundle out, or the fleet's tombstone, can say nothing of it any more.
 */
export interface FarewellMark {
  readonly bundle: string;
  /** Digest of the bundle's body, in which its hooks lie. */
  readonly token: string;
  /** begun: something of the bundle is being deleted, or its hooks run; until then it is only kept. */
  readonly state: "kept" | "begun";
  /** Service account in whose name the hooks run; "" is the agent itself. */
  readonly account: string;
  /** Milliseconds that each hook may take. */
  readonly hookDeadlineMs: number;
  /** The bundle's own health checks: they say when a hook of such a kind has ended. */
  readonly healthChecks: readonly HealthCheck[];
}

/** A farewell with its hooks; without them while their body could not be read. */
export interface Farewell extends FarewellMark {
  readonly hooks: ReadonlyMap<ObjectKey, DesiredObject>;
  /** Why the hooks cannot be read; "" when they can. Nothing of the bundle is deleted then. */
  readonly problem: string;
}

/** Hooks that run when a bundle is removed, and at no other time. */
export const farewellPhases = ["pre-delete", "post-delete"] as const;

/** Whether an object is a hook of a removal. */
export function isFarewellHook({ directives }: Pick<DesiredObject, "directives">): boolean {
  return farewellPhases.some((phase) => directives.hook?.phases.includes(phase)) && !directives.hook?.phases.includes("skip");
}
