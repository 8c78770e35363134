import { ROOT_CONTEXT, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { StepTracer } from "./telemetry.ts";

/** A tracer that exports by OTLP, configured by the OTEL_* environment. */
export function openOtlpTracer(attributes: Readonly<Record<string, string>>): StepTracer {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": "flotilla-agent", ...attributes }),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), scheduledDelayMillis: 1_000 })],
  });
  const tracer: Tracer = provider.getTracer("flotilla-agent");
  const propagator = new W3CTraceContextPropagator();
  const getter = {
    get: (carrier: { traceparent: string }, key: string) => (key === "traceparent" ? carrier.traceparent : undefined),
    keys: () => ["traceparent"],
  };
  return {
    start: (name, traceparent, spanAttributes, startedAtMs) => {
      const parent = traceparent === "" ? ROOT_CONTEXT : propagator.extract(ROOT_CONTEXT, { traceparent }, getter);
      const span = tracer.startSpan(name, { attributes: { ...spanAttributes }, startTime: startedAtMs }, parent);
      const { traceId, spanId, traceFlags } = span.spanContext();
      return {
        spanId,
        traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
        end: (error, endedAtMs) => {
          if (error) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
          span.end(endedAtMs);
        },
      };
    },
    shutdown: async () => {
      await provider.forceFlush().catch(() => undefined);
      await provider.shutdown();
    },
  };
}
