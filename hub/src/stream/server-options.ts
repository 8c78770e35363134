import type { ServerOptions } from "@grpc/grpc-js";
import { keepaliveDeadlineMs, keepaliveMs, maxGrpcMessageBytes } from "@flotilla/proto/limits";

/** What an open listener allows: small requests, few at a time. */
export const enrolServerOptions: ServerOptions = {
  "grpc.max_receive_message_length": 64 * 1024,
  "grpc.max_concurrent_streams": 2,
  // An enrolment is one call: a connection that stays is not an agent's.
  "grpc.max_connection_idle_ms": 10_000,
  "grpc.max_connection_age_ms": 60_000,
  "grpc.max_connection_age_grace_ms": 10_000,
};

/** One stream and now and then a renewal per agent; a peer that vanished is found by ping, and its socket closed. */
export const linkServerOptions: ServerOptions = {
  "grpc.max_receive_message_length": maxGrpcMessageBytes,
  "grpc.max_send_message_length": maxGrpcMessageBytes,
  "grpc.max_concurrent_streams": 8,
  "grpc.keepalive_time_ms": keepaliveMs,
  "grpc.keepalive_timeout_ms": keepaliveDeadlineMs,
};
