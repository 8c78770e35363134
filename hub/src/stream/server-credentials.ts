import { createSecureContext, type SecureContext } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { authorityServerName } from "@flotilla/proto/names";
import { handshakeMs, serverCertificateMs } from "../limits.ts";
import type { Authorities } from "./authorities.ts";
import type { CertificateAuthority, ServerCertificate } from "./certificate-authority.ts";
import type { StreamLog } from "./stream-log.ts";

/** Certificates are looked at this often; timers of Node reach 24 days. */
const lookMs = 3_600_000;

export interface ListenerCredentials {
  readonly credentials: ServerCredentials;
  close(): void;
}

/**
 * TLS 1.3 with a certificate of each CA that is trusted: an agent asks for that of a CA that it trusts itself, so that one that was away while
 * the CA changed still knows the hub. They follow the CAs, and are renewed at half their life, without a restart and without ending streams.
 */
export async function listenerCredentials(options: {
  readonly authorities: Authorities;
  readonly names: readonly string[];
  readonly clientCertificates: "required" | "none";
  /** Shown to who asks for no CA that is trusted. */
  readonly usual: (authorities: Authorities) => CertificateAuthority;
  readonly log: StreamLog;
}): Promise<ListenerCredentials> {
  const { authorities, names, log } = options;
  const isRequired = options.clientCertificates === "required";
  const certificates = new Map<string, ServerCertificate>();
  const contexts = new Map<string, SecureContext>();
  const renew = async (): Promise<TlsContext> => {
    const { trusted, bundlePem } = authorities;
    for (const authority of trusted) {
      const kept = certificates.get(authority.caHash);
      if (kept === undefined || kept.notAfter.getTime() - Date.now() <= serverCertificateMs / 2)
        certificates.set(authority.caHash, await authority.issueServer(names));
    }
    const trustedHashes = new Set(trusted.map(({ caHash }) => caHash));
    for (const caHash of certificates.keys()) if (!trustedHashes.has(caHash)) certificates.delete(caHash);
    const contextOf = (caHash: string): TlsContext => {
      const { chainPem, keyPem } = certificates.get(caHash) as ServerCertificate;
      return { cert: chainPem, key: keyPem, minVersion: "TLSv1.3", ...(isRequired && { ca: bundlePem }) };
    };
    contexts.clear();
    for (const caHash of certificates.keys()) contexts.set(authorityServerName(caHash), createSecureContext(contextOf(caHash)));
    return contextOf(options.usual(authorities).caHash);
  };
  const credentials = new RenewedCredentials(isRequired, await renew(), (name) => contexts.get(name));
  let renewing: Promise<void> = Promise.resolve();
  const look = () => {
    renewing = renewing
      .then(async () => credentials.renew(await renew()))
      .catch((error: unknown) => log.error({ err: error }, "a listener's certificate could not be renewed"));
  };
  const forget = authorities.onChange(look);
  const timer = setInterval(look, lookMs);
  timer.unref();
  return {
    credentials,
    close() {
      forget();
      clearInterval(timer);
    },
  };
}

interface TlsContext {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: "TLSv1.3";
  readonly ca?: string;
}

/** grpc-js's own credentials know neither a least TLS version, nor renewal from memory, nor names. */
class RenewedCredentials extends ServerCredentials {
  constructor(isRequired: boolean, context: TlsContext, contextFor: (name: string) => SecureContext | undefined) {
    super(
      {
        requestCert: isRequired,
        rejectUnauthorized: isRequired,
        minVersion: "TLSv1.3",
        handshakeTimeout: handshakeMs,
        SNICallback: (name, done) => done(null, contextFor(name)),
      },
      context,
    );
  }

  renew(context: TlsContext): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
