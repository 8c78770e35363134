import { reconnectMaxMs, reconnectMinMs } from "@flotilla/proto/limits";
import { linkLimits } from "../limits.ts";

/** How a stream to the hub ended. */
export interface StreamEnd {
  /** How long ago the hub greeted (ms); undefined when it never did. */
  readonly greetedMs: number | undefined;
  /** The hub refuses this agent, or asks for patience: nothing that waiting a little would mend, and no reason to knock every second. */
  readonly isPatient: boolean;
}

/** How many tries in vain count after this end. A hub that greeted is there: also where it ended again soon, it is not looked for as one that is away. */
export function triesAfter(tries: number, { greetedMs, isPatient }: StreamEnd): number {
  const counted = greetedMs === undefined ? tries : greetedMs > linkLimits.stableMs ? 0 : Math.min(tries, linkLimits.triesAfterGreeting);
  return isPatient ? Math.max(counted, linkLimits.patientTries) : counted;
}

/**
 * The next try comes within so many milliseconds, at a random moment. A hub that restarts is back in seconds; one that is away for longer, or
 * refuses, is asked less often; and never do all agents come sooner than `withinMs`, over which the hub wants them spread.
 */
export function reconnectCapMs(tries: number, withinMs: number): number {
  const mostMs = tries < linkLimits.patientTries ? linkLimits.reconnectSoonMs : reconnectMaxMs;
  return Math.max(withinMs, Math.min(mostMs, reconnectMinMs * 2 ** Math.min(tries, 16)));
}
