import { createHash, X509Certificate } from "node:crypto";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { exitCodes } from "../exit-codes.ts";
import { FleetError, wrongUse } from "../fleet-error.ts";
import { tlsProbeMs } from "../limits.ts";

/** A chain longer than this is no chain that a hub shows. */
const maxChain = 8;

/**
 * The certificate (PEM) of the authority whose public key has this SHA-256, out of the chain that the server shows.
 * Only the hash is trusted: whoever sits in between cannot show a certificate that fits it. From then on TLS checks
 * as usual, against this authority alone. Throws FleetError when no certificate of the chain fits.
 */
export async function pinAuthority(url: string, hash: string): Promise<string> {
  const wanted = hash
    .replace(/^sha256:/i, "")
    .replaceAll(":", "")
    .toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(wanted))
    throw wrongUse(`--ca-hash is '${hash}'`, "it takes 64 hexadecimal digits; 'fleet cluster add' and the hub's start print it");
  const chain = await shownChain(url);
  const match = chain.find((certificate) => publicKeyHash(certificate) === wanted);
  if (match) return match.toString();
  throw new FleetError(`${url} shows no certificate whose public key has the hash ${wanted}`, exitCodes.notAllowed, {
    hint: "compare the hash with the hub's own; if it is right, something between you and the hub answers in its place. A hub that does not send its authority along wants --ca-file",
    lines: chain.map((certificate) => `shown: ${certificate.subject.replaceAll("\n", ", ")} ${publicKeyHash(certificate)}`),
  });
}

/** SHA-256 (hex) of a certificate's public key. */
export function publicKeyHash(certificate: X509Certificate): string {
  return createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
}

async function shownChain(url: string): Promise<X509Certificate[]> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    // Nothing is sent over this connection; it only looks.
    const socket = connect({ host, port: Number(port) || 443, rejectUnauthorized: false, ...(/^[\d.:]+$/.test(host) ? {} : { servername: host }) });
    const fail = (error: Error): void => {
      socket.destroy();
      reject(
        new FleetError(`cannot reach the hub at ${url}: ${error.message}`, exitCodes.unreachable, {
          hint: "check the address, and that the hub runs",
          cause: error,
        }),
      );
    };
    socket.setTimeout(tlsProbeMs, () => fail(new Error(`no TLS handshake within ${tlsProbeMs / 1_000} s`)));
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      const certificates = walk(socket.getPeerCertificate(true));
      socket.destroy();
      resolve(certificates);
    });
  });
}

function walk(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let certificate: DetailedPeerCertificate | undefined = leaf;
  while (certificate?.raw !== undefined && chain.length < maxChain) {
    chain.push(new X509Certificate(certificate.raw));
    // A self-signed certificate is its own issuer.
    certificate = certificate.issuerCertificate === certificate ? undefined : certificate.issuerCertificate;
  }
  return chain;
}
