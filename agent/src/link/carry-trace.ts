import { type Interceptor, InterceptingCall, status } from "@grpc/grpc-js";
import type { StepTracer } from "../telemetry.ts";

/**
 * Every call carries a W3C `traceparent` in its metadata. Its span ends with the first answer: a stream that stays open is not a step that
 * lasts for hours; what goes over it later carries its own context in the message.
 */
export function carryTrace(tracer: StepTracer): Interceptor {
  return (options, nextCall) => {
    const { path } = options.method_definition;
    const span = tracer.start(path, "", { "rpc.system": "grpc", "rpc.method": path }, Date.now());
    let isOver = false;
    const end = (error?: string) => {
      if (!isOver) span.end(error);
      isOver = true;
    };
    return new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("traceparent", span.traceparent);
        next(metadata, {
          onReceiveMetadata: (received, pass) => pass(received),
          onReceiveMessage(message: unknown, pass) {
            // grpc-js hands over null before the status of a call that failed.
            if (message !== null) end();
            pass(message);
          },
          onReceiveStatus(received, pass) {
            end(received.code === status.OK ? undefined : received.details);
            pass(received);
          },
        });
      },
    });
  };
}
