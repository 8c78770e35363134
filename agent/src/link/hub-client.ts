import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { EnrolmentService } from "@flotilla/proto/gen/enrolment";
import { LinkService } from "@flotilla/proto/gen/link";
import { grpcService } from "@flotilla/proto/grpc";
import { keepaliveDeadlineMs, keepaliveMs, maxGrpcMessageBytes } from "@flotilla/proto/limits";
import { authorityServerName, hubServerName } from "@flotilla/proto/names";
import type { StepTracer } from "../telemetry.ts";
import { carryTrace } from "./carry-trace.ts";
import {
  type ChannelCredentials,
  type ChannelOptions,
  type Client,
  type ClientOptions,
  credentials,
  makeGenericClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { caHashesOf } from "./trusted-cas.ts";

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": maxGrpcMessageBytes,
  "grpc.max_send_message_length": maxGrpcMessageBytes,
  "grpc.keepalive_time_ms": keepaliveMs,
  "grpc.keepalive_timeout_ms": keepaliveDeadlineMs,
  "grpc.enable_retries": 0,
  // Each try is a connection of its own, with the identity of that moment.
  "grpc.use_local_subchannel_pool": 1,
};

const LinkClient = makeGenericClientConstructor(grpcService(LinkService), "LinkService");
const EnrolmentClient = makeGenericClientConstructor(grpcService(EnrolmentService), "EnrolmentService");

interface LinkIdentity {
  readonly linkAddress: string;
  readonly caPem: string;
  readonly privateKeyPem: string;
  readonly certificatePem: string;
}

/** Reading keys and certificates is half of what a try costs that nobody answers, and a hub that is away is tried again and again. An identity that changes is a new object. */
const prepared = new WeakMap<LinkIdentity, { readonly own: ChannelCredentials; readonly serverName: string }>();

/** A client of the link listener, who shows this identity. Nothing is dialled before its first call. */
export function linkClient(identity: LinkIdentity, tracer: StepTracer): Client {
  const { own, serverName } = prepared.get(identity) ?? prepare(identity);
  return new LinkClient(identity.linkAddress, own, optionsWith(tracer, serverName));
}

function prepare(identity: LinkIdentity) {
  const { caPem, privateKeyPem, certificatePem } = identity;
  const own = credentials.createSsl(Buffer.from(caPem), Buffer.from(privateKeyPem), Buffer.from(certificatePem), { checkServerIdentity: isHub });
  const made = { own, serverName: serverNameOf(caPem) };
  prepared.set(identity, made);
  return made;
}

/** A client of the enrolment listener that trusts this CA alone. */
export function enrolmentClient(address: string, caPem: string, tracer: StepTracer): Client {
  const pinned = credentials.createSsl(Buffer.from(caPem), null, null, { checkServerIdentity: isHub });
  return new EnrolmentClient(address, pinned, optionsWith(tracer, serverNameOf(caPem)));
}

/** The CAs are pinned, and their servers carry this name: the address that was dialled proves nothing more. */
const isHub = (_asked: string, certificate: PeerCertificate): Error | undefined => checkServerIdentity(hubServerName, certificate);

function optionsWith(tracer: StepTracer, serverName: string): ClientOptions {
  return { ...channelOptions, "grpc.ssl_target_name_override": serverName, interceptors: [carryTrace(tracer)] };
}

/** What is asked for by name is a certificate of the first CA that we trust: the hub may have others, which we have not heard of. */
function serverNameOf(caPem: string): string {
  const [caHash = ""] = caHashesOf(caPem);
  return authorityServerName(caHash);
}

type UnaryMethod = (request: unknown, options: { deadline: number }, done: (error: ServiceError | null, response: unknown) => void) => void;

/**
 * One call with a deadline.
 *
 * @throws grpc-js's ServiceError.
 */
export function callUnary<Response>(client: Client, method: string, request: unknown, deadlineMs: number): Promise<Response> {
  return new Promise((resolve, reject) => {
    const methods = client as unknown as Record<string, UnaryMethod | undefined>;
    const call = methods[method];
    if (call === undefined) return reject(new Error(`the service has no method ${method}`));
    call.call(client, request, { deadline: Date.now() + deadlineMs }, (error, response) => (error ? reject(error) : resolve(response as Response)));
  });
}

/** The status code of a failed call; UNKNOWN for any other error. */
export function codeOf(error: unknown): status {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "number" ? code : status.UNKNOWN;
}

/** What to show of a failed call: the peer's words, without grpc-js's code in front. */
export function detailsOf(error: unknown): string {
  const { details, message } = error as { details?: string; message?: string };
  return details || message || String(error);
}
