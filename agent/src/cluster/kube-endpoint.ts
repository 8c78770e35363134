import type { ClientHttp2Session } from "node:http2";
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
  /** Opens a session where there is no network between, e.g. to an API server in this process; over TCP when left out. */
  readonly open?: () => ClientHttp2Session;
  /** Forget cached credentials: the server did not accept them. */
  renew(): void;
}
