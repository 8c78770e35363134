import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type IssueBrokerCredentialsRequest,
  type IssueBrokerCredentialsResponse,
  IssueBrokerCredentialsResponseSchema,
  LinkService,
  type RenewCertificateRequest,
  type RenewCertificateResponse,
  RenewCertificateResponseSchema,
} from "@flotilla/proto/gen/link";
import { grpcService } from "@flotilla/proto/grpc";
import { inboxPrefix, reportSubject } from "@flotilla/proto/subjects";
import { type sendUnaryData, Server, type ServerInterceptor, ServerInterceptingCall, type ServerUnaryCall, status } from "@grpc/grpc-js";
import type { IssuedCertificate } from "../domain/link-rows.ts";
import { rateBucketsMax, refusalBurst, refusalsPerSecond, renewBurst, renewPerSecond } from "../limits.ts";
import type { Authorities } from "./authorities.ts";
import { bindServer } from "./bind-server.ts";
import { type BrokerIdentity, BrokerIdentityError } from "./broker-identity.ts";
import { type CertificateAuthority, CsrError } from "./certificate-authority.ts";
import { type PeerIdentity, peerIdentity } from "./peer-identity.ts";
import { listenerCredentials } from "./server-credentials.ts";
import { linkServerOptions } from "./server-options.ts";
import type { AgentStream } from "./session.ts";
import { linkChannels, type LinkHint, Sessions, type SessionsOptions } from "./sessions.ts";
import type { StreamLog } from "./stream-log.ts";
import { TokenBuckets } from "./token-bucket.ts";
import { tracedCalls } from "./traced-calls.ts";

/** The rows behind a linked agent's credentials; hub/src/store/enrolment-store.ts has them. */
export interface CredentialStore {
  recordRenewal(certificate: IssuedCertificate, askedWith: string): Promise<boolean>;
  recordBrokerUser(user: { readonly cluster: string; readonly publicKey: string; readonly notAfter: Date }, askedWith: string): Promise<boolean>;
  recordEvent(event: { cluster: string; reason: "CertificateRenewed" | "LinkRefused"; severity: "Normal" | "Warning"; message: string }): Promise<void>;
}

export interface LinkOptions extends Omit<SessionsOptions, "onRefused"> {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly authorities: Authorities;
  readonly credentials: CredentialStore;
  /** Names and addresses of this hub for its certificate. */
  readonly names: readonly string[];
  /** host:port of this listener as agents reach it; told again with a renewed certificate. Default localhost and the port bound. */
  readonly linkAddress?: string;
  /** The broker as agents reach it. `ca` is PEM, "" for plain NATS, and asked for anew each time. */
  readonly broker: { readonly identity: BrokerIdentity; readonly urls: readonly string[]; readonly ca: string };
  /** Hears what other replicas say, e.g. `(channels, onHint) => listen(pool, channels, onHint, log)`. */
  readonly hints: (channels: readonly string[], onHint: (hint: LinkHint) => void) => { close(): Promise<void> };
  /** Told when something may have been revoked, e.g. the claims pusher's hint. */
  onRevoked?(): void;
}

export interface LinkListener {
  readonly port: number;
  /** Streams that are open. */
  readonly sessions: number;
  /** Asks every agent to move to another replica, and waits (at most drainMs) until they went. */
  drain(): Promise<void>;
  /** Ends every stream and stops listening. */
  close(): Promise<void>;
}

/** Who may call what. A method that is not here is refused, whatever the caller shows. */
const allowed = new Set(["/fleet.v1.LinkService/Connect", "/fleet.v1.LinkService/RenewCertificate", "/fleet.v1.LinkService/IssueBrokerCredentials"]);

/**
 * Serves LinkService on a TLS 1.3 listener that requires a client certificate of the hub's CA. The caller's cluster is the
 * certificate's, never a message's.
 *
 * @throws Error when the address cannot be listened on.
 */
