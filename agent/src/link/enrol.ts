import { createPrivateKey, X509Certificate } from "node:crypto";
import { connect, type DetailedPeerCertificate } from "node:tls";
import type { EnrolResponse } from "@flotilla/proto/gen/enrolment";
import { authorityServerName, clusterSpiffeId } from "@flotilla/proto/names";
import { type ServiceError, status } from "@grpc/grpc-js";
import { linkLimits } from "../limits.ts";
import type { StepTracer } from "../telemetry.ts";
import { newCertificateRequest } from "./certificate-request.ts";
import { callUnary, codeOf, detailsOf, enrolmentClient } from "./hub-client.ts";
import type { Identity } from "./identity.ts";
import { casIn, spkiHashOf } from "./trusted-cas.ts";

/**
 * - `Unreachable`: nobody answers there, or not in TLS; trying again may work.
 * - `WrongHub`: who answers does not have the CA that the token came with. Nothing was sent to it.
 * - `TokenRefused`: unknown, used or expired; a new token is needed.
 * - `TooMany`: the hub wants fewer tries; trying again later works.
 * - `BadAnswer`: what came back is not for this key, or not of the pinned CA.
 */
export type EnrolErrorCode = "Unreachable" | "WrongHub" | "TokenRefused" | "TooMany" | "BadAnswer";

export class EnrolError extends Error {
  override readonly name = "EnrolError";
  readonly code: EnrolErrorCode;
  /** When trying again may work, in milliseconds; undefined when it does not help. */
  readonly retryAfterMs: number | undefined;

  constructor(code: EnrolErrorCode, message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

export interface EnrolOptions {
  /** host:port of the hub's enrolment listener. */
  readonly address: string;
  readonly token: string;
  /** SHA-256 of the hub CA's public key, hex, with or without "sha256:". */
  readonly caHash: string;
  readonly agentVersion: string;
  readonly tracer: StepTracer;
}

/**
 * Trades a single-use token for an identity. The hub is known by the hash of its CA's key alone: what it presents is compared with
 * it before anything is sent, never trusted because it came first.
 *
 * @throws EnrolError
 */
export async function enrol({ address, token, caHash, agentVersion, tracer }: EnrolOptions): Promise<Identity> {
  const wanted = caHash.toLowerCase().replace(/^sha256:/, "");
  if (!/^[0-9a-f]{64}$/.test(wanted))
    throw new EnrolError("WrongHub", `'${caHash}' is not a CA hash; it takes the 64 hex digits that 'fleet cluster add' printed`);
  const caPem = await findAuthority(address, wanted);
  const request = newCertificateRequest();
  const client = enrolmentClient(address, caPem, tracer);
  try {
    const { identity } = await callUnary<EnrolResponse>(client, "enrol", { token, csr: request.csr, agentVersion, caHash: wanted }, linkLimits.enrolMs);
    if (identity === undefined) throw new EnrolError("BadAnswer", `the hub at ${address} gave no identity`);
    checkCertificate(identity.certificate, identity.cluster, request.privateKeyPem, caPem);
    return {
      cluster: identity.cluster,
      privateKeyPem: request.privateKeyPem,
      certificatePem: identity.certificate,
      caPem,
      linkAddress: identity.linkAddress,
      enrolAddress: address,
    };
  } catch (error) {
    throw error instanceof EnrolError ? error : refusalOf(error, address);
  } finally {
    client.close();
  }
}

/**
 * A certificate is taken when it is for our key, in our name, and of a CA that we trust.
 *
 * @throws EnrolError BadAnswer
 */
export function checkCertificate(certificatePem: string, cluster: string, privateKeyPem: string, caPem: string): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem);
  } catch (cause) {
    throw new EnrolError("BadAnswer", "the hub's answer is not a certificate", { cause });
  }
  if (!casIn(caPem).some((ca) => certificate.verify(ca.publicKey)))
    throw new EnrolError("BadAnswer", "the certificate that came is not signed by the hub's CA");
  if (!certificate.checkPrivateKey(createPrivateKey(privateKeyPem))) throw new EnrolError("BadAnswer", "the certificate that came is not for this agent's key");
  if (certificate.subjectAltName !== `URI:${clusterSpiffeId(cluster)}`)
    throw new EnrolError("BadAnswer", `the certificate that came is not cluster ${cluster}'s`);
}

/** The presented certificate whose key has the hash, as PEM. The connection is closed again: it proved nothing yet. */
function findAuthority(address: string, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { host, port } = splitAddress(address);
    const unreachable = (cause: Error) =>
      new EnrolError("Unreachable", `the hub at ${address} cannot be reached: ${cause.message}`, { retryAfterMs: 2_000, cause });
    const socket = connect({ host, port, servername: authorityServerName(wanted), ALPNProtocols: ["h2"], minVersion: "TLSv1.3", rejectUnauthorized: false });
    socket.setTimeout(linkLimits.callMs, () => socket.destroy(new Error("no answer")));
    socket.once("error", (error) => reject(unreachable(error)));
    socket.once("close", () => reject(unreachable(new Error("it closed the connection"))));
    socket.once("secureConnect", () => {
      const presented = presentedCertificates(socket.getPeerCertificate(true));
      socket.destroy();
      const authority = presented.find((certificate) => certificate.ca && spkiHashOf(certificate) === wanted);
      if (authority !== undefined) return resolve(authority.toString());
      const shown = presented.filter((certificate) => certificate.ca).map(spkiHashOf);
      const what = shown.length === 0 ? "shows no CA" : `has the CA ${shown.join(", ")}`;
      reject(new EnrolError("WrongHub", `the hub at ${address} ${what}, not ${wanted}: it is another hub, or somebody in between. The token was not sent`));
    });
  });
}

/** A chain of a dozen is no chain of ours. */
const chainMax = 12;

function presentedCertificates(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = leaf;
  while (next?.raw !== undefined && chain.length < chainMax) {
    chain.push(new X509Certificate(next.raw));
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate;
  }
  return chain;
}

function splitAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new EnrolError("Unreachable", `'${address}' is not an address; it takes HOST:PORT`);
  return { host, port: Number(match?.[3]) };
}

function refusalOf(error: unknown, address: string): EnrolError {
  const details = detailsOf(error);
  const code = codeOf(error);
  if (code === status.UNAUTHENTICATED) return new EnrolError("TokenRefused", details, { cause: error });
  if (code === status.INVALID_ARGUMENT) return new EnrolError("BadAnswer", `the hub did not take the certificate request: ${details}`, { cause: error });
  if (code === status.RESOURCE_EXHAUSTED) {
    const after = Number((error as ServiceError).metadata.get("retry-after-ms")[0]);
    return new EnrolError("TooMany", details, { retryAfterMs: after > 0 ? after : 10_000, cause: error });
  }
  return new EnrolError("Unreachable", `the hub at ${address} could not enrol this agent: ${details}`, { retryAfterMs: 2_000, cause: error });
}
