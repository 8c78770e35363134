import { EnrolmentService } from "@flotilla/proto/gen/enrolment";
import { LinkService } from "@flotilla/proto/gen/link";
import { grpcService } from "@flotilla/proto/grpc";
import { heartbeatIntervalMs, maxGrpcMessageBytes } from "@flotilla/proto/limits";
import { hubServerName } from "@flotilla/proto/names";
import type { StepTracer } from "../telemetry.ts";
import { carryTrace } from "./carry-trace.ts";
import { type ChannelOptions, type Client, type ClientOptions, credentials, makeGenericClientConstructor, type ServiceError, status } from "@grpc/grpc-js";

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": maxGrpcMessageBytes,
  "grpc.max_send_message_length": maxGrpcMessageBytes,
  "grpc.keepalive_time_ms": heartbeatIntervalMs * 2,
  "grpc.keepalive_timeout_ms": heartbeatIntervalMs,
  // The CA is pinned, and its servers carry this name: the address that was dialled proves nothing more.
  "grpc.ssl_target_name_override": hubServerName,
  "grpc.enable_retries": 0,
  // Each try is a connection of its own, with the identity of that moment.
  "grpc.use_local_subchannel_pool": 1,
};

const LinkClient = makeGenericClientConstructor(grpcService(LinkService), "LinkService");
const EnrolmentClient = makeGenericClientConstructor(grpcService(EnrolmentService), "EnrolmentService");

/** A client of the link listener, who shows this identity. Nothing is dialled before its first call. */
export function linkClient(identity: { linkAddress: string; caPem: string; privateKeyPem: string; certificatePem: string }, tracer: StepTracer): Client {
  const { linkAddress, caPem, privateKeyPem, certificatePem } = identity;
  return new LinkClient(linkAddress, credentials.createSsl(Buffer.from(caPem), Buffer.from(privateKeyPem), Buffer.from(certificatePem)), optionsWith(tracer));
}

/** A client of the enrolment listener that trusts this CA alone. */
export function enrolmentClient(address: string, caPem: string, tracer: StepTracer): Client {
  return new EnrolmentClient(address, credentials.createSsl(Buffer.from(caPem)), optionsWith(tracer));
}

function optionsWith(tracer: StepTracer): ClientOptions {
  return { ...channelOptions, interceptors: [carryTrace(tracer)] };
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