export async function startLink(options: LinkOptions): Promise<LinkListener> {
  const { log, authorities, credentials } = options;
  const renewals = new TokenBuckets(renewBurst, renewPerSecond, rateBucketsMax);
  const refusals = new TokenBuckets(refusalBurst, refusalsPerSecond, rateBucketsMax);
  const sessions = new Sessions({
    ...options,
    onRefused(cluster, message) {
      if (refusals.take(cluster) === 0) void told(credentials, log, { cluster, reason: "LinkRefused", severity: "Warning", message });
    },
  });
  const server = new Server({ ...linkServerOptions, interceptors: [tracedCalls(options.tracer), refuseStrangers] });
  let linkAddress = options.linkAddress;
  server.addService(grpcService(LinkService), {
    connect(call: AgentStream) {
      const peer = identityOf(call);
      const refusal = peer === undefined ? "no identity" : sessions.accept(call, peer);
      if (refusal !== undefined) call.emit("error", { code: status.UNAVAILABLE, details: refusal });
    },
    renewCertificate(call: ServerUnaryCall<RenewCertificateRequest, RenewCertificateResponse>, reply: sendUnaryData<RenewCertificateResponse>) {
      answer(call, reply, log, async (peer) => {
        refuseFlood(renewals, peer);
        const issued = await authorities.signerFor(call.request.caHashes).issueClient(call.request.csr, peer.cluster);
        if (!(await credentials.recordRenewal({ ...issued, cluster: peer.cluster }, peer.serial))) throw revoked();
        log.info({ cluster: peer.cluster, serial: issued.serial }, "certificate renewed");
        const message = `certificate ${issued.serial} issued, key ${issued.spkiHash.slice(0, 16)}, asked for with ${peer.serial}`;
        await told(credentials, log, { cluster: peer.cluster, reason: "CertificateRenewed", severity: "Normal", message });
        return create(RenewCertificateResponseSchema, {
          identity: {
            cluster: peer.cluster,
            certificate: issued.certificatePem,
            ca: authorities.bundlePem,
            linkAddress: linkAddress ?? "",
            notAfter: timestampFromDate(issued.notAfter),
          },
        });
      });
    },
    issueBrokerCredentials(
      call: ServerUnaryCall<IssueBrokerCredentialsRequest, IssueBrokerCredentialsResponse>,
      reply: sendUnaryData<IssueBrokerCredentialsResponse>,
    ) {
      answer(call, reply, log, async (peer) => {
        refuseFlood(renewals, peer);
        const { cluster } = peer;
        const publicKey = call.request.userPublicKey;
        const { jwt, notAfter } = await options.broker.identity.issueUser(cluster, publicKey);
        if (!(await credentials.recordBrokerUser({ cluster, publicKey, notAfter }, peer.serial))) throw revoked();
        return create(IssueBrokerCredentialsResponseSchema, {
          userJwt: jwt,
          urls: [...options.broker.urls],
          ca: options.broker.ca,
          reportSubject: reportSubject(cluster),
          inboxPrefix: inboxPrefix(cluster),
          notAfter: timestampFromDate(notAfter),
        });
      });
    },
  });
  // An agent of the version before asks for none: it has trusted the oldest since it enrolled.
  const listener = await listenerCredentials({ authorities, names: options.names, clientCertificates: "required", usual: oldest, log });
  const port = await bindServer(server, options.host, options.port, listener.credentials).catch(async (error: unknown) => {
    listener.close();
    await sessions.close();
    throw error;
  });
  linkAddress ??= `localhost:${port}`;
  log.info({ host: options.host, port }, "link listens");
  const heard = options.hints(linkChannels, (hint) => {
    sessions.onHint(hint);
    if (hint.channel === "flotilla_authorities") void authorities.look();
    if (hint.channel === "flotilla_revoked") options.onRevoked?.();
  });
  return {
    port,
    get sessions() {
      return sessions.size;
    },
    drain: () => sessions.drain(),
    async close() {
      listener.close();
      await heard.close();
      await sessions.close();
      server.forceShutdown();
    },
  };
}

const oldest = ({ trusted, active }: Authorities): CertificateAuthority => trusted[0] ?? active;

class CallRefused extends Error {
  readonly code: status;
  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

const revoked = () => new CallRefused(status.UNAUTHENTICATED, "the cluster was removed or its certificate revoked");

function refuseFlood(renewals: TokenBuckets, { cluster }: PeerIdentity): void {
  const waitMs = renewals.take(cluster);
  if (waitMs > 0) throw new CallRefused(status.RESOURCE_EXHAUSTED, `too many renewals; try again in ${Math.ceil(waitMs / 1_000)} s`);
}

const identityOf = (call: { getAuthContext(): { sslPeerCertificate?: Parameters<typeof peerIdentity>[0] } }) =>
  peerIdentity(call.getAuthContext().sslPeerCertificate);

/** Default deny: an unknown method, or a certificate that names no cluster, gets no further. */
const refuseStrangers: ServerInterceptor = (method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      next({
        onReceiveMetadata(metadata, pass) {
          if (!allowed.has(method.path)) return call.sendStatus({ code: status.PERMISSION_DENIED, details: "no such right" });
          if (identityOf(call) === undefined)
            return call.sendStatus({ code: status.UNAUTHENTICATED, details: "the client certificate names no cluster of this hub" });
          pass(metadata);
        },
      });
    },
  });

function answer<Request, Response>(
  call: ServerUnaryCall<Request, Response>,
  reply: sendUnaryData<Response>,
  log: StreamLog,
  work: (peer: PeerIdentity) => Promise<Response>,
): void {
  const peer = identityOf(call);
  if (peer === undefined) return reply({ code: status.UNAUTHENTICATED, details: "no identity" });
  work(peer).then(
    (response) => reply(null, response),
    (error: unknown) => {
      if (error instanceof CallRefused) return reply({ code: error.code, details: error.message });
      if (error instanceof CsrError || error instanceof BrokerIdentityError) return reply({ code: status.INVALID_ARGUMENT, details: error.message });
      log.warn({ cluster: peer.cluster, method: call.getPath(), err: error }, "a call failed");
      reply({ code: status.UNAVAILABLE, details: "the hub cannot answer just now; try again" });
    },
  );
}

async function told(credentials: CredentialStore, log: StreamLog, event: Parameters<CredentialStore["recordEvent"]>[0]): Promise<void> {
  await credentials.recordEvent(event).catch((error: unknown) => log.warn({ err: error }, "an event could not be written"));
}
