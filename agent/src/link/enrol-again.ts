import { createHash } from "node:crypto";
import type { Log } from "../log.ts";
import { EnrolError } from "./enrol.ts";
import type { Identity } from "./identity.ts";

/** What an identity remembers of the token that it was traded for; a token has 256 random bits, so that its hash tells nothing. */
export const tokenHashOf = (token: string): string => createHash("sha256").update(token).digest("hex");

export interface EnrolledAgain {
  /** To go on with, and to be kept when it is another than the one before. */
  readonly identity: Identity;
  /** The hub did not say anything about the token: to be tried again. */
  readonly waits: boolean;
}

/**
 * An agent that has an identity and is given another token than the one it came by is told to enrol anew: its certificate has expired, or the
 * hub does not know it. When that does not work it goes on with what it has.
 */
export async function enrolAgain(kept: Identity, token: string, enrol: () => Promise<Identity>, log: Log): Promise<EnrolledAgain> {
  const tokenHash = tokenHashOf(token);
  if (kept.tokenHash === tokenHash) return { identity: kept, waits: false };
  try {
    const fresh = await enrol();
    if (fresh.cluster === kept.cluster) return { identity: { ...fresh, tokenHash }, waits: false };
    log.error({ cluster: kept.cluster, token: fresh.cluster }, "the token is another cluster's; remove the Secret flotilla-agent-identity to become that one");
    return { identity: kept, waits: false };
  } catch (error) {
    const code = error instanceof EnrolError ? error.code : undefined;
    log.warn({ error: (error as Error).message }, "a token was given and could not be used; going on with the identity that is kept");
    // An older token, of whom nobody remembered that it was this identity's: not asked about again.
    return { identity: code === "TokenRefused" ? { ...kept, tokenHash } : kept, waits: code === "Unreachable" || code === "TooMany" };
  }
}
