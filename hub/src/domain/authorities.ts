import { createHash, X509Certificate } from "node:crypto";

/**
 * - `staged`: hub and agents trust it; it signs nothing yet.
 * - `active`: it signs. There is one.
 * - `retiring`: another signs; what it signed is still taken.
 * - `retired`: not trusted any more, and its key is gone.
 */
export type AuthorityState = "staged" | "active" | "retiring" | "retired";

/** A CA of the hub. */
export interface AuthorityKeys {
  /** SHA-256 (hex) of its public key (SPKI, DER): what people and tokens call it by. */
  readonly hash: string;
  /** PEM. */
  readonly certificatePem: string;
  /** PEM, PKCS#8. */
  readonly keyPem: string;
}

export interface TrustedAuthority extends AuthorityKeys {
  readonly state: Exclude<AuthorityState, "retired">;
}

/** SHA-256 (hex) of a certificate's public key (SPKI, DER). */
export function spkiHashOf(certificatePem: string): string {
  const { publicKey } = new X509Certificate(certificatePem);
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
}

/** What becomes of a CA when another takes its place, or people give it up. */
export type AuthorityAct = "activate" | "retire";

/** Why an act is against the state that a CA is in, or undefined. */
export function faultOfAct(act: AuthorityAct, state: AuthorityState): string | undefined {
  if (state === "retired") return "it was retired, and its key is gone";
  if (state === "active") return act === "activate" ? "it signs already" : "it signs: another must be activated first";
  return undefined;
}

/** Names for a message: the first ones, and how many more. */
export function namesShown(names: readonly string[], shownMax = 10): string {
  const more = names.length - shownMax;
  return names.slice(0, shownMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
