import { createHash } from "node:crypto";
import type { Log } from "../log.ts";
import { EnrolError } from "./enrol.ts";
import type { Identity } from "./identity.ts";

/** What an identity remembers of the token that it was traded for; a token has 256 random bits, so that its hash tells nothing. */
export const tokenHashOf = (token: string): string => createHash("sha256").update(token).digest("hex");

/**
 * An agent that has an identity and is given another token than the one it came by is told to enrol anew: its certificate has expired, or the
 * hub does not know it. When that does not work it goes on with what it has.
 *
 * @returns the identity to go on with, to be kept when it is another than `kept`.
 */
export async function enrolAgain(kept: Identity, token: string, enrol: () => Promise<Identity>, log: Log): Promise<Identity> {
  const tokenHash = tokenHashOf(token);
  if (kept.tokenHash === tokenHash) return kept;
  try {
    const fresh = await enrol();
    if (fresh.cluster === kept.cluster) return { ...fresh, tokenHash };
    log.error({ cluster: kept.cluster, token: fresh.cluster }, "the token is another cluster's; remove the Secret flotilla-agent-identity to become that one");
    return kept;
  } catch (error) {
    const isSpent = error instanceof EnrolError && error.code === "TokenRefused";
    log.warn({ error: (error as Error).message }, "a token was given and could not be used; going on with the identity that is kept");
    // An older token, of whom nobody remembered that it was this identity's: not asked about again.
    return isSpent ? { ...kept, tokenHash } : kept;
  }
}
