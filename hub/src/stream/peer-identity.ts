import type { PeerCertificate } from "node:tls";
import { clusterOfSpiffeId } from "@flotilla/proto/names";

/** Who is at the other end: from the client certificate, which TLS has verified against the hub's CA. */
export interface PeerIdentity {
  readonly cluster: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notAfter: Date;
}

/** The identity in a certificate, or undefined when it is not exactly one of an agent's. */
export function peerIdentity(certificate: Pick<PeerCertificate, "subjectaltname" | "serialNumber" | "valid_to"> | undefined): PeerIdentity | undefined {
  const name = certificate?.subjectaltname;
  // Exactly one name: a list, or a quoted one, is not of our signer.
  if (certificate === undefined || !name?.startsWith("URI:")) return undefined;
  const cluster = clusterOfSpiffeId(name.slice("URI:".length));
  if (cluster === undefined) return undefined;
  return { cluster, serial: certificate.serialNumber.toLowerCase().replace(/^0+/, ""), notAfter: new Date(certificate.valid_to) };
}
