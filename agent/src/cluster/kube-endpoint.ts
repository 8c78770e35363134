import type { SecureContextOptions } from "node:tls";

/** Where an API server is and how to prove who asks. */
export interface KubeEndpoint {
  /** Origin and path prefix, e.g. https://10.0.0.1:6443. */
  readonly url: URL;
  /** For logs: which file, context or mount it came from. */
  readonly source: string;
  /** Name that the server's certificate must carry, when it is not the URL's host. */
  readonly serverName: string | undefined;
  readonly insecureSkipVerify: boolean;
  /** CA and client certificate; read again for every new connection. */
  tls(): Promise<Pick<SecureContextOptions, "ca" | "cert" | "key">>;
  /** Bearer token, read again when it is about to run out; undefined when the certificate is enough. */
  token(): Promise<string | undefined>;
  /** Forget cached credentials: the server did not accept them. */
  renew(): void;
}
