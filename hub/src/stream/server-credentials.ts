import { ServerCredentials } from "@grpc/grpc-js";
import { handshakeMs, serverCertificateMs } from "../limits.ts";
import type { CertificateAuthority, ServerCertificate } from "./certificate-authority.ts";
import type { StreamLog } from "./stream-log.ts";

/** Certificates are looked at this often; timers of Node reach 24 days. */
const lookMs = 3_600_000;

export interface ListenerCredentials {
  readonly credentials: ServerCredentials;
  close(): void;
}

/** TLS 1.3 with a certificate of the hub's CA that is renewed at half its life, without a restart and without ending streams. */
export async function listenerCredentials(options: {
  readonly ca: CertificateAuthority;
  readonly names: readonly string[];
  readonly clientCertificates: "required" | "none";
  readonly log: StreamLog;
}): Promise<ListenerCredentials> {
  const { ca, names, log } = options;
  const isRequired = options.clientCertificates === "required";
  let certificate = await ca.issueServer(names);
  const credentials = new RenewedCredentials(isRequired, contextOf(ca, certificate, isRequired));
  const renew = async () => {
    if (certificate.notAfter.getTime() - Date.now() > serverCertificateMs / 2) return;
    certificate = await ca.issueServer(names);
    credentials.renew(contextOf(ca, certificate, isRequired));
  };
  const timer = setInterval(() => void renew().catch((error: unknown) => log.error({ err: error }, "a listener's certificate could not be renewed")), lookMs);
  timer.unref();
  return { credentials, close: () => clearInterval(timer) };
}

interface TlsContext {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: "TLSv1.3";
  readonly ca?: string;
}

function contextOf(ca: CertificateAuthority, { chainPem, keyPem }: ServerCertificate, isRequired: boolean): TlsContext {
  return { cert: chainPem, key: keyPem, minVersion: "TLSv1.3", ...(isRequired && { ca: ca.caPem }) };
}

/** grpc-js's own credentials know neither a least TLS version nor renewal from memory. */
class RenewedCredentials extends ServerCredentials {
  constructor(isRequired: boolean, context: TlsContext) {
    super({ requestCert: isRequired, rejectUnauthorized: isRequired, minVersion: "TLSv1.3", handshakeTimeout: handshakeMs }, context);
  }

  renew(context: TlsContext): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
