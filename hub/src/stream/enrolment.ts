import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { EnrolmentService, type EnrolRequest, type EnrolResponse, EnrolResponseSchema } from "@flotilla/proto/gen/enrolment";
import { grpcService } from "@flotilla/proto/grpc";
import type { Tracer } from "@opentelemetry/api";
import { Metadata, Server, type sendUnaryData, type ServerUnaryCall, status } from "@grpc/grpc-js";
import type { IssuedCertificate } from "../domain/link-rows.ts";
import { enrolBurstAll, enrolBurstSeconds, enrolPerSecondAll, rateBucketsMax } from "../limits.ts";
import type { Authorities } from "./authorities.ts";
import { bindServer } from "./bind-server.ts";
import { type ClientCertificate, CsrError } from "./certificate-authority.ts";
import { listenerCredentials } from "./server-credentials.ts";
import { enrolServerOptions } from "./server-options.ts";
import type { StreamLog } from "./stream-log.ts";
import { TokenBuckets } from "./token-bucket.ts";
import { tracedCalls } from "./traced-calls.ts";

/** The rows that enrolment needs; hub/src/store/enrolment-store.ts has them. */
export interface EnrolmentStore {
  enrol(
    token: string,
    issue: (cluster: string) => Promise<IssuedCertificate>,
    source: string,
  ): Promise<{ readonly outcome: "accepted" | "used" | "expired" | "removed"; readonly cluster: string } | { readonly outcome: "unknown" }>;
  recordEvent(event: { cluster: string; reason: "AgentEnrolled" | "EnrolmentRefused"; severity: "Normal" | "Warning"; message: string }): Promise<void>;
}

export interface EnrolmentOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Tries that one address has; it may spend those of enrolBurstSeconds at once. */
  readonly perSecond: number;
  readonly authorities: Authorities;
  readonly store: EnrolmentStore;
  /** Names and addresses of this hub for its certificate. */
  readonly names: readonly string[];
  /** host:port of the link listener as agents reach it. */
  readonly linkAddress: string;
  readonly tracer: Tracer;
  readonly log: StreamLog;
}

export interface EnrolmentListener {
  readonly port: number;
  close(): Promise<void>;
}

const refusals = {
  unknown: "the enrolment token is not known to this hub",
  used: "the enrolment token was used already: every agent needs one of its own",
  expired: "the enrolment token has expired",
  removed: "the cluster of this enrolment token was removed",
} as const;

/**
 * Serves EnrolmentService on a TLS listener that asks for no client certificate. The identity comes from the token's row alone;
 * tries are limited per address and in all.
 *
 * @throws Error when the address cannot be listened on.
 */
export async function startEnrolment(options: EnrolmentOptions): Promise<EnrolmentListener> {
  const { log } = options;
  const { perSecond } = options;
  const perAddress = new TokenBuckets(perSecond * enrolBurstSeconds, perSecond, rateBucketsMax);
  const all = new TokenBuckets(Math.max(enrolBurstAll, perSecond), Math.max(enrolPerSecondAll, perSecond), 1);
  const server = new Server({ ...enrolServerOptions, interceptors: [tracedCalls(options.tracer)] });
  server.addService(grpcService(EnrolmentService), {
    enrol(call: ServerUnaryCall<EnrolRequest, EnrolResponse>, reply: sendUnaryData<EnrolResponse>) {
      const address = addressOf(call.getPeer());
      const waitMs = perAddress.take(address) || all.take("");
      if (waitMs > 0) return reply(tooMany(waitMs));
      enrol(call.request, address, options).then(
        (response) => reply(null, response),
        (error: unknown) => {
          if (error instanceof EnrolmentRefused) return reply({ code: error.code, details: error.message });
          log.error({ err: error, address }, "an enrolment failed");
          reply({ code: status.UNAVAILABLE, details: "the hub could not enrol the agent just now; the token is still good, try again" });
        },
      );
    },
  });
  const { authorities, names } = options;
  // An agent of the version before asks for none: its token is younger than a change of the CA.
  const listener = await listenerCredentials({ authorities, names, clientCertificates: "none", usual: ({ active }) => active, log });
  const port = await bindServer(server, options.host, options.port, listener.credentials);
  log.info({ host: options.host, port }, "enrolment listens");
  return {
    port,
    async close() {
      listener.close();
      server.forceShutdown();
    },
  };
}

class EnrolmentRefused extends Error {
  readonly code: status;
  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

async function enrol(request: EnrolRequest, address: string, { authorities, store, linkAddress, log }: EnrolmentOptions): Promise<EnrolResponse> {
  const { token, csr, agentVersion, caHash } = request;
  const signer = caHash === "" ? authorities.active : authorities.signerFor([caHash]);
  let issued: ClientCertificate | undefined;
  const use = await store
    .enrol(
      token,
      async (cluster) => {
        issued = await signer.issueClient(csr, cluster);
        return { ...issued, cluster };
      },
      address,
    )
    .catch((error: unknown) => {
      throw error instanceof CsrError ? new EnrolmentRefused(status.INVALID_ARGUMENT, error.message) : error;
    });
  if (use.outcome !== "accepted" || issued === undefined) {
    const outcome = use.outcome === "accepted" ? "unknown" : use.outcome;
    log.warn({ address, outcome, cluster: use.outcome === "unknown" ? undefined : use.cluster }, "enrolment refused");
    if (use.outcome !== "unknown")
      await told(store, log, { cluster: use.cluster, reason: "EnrolmentRefused", severity: "Warning", message: `${refusals[outcome]} (from ${address})` });
    throw new EnrolmentRefused(status.UNAUTHENTICATED, `${refusals[outcome]}; 'fleet cluster add' makes a new one`);
  }
  const { cluster } = use;
  const { certificatePem, serial, spkiHash, notAfter } = issued;
  log.info({ address, cluster, serial, spkiHash }, "agent enrolled");
  const version = agentVersion.slice(0, 64);
  await told(store, log, {
    cluster,
    reason: "AgentEnrolled",
    severity: "Normal",
    message: `agent ${version} enrolled from ${address}; certificate ${serial}, key ${spkiHash.slice(0, 16)}`,
  });
  return create(EnrolResponseSchema, {
    identity: { cluster, certificate: certificatePem, ca: authorities.bundlePem, linkAddress, notAfter: timestampFromDate(notAfter) },
  });
}

/** What cannot be written down is logged, and does not undo what happened. */
async function told(store: EnrolmentStore, log: StreamLog, event: Parameters<EnrolmentStore["recordEvent"]>[0]): Promise<void> {
  await store.recordEvent(event).catch((error: unknown) => log.warn({ err: error }, "an enrolment's event could not be written"));
}

function tooMany(waitMs: number) {
  const metadata = new Metadata();
  metadata.set("retry-after-ms", String(waitMs));
  return { code: status.RESOURCE_EXHAUSTED, details: `too many enrolments; try again in ${Math.ceil(waitMs / 1_000)} s`, metadata };
}

/** "ip:port" or "[ip]:port" without the port. */
function addressOf(peer: string): string {
  return peer.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}
