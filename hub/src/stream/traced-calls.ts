import { type ServerInterceptor, ServerInterceptingCall, status } from "@grpc/grpc-js";
import { type Span, SpanKind, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { contextOf } from "../telemetry.ts";

/**
 * A span for every call, under the W3C `traceparent` of its metadata; one that is not of version 00's form counts as none. It ends with the
 * first answer, as the caller's does.
 */
export function tracedCalls(tracer: Tracer): ServerInterceptor {
  return (method, call) => {
    let span: Span | undefined;
    const end = (error?: string) => {
      if (error !== undefined) span?.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span?.end();
      span = undefined;
    };
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, pass) {
            const [traceparent] = metadata.get("traceparent");
            const attributes = { "rpc.system": "grpc", "rpc.method": method.path };
            span = tracer.startSpan(method.path, { kind: SpanKind.SERVER, attributes }, contextOf(traceparent?.toString()));
            pass(metadata);
          },
          onCancel: () => end("cancelled by the caller"),
        });
      },
      sendMessage(message, next) {
        end();
        next(message);
      },
      sendStatus(sent, next) {
        end(sent.code === status.OK ? undefined : (sent.details ?? String(sent.code)));
        next(sent);
      },
    });
  };
}
